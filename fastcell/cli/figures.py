"""The figures of ``fastcell bench``, and the table that prints them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastcell._judge.engines import OURS
from fastcell._judge.measure import Timing, geometric_mean, ratios
from fastcell._judge.modes import MODES
from fastcell._judge.plot import Bar
from fastcell._judge.rows import Row
from fastcell.cli.measure import Layer, duration

#: The name of an earlier run's figures in tables.
BEFORE = "before"


class Ratio(NamedTuple):
    """How many times as fast fastcell is, and its quartiles over the blocks."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the text for tables; a ratio of two runs has no quartiles."""
        value, low, high = (f"{v:.2f}" if v < 100 else f"{v:.0f}" for v in self)
        return value if self.low == self.high else f"{value} [{low}, {high}]"


@dataclass(frozen=True)
class Case:
    """The work of one figure: mode, layer and threads."""

    mode: str
    layer: Layer
    threads: int

    @property
    def key(self) -> Any:
        """The key that two figures of the same work share."""
        return (self.mode, self.layer.cell, *self.layer.shape, self.threads)

    def __str__(self) -> str:
        """Return the text for messages."""
        many = "s" if self.threads > 1 else ""
        layer = f"{self.mode} {self.layer.cell} {self.layer.shape}"
        return f"{layer}, {self.threads} thread{many}"


@dataclass(frozen=True)
class Figure:
    """The measurements of one case.

    Attributes
    ----------
    case : Case
        The measured work.
    own : Timing
        The timing of fastcell.
    row : Row or None
        The judge's measurements; None without peers.
    before : float or None
        Seconds of one call in an earlier run.
    """

    case: Case
    own: Timing
    row: Row | None = None
    before: float | None = None

    def peer(self, label: str) -> Timing | None:
        """Return the timing of a peer's fastest run; None if the peer has none."""
        way = None if self.row is None else self.row.fastest(label)
        return None if way is None or self.row is None else self.row.timings[way]

    def ratio(self, to: str) -> Ratio | None:
        """Return the ratio to a peer or to `BEFORE`; None if there is none."""
        if to == BEFORE:
            if self.before is None:
                return None
            return Ratio(*[self.before / self.own.median] * 3)
        peer = self.peer(to)
        return None if peer is None else Ratio(*ratios(self.own, peer))

    @property
    def rate(self) -> float:
        """GFLOP/s."""
        return self.case.layer.flop(self.case.mode) / self.own.median / 1e9

    def record(self, against: Sequence[str]) -> dict[str, Any]:
        """Return the figure for the JSON file, times in seconds."""
        record = {
            "mode": self.case.mode,
            "cell": self.case.layer.cell,
            **self.case.layer.shape._asdict(),
            "threads": self.case.threads,
            **_times(self.own),
            "flop": self.case.layer.flop(self.case.mode),
            "gflops": self.rate,
        }
        if self.row is not None:
            record["largest_difference"] = self.row.disagreement
            record["peers"] = {
                way: _times(timing)
                for way, timing in self.row.timings.items()
                if way != OURS
            }
        found = {to: self.ratio(to) for to in against}
        if found:
            record["ratios"] = {
                to: ratio and ratio.value for to, ratio in found.items()
            }
        return record


def _times(timing: Timing) -> dict[str, Any]:
    return {
        "median": timing.median,
        "spread": timing.spread,
        "blocks": list(timing.blocks),
    }


@dataclass(frozen=True)
class Column:
    """A column of the table."""

    title: str
    width: int
    text: Callable[[Figure], str]
    left: bool = False

    def pad(self, text: str) -> str:
        """Return the text padded to the column's width."""
        width = max(self.width, len(self.title))
        return text.ljust(width) if self.left else text.rjust(width)


