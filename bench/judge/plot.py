"""Bar charts of the ratios to the best peer, a panel for each mode and cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastcell._judge import plot
from fastcell._judge.rows import Row
from judge.modes import MODES


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the ratio of each case to the best peer.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If no row has a ratio, or matplotlib does not know the suffix of `path`.
    """
    order = list(MODES)
    rows = sorted(rows, key=lambda row: (order.index(row.mode), row.threads))
    drawn = [
        plot.Bar(
            MODES[row.mode].title.split(" (")[0],
            row.cell,
            row.shape,
            f"{row.threads} thread{'s' if row.threads > 1 else ''}",
            *row.ratio,
        )
        for row in rows
        if row.ratio is not None
    ]
    title = "Times faster than the fastest peer of each shape (log scale)"
    plot.draw(drawn, path, title)
