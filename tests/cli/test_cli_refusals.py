"""Junk as arguments of the command line: one line, exit code 2, no traceback."""

import argparse
import json
import os
import re
import subprocess
import sys

import pytest

import fastcell
from fastcell.cli import commands
from fastcell.models import LanguageModel

SMALL = ["--hidden-size=4", "--batch-size=4", "--steps=1", "--quiet", "--force"]
# A run of each command that would take no time.
BASE = {
    "train": ["text.txt", *SMALL, "--out=out"],
    "demo": ["--steps=1", "--quiet", "--force", "--out=out"],
    "sample": ["model.safetensors", "--length=5"],
    "bench": ["--cells=lstm", "--modes=step", "--shapes=1x1x4", "--seconds=0.001"],
    "explain": ["--shape=1x1x4"],
    "export-c": ["model.safetensors", "--out=net.c"],
    "convert": ["rtneural.json", "--out=converted.safetensors"],
    "info": [],
}
# What no option and no argument takes.
JUNK = {
    "nothing": "",
    "two lines": "a\nb",
    "zero byte": "\0",
    "400 digits": "9" * 400,
    "5000 digits": "9" * 5000,
    "negative": "-1",
    "not a number": "nan",
    "infinity": "inf",
    "hexadecimal": "0x10",
    "list of nothing": ",,",
    "shapes": "99999999999x1x1",
    "shape of digits": "9" * 400 + "x1x1",
    "lone surrogate": "\udcff",
}
# A prompt may be any text, a file may be called anything, and a prefix (nan).
FREE = {"--prompt", "--out", "--json", "--name"}
LONGEST = 700


