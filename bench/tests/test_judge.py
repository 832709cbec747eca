"""Tests of the judge: blocks, comparison before timing, tables, and adapters."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import compare
import numpy as np
import peers
import pytest
from judge import held, language_model, modes, ragged, report, shapes

import fastcell
from fastcell._judge import load, measure
from fastcell._judge.cells import cells
from fastcell.cells import REGISTRY
from fastcell.cli.measure import Layer, Shape

SHORT = measure.Protocol(blocks=3, seconds=1e-4, wait=0.0)
SMALL = [(1, 1, 1, 1), (5, 2, 7, 9), (4, 3, 17, 16)]


class FakeEngine(peers.BaseEngine):
    """An engine that returns one number and counts its calls."""

    def __init__(self, label: str, value: float = 1.0) -> None:
        self.label = label
        self.value = value
        self.calls = 0

    def versions(self) -> dict[str, str]:
        return {self.label: "1.0"}

    def set_num_threads(self, n: int) -> None:
        pass

    def forward(self, case, weights, x):
        def call() -> float:
            self.calls += 1
            return self.value

        return [peers.Run(self.label, call, lambda y: {"y": np.array([y])})]


def use_engines(monkeypatch: pytest.MonkeyPatch, *engines: FakeEngine) -> None:
    monkeypatch.setattr(compare, "_load_engines", lambda _: (list(engines), []))
    monkeypatch.setattr(compare, "_protocol", lambda _: SHORT)
    monkeypatch.setattr(compare, "_limits", lambda *_: None)
    monkeypatch.setattr(load, "busy_share", lambda: 0.0)


def test_blocks_take_turns() -> None:
    order: list[str] = []

    def call(name: str) -> None:
        # Long enough for timing each call.
        measure.time.sleep(1e-4)
        order.append(name)

    one_call = measure.Protocol(blocks=2, seconds=1e-9, wait=0.0)
    timings = measure.interleave([lambda: call("A"), lambda: call("B")], one_call)
    assert "".join(order) == "AAABBBAAABBB", "two untimed and one timed call each"
    assert [timing.calls for timing in timings] == [2, 2]


def test_time_is_seconds_per_call_however_many_calls_make_a_sample() -> None:
    quick, slow = measure.interleave(
        [lambda: None, lambda: measure.time.sleep(2e-3)], SHORT
    )
    assert quick.median < 1e-5
    assert quick.calls > 100
    assert 2e-3 <= slow.median < 2e-2


def test_blocks_run_inside_the_context_of_their_run() -> None:
    inside: list[bool] = []
    entered = [0]

    class Context:
        def __enter__(self) -> None:
            entered[0] += 1

        def __exit__(self, *_: object) -> None:
            entered[0] -= 1

    measure.interleave([lambda: inside.append(entered[0] == 1)], SHORT, [Context])
    assert all(inside)
    assert entered == [0]


def test_ratio_is_of_medians_with_quartiles_of_the_rounds() -> None:
    ours = measure.Timing((1.0, 1.0, 2.0), 3)
    theirs = measure.Timing((2.0, 3.0, 4.0), 3)
    assert measure.ratios(ours, theirs) == (3.0, 2.0, 2.5)


def test_an_engine_that_disagrees_is_an_error_and_no_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = FakeEngine("fastcell"), FakeEngine("Other", 1.001)
    use_engines(monkeypatch, good, bad)
    code = compare.main(["--mode=forward", "--threads=1", "--cells=gru", "--quick"])
    printed = capsys.readouterr().out
    assert code == 1
    assert "fastcell and Other differ by 1.0e-03 in y" in printed
    assert "GFLOP/s" not in printed
    assert bad.calls == len(shapes.QUICK_GRID), "compared once, never timed"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_never_agree(value: float) -> None:
    arrays = {"y": np.array([1.0, value])}
    assert compare.largest_difference(arrays, arrays)[0] == np.inf


def test_an_array_that_one_engine_lacks_is_a_difference() -> None:
    one, two = {"y": np.ones(2)}, {"y": np.ones(2), "dx": np.ones(2)}
    assert compare.largest_difference(one, two) == (np.inf, "dx (only in one)")


def test_a_shape_that_would_broadcast_is_a_difference() -> None:
    one, two = {"y": np.ones((2, 1))}, {"y": np.ones((2, 2))}
    assert compare.largest_difference(one, two)[0] == np.inf


def test_tables_name_the_best_peer_and_the_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    use_engines(monkeypatch, FakeEngine("fastcell"), FakeEngine("A"), FakeEngine("B"))
    out, tables = tmp_path / "out.json", tmp_path / "out.md"
    arguments = ["--mode=forward", "--threads=1,3", "--cells=lstm", "--shapes=2x3x4"]
    code = compare.main([*arguments, f"--json={out}", f"--markdown={tables}"])
    assert code == 0
    assert tables.read_text() == capsys.readouterr().out.rstrip("\n") + "\n"
    assert "Forward, GFLOP/s, 3 threads" in tables.read_text()
    data = json.loads(out.read_text())
    assert [row["threads"] for row in data["rows"]] == [1, 3]
    row = data["rows"][0]
    seconds = {label: run["seconds"] for label, run in row["runs"].items()}
    assert row["best_peer"] == min("AB", key=seconds.get)
    assert row["ratio"] == seconds[row["best_peer"]] / seconds["fastcell"]
    flop = 8 * 4 * (4 + 4) * 2 * 3
    figure = row["runs"]["A"]["figure"]
    assert figure == pytest.approx(flop * 1e-9 / seconds["A"], rel=1e-12)
    assert data["machine"]["cpu"] in tables.read_text()
    assert data["versions"]["A"] == "1.0"


def test_a_busy_machine_is_told_beside_the_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_engines(monkeypatch, FakeEngine("fastcell"), FakeEngine("A"))
    arguments = ["--mode=forward", "--threads=1", "--cells=gru", "--quick"]
    assert compare.main(arguments) == 0
    quiet = capsys.readouterr()
    assert "warning" not in quiet.out + quiet.err
    monkeypatch.setattr(load, "busy_share", lambda: 0.63)
    assert compare.main(arguments) == 0
    busy = capsys.readouterr()
    told = "forward, threads 1: warning: other programs use 63% of the cores"
    assert told in busy.out
    assert told in busy.err


def test_the_share_of_others_is_that_of_the_cores_of_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr(load, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(load.os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    # user nice system idle iowait irq softirq steal guest
    before = "cpu 9 9 9 9\ncpu0 5 0 0 50 5 0 0 0 7\ncpu1 0 0 0 0 0 0 0 0 0\ncpu2"
    after = "cpu 9 9 9 9\ncpu0 25 1 2 70 7 0 0 5 7\ncpu1 90 0 0 0 0 0 0 0 0\ncpu2"
    texts = iter((f"{before} 0 0 0 0 0 0 0 0 0\n", f"{after} 0 0 0 50 0 0 0 0 0\n"))
    (tmp_path / "stat").write_text(next(texts))
    monkeypatch.setattr(
        load.time, "sleep", lambda _: (tmp_path / "stat").write_text(next(texts))
    )
    assert load.busy_share() == pytest.approx(28 / 100)
    assert load.warning(0.28).startswith("warning: other programs use 28%")
    assert load.warning(0.05) is None
    (tmp_path / "stat").unlink()
    monkeypatch.undo()
    monkeypatch.setattr(load, "_STAT", tmp_path / "stat")
    assert load.busy_share(0) is None
    assert load.warning(None) is None


@pytest.mark.parametrize("cell", cells())
def test_sizes_and_flop_of_a_case_are_those_of_the_layer(cell: str) -> None:
    case = shapes.Case(cell, 4, 3, 5, 7)
    layer = case.entry.layer(5, 7)
    weights = {name: array.shape for name, array in layer.state_dict().items()}
    assert {name: array.shape for name, array in case.weights().items()} == weights
    products = sum(array.size for array in case.weights().values() if array.ndim == 2)
    assert case.flop == 2 * products * 4 * 3
    assert case.flop == Layer(cell, Shape(4, 3, 5, 7)).flop("forward")
    assert case.dy().shape == layer(case.input())[0].shape


NEW_CELL_MODES = ("forward", "train", "step", "ragged", "bf16")


def test_a_new_cell_is_measured_and_peers_that_lack_it_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Other(fastcell.GRU):
        pass

    entry = replace(REGISTRY["gru"], layer_class=Other)
    monkeypatch.setitem(REGISTRY, "gru_other", entry)
    use_engines(monkeypatch, peers.load("fastcell"), FakeEngine("A"))
    mode = f"--mode={','.join(NEW_CELL_MODES)}"
    assert "gru_other" in compare.options.parse([mode]).cells  # not of another class
    arguments = ["--cells=gru_other", "--shapes=3x8x16,1x1x8", "--threads=1"]
    assert compare.main([mode, *arguments]) == 0
    printed = capsys.readouterr().out
    assert printed.count("A has no gru_other: left out there") == 1
    assert printed.count("| GRU_OTHER 3x8x16") == 4
    assert printed.count("| GRU_OTHER 1x1x8") == 3


@pytest.mark.parametrize("cell", cells())
def test_fastcell_is_measured_with_every_cell(cell: str) -> None:
    engine = peers.load("fastcell")
    case = ragged.RaggedCase(cell, 3, 2, 5, 7, (3, 1))
    assert modes.MODES["ragged"].prepare(engine, case)
    for mode in ("forward", "train", "bf16", "int8"):
        (run, *_) = modes.MODES[mode].prepare(engine, shapes.Case(cell, 3, 2, 5, 7))
        assert run.read(run.call())["y"].shape[:2] == (3, 2)
    (run,) = modes.MODES["step"].prepare(engine, shapes.Case(cell, 1, 1, 5, 7))
    assert run.read(run.call())["y"].ndim == 1


def test_both_names_of_the_rnn_are_the_one_that_peers_have() -> None:
    assert compare.options.parse(["--cells=rnn_tanh,rnn"]).cells == ["rnn"]


def test_training_counts_three_passes_and_a_step_only_time() -> None:
    case = shapes.Case("rnn", 10, 2, 3, 5)
    assert case.flop == 2 * 5 * (3 + 5) * 10 * 2
    assert modes.work("train", case) == 3 * case.flop * 1e-9
    assert modes.work("step", case) is None


@pytest.mark.parametrize(
    ("cell", "factor"), [("lstm", 8), ("gru", 6), ("rnn", 2)], ids=str
)
def test_flop_follow_the_formulas(cell: str, factor: int) -> None:
    assert shapes.Case(cell, 1, 1, 28, 128).flop == factor * 128 * (28 + 128)


@pytest.mark.parametrize(
    "option",
    ["--mode=fast", "--threads=0", "--shapes=3x4", "--cells=qrnn", "--peers=numpy"],
)
def test_an_unknown_name_on_the_command_line_is_refused(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        compare.main([option])
    assert exit_.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_a_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.ADAPTERS, "x", ("peers.x", ("no_such_package",)))
    with pytest.raises(peers.NotInstalled, match="'no_such_package' is not installed"):
        peers.load("x")


def test_a_peer_that_is_installed_but_broken_is_no_absence(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    (tmp_path / "broken_package.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(peers.ADAPTERS, "x", ("peers.x", ("broken_package",)))
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        peers.load("x")
    sys.modules.pop("broken_package", None)


def test_the_machine_is_described() -> None:
    described = report.machine()
    assert described["cpu"]
    assert described["cores"] >= 1


def test_the_demo_case_is_the_demo() -> None:
    from fastcell.cli.training import Settings

    case = language_model.LanguageModelCase()
    assert (Settings.cell, Settings.layers, Settings.dropout) == ("lstm", 1, 0.0)
    assert not Settings.tie_weights
    assert case.embedding_dim == Settings.embedding_size
    assert case.hidden_size == Settings.hidden_size
    assert (Settings.sequence_length, Settings.batch_size) == (case.T, case.B)
    assert (case.lr, case.clip_norm) == (Settings.learning_rate, Settings.clip)


def test_batches_continue_one_another() -> None:
    first, second = language_model.LanguageModelCase().batches(2)
    assert np.array_equal(first[1][:-1], first[0][1:]), "targets are the next inputs"
    assert np.array_equal(second[0][0], first[1][-1]), "a batch starts where one ended"


@pytest.mark.peers
@pytest.mark.parametrize("mode", ["forward", "step"])
@pytest.mark.parametrize("shape", SMALL, ids=str)
@pytest.mark.parametrize("cell", sorted(peers.BaseEngine.cells))
def test_peers_agree_with_each_other(cell: str, shape: tuple, mode: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    T, B, I, H = shape  # noqa: E741
    case = shapes.Case(cell, *((1, 1, I, H) if mode == "step" else (T, B, I, H)))
    engines = [peers.load("torch"), peers.load("onnxruntime")]
    row = compare.measure_case(mode, 1, case, engines, SHORT)
    assert set(row.timings) > {"ONNX Runtime"}


@pytest.mark.peers
@pytest.mark.parametrize(
    ("cell", "wrong"), [("lstm", (0, 3, 2, 1)), ("gru", (0, 1, 2))], ids=str
)
def test_two_swapped_gates_are_noticed(
    cell: str, wrong: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from fastcell._judge import onnxruntime

    monkeypatch.setitem(onnxruntime.GATE_ORDER, cell, wrong)
    engines = [peers.load("torch"), peers.load("onnxruntime")]
    with pytest.raises(compare.Disagreement, match="differ by"):
        compare.measure_case(
            "forward", 1, shapes.Case(cell, 3, 2, 4, 5), engines, SHORT
        )


def test_everybody_is_held_to_an_instruction_set(monkeypatch):
    begun = []
    monkeypatch.setattr(
        held.os, "execve", lambda program, argv, env: begun.append((argv, env))
    )
    for name in held.SWITCHES["avx2"]:
        monkeypatch.delenv(name, raising=False)
    assert not held.compiler_flags()
    held.begin_held("avx2", ["--mode", "step"])
    (argv, environment), *_ = begun
    assert argv[-2:] == ["--mode", "step"]
    assert environment["FASTCELL_ISA"] == environment["ATEN_CPU_CAPABILITY"] == "avx2"
    for name, value in held.SWITCHES["avx2"].items():
        monkeypatch.setenv(name, value)
    held.begin_held("avx2", [])  # does not run again
    assert len(begun) == 1
    assert "-mno-avx512f" in held.compiler_flags()
    assert "ONNX Runtime" in held.note("avx2")
