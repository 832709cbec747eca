"""Bars, the least ratio of each shape, and the summary of rows below them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastcell._judge.engines import OURS
from fastcell._judge.measure import geometric_mean
from fastcell._judge.rows import Row

Value = Callable[[Row], float | None]


def _to_best(row: Row) -> float | None:
    return None if row.ratio is None else row.ratio[0]


def _to(label: str) -> Value:
    def value(row: Row) -> float | None:
        ratio = row.ratio_to(label)
        return None if ratio is None else ratio[0]

    return value


def _share(row: Row) -> float | None:
    return row.share


@dataclass(frozen=True)
class Bar:
    """The least value that rows of some modes must reach.

    Attributes
    ----------
    title : str
        Its name in the summary.
    least : float
        The bar, for each row or, if `mean`, for their geometric mean.
    holds : callable
        Whether it applies to a row of those modes.
    value : callable
        A function of a row that returns the value to compare with the bar.
    """

    title: str
    least: float
    modes: tuple[str, ...]
    mean: bool = False
    holds: Callable[[Row], bool] = lambda row: True
    value: Value = _to_best
    percent: bool = False

    def values(self, rows: Iterable[Row]) -> list[tuple[float, Row]]:
        """Return the values of the rows it applies to, with the rows."""
        held = (row for row in rows if row.mode in self.modes and self.holds(row))
        found = ((self.value(row), row) for row in held)
        return [(value, row) for value, row in found if value is not None]

    def text(self, value: float) -> str:
        """Return a value as text of the summary."""
        return f"{value:.0%}" if self.percent else f"{value:.2f}"


def _batch(row: Row) -> bool:
    return row.sizes["H"] >= 128 and row.sizes["B"] >= 8


def _stream(row: Row) -> bool:
    # Single steps from Python, mostly the cost of a call, have their own bars.
    return row.sizes["B"] == 1 and row.sizes["T"] > 1


#: Name on the command line -> bar. By default, ratios are to the best peer.
BARS = {
    "forward": Bar("fp32 forward", 1.0, ("forward",)),
    "forward-mean": Bar("fp32 forward", 1.5, ("forward",), mean=True),
    "train": Bar("fp32 training", 1.1, ("train",)),
    "train-mean": Bar("fp32 training", 3.0, ("train",), mean=True),
    "step-128": Bar(
        "step, H <= 128", 4.0, ("step",), holds=lambda row: row.sizes["H"] <= 128
    ),
    "step-256": Bar(
        "step, H = 256", 1.5, ("step",), holds=lambda row: row.sizes["H"] == 256
    ),
    "ragged": Bar("ragged", 1.8, ("ragged",)),
    "bf16": Bar("bf16 training", 1.4, ("bf16",)),
    "int8-own": Bar("int8 to own fp32", 2.5, ("int8",), value=_to(f"{OURS} fp32")),
    "int8-onnxruntime": Bar(
        "int8 to ONNX Runtime int8", 1.5, ("int8",), value=_to("ONNX Runtime int8")
    ),
    "demo": Bar(
        "demo model", 2.0, ("demo",), holds=lambda row: row.sizes.get("L", 1) == 1
    ),
    "demo-2x512": Bar(
        "demo model 2x512", 1.6, ("demo",), holds=lambda row: row.sizes.get("L") == 2
    ),
    "roofline": Bar(
        "share of roofline, forward, H >= 128, B >= 8",
        0.85,
        ("forward",),
        holds=_batch,
        value=_share,
        percent=True,
    ),
    "roofline-train": Bar(
        "share of roofline, training, H >= 128, B >= 8",
        0.85,
        ("train",),
        holds=_batch,
        value=_share,
        percent=True,
    ),
    "roofline-stream": Bar(
        "share of bandwidth floor, forward, B = 1, T > 1",
        0.80,
        ("forward",),
        holds=_stream,
        value=_share,
        percent=True,
    ),
}


def summary(
    rows: Sequence[Row],
    changed: Mapping[str, float] = {},
    known: Mapping[str, Bar] = BARS,
) -> str:
    """Return a table of the bars that apply to any row, then the rows below a bar.

    `changed` replaces the values of some bars.
    """
    lines = [
        "## Summary",
        "",
        "| what | bar | smallest | geometric mean | cases | miss |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    misses: list[str] = []
    for name, bar in known.items():
        found = bar.values(rows)
        if not found:
            continue
        least = changed.get(name, bar.least)
        smallest = min(value for value, _ in found)
        mean = geometric_mean([value for value, _ in found])
        missed = _misses(bar, least, mean, found)
        misses += missed
        cells = (
            bar.title,
            f"{'mean' if bar.mean else 'each'} >= {bar.text(least)}",
            bar.text(smallest),
            bar.text(mean),
            str(len(found)),
            str(len(missed)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    if len(lines) == 4:
        return ""
    lines += ["", "Below a bar:" if misses else "No shape is below a bar."]
    if misses:
        lines += ["", *misses]
    return "\n".join(lines)


def _misses(
    bar: Bar, least: float, mean: float, found: list[tuple[float, Row]]
) -> list[str]:
    # Compared as printed: 0.996 does not miss a bar of 1.00.
    digits = 2
    if bar.mean:
        below = round(mean, digits) < least
        text = f"- {bar.title}: geometric mean {bar.text(mean)} < {bar.text(least)}"
        return [text] if below else []
    return [
        f"- {bar.title}: {row.cell.upper()} {row.shape}, {row.threads} "
        f"thread{'s' if row.threads > 1 else ''}: {bar.text(value)} < {bar.text(least)}"
        for value, row in sorted(found, key=lambda pair: pair[0] / least)
        if round(value, digits) < least
    ]