@dataclass
class Table:
    """The table, printed row by row during the measurement.

    Attributes
    ----------
    peers : sequence of str
        Labels of the peers.
    older : bool
        Whether there is an earlier run to compare with.
    cells : iterable of str
        All cells of the table, for the width of their column.
    """

    peers: Sequence[str]
    older: bool
    cells: Iterable[str]
    figures: list[Figure] = field(default_factory=list)

    @property
    def against(self) -> list[str]:
        """The labels that figures have ratios to: peers, and an earlier run."""
        return [*self.peers, *([BEFORE] if self.older else [])]

    def __post_init__(self) -> None:
        """Choose the columns."""
        self._columns = self._chosen()

    def begin(self) -> None:
        """Print the head."""
        self._print(column.title for column in self._columns)
        rule = ((c.pad("").replace(" ", "-"), c.left) for c in self._columns)
        self._print(text[:-1] + ("-" if left else ":") for text, left in rule)

    def add(self, figure: Figure) -> None:
        """Append a figure, and print its row."""
        self.figures.append(figure)
        self._print(column.text(figure) for column in self._columns)

    def _chosen(self) -> list[Column]:
        longest = max(map(len, self.cells))
        columns = [
            Column("mode", 7, lambda f: f.case.mode, left=True),
            Column("cell", longest, lambda f: f.case.layer.cell, left=True),
            Column("shape", 13, lambda f: str(f.case.layer.shape), left=True),
            Column("threads", 7, lambda f: str(f.case.threads)),
            Column(
                "fastcell" if self.peers else "median",
                8,
                lambda f: duration(f.own.median),
            ),
        ]
        if not self.peers:
            columns += [
                Column("±", 6, lambda f: f"{100 * f.own.spread:.0f} %"),
                Column("GFLOP/s", 7, _rate),
            ]
        for label in self.peers:
            columns += [Column(label, 8, _time_of(label)), _to(label, 20)]
        if self.older:
            columns += [Column(BEFORE, 8, _before), _to(BEFORE, 6)]
        return columns

    def _print(self, cells: Iterable[str]) -> None:
        padded = (c.pad(text) for c, text in zip(self._columns, cells, strict=True))
        print(f"| {' | '.join(padded)} |", flush=True)

    def means(self) -> list[str]:
        """Return a line per label of `against`: geometric mean and smallest ratio."""
        lines = []
        for to in self.against:
            found = self._ratios(to)
            if not found:
                continue
            text = f"Geometric mean of the ratios to {to}: {_mean(found)}"
            modes = list(dict.fromkeys(figure.case.mode for _, figure in found))
            if len(modes) > 1:
                parts = (
                    f"{mode} {_mean([r for r in found if r[1].case.mode == mode])}"
                    for mode in modes
                )
                text += f" ({', '.join(parts)})"
            least, figure = min(found, key=lambda pair: pair[0])
            lines.append(f"{text}; smallest {least:.2f}: {figure.case}.")
        return lines

    def below(self, least: float) -> list[str]:
        """Return a line for each ratio whose printed value is below `least`."""
        return [
            f"{figure.case}: {value:.2f} to {to}"
            for to in self.against
            for value, figure in self._ratios(to)
            if round(value, 2) < least
        ]

    def bars(self) -> list[Bar]:
        """Return all ratios for the chart."""
        return [
            Bar(
                MODES[case.mode].title.split(" (")[0],
                case.layer.cell,
                str(case.layer.shape),
                f"{to}, {case.threads} thread{'s' if case.threads > 1 else ''}",
                *ratio,
            )
            for to in self.against
            for figure in self.figures
            for case in [figure.case]
            if (ratio := figure.ratio(to)) is not None
        ]

    def _ratios(self, to: str) -> list[tuple[float, Figure]]:
        found = ((figure.ratio(to), figure) for figure in self.figures)
        return [(ratio.value, figure) for ratio, figure in found if ratio is not None]


def _mean(found: list[tuple[float, Figure]]) -> str:
    return f"{geometric_mean([value for value, _ in found]):.2f}"


def _rate(figure: Figure) -> str:
    """Return GFLOP/s; a single step only has its time."""
    return "" if figure.case.mode == "step" else f"{figure.rate:.1f}"


def _time_of(label: str) -> Callable[[Figure], str]:
    def text(figure: Figure) -> str:
        timing = figure.peer(label)
        return "" if timing is None else duration(timing.median)

    return text


def _to(label: str, width: int) -> Column:
    def text(figure: Figure) -> str:
        ratio = figure.ratio(label)
        return "" if ratio is None else str(ratio)

    return Column(f"to {label}", width, text)


def _before(figure: Figure) -> str:
    return "" if figure.before is None else duration(figure.before)
