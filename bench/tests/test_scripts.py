"""Tests of xlstm_c.py, haste.py and cells.py, and of their peers if installed."""

from __future__ import annotations

import cells
import numpy as np
import pytest
from judge import compiler, reference, roofline, zoneout
from judge.script import Script
from peers import fastcell_adapter

from fastcell._judge import agreement, load
from fastcell._judge.cases import Case
from fastcell._judge.engines import Run
from fastcell._judge.measure import Timing
from fastcell._judge.rows import Row

QUICK = ["--quick", "--blocks", "1", "--seconds", "0.001"]
ENGINE = fastcell_adapter.Engine()
LIMITS = roofline.Roofline(1, 100.0, {2**14: 50.0, 2**30: 50.0}, {})


def test_a_cell_without_r_is_bound_by_its_product_and_a_pass_over_memory() -> None:
    case = Case("min_lstm", 10, 8, 32, 64)
    product = 2 * 3 * 32 * 64 * 80 / 100e9
    passed = 4 * (32 + 64) * 80 / 50e9
    assert LIMITS.seconds("forward", case) == pytest.approx(product + passed)
    both = 4 * (3 * 32 + 3 * 64 + 2 * 4 * 64) * 80 / 50e9
    assert LIMITS.seconds("train", case) == pytest.approx(3 * product + both)


def test_a_coupled_gate_is_less_work_at_the_same_rate() -> None:
    plain, coupled = Case("lstm", 4, 2, 8, 8), Case("lstm_coupled", 4, 2, 8, 8)
    rate = cells.relative(coupled, Timing((0.75, 0.75)), plain, Timing((1.0, 1.0)))
    assert rate == pytest.approx((1.0, 1.0, 1.0))


def test_what_is_not_the_formula_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("min_gru", 4, 3, 5, 6)
    run = cells.run_of("forward", case)
    assert reference.compare_with_steps(case, run, 1e-5) < 1e-6
    wrong = Run(run.label, run.call, lambda result: {"y": result[0] * 1.001})
    with pytest.raises(agreement.Disagreement, match="formula differ by 1"):
        reference.compare_with_steps(case, wrong, 1e-5)


def test_the_cells_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(cells, "SHAPES", ((2, 3), (2, 5)))
    monkeypatch.setattr(load, "busy_share", lambda: 0.0)
    monkeypatch.setattr(roofline, "measure", lambda _: LIMITS)
    assert cells.main([*QUICK, "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert "| MIN_GRU 100x2x5 |" in printed
    assert "share of roofline, train" in printed
    assert printed.count("| 100x2x5 |") == len(cells.BARS), "a row of rates each"


def test_a_case_that_fails_is_an_error_among_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(load, "busy_share", lambda: 0.5)
    script = Script("text", QUICK)
    script.begin([ENGINE], cells.BARS)
    case = Case("min_gru", 2, 2, 3, 3)

    def fails() -> Row:
        raise agreement.Disagreement("they differ")

    limits = LIMITS
    found = script.add(
        "good", lambda: cells.alone("forward", 1, case, script.protocol, limits)
    )
    assert found is not None
    assert script.add("bad", fails) is None
    assert script.end("## Another table") == 1
    printed = capsys.readouterr().out
    assert "- bad: Disagreement: they differ" in printed
    assert "other programs use 50% of the cores" in printed
    assert printed.endswith("## Another table\n\n")
    assert "forward: outputs differ by at most" in printed


def test_units_that_keep_h_are_seen_in_the_outputs() -> None:
    case = zoneout.ZoneoutCase("lstm", 50, 8, 5, 7, zoneout=0.25)
    assert case.shape == "50x8, I=5 H=7, zoneout 0.25"
    problem = case, case.weights(), case.input(), case.dy()
    (run,) = ENGINE.train(*problem)
    keep = zoneout.kept(run.read(run.call())["y"])
    assert abs(keep.mean() - 0.25) < 0.03
    assert keep[0].any()
    assert zoneout.rate(Case("lstm", 1, 1, 1, 1)) == 0


def test_c_is_compiled_and_errors_are_told(tmp_path) -> None:
    source = tmp_path / "three.c"
    source.write_text("int three(void) { return N; }")
    try:
        assert compiler.compiled([source], tmp_path, ["-DN=3"]).three() == 3
    except compiler.NoLibrary as reason:
        if "no C compiler" in str(reason):
            pytest.skip(str(reason))
        raise
    with pytest.raises(compiler.NoLibrary, match=r"three\.c did not compile"):
        compiler.compiled([source], tmp_path)
    with pytest.raises(compiler.NoLibrary, match=r"no C compiler for three\.c"):
        compiler.compiled([source], tmp_path, compilers=())


def test_8_bit_values_of_xlstm_c_are_near_the_values() -> None:
    from peers import xlstm_c

    values = np.linspace(-0.3, 1.7, 50, dtype=np.float32)
    for found, dtype in (
        (xlstm_c._asymmetric(values), np.int8),
        (xlstm_c._symmetric(values, np.int8), np.int8),
        (xlstm_c._symmetric(values, np.int16), np.int16),
    ):
        again = found.of(found.to(values, dtype))
        assert np.abs(again - values).max() <= found.scale * 0.51
    assert xlstm_c._asymmetric(values).to(values, np.int8).tolist()[::49] == [-128, 127]


@pytest.mark.peers
@pytest.mark.parametrize("cell", ["lstm", "lstm_layer_norm"])
def test_haste_has_the_parameters_in_its_order(cell: str) -> None:
    pytest.importorskip("torch")
    from peers import haste

    weights = Case(cell, 1, 1, 3, 2).weights()
    again = haste._gradients(haste._parameters(weights))
    total = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    expected = {**weights, "bias_ih_l0": total, "bias_hh_l0": total}
    assert again.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(again[name], array)
    i, g, f, o = np.split(haste._parameters(weights)["bias"], 4)
    np.testing.assert_array_equal(np.concatenate([i, f, g, o]), total)


@pytest.mark.peers
@pytest.mark.parametrize(
    "case",
    [
        Case("lstm_layer_norm", 6, 3, 5, 7),
        zoneout.ZoneoutCase("lstm", 6, 3, 5, 7, zoneout=0.4),
    ],
    ids=["layer norm", "zoneout"],
)
def test_cells_of_keras_agree(case: Case) -> None:
    pytest.importorskip("torch")
    try:
        from peers import keras_cells

        engine = keras_cells.Engine()
    except (ModuleNotFoundError, RuntimeError) as reason:  # not installed, or another
        pytest.skip(str(reason))
    problem = case, case.weights(), case.input(), case.dy()
    (ours,) = ENGINE.train(*problem)
    first = ours.call()
    keep = zoneout.kept(ours.read(first)["y"]) if zoneout.rate(case) else None
    fixed = Run(ours.label, lambda: first, ours.read)
    theirs = engine.train(*problem, keep=keep)
    assert agreement.compare_outputs([fixed, *theirs], 1, 1e-5) < 1e-5
