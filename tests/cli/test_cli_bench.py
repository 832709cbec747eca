"""``fastcell bench`` and ``fastcell explain``: figures, decisions, refusals."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

import fastcell
from fastcell import _core, cli
from fastcell._judge import load
from fastcell._judge.cells import cells, gate_functions
from fastcell._judge.measure import Timing
from fastcell.cells import REGISTRY
from fastcell.cli import bench as cli_bench
from fastcell.cli import explain as cli_explain
from fastcell.cli.measure import Layer, Shape, duration, measure, parse_shape

TIME_LIMIT = 60  # seconds that a child process may take, on a busy machine
TINY = ["--shapes", "3x2x8,1x1x5,2x1x3x7", "--seconds", "0.004"]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
# Measured by default: the first cell of each class.
FIRST = {"lstm", "gru", "rnn", "mgu", "ligru", "indrnn_tanh", "min_gru", "min_lstm"}
FIRST |= {"slstm", "lru"}


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command in this process; return its exit code, stdout and stderr."""
    monkeypatch.setattr(cli_explain, "_SECONDS", 0.004)
    monkeypatch.setattr(cli_explain, "_PROBE_SECONDS", 0.004)
    monkeypatch.setattr(load, "busy_share", lambda: 0.0)

    def run(*arguments):
        threads = fastcell.get_num_threads()
        code = cli.main([str(argument) for argument in arguments])
        assert fastcell.get_num_threads() == threads  # as before
        out, err = capsys.readouterr()
        return code, out, err

    return run


