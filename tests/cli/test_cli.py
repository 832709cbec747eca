"""The command line: its output, its files, its errors."""

import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

import fastcell
from fastcell.models import LanguageModel
from fastcell.train.checkpoint import read_checkpoint

TIME_LIMIT = 60.0  # seconds that a child process may take, on a busy machine
SMALL = ["--hidden-size=12", "--embedding-size=6", "--batch-size=4"]
SMALL += ["--sequence-length=16"]
ALL_OPTIONS = """
    --cell gru --layers 2 --hidden-size 8 --dropout 0.2 --tie-weights --steps 12
    --sequence-length 9 --batch-size 3 --learning-rate 0.01 --clip 1
    --validation-fraction 0.2 --validate-every 6 --checkpoint-seconds 5 --threads 1
    --seed 3 --out other.safetensors --quiet
    --layer-option init=orthogonal --layer-option zoneout=0.1
    --layer-option activations=["sigmoid",["elu",1.0]]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder with a text in it."""
    monkeypatch.chdir(tmp_path)
    line = "it was the best of times, it was the worst of times.\n"
    (tmp_path / "text.txt").write_text(line * 40)
    return tmp_path


def start(*arguments, **options):
    """Start a command in a process of its own, with the usual signal handlers."""

    def reset():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-m", "fastcell", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=reset,
        **options,
    )


def wait_for_step(process, checkpoint, step):
    """Wait until the run has saved a checkpoint of a later step than `step`."""
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        if checkpoint.exists():
            reached = read_checkpoint(checkpoint)["position"]["step"]
            if reached > step:
                return
        time.sleep(0.01)
    raise AssertionError("no checkpoint in time")


def assert_refused(result, *named):
    """One line on stderr, exit code 2, nothing on stdout."""
    code, out, err = result
    assert code == 2
    assert out == ""
    assert re.fullmatch(r"fastcell: error: [^\n]+\n", err), err
    for text in named:
        assert str(text) in err


# ------------------------------------------------------------------------------ train


def test_train_writes_a_model_and_prints_figures_and_a_sample(folder, run):
    code, out, err = run("train", "text.txt", *SMALL, "--epochs", 2)
    assert code == 0
    figures, sample = out.split("\n\n", 1)
    names = [line.split()[0] for line in figures.splitlines()]
    assert names == ["train", "valid", "speed", "model"]
    assert "model.safetensors" in figures
    assert len(sample) > 100
    assert "valid loss" in err
    assert sorted(os.listdir()) == ["model.safetensors", "text.txt"]
    model = fastcell.load("model.safetensors")
    assert model.vocabulary.symbols == tuple(
        sorted(set((folder / "text.txt").read_text()))
    )
    assert (model.cell, model.hidden_size, model.embedding_dim) == ("lstm", 12, 6)


def test_train_takes_every_option(folder, run):
    code, out, err = run("train", "text.txt", *ALL_OPTIONS.split())
    assert (code, err) == (0, "")
    config = fastcell.load("other.safetensors").config()
    config.pop("vocabulary")
    assert config == {
        "vocab_size": 16,
        "embedding_dim": 8,
        "hidden_size": 8,
        "num_layers": 2,
        "cell": "gru",
        "dropout": 0.2,
        "tie_weights": True,
        "sampled_softmax": None,
        "dtype": "float32",
        "seed": 3,
        "layer_options": {
            "init": "orthogonal",
            "zoneout": 0.1,
            "activations": ["sigmoid", ["elu", 1.0]],
        },
    }
    assert "12 steps" in out


def test_bad_layer_options_are_refused(folder, run):
    for option, *words in (
        ("zoneout", "--layer-option", "NAME=VALUE"),
        ("=1", "--layer-option", "NAME=VALUE"),
        ("peephole=true", "layer_options", "GRU", "peephole"),
        ("init=no", "init", "orthogonal"),
    ):
        options = ["--cell", "gru", "--layer-option", option]
        assert_refused(run("train", "text.txt", *options), *words)


@pytest.mark.parametrize("command", ["train", "bench", "explain"])
def test_help_offers_no_cell_that_arguments_choose(run, command):
    _, text, _ = run(command, "--help")
    assert "min_gru" in text
    assert "with_options" not in text


def test_errors_offer_no_cell_that_arguments_choose(folder, run):
    for command in (
        ["train", "text.txt", "--cell", "no_such"],
        ["bench", "--cells", "no_such"],
        ["explain", "--shape", "1x1x1", "--cell", "no_such"],
    ):
        code, _, err = run(*command)
        assert code == 2
        assert "min_gru" in err
        assert "with_options" not in err


