"""Bar charts of the ratios: a row of panels per mode, a panel per cell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

_INCHES_A_CASE = 0.34
_COLOURS = ("#1f5f8b", "#d98c3f", "#5b8c5a", "#8b5b8c", "#777777", "#b8433c")
_KEYWORDS = {"png": "Software", "svg": "Creator", "pdf": "Creator"}


@dataclass(frozen=True)
class Bar:
    """One bar of the chart.

    Attributes
    ----------
    mode : str
        The row of panels, by its title.
    cell, shape : str
        The panel in that row, and the group of bars in the panel.
    series : str
        The bar's name in the legend, such as "2 threads".
    value, low, high : float
        The ratio and its quartiles.
    """

    mode: str
    cell: str
    shape: str
    series: str
    value: float
    low: float
    high: float


def draw(
    bars: Sequence[Bar],
    file: str | os.PathLike[str] | IO[bytes],
    title: str,
    *,
    format: str | None = None,
    program: str = "fastcell",
) -> None:
    """Draw all ratios on a logarithmic scale, above 1 to the right.

    Parameters
    ----------
    bars : sequence of Bar
        At least one. Modes, cells, shapes and series keep their order.
    file : path or binary file
        The destination.
    title : str
        The title above all panels.
    format : {"png", "svg", "pdf"}, optional
        By default, the suffix of the path.
    program : str, optional
        The creator in the file's metadata; needs `format`.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If there is nothing to draw, or matplotlib does not know the format.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    if not bars:
        raise ValueError("no row has a ratio to draw")
    modes, cells, series = (
        list(dict.fromkeys(getattr(bar, name) for bar in bars))
        for name in ("mode", "cell", "series")
    )
    shapes = {
        mode: list(dict.fromkeys(r.shape for r in bars if r.mode == mode))
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
            shown = [r for r in bars if (r.mode, r.cell) == (mode, cell)]
            if not shown:
                panel.set_axis_off()
                continue
            _panel(panel, shown, shapes[mode], series)
            panel.set_title(f"{cell.upper()}: {mode}")
            panel.title.set_fontsize(9)
    legend: dict[str, Any] = {}
    for panel in axes.flat:
        handles, labels = panel.get_legend_handles_labels()
        legend |= dict(zip(labels, handles, strict=True))
    named = [(legend[name], name) for name in series]
    figure.legend(*zip(*named, strict=True), loc="outside lower center", ncols=4)
    figure.suptitle(title)
    keyword = _KEYWORDS.get(format or "")
    metadata = None if keyword is None else {keyword: program}
    figure.savefig(file, dpi=140, format=format, metadata=metadata)
    pyplot.close(figure)


def _panel(panel: Any, bars: list[Bar], shapes: list[str], series: list[str]) -> None:
    height = 0.8 / len(series)
    for k, name in enumerate(series):
        offset = (k - (len(series) - 1) / 2) * height
        shown = [r for r in bars if r.series == name]
        if not shown:
            continue
        panel.barh(
            [shapes.index(r.shape) + offset for r in shown],
            [r.value - 1 for r in shown],
            height,
            left=1.0,  # a bar begins at equal speed
            xerr=[
                [max(0.0, r.value - r.low) for r in shown],
                [max(0.0, r.high - r.value) for r in shown],
            ],
            color=_COLOURS[k % len(_COLOURS)],
            error_kw={"elinewidth": 0.8, "ecolor": "#444444"},
            label=name,
        )
    panel.set_xscale("log")
    panel.axvline(1.0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(shapes)), shapes, fontsize=7)
    panel.set_ylim(len(shapes) - 0.4, -0.6)
    panel.grid(axis="x", which="both", linewidth=0.3)
    panel.tick_params(axis="x", which="both", labelsize=7)
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64]
    low, high = panel.get_xlim()
    panel.set_xticks([tick for tick in ticks if low <= tick <= high], minor=False)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