def table(out):
    """The table's rows, each as a dict; its header and rule are checked."""
    lines = [line for line in out.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == ["mode", "cell", "shape", "threads", "median", "±", "GFLOP/s"]
    assert all(re.fullmatch("-+:?", cell) for cell in rows[1])
    assert len(lines[0]) == len(lines[1])  # aligned
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def explained(out):
    return dict(re.split(r"  +", line, maxsplit=1) for line in out.split("\n") if line)


# ------------------------------------------------------------------------------ bench


def test_bench_prints_a_row_for_every_case_and_writes_them(tmp_path, run):
    path = tmp_path / "figures.json"
    code, out, err = run("bench", *TINY, "--threads", "1,2", "--json", path)
    assert (code, err) == (0, "")
    rows = table(out)
    report = json.loads(path.read_text())
    assert report["complete"]
    assert report["machine"]["fastcell"] == fastcell.__version__
    assert report["machine"]["isa"] in out
    figures = report["figures"]
    # Forward and train of 3 shapes with 1 and 2 threads; step of the 1x1x5.
    assert len(rows) == len(figures) == len(FIRST) * (2 * 3 * 2 + 1)
    for row, figure in zip(rows, figures, strict=True):
        assert row["mode"] == figure["mode"]
        assert row["cell"] == figure["cell"]
        assert row["threads"] == str(figure["threads"])
        assert row["median"] == duration(figure["median"])
        assert (row["GFLOP/s"] == "") == (figure["mode"] == "step")
    assert {row["shape"] for row in rows} == {"3x2x8", "1x1x5", "2x1x3x7"}
    assert {row["mode"] for row in rows} == {"forward", "train", "step"}


def test_bench_counts_the_products(tmp_path, run):
    path = tmp_path / "figures.json"
    assert run("bench", *TINY, "--threads", 1, "--json", path)[0] == 0
    for f in json.loads(path.read_text())["figures"]:
        weights = cells()[f["cell"]].layer(f["I"], f["H"]).state_dict().values()
        products = sum(weight.size for weight in weights if weight.ndim == 2)
        once = 2 * products * f["T"] * f["B"]
        assert f["flop"] == (3 * once if f["mode"] == "train" else once)
        assert f["gflops"] == pytest.approx(f["flop"] / f["median"] / 1e9)
        assert f["median"] > 0
        assert f["spread"] >= 0
        assert len(f["blocks"]) >= 3


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_bench_measures_every_precision(run, precision):
    code, out, _ = run(
        *("bench", *TINY, "--cells", "gru", "--threads", 1, "--precision", precision)
    )
    assert code == 0
    modes = [row["mode"] for row in table(out)]
    # int8 does not train.
    assert ("train" in modes) == (precision != "int8")
    assert "forward" in modes
    assert "step" in modes
    assert precision in out.splitlines()[0]


def test_bench_measures_what_was_asked_for(run):
    code, out, _ = run(
        *("bench", "--quick", "--seconds", 0.002, "--modes", "step", "--cells"),
        "rnn,lstm,rnn",
    )
    assert code == 0
    found = [(row["mode"], row["cell"], row["shape"]) for row in table(out)]
    shapes = ["1x1x64", "1x1x256"]
    assert found == [("step", cell, s) for cell in ("rnn", "lstm") for s in shapes]


@pytest.fixture
def new_cell(monkeypatch):
    """A cell of a class of its own, entered in the registry; return its name."""

    class Other(fastcell.LSTM):
        pass

    entry = replace(REGISTRY["lstm"], layer_class=Other)
    monkeypatch.setitem(REGISTRY, "lstm_other", entry)
    return "lstm_other"


def test_bench_measures_a_new_cell_without_an_edit(run, new_cell):
    code, out, err = run("bench", *TINY, "--threads", 1, "--cells", new_cell)
    assert (code, err) == (0, "")
    assert {row["cell"] for row in table(out)} == {new_cell}
    cases = cli_bench._cases({}, "float32", False)  # by default, too
    assert new_cell in {case.layer.cell for case in cases}


def test_explain_takes_a_new_cell_without_an_edit(run, new_cell):
    code, out, err = run("explain", "--cell", new_cell, "--shape", "4x3x9x7", "--train")
    assert (code, err) == (0, "")
    assert explained(out)["FLOP"] == f"{3 * 2 * 4 * 7 * (9 + 7) * 4 * 3:,}"
    code, out, _ = run("explain", "--help")
    assert new_cell in out


@pytest.mark.parametrize("cell", REGISTRY)
def test_every_cell_is_measured_and_explained(run, cell):
    shape = ["--shapes", "3x2x5x8", "--seconds", "0.002", "--threads", "1"]
    code, out, err = run("bench", *shape, "--cells", cell)
    assert (code, err) == (0, "")
    assert [row["mode"] for row in table(out)] == ["forward", "train"]
    code, out, err = run("bench", "--shapes", "1x1x6", *shape[2:], "--cells", cell)
    assert [row["mode"] for row in table(out)] == ["forward", "train", "step"]
    code, out, err = run("explain", "--shape", "3x2x5x8", "--cell", cell, "--train")
    assert (code, err) == (0, "")
    weights = REGISTRY[cell].layer(5, 8).state_dict().values()
    products = sum(weight.size for weight in weights if weight.ndim == 2)
    assert explained(out)["FLOP"] == f"{3 * 2 * products * 3 * 2:,}"


def test_gate_functions_are_counted_in_the_formulas():
    counted = {name: gate_functions(cell) for name, cell in REGISTRY.items()}
    assert counted == {
        "rnn_tanh": (0, 1),
        "rnn_relu": (0, 0),
        "lstm": (3, 2),
        "lstm_projected": (3, 2),
        "gru": (2, 1),
        "gru_reset_before": (2, 1),
        "lstm_peephole": (3, 2),
        "lstm_layer_norm": (3, 2),
        "lstm_coupled": (2, 2),
        "lstm_peephole_coupled": (2, 2),
        "lstm_peephole_projected": (3, 2),
        "lstm_coupled_projected": (2, 2),
        "lstm_peephole_coupled_projected": (2, 2),
        "mgu": (1, 1),
        "ligru": (1, 0),
        "gru_layer_norm": (2, 1),
        "indrnn_tanh": (0, 1),
        "indrnn_relu": (0, 0),
        "lru": (0, 0),
        "min_gru": (1, 0),
        "min_gru_positive": (2, 0),
        "min_lstm": (1, 0),
        "min_lstm_positive": (2, 0),
        # Exponentials, of an sLSTM, are not counted.
        "slstm": (1, 1),
        "slstm_plain": (1, 1),
        "slstm_clamped": (1, 1),
        "slstm_exponential": (1, 1),
        # The registry's sample of options: sigmoids, scaled tanh, softsign.
        "rnn_with_options": (0, 0),
        "gru_with_options": (2, 0),
        "gru_reset_before_with_options": (2, 0),
        "lstm_with_options": (3, 1),
        "lstm_projected_with_options": (3, 1),
        "lstm_peephole_with_options": (3, 1),
        "lstm_coupled_with_options": (2, 1),
        "lstm_peephole_coupled_with_options": (2, 1),
    }


def test_bench_default_grid_is_that_of_the_comparison():
    cases = list(cli_bench._cases({}, "float32", False))
    assert {case.layer.cell for case in cases} == FIRST
    forward = [c.layer.shape for c in cases if c.mode == "forward"]
    assert len(set(forward)) == 13
    steps = {c.layer.shape.H for c in cases if c.mode == "step"}
    assert steps == {32, 64, 128, 256}


def test_ctrl_c_leaves_what_has_been_measured(tmp_path):
    path = tmp_path / "figures.json"
    command = ["bench", "--shapes", "2x1x4", "--seconds", "0.2", "--json", str(path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastcell", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    out = ""
    while "| forward" not in out:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        out += line
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=TIME_LIMIT)
    assert (process.returncode, err) == (130, "\nfastcell: interrupted\n")
    report = json.loads(path.read_text())
    assert not report["complete"]
    assert len(report["figures"]) == len(table(out + rest)) >= 1


# ---------------------------------------------------------------------------- explain


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("train", [False, True])
def test_explain_tells_decisions_prediction_and_measurement(run, cell, train):
    options = ["--train"] if train else []
    code, out, err = run(
        *("explain", "--cell", cell, "--shape", "4x3x9x7", "--layers", 2, *options),
        *("--bidirectional", "--threads", 2),
    )
    assert (code, err) == (0, "")
    rows = explained(out)
    stack = Layer(cell, Shape(4, 3, 9, 7), "float32", 2, 2)
    d = stack.describe(2, 0)
    assert d["isa"] in rows["kernels"]
    assert "2 layers, both directions, I=9 H=7" in rows["layer"]
    assert ("training" in rows["batch"]) == train
    G, D = GATES[cell], 2
    once = sum(2 * D * G * 7 * (inputs + 7) * 4 * 3 for inputs in (9, D * 7))
    assert rows["FLOP"] == f"{once * (3 if train else 1):,}"
    assert ("saved 0 B" in rows["memory"]) != train
    names = ["predicted, forward", "predicted, backward"] if train else ["predicted"]
    for name in names:
        assert re.match(r"[\d.]+ [num]?s, bound by [\w ]+: ", rows[name])
    assert re.match(r"[\d.]+ [num]?s ± \d+ %, [\d.]+ GFLOP/s", rows["measured"])
    assert float(rows["ratio"].split()[0]) > 0


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_explain_takes_narrow_precisions(run, precision):
    code, out, _ = run("explain", "--shape", "2x2x8", "--precision", precision)
    assert code == 0
    numbers = {"bf16": 2, "int8": 4}[precision]
    assert f"{precision} " in explained(out)["kernels"]
    assert f"of {numbers} numbers" in explained(out)["kernels"]


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_explain_measures_narrow_products_against_float32(run, precision):
    code, out, _ = run("explain", "--shape", "2x2x8", "--precision", precision)
    assert code == 0
    told = re.fullmatch(
        r"([\d.]+) times as fast \(measured, in turns\)",
        explained(out)["against float32"],
    )
    assert float(told[1]) > 0
    assert "against float32" not in explained(run("explain", "--shape", "2x2x8")[1])


def test_a_gain_is_that_of_the_narrow_layer_over_float32(monkeypatch):
    seconds = {"float32": 3.0, "int8": 2.0}
    monkeypatch.setattr(Layer, "call", lambda self, mode: (self.precision, mode))
    monkeypatch.setattr(
        cli_explain, "measure", lambda call, _: Timing((seconds[call[0]],) * 3)
    )
    layer = Layer("gru", Shape(2, 2, 8, 8), "int8")
    assert cli_explain.against_float32(layer, "forward") == 1.5


def test_explain_tells_whether_narrow_products_have_an_instruction(run):
    rows = explained(run("explain", "--shape", "2x2x8")[1])
    for precision, told in zip(
        ("bf16", "int8"), rows["narrow products"].split("; "), strict=True
    ):
        native = Layer("lstm", Shape(2, 2, 8, 8), precision).describe(1, 0)["native"]
        expected = "an instruction here" if native else "none here: expect "
        assert told.startswith(f"{precision} has {expected}")


@pytest.mark.parametrize("chosen", sorted({"portable", "avx2"} & {*_core.isas()}))
def test_without_an_instruction_told_what_to_expect(run_python, chosen):
    code = (
        "from fastcell.cli import explain, main\n"
        "explain._SECONDS = explain._PROBE_SECONDS = 0.004\n"
        "main(['explain', '--shape', '2x2x8', '--precision', 'bf16'])"
    )
    done = run_python(code, FASTCELL_ISA=chosen)
    assert done.returncode == 0, done.stderr
    bf16, int8 = explained(done.stdout)["narrow products"].split("; ")
    if chosen == "portable":
        assert bf16 == "bf16 has none here: expect it slower than float32"
        assert int8 == "int8 has none here: expect it slower than float32"
    else:
        assert bf16.startswith("bf16 has none here: expect 0.7 to 1.1 times the speed")
        assert int8 in (  # AVX-VNNI or not
            "int8 has an instruction here",
            "int8 has none here: expect it faster than float32 from about 100 units on",
        )


def test_explain_tells_how_threads_are_shared(run):
    # Rows enough for all threads, directions, a team for a single row, too little work.
    cases = {
        ("100x32x256", 2): "2 of 2: 1 direction x 2 row ranges x 1 team member",
        ("100x1x256", 2): "2 of 2: 1 direction x 1 row range x 2 team members",
        ("2x1x8", 4): "1 of 4: 1 direction x 1 row range x 1 team member",
    }
    for (shape, threads), expected in cases.items():
        code, out, _ = run("explain", "--shape", shape, "--threads", threads)
        assert code == 0
        assert explained(out)["threads"] == expected


def test_explain_tells_why_there_is_a_team_or_none(run, costs):
    def told(shape, *more):
        code, out, _ = run("explain", "--shape", shape, "--threads", 2, *more)
        assert code == 0
        return explained(out)["team"]

    # A step of 100x1x64 has 2 * 4 * 64 * 64 FLOP, of which each member has half.
    costs(100, 0, 0, 32.768)
    cost = "1 us of work and a barrier costs 100 ns on this machine"
    assert told("100x1x64") == f"yes, one step has {cost}"
    costs(900, 2000, 30000, 32.768)
    cost = "1 us of work and a barrier costs 900 ns on this machine"
    assert told("100x1x64") == f"no, one step has {cost}"
    assert told("2x1x8") == (
        "no, the call is too short: to hand work over costs 2 us, "
        "to wake a thread 30 us on this machine"
    )
    assert told("100x8x64") == "no, there are rows enough to share"
    assert told("100x1x64", "--bidirectional") == "no, each direction has its thread"
    assert told("100x1x16", "--cell", "gru_reset_before").startswith("no, ")
    assert told("100x1x64", "--threads", 1) == "no, one thread is set"


def test_prediction_adds_up():
    layer = Layer("lstm", Shape(10, 4, 8, 16), layers=3)
    d = layer.describe(1, 0)
    probes = cli_explain.Probes(1e9, 1e12, 2e-9, 3e-9)
    p = cli_explain.predict(layer, d, 0, probes)
    assert p.compute == pytest.approx(d["recurrent_flop"] / 1e9)
    assert p.products == pytest.approx((d["flop"] - d["recurrent_flop"]) / 1e9)
    assert p.read == pytest.approx(3 * 10 * d["recurrent_bytes"] / 1e12)
    assert p.gates == pytest.approx(3 * 10 * 4 * 16 * (3 * 2e-9 + 2 * 3e-9))
    assert p.seconds == pytest.approx(p.products + p.compute + p.gates)
    assert p.bound == "multiply-adds"
    back = cli_explain.predict(layer, layer.describe(1, 2), 2, probes)
    assert back.compute == pytest.approx(p.compute)
    assert back.products == pytest.approx(2 * p.products + p.compute)


def test_prediction_names_what_bounds_it():
    layer = Layer("gru", Shape(10, 1, 8, 64))
    d = layer.describe(1, 0)

    def bound(*rates):
        return cli_explain.predict(layer, d, 0, cli_explain.Probes(*rates)).bound

    assert bound(1e9, 1e15, 0, 0) == "multiply-adds"
    assert bound(1e15, 1e9, 0, 0) == "reading R in every step"
    assert bound(1e15, 1e15, 1e-3, 0) == "the gates"


# -------------------------------------------------------------------- parts and errors


def test_measure_calls_three_times_at_least():
    calls = []
    timing = measure(lambda: calls.append(1), 1e-9)
    assert len(calls) >= 3
    assert len(timing.blocks) == 3
    assert Timing((1.0, 2.0, 3.0, 4.0, 5.0)).spread == pytest.approx(1 / 3)


def test_shapes_read_back():
    for text in ("100x8x256", "28x128x28x128"):
        assert str(parse_shape(text)) == text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("bench --cells lstm,transformer", "--cells"),
        ("bench --cells=", "--cells"),
        ("bench --modes fly", "--modes"),
        ("bench --shapes 3x4", "--shapes"),
        ("bench --shapes 3x4x0", "--shapes"),
        ("bench --shapes 3x-4x5", "--shapes"),
        ("bench --shapes 3x4x5,", "--shapes"),
        ("bench --threads 0", "--threads"),
        ("bench --threads 1,two", "--threads"),
        ("bench --precision float16", "--precision"),
        ("bench --precision int8 --modes train", "--modes"),
        ("bench --shapes 2x2x2 --modes step", "shapes"),
        ("bench --seconds 0", "--seconds"),
        ("bench --seconds nan", "--seconds"),
        ("bench --json nowhere/figures.json", "nowhere/figures.json"),
        ("bench --json .", "Is a directory"),
        ("bench --loud", "--loud"),
        ("explain", "--shape"),
        ("explain --shape 3", "--shape"),
        ("explain --shape 3x4x5x6x7", "--shape"),
        ("explain --shape 3x4x5 --cell x", "--cell"),
        ("explain --shape 3x4x5 --layers 0", "--layers"),
        ("explain --shape 3x4x5 --layers 99999999999", "--layers"),
        ("explain --shape 3x4x5 --threads -1", "--threads"),
        ("explain --shape 3x4x5 --precision int8 --train", "--train"),
        ("explain --shape 1000000x1000x100000", "not enough memory"),
        ("explain --shape 9999999999999999999x1x1", "not enough memory"),
        ("explain --shape 1x1x99999999999999", "not enough memory"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    tmp_path, monkeypatch, run, arguments, named
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments.split())
    assert (code, out) == (2, "")
    assert re.fullmatch(r"fastcell: error: [^\n]+\n", err), err
    assert named in err
    assert os.listdir() == []


def test_bench_refuses_a_shape_that_does_not_fit_before_it_measures(run):
    code, out, err = run("bench", "--shapes", "2x1x4,1000000x1000x100000")
    assert (code, out) == (2, "")
    assert "not enough memory" in err


@pytest.mark.parametrize("text", ["", "3x4", "1x2x3x4x5", "0x1x2", "ax1x2", "-1x2x3"])
def test_a_shape_that_makes_no_sense_is_refused(text):
    with pytest.raises(ValueError, match="must be TxBxH or TxBxIxH"):
        parse_shape(text)
