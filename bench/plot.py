"""The ratios as a picture: a line of panels for each mode, a panel for each cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modes import MODES
from row import Row

_INCHES_A_CASE = 0.34
_COLOURS = ("#1f5f8b", "#d98c3f", "#5b8c5a", "#8b5b8c")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw how many times faster than the best peer every case is.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If no row has a ratio, or `path` has an ending that matplotlib does not know.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = [row for row in rows if row.ratio is not None]
    if not rows:
        raise ValueError("no row has a ratio to draw")
    modes = [mode for mode in MODES if any(row.mode == mode for row in rows)]
    cells = list(dict.fromkeys(row.cell for row in rows))
    threads = sorted({row.threads for row in rows})
    shapes = {
        mode: list(dict.fromkeys(row.shape for row in rows if row.mode == mode))
        for mode in modes
    }
    heights = [0.9 + _INCHES_A_CASE * len(shapes[mode]) for mode in modes]
    figure, axes = pyplot.subplots(
        len(modes),
        len(cells),
        figsize=(3.2 * len(cells) + 1.8, sum(heights) + 0.8),
        height_ratios=heights,
        sharex="row",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for mode, line in zip(modes, axes, strict=True):
        for cell, panel in zip(cells, line, strict=True):
            shown = [row for row in rows if (row.mode, row.cell) == (mode, cell)]
            if not shown:
                panel.set_axis_off()
                continue
            _panel(panel, shown, shapes[mode], threads)
            panel.set_title(f"{cell.upper()}: {MODES[mode].title.split(' (')[0]}")
            panel.title.set_fontsize(9)
    named = [panel.get_legend_handles_labels() for panel in axes.flat]
    handles, labels = max(named, key=lambda pair: len(pair[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.suptitle("Times faster than the fastest peer of each shape (log scale)")
    figure.savefig(path, dpi=140)
    pyplot.close(figure)


def _panel(panel: Any, rows: list[Row], shapes: list[str], threads: list[int]) -> None:
    height = 0.8 / len(threads)
    for k, number in enumerate(threads):
        offset = (k - (len(threads) - 1) / 2) * height
        shown = [row for row in rows if row.threads == number]
        where = [shapes.index(row.shape) + offset for row in shown]
        ratios = [row.ratio for row in shown]
        panel.barh(
            where,
            [ratio - 1 for ratio, _, _ in ratios],
            height,
            left=1.0,  # a bar begins where fastcell and its best peer are equal
            xerr=[
                [max(0.0, ratio - low) for ratio, low, _ in ratios],
                [max(0.0, high - ratio) for ratio, _, high in ratios],
            ],
            color=_COLOURS[k % len(_COLOURS)],
            error_kw={"elinewidth": 0.8, "ecolor": "#444444"},
            label=f"{number} thread{'s' if number > 1 else ''}",
        )
    panel.set_xscale("log")
    panel.axvline(1.0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(shapes)), shapes, fontsize=7)
    panel.set_ylim(len(shapes) - 0.4, -0.6)
    panel.grid(axis="x", which="both", linewidth=0.3)
    panel.tick_params(axis="x", which="both", labelsize=7)
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16, 32]
    low, high = panel.get_xlim()
    panel.set_xticks([tick for tick in ticks if low <= tick <= high], minor=False)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