def test_train_lowers_the_bits_per_character(folder, run):
    options = [*SMALL, "--quiet", "--validate-every", 1000]
    bits = []
    for steps in (1, 250):
        _, out, _ = run("train", "text.txt", *options, "--steps", steps, "--force")
        bits.append(float(re.search(r"valid +([\d.]+)", out)[1]))
    assert bits[0] > 3.5  # 16 symbols, about 4 bits
    assert bits[1] < 2.5


def test_train_repeats_with_its_seed(folder, run):
    def weights(seed):
        options = [*SMALL, "--steps", 5, "--quiet", "--force"]
        assert run("train", "text.txt", *options, "--seed", seed)[0] == 0
        return (folder / "model.safetensors").read_bytes()

    one, same, other = weights(1), weights(1), weights(2)
    assert one == same
    assert one != other


def test_train_without_validation(folder, run):
    code, out, _ = run(
        "train", "text.txt", *SMALL, "--steps", 3, "--validation-fraction", 0
    )
    assert code == 0
    assert "valid" not in out


# ---------------------------------------------------------- interruption and resuming


LONG = [*SMALL, "--steps", 1500, "--checkpoint-seconds", 0, "--validate-every", 400]
DROPPING = ["--dropout", 0.2, "--layer-option", "zoneout=[0.1,0.2]"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The model of the long run, without a break, and its text."""
    folder = tmp_path_factory.mktemp("whole")
    line = "it was the best of times, it was the worst of times.\n"
    (folder / "text.txt").write_text(line * 40)
    process = start("train", "text.txt", *LONG, *DROPPING, cwd=folder)
    _, err = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 0, err
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_killed_run_resumes_with_the_same_bits(folder, whole):
    checkpoint = folder / "model.safetensors.checkpoint"
    process = start("train", "text.txt", *LONG, *DROPPING)
    wait_for_step(process, checkpoint, 50)
    process.kill()
    process.communicate()
    assert not (folder / "model.safetensors").exists()

    process = start("train", "--resume")
    _, err = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 0, err
    assert (folder / "model.safetensors").read_bytes() == whole
    assert not checkpoint.exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_says_how_to_resume_and_resumes(folder, whole, signum):
    checkpoint = folder / "model.safetensors.checkpoint"
    process = start("train", "text.txt", *LONG, *DROPPING, "--quiet")
    wait_for_step(process, checkpoint, 20)
    process.send_signal(signum)
    out, err = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 128 + signum
    assert out == ""
    assert "Traceback" not in err
    said = re.search(r"continue with: fastcell (train --resume \S+)\n", err)
    assert not (folder / "model.safetensors").exists()

    # From another folder, as the absolute path allows.
    arguments = said[1].split()
    arguments[-1] = str(checkpoint)
    process = start(*arguments, cwd="/")
    _, err = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 0, err
    assert (folder / "model.safetensors").read_bytes() == whole


@pytest.fixture
def interrupted(folder):
    """A checkpoint of a run that was ended by a signal."""
    checkpoint = folder / "model.safetensors.checkpoint"
    process = start("train", "text.txt", *LONG)
    wait_for_step(process, checkpoint, 5)
    process.terminate()
    process.communicate(timeout=TIME_LIMIT)
    return checkpoint


def test_interrupted_run_is_not_overwritten(interrupted, run):
    before = interrupted.read_bytes()
    assert_refused(run("train", "text.txt", *SMALL), interrupted.name, "--resume")
    assert_refused(run("demo", "--steps", 1), interrupted.name, "--resume")
    assert interrupted.read_bytes() == before


def test_resumed_run_keeps_its_options(interrupted, run):
    for options in (
        ["--hidden-size", 13],
        ["--epochs", 3],
        ["--seed", 1],
        ["--layer-option", "zoneout=0.1"],
    ):
        assert_refused(run("train", "--resume", interrupted, *options), options[0])


def test_resumed_run_needs_its_text(interrupted, run, folder):
    moved = folder / "moved.txt"
    shutil.move("text.txt", moved)
    assert_refused(run("train", "--resume"), "text.txt")
    moved.write_text("another text\n" * 100)
    assert_refused(run("train", moved, "--resume"), "moved.txt")


# --------------------------------------------------------------------------- the demo


def test_demo_trains_on_shakespeare(folder, run):
    code, out, err = run("demo", "--steps", 2, "--threads", 1)
    assert code == 0
    assert "65 symbols" in err
    assert re.search(r"valid +[\d.]+ bits per character", out)
    assert sorted(os.listdir()) == ["model.safetensors", "text.txt"]
    model = fastcell.load("model.safetensors")
    assert (model.cell, model.num_layers, model.hidden_size) == ("lstm", 1, 256)


def test_demo_chooses_its_steps_by_the_time_given(folder, run):
    code, out, _ = run("demo", "--seconds", 0.5)
    assert code == 0
    steps = int(re.search(r"([\d,]+) steps in", out)[1].replace(",", ""))
    first = (folder / "model.safetensors").read_bytes()
    # The timing leaves no trace: the same number of steps gives the same model.
    code, _, _ = run("demo", "--steps", steps, "--force")
    assert code == 0
    assert (folder / "model.safetensors").read_bytes() == first


# ----------------------------------------------------------------------------- sample


@pytest.fixture
def model(folder):
    path = folder / "model.safetensors"
    model = LanguageModel(6, 4, 8, vocabulary="\n abét", seed=0)
    fastcell.save(model, path)
    return path


def test_sample_continues_a_prompt(model, run):
    code, out, err = run(
        *("sample", model, "--prompt", "bat ", "--length", 30, "--seed", 1)
    )
    assert (code, err) == (0, "")
    expected = fastcell.load(model).generate("bat ", 30, 0.8, seed=1)
    assert out == f"bat {expected}\n"


def test_sample_repeats_with_its_seed_only(model, run):
    def sample(*options):
        code, out, _ = run("sample", model, "--length", 60, *options)
        assert code == 0
        return out

    assert sample("--seed", 1) == sample("--seed", 1)
    assert sample("--seed", 1) != sample("--seed", 2)
    assert sample() != sample()


def test_sample_truncates_the_distribution(model, run):
    outputs = {
        run("sample", model, "--length", 20, *options)[1]
        for options in (["--temperature", 0], ["--top-k", 1], ["--top-p", 1e-9])
    }
    assert len(outputs) == 1


def test_sample_survives_a_reader_that_leaves(model):
    process = start("sample", model, "--length", 1000)
    process.stdout.close()
    process.wait(TIME_LIMIT)
    assert process.stderr.read() == ""
    assert process.returncode == 128 + 13


def test_sample_survives_an_encoding_that_lacks_a_symbol(model):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = start("sample", model, "--prompt", "éé", env=environment)
    out, err = process.communicate(timeout=TIME_LIMIT)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("??")


# ------------------------------------------------------------------------ info, others


def test_info_tells_the_machine_and_the_versions(run):
    code, out, err = run("info")
    assert (code, err) == (0, "")
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines())
    assert rows["fastcell"] == fastcell.__version__
    assert rows["numpy"] == np.__version__
    assert rows["chosen"].split()[0] in rows["instruction sets"].split(", ")
    assert rows["threads"].startswith(str(fastcell.get_num_threads()))
    assert {"CPU", "BLAS", "compiler", "Python", "scipy", "tqdm", "safetensors"} <= set(
        rows
    )


def test_version_and_help_are_no_errors(run):
    assert run("--version") == (0, f"fastcell {fastcell.__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    for command in ("demo", "train", "sample", "info"):
        assert command in out
        code, text, _ = run(command, "--help")
        assert (code, text[:5]) == (0, "usage")


def test_progress_bar_on_a_terminal(folder):
    """On a terminal the bar shows loss, bits per character and speed."""
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", 40, 120, 0, 0)  # rows, columns, pixels
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    command = [sys.executable, "-m", "fastcell", "train", "text.txt", *SMALL]
    length = ["--steps", "600", "--validate-every", "300"]
    process = subprocess.Popen(
        [*command, *length], stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux tells the end
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(TIME_LIMIT) == 0
    text = shown.decode()
    assert re.search(
        r"/600 \[.*loss \d\.\d+, bpc \d\.\d+, [\d,]+ characters, [\d,]+/s", text
    )
    assert "step 300" in text


# -------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("", "COMMAND"),
        ("fly", "fly"),
        ("train", "FILE"),
        ("train missing.txt", "missing.txt: No such file"),
        ("train empty.txt", "empty.txt"),
        ("train latin.txt", "latin.txt"),
        ("train .", "."),
        ("train short.txt", "short.txt: too short"),
        ("train text.txt --batch-size 100000", "text.txt: too short"),
        ("train text.txt --validation-fraction 0.0001", "text.txt"),
        ("train text.txt --hidden-size 0", "--hidden-size"),
        ("train text.txt --hidden-size nan", "--hidden-size"),
        ("train text.txt --hidden-size -4", "--hidden-size"),
        ("train text.txt --hidden-size 1.5", "--hidden-size"),
        ("train text.txt --layers x", "--layers"),
        ("train text.txt --cell transformer", "cell must be one of"),
        ("train text.txt --learning-rate nan", "--learning-rate"),
        ("train text.txt --learning-rate inf", "--learning-rate"),
        ("train text.txt --learning-rate=-inf", "--learning-rate"),
        ("train text.txt --learning-rate 0", "--learning-rate"),
        ("train text.txt --learning-rate -1", "--learning-rate"),
        ("train text.txt --learning-rate 1e999", "--learning-rate"),
        ("train text.txt --clip inf", "--clip"),
        ("train text.txt --dropout 1", "--dropout"),
        ("train text.txt --dropout -0.1", "--dropout"),
        ("train text.txt --validation-fraction 1", "--validation-fraction"),
        ("train text.txt --epochs 0", "--epochs"),
        ("train text.txt --epochs 1 --steps 1", "--steps"),
        ("train text.txt --threads 0", "--threads"),
        ("train text.txt --seed -1", "--seed"),
        ("train text.txt --out", "--out"),
        ("train text.txt --out=", "--out"),
        ("train text.txt --out nowhere/model", "nowhere/model: No such file"),
        ("train text.txt --out text.txt/model", "text.txt/model: Not a directory"),
        ("train text.txt --out .", "Is a directory"),
        ("train text.txt --hid 3", "--hid"),
        ("train text.txt --tie-weights --embedding-size 3", "embedding_dim"),
        ("train text.txt --hidden-size 1000000000", ""),
        ("train --resume", "model.safetensors.checkpoint: No such file"),
        ("train --resume text.txt", "text.txt"),
        ("train --resume other.safetensors", "other.safetensors"),
        ("demo --seconds 0", "--seconds"),
        ("demo --seconds nan", "--seconds"),
        ("demo --steps 0", "--steps"),
        ("demo --seconds 1 --steps 1", "--steps"),
        ("demo --out nowhere/model", "nowhere/model"),
        ("sample", "MODEL"),
        ("sample missing.safetensors", "missing.safetensors: No such file"),
        ("sample text.txt", "text.txt"),
        ("sample empty.txt", "empty.txt"),
        ("sample truncated.safetensors", "truncated.safetensors"),
        ("sample other.safetensors", "other.safetensors"),
        ("sample ids.safetensors", "ids.safetensors"),
        ("sample model.safetensors --prompt xyz", "'x'"),
        ("sample model.safetensors --prompt=", "prompt"),
        ("sample model.safetensors --length -1", "--length"),
        ("sample model.safetensors --temperature -1", "--temperature"),
        ("sample model.safetensors --temperature nan", "--temperature"),
        ("sample model.safetensors --top-k 0", "--top-k"),
        ("sample model.safetensors --top-p 0", "--top-p"),
        ("sample model.safetensors --top-p 1.5", "--top-p"),
        ("info --loud", "--loud"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(folder, model, run, arguments, named):
    (folder / "empty.txt").touch()
    (folder / "latin.txt").write_bytes("déjà vu\n".encode("latin-1") * 50)
    (folder / "short.txt").write_text("short")
    content = model.read_bytes()
    (folder / "truncated.safetensors").write_bytes(content[:-10])
    fastcell.save(fastcell.Linear(2, 3), "other.safetensors")
    fastcell.save(LanguageModel(3, 2, 2), "ids.safetensors")
    before = sorted(os.listdir())
    # A model stands where that of a run would go.
    force = ["--force"] if arguments.startswith(("train", "demo")) else []
    assert_refused(run(*arguments.split(), *force), named)
    assert sorted(os.listdir()) == before
    assert model.read_bytes() == content


def test_diverging_run_is_one_line(folder, run):
    code, out, err = run(
        "train", "text.txt", *SMALL, "--steps", 50, "--learning-rate", 1e38, "--quiet"
    )
    assert (code, out) == (2, "")
    assert re.fullmatch(r"fastcell: error: .*learning rate.*\n", err)
    assert not (folder / "model.safetensors").exists()