def options():
    """Return each command with each of its options that have a value, or None."""
    parsers = next(
        action
        for action in commands._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for name, parser in parsers.choices.items():
        for action in parser._actions:
            if not action.option_strings:
                yield name, None
            elif action.nargs != 0:
                yield name, action.option_strings[-1]


OPTIONS = [*options()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("to be, or not to be: that is it.\n" * 40)
    model = LanguageModel(6, 4, 8, vocabulary="\n abét", seed=0)
    fastcell.save(model, tmp_path / "model.safetensors")
    linear = {"type": "dense", "shape": [None, None, 1], "weights": [[[0.5]], [0.0]]}
    network = {"in_shape": [None, None, 1], "layers": [linear]}
    (tmp_path / "rtneural.json").write_text(json.dumps(network))
    return tmp_path


def assert_refused(result):
    code, out, err = result
    assert (code, out) == (2, "")
    assert re.fullmatch(r"fastcell: error: [^\n]+\n", err), err
    assert len(err) < LONGEST


def with_junk(command, option, junk):
    """Return the arguments of a command in which something is junk."""
    base = BASE[command]
    if option is None:
        return [command, *base[1:], "--", junk]
    # The length is given once only.
    other = {"--epochs": "--steps", "--seconds": "--steps"}.get(option, option)
    base = [argument for argument in base if not argument.startswith(f"{other}=")]
    return [command, *base, f"{option}={junk}"]


def test_every_command_runs_as_it_is(folder, run):
    assert {name for name, _ in OPTIONS} | {"info"} == set(BASE)
    for command, arguments in BASE.items():
        if command not in ("bench", "demo"):  # which take a second
            code, _, err = run(command, *arguments)
            assert code == 0, (command, err)


@pytest.mark.parametrize(
    ("command", "option"), [(c, o) for c, o in OPTIONS if o not in FREE]
)
def test_junk_is_one_line(folder, run, command, option):
    before = sorted(os.listdir())
    for junk in JUNK.values():
        if option == "--resume" and not junk:
            continue  # the default, OUT.checkpoint
        assert_refused(run(*with_junk(command, option, junk)))
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "junk", ["", "\0", "nowhere/x", "text.txt/x", ".", "/dev/null"]
)
@pytest.mark.parametrize("command", ["train", "demo"])
def test_place_that_cannot_be_written_is_one_line(folder, run, command, junk):
    assert_refused(run(*with_junk(command, "--out", junk)))


@pytest.mark.parametrize("command", BASE)
def test_unknown_option_is_one_line(folder, run, command):
    assert_refused(run(command, *BASE[command], "--nonsense"))


@pytest.mark.parametrize("command", BASE)
def test_argument_too_many_is_one_line(folder, run, command):
    assert_refused(run(command, *BASE[command], "more", "than", "that"))


# ------------------------------------------------------------------ files of any kind


OUT = {"train": ["--out=out"], "sample": []}


@pytest.mark.parametrize("command", [["train"], ["sample"], ["train", "--resume"]])
@pytest.mark.parametrize("file", ["fifo", "/dev/zero", "folder"])
def test_what_is_no_file_is_refused_at_once(folder, run, command, file):
    os.mkfifo("fifo")
    os.mkdir("folder")
    result = run(*command, file, *OUT[command[0]])
    assert_refused(result)
    assert file in result[2]


@pytest.mark.parametrize("command", [["train"], ["sample"], ["train", "--resume"]])
def test_file_without_permission_is_refused(folder, run, command, monkeypatch):
    # The superuser may read everything, so the refusal is made here.
    real = open

    def refuse(file, *arguments, **named):
        if os.fspath(file) == "text.txt":
            raise PermissionError(13, "Permission denied", file)
        return real(file, *arguments, **named)

    monkeypatch.setattr("builtins.open", refuse)
    result = run(*command, "text.txt", *OUT[command[0]])
    assert_refused(result)
    assert "text.txt: Permission denied" in result[2]


@pytest.mark.parametrize(
    "sizes",
    [
        ["--hidden-size=200000"],
        ["--embedding-size=2000000000"],
        ["--layers=2147483647"],
        ["--layers=5000", "--hidden-size=4000"],
    ],
)
def test_model_beyond_the_memory_is_refused_before_it_is_made(folder, run, sizes):
    assert_refused(run("train", "text.txt", "--out=out", *sizes))


# ---------------------------------------------------------------------- environment


@pytest.mark.parametrize("module", [True, False])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FASTCELL_NUM_THREADS", "x"),
        ("FASTCELL_NUM_THREADS", ""),
        ("FASTCELL_NUM_THREADS", "-1"),
        ("FASTCELL_ISA", "avx9000"),
        ("FASTCELL_ISA", ""),
    ],
)
def test_bad_environment_is_one_line(tmp_path, name, value, module):
    command = [sys.executable, "-m", "fastcell"]
    if not module:
        # As pip installs it.
        script = tmp_path / "fastcell"
        script.write_text("import sys\nfrom fastcell.cli import main\nsys.exit(main())")
        command = [sys.executable, str(script)]
    done = subprocess.run(
        [*command, "info"],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
    )
    assert_refused((done.returncode, done.stdout, done.stderr))
    assert name in done.stderr
    assert repr(value) in done.stderr


def test_bad_number_of_threads_is_an_error_of_the_first_use():
    code = (
        "import fastcell\n"
        "fastcell.set_num_threads(1)\n"
        "assert fastcell.get_num_threads() == 1\n"
    )
    environment = {**os.environ, "FASTCELL_NUM_THREADS": "x"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code = "import fastcell, numpy\nfastcell.Linear(1, 1)(numpy.ones((1, 1), 'f4'))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last == ("ValueError: FASTCELL_NUM_THREADS must be an integer >= 1; got 'x'")


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_closed_streams_are_no_traceback(closed):
    streams = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-"}[closed]
    for command, code in (("info", 0), ("nonsense", 2)):
        done = subprocess.run(
            f'exec "{sys.executable}" -m fastcell {command} {streams}',
            shell=True,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_disk_for_the_output_is_one_line():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "fastcell", "info"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"fastcell: error: .*No space left.*\n", done.stderr)
