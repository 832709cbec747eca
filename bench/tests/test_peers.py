"""Tests of every adapter against fastcell, and of wrong results of a peer."""

from __future__ import annotations

import compare
import numpy as np
import peers
import pytest
from judge import ragged, shapes
from judge.modes import MODES

from fastcell._judge import agreement, measure

SHAPES = [(5, 2, 7, 9), (4, 3, 17, 16), (1, 1, 33, 32)]
VERBS = [
    ("torch", "forward"),
    ("torch", "train"),
    ("torch", "step"),
    ("torch", "ragged"),
    ("torch", "bf16"),
    ("onnxruntime", "forward"),
    ("onnxruntime", "step"),
    ("onnxruntime", "int8"),
    ("openvino", "forward"),
    ("openvino", "step"),
    ("onednn", "forward"),
    ("onednn", "train"),
    ("onednn", "step"),
    ("onednn", "ragged"),
    ("jax", "forward"),
    ("jax", "train"),
    ("jax", "ragged"),
    ("tensorflow", "forward"),
    ("tensorflow", "train"),
    ("tensorflow", "ragged"),
]
_LOADED: dict[str, peers.BaseEngine] = {}


def engine(name: str) -> peers.BaseEngine:
    """Return a cached engine with one thread; skip if it is not installed."""
    if name not in _LOADED:
        try:
            _LOADED[name] = peers.load(name)
        except peers.NotInstalled as absence:
            pytest.skip(str(absence))
        _LOADED[name].set_num_threads(1)
    return _LOADED[name]


def case_of(mode: str, cell: str, shape: tuple) -> shapes.Case:
    T, B, I, H = shape  # noqa: E741
    if mode == "step":
        return shapes.Case(cell, 1, 1, I, H)
    if mode == "ragged":
        lengths = tuple(1 + k * (T - 1) // max(B - 1, 1) for k in range(B - 1))
        return ragged.RaggedCase(cell, T, B, I, H, (*lengths, T))
    return shapes.Case(cell, T, B, I, H)


@pytest.mark.peers
@pytest.mark.parametrize(("name", "mode"), VERBS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", sorted(peers.BaseEngine.cells))
def test_a_peer_agrees_with_fastcell(
    cell: str, shape: tuple, name: str, mode: str
) -> None:
    rules, case = MODES[mode], case_of(mode, cell, shape)
    engines = engine("fastcell"), engine(name)
    try:
        runs = [run for one in engines for run in rules.prepare(one, case)]
    except peers.NotYet as reason:
        pytest.skip(str(reason))
    assert len(runs) > 1, f"{name} has no {mode}"
    agreement.compare_outputs(runs, rules.compared_calls, rules.tolerance)


@pytest.mark.peers
def test_half_precision_is_not_mistaken_for_a_wrong_gate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = shapes.Case("lstm", 20, 8, 64, 64)
    torch_runs = MODES["bf16"].prepare(engine("torch"), case)
    tolerance = MODES["bf16"].tolerance
    found = agreement.compare_outputs(torch_runs, 1, tolerance)
    assert found < tolerance / 2
    weights = case.weights()
    swapped = np.roll(weights["weight_hh_l0"], case.H, axis=0)
    monkeypatch.setattr(
        shapes.Case, "weights", lambda _: {**weights, "weight_hh_l0": swapped}
    )
    others = MODES["train"].prepare(engine("torch"), case)
    wrong = [peers.Run("wrong", run.call, run.read, run.context) for run in others]
    with pytest.raises(agreement.Disagreement, match="wrong"):
        agreement.compare_outputs([*torch_runs, *wrong], 1, tolerance)


@pytest.mark.peers
def test_int8_is_not_mistaken_for_a_wrong_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    from fastcell._judge import onnxruntime

    case = shapes.Case("lstm", 20, 1, 256, 256)
    tolerance = MODES["int8"].tolerance
    runs = MODES["int8"].prepare(engine("onnxruntime"), case)
    assert [run.label for run in runs] == ["ONNX Runtime", "ONNX Runtime int8"]
    assert agreement.compare_outputs(runs, 1, tolerance) < tolerance / 2
    monkeypatch.setitem(onnxruntime.GATE_ORDER, "lstm", (0, 3, 2, 1))
    wrong = MODES["int8"].prepare(engine("onnxruntime"), case)
    with pytest.raises(agreement.Disagreement):
        agreement.compare_outputs([runs[0], wrong[1]], 1, tolerance)


def test_what_is_not_there_yet_is_a_note_and_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Unfinished(peers.BaseEngine):
        label = "fastcell"

        def versions(self) -> dict[str, str]:
            return {}

        def set_num_threads(self, n: int) -> None:
            pass

        def forward_int8(self, case, weights, x):
            raise peers.NotYet("layers have no quantize()")

    monkeypatch.setattr(compare, "_load_engines", lambda _: ([Unfinished()], []))
    monkeypatch.setattr(compare, "_protocol", lambda _: measure.Protocol(1, 1e-4))
    monkeypatch.setattr(compare, "_limits", lambda *_: None)
    assert compare.main(["--mode=int8", "--threads=1,2", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("mode int8 left out: layers have no quantize()") == 1


def test_engines_with_fixed_threads_get_a_process_for_each_number() -> None:
    class Fixed(peers.BaseEngine):
        threads_fixed = True

    one = compare.options.parse(["--threads=2"])
    two = compare.options.parse(["--threads=1,2"])
    assert compare._need_processes([Fixed()], two)
    assert not compare._need_processes([Fixed()], one)
    assert not compare._need_processes([peers.BaseEngine()], two)
