"""Tests of reports: bars, shares of the roofline, JSON, the plot."""

from __future__ import annotations

import pytest
from judge import bars, ragged, roofline, shapes

from fastcell._judge import measure
from fastcell._judge.rows import Row


def row(mode: str, ours: float, theirs: float, **given: object) -> Row:
    """Return a row whose engines took this many seconds in every block."""
    sizes = given.pop("sizes", {"T": 100, "B": 32, "I": 256, "H": 256})
    seconds = {"fastcell": ours, "Peer": theirs, **given.pop("more", {})}
    timings = {label: measure.Timing((time,) * 3, 3) for label, time in seconds.items()}
    return Row(mode, 1, "gru", "the shape", 1.0, timings, 0.0, sizes, **given)


def test_the_summary_names_what_misses_a_bar_and_nothing_else() -> None:
    text = bars.summary([row("forward", 1.0, 0.9), row("forward", 1.0, 4.0)])
    assert "| fp32 forward | each >= 1.00 | 0.90 | 1.90 | 2 | 1 |" in text
    assert "| fp32 forward | mean >= 1.50 | 0.90 | 1.90 | 2 | 0 |" in text
    assert "- fp32 forward: GRU the shape, 1 thread: 0.90 < 1.00" in text
    assert "4.00" not in text.partition("Below a bar")[2]


def test_a_mean_below_its_bar_is_named() -> None:
    text = bars.summary([row("train", 1.0, 2.0)])
    assert "- fp32 training: geometric mean 2.00 < 3.00" in text
    assert "2.00 < 1.10" not in text


def test_a_bar_of_the_command_line_counts() -> None:
    rows = [row("ragged", 1.0, 1.9)]
    assert "No shape is below a bar." in bars.summary(rows)
    assert "1.90 < 2.00" in bars.summary(rows, {"ragged": 2.0})


@pytest.mark.parametrize(("H", "least"), [(64, 4.0), (128, 4.0), (256, 1.5)])
def test_the_bar_of_a_step_depends_on_its_size(H: int, least: float) -> None:
    sizes = {"T": 1, "B": 1, "I": H, "H": H}
    assert "Below" in bars.summary([row("step", 1.0, least - 0.01, sizes=sizes)])
    assert "Below" not in bars.summary([row("step", 1.0, least, sizes=sizes)])


def test_int8_is_held_to_own_fp32_and_to_the_other_int8() -> None:
    more = {"fastcell fp32": 2.4, "ONNX Runtime int8": 1.6}
    text = bars.summary([row("int8", 1.0, 1.1, more=more)])
    assert "int8 to own fp32: GRU the shape, 1 thread: 2.40 < 2.50" in text
    assert "| int8 to ONNX Runtime int8 | each >= 1.50 | 1.60 |" in text


def test_our_own_other_runs_are_no_peers() -> None:
    measured = row("int8", 1.0, 3.0, more={"fastcell fp32": 2.0})
    assert measured.best_peer == "Peer"


def test_one_step_is_not_held_to_the_bandwidth() -> None:
    slow = {"limit": 0.1}
    sizes = {"B": 1, "I": 64, "H": 64}
    one = row("forward", 1.0, 9.0, sizes={**sizes, "T": 1}, **slow)
    many = row("forward", 1.0, 9.0, sizes={**sizes, "T": 100}, **slow)
    assert "floor" not in bars.summary([one])
    assert "B = 1, T > 1: GRU the shape, 1 thread: 10% < 80%" in bars.summary([many])


def test_the_summary_of_nothing_is_nothing() -> None:
    assert bars.summary([]) == ""


def test_a_row_comes_back_from_its_json() -> None:
    one = row("train", 1.0, 2.0, limit=0.5)
    assert Row.from_dict(one.as_dict("GFLOP/s")) == one


def limits(threads: int = 1, fma: float = 100.0) -> roofline.Roofline:
    bandwidth = {2**14: 200.0, 2**20: 100.0, 2**26: 20.0}
    return roofline.Roofline(threads, fma, bandwidth, {})


def test_many_rows_are_bound_by_multiply_adds() -> None:
    case = shapes.Case("lstm", 100, 64, 256, 256)
    seconds = limits().seconds("forward", case)
    assert seconds == pytest.approx(case.flop / 100e9)
    assert limits().seconds("train", case) == pytest.approx(3 * case.flop / 100e9)


def test_one_row_is_bound_by_reading_its_weights() -> None:
    case = shapes.Case("lstm", 100, 1, 256, 256)  # R is 2**20 bytes
    products = 2 * 4 * 256 * 256 * 100 / 100e9
    reading = 100 * 2**20 / 100e9
    assert limits().seconds("forward", case) == pytest.approx(products + reading)
    training = 4 * products + 2 * reading
    assert limits().seconds("train", case) == pytest.approx(training)


def test_each_thread_reads_its_share_of_the_weights() -> None:
    assert limits(threads=64).read(2**20) == limits().read(2**14)


def test_only_existing_steps_count_towards_the_limit() -> None:
    whole = shapes.Case("gru", 20, 64, 128, 128)
    half = ragged.RaggedCase("gru", 20, 64, 128, 128, (20, 1) * 32)
    share = limits().seconds("ragged", half) / limits().seconds("train", whole)
    assert share == pytest.approx(half.fill)


def test_what_has_no_formula_has_no_limit() -> None:
    assert limits().seconds("bf16", shapes.Case("rnn", 1, 1, 1, 1)) is None


def test_the_better_of_two_probes_counts() -> None:
    better = limits(fma=90.0).or_better(limits(fma=100.0))
    assert better.fma == 100.0
    assert better.or_better(None) == better


def test_the_machine_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "_SECONDS", 1e-3)
    monkeypatch.setattr(roofline, "_ROUNDS", 2)
    monkeypatch.setattr(roofline, "_KIB", 64)  # smaller buffers
    try:
        measured = roofline.measure(2)
    except roofline.NoProbe as reason:
        pytest.skip(str(reason))
    assert measured.fma > 0.1
    assert set(measured.levels) == {"L1", "L2", "L3", "memory"}
    assert all(rate > 0.1 for rate in measured.bandwidth.values())


def test_ratios_are_drawn(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    from judge import plot

    path = tmp_path / "ratios.png"
    plot.draw([row("forward", 1.0, 2.0), row("step", 2.0, 1.0)], path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_lengths_are_read_from_a_file(tmp_path) -> None:
    path = tmp_path / "lengths.txt"
    path.write_text("\n".join(str(k % 7 + 1) for k in range(200)))
    cases = list(ragged.file_cases("gru", path))
    assert [case.B for case in cases] == [32, 32, 32]
    assert cases[0].lengths[:8] == (1, 2, 3, 4, 5, 6, 7, 1)
    assert cases[0].T == 7
    assert cases[0].flop == pytest.approx(
        shapes.Case("gru", 1, sum(cases[0].lengths), 256, 256).flop
    )


@pytest.mark.parametrize("text", ["", "1\n" * 31, "1\n" * 31 + "0\n", "a\n" * 40])
def test_a_file_that_is_no_list_of_lengths_is_refused(text: str, tmp_path) -> None:
    path = tmp_path / "lengths.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="length"):
        list(ragged.file_cases("gru", path))


def test_nothing_is_asked_past_the_end_of_a_sequence() -> None:
    case = ragged.uniform_case("lstm", 9, 4, 3)
    assert max(case.lengths) == case.T
    for array in (case.input(), case.dy()):
        assert not array[~case.mask()].any()
        assert array[case.mask()].any(-1).all()
