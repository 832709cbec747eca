"""``fastcell bench``: how fast fastcell is on this machine, as a Markdown table.

Figures are made as bench/compare.py makes those of fastcell, without the peers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import fastcell
from fastcell._cli_cells import default_cells
from fastcell._cli_measure import (
    Layer,
    Shape,
    Timing,
    cores,
    duration,
    kernels,
    machine,
    measure,
)

MODES = ("forward", "train", "step")

#: From single steps over streams and batches to large layers.
GRID = tuple(
    Shape(*sizes)
    for sizes in (
        (1, 1, 64, 64),
        (1, 1, 256, 256),
        (100, 1, 64, 64),
        (100, 1, 256, 256),
        (100, 1, 512, 512),
        (25, 1, 1024, 1024),
        (100, 8, 256, 256),
        (100, 32, 256, 256),
        (50, 64, 512, 512),
        (50, 64, 1024, 1024),
        (28, 128, 28, 128),
        (50, 16, 1024, 1024),
        (200, 16, 40, 96),
    )
)
STEPS = tuple(Shape(1, 1, H, H) for H in (32, 64, 128, 256))
QUICK_GRID = (GRID[2], GRID[6], GRID[10])
QUICK_STEPS = (STEPS[1], STEPS[3])

_HEADER = ("mode", "cell", "shape", "threads", "median", "±", "GFLOP/s")
_WIDTHS = (7, 4, 13, 7, 8, 6, 7)  # wider where a cell's name is longer


@dataclass(frozen=True)
class Case:
    """One figure to be made."""

    mode: str
    layer: Layer
    threads: int

    def row(self, timing: Timing) -> tuple[str, ...]:
        """The figure as cells of the table; one step has its time only."""
        rate = f"{self.layer.flop(self.mode) / timing.median / 1e9:.1f}"
        return (
            self.mode,
            self.layer.cell,
            str(self.layer.shape),
            str(self.threads),
            duration(timing.median),
            f"{100 * timing.spread:.0f} %",
            "" if self.mode == "step" else rate,
        )

    def record(self, timing: Timing) -> dict[str, Any]:
        """The figure for a program to read, times in seconds."""
        flop = self.layer.flop(self.mode)
        return {
            "mode": self.mode,
            "cell": self.layer.cell,
            **self.layer.shape._asdict(),
            "threads": self.threads,
            "median": timing.median,
            "spread": timing.spread,
            "blocks": list(timing.blocks),
            "flop": flop,
            "gflops": flop / timing.median / 1e9,
        }


def bench(given: dict[str, Any]) -> int:
    """Print the table, row by row as it is measured, and write the JSON."""
    precision = given.get("precision", "float32")
    quick = given.get("quick", False)
    seconds = given.get("seconds", 0.1 if quick else 0.5)
    cases = list(_cases(given, precision, quick))
    if not cases:
        raise ValueError("no mode that was asked for has any of the shapes")
    for case in cases:
        case.layer.check_memory(case.mode == "train")
    path = given.get("json")
    if path is not None:
        _check_writable(path)
    report = {"machine": machine(), "precision": precision, "seconds": seconds}
    figures: list[dict[str, Any]] = []
    print(_introduction(report, cases[0].layer))
    mode, cell, *others = _WIDTHS
    widths = (mode, max(cell, *(len(case.layer.cell) for case in cases)), *others)
    _print_row(_HEADER, widths)
    _print_row(
        ("-" * (width - 1) + (":" if i > 2 else "-") for i, width in enumerate(widths)),
        widths,
    )
    before = fastcell.get_num_threads()
    try:
        for case in cases:
            fastcell.set_num_threads(case.threads)
            timing = measure(case.layer.call(case.mode), seconds)
            figures.append(case.record(timing))
            _print_row(case.row(timing), widths)
    finally:  # after Ctrl-C too
        fastcell.set_num_threads(before)
        if path is not None:
            report |= {"complete": len(figures) == len(cases), "figures": figures}
            _write(path, report)
    return 0


def _cases(given: dict[str, Any], precision: str, quick: bool) -> Iterator[Case]:
    modes = given.get("modes", MODES)
    if precision == "int8":
        if "train" in given.get("modes", ()):
            raise ValueError("--modes: a layer of precision int8 does not train")
        modes = [mode for mode in modes if mode != "train"]
    shapes = given.get("shapes")
    steps = QUICK_STEPS if quick else STEPS
    if shapes is not None:
        steps = tuple(shape for shape in shapes if shape.T == shape.B == 1)
    calls = shapes or (QUICK_GRID if quick else GRID)
    threads = given.get("threads", sorted({1, cores()}))
    for mode in modes:
        for cell in given.get("cells", default_cells()):
            for shape in steps if mode == "step" else calls:
                # A session's step runs in the thread that calls it.
                for count in (1,) if mode == "step" else threads:
                    yield Case(mode, Layer(cell, shape, precision), count)


def _introduction(report: dict[str, Any], layer: Layer) -> str:
    about = report["machine"]
    load = "" if about["load"] is None else f", load {about['load']:.1f}"
    return (
        f"{about['cpu']}, {about['cores']} cores{load}; "
        f"{kernels(layer.describe(1, 0), layer.precision)}  \n"
        f"fastcell {about['fastcell']}, numpy {about['numpy']}, "
        f"Python {about['python']}, {about['compiler']}, {about['platform']}\n\n"
        f"Shapes are TxBxH, or TxBxIxH. Medians over blocks, {report['seconds']:g} s "
        "for each figure;\n± is half the distance between the quartiles of the blocks. "
        "GFLOP/s count the\nproducts, 2GH(I+H) for each row and step, in training "
        "three times that.\n"
    )


def _print_row(cells: Iterable[str], widths: Iterable[int]) -> None:
    padded = [
        text.rjust(width) if i > 2 else text.ljust(width)
        for i, (text, width) in enumerate(zip(cells, widths, strict=True))
    ]
    print(f"| {' | '.join(padded)} |", flush=True)


def _check_writable(path: str) -> None:
    """Say before the minutes of measuring that the file cannot be written."""
    from fastcell._files import check_regular, named_errors

    with named_errors(path):
        folder = os.path.dirname(os.path.realpath(path))
        if os.path.exists(path):
            check_regular(path, os.stat(path).st_mode)
        else:
            os.stat(os.path.join(folder, ""))


def _write(path: str, report: dict[str, Any]) -> None:
    from fastcell._files import write_atomically

    write_atomically(path, json.dumps(report, indent=1).encode() + b"\n")
