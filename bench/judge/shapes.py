"""What compare.py measures by default: the shapes.

A case itself, with its arrays and its FLOP, is `fastcell._judge.cases.Case`.
"""

from __future__ import annotations

from fastcell._judge.cases import Case
from fastcell.cli import bench

#: (T, B, I, H), from single steps over streams and batches to large layers: what
#: `fastcell bench` runs, so that a user's figures have a row here.
GRID = tuple(tuple(shape) for shape in bench.GRID)

#: A few seconds instead of minutes: one stream, one batch, one odd width.
QUICK_GRID = ((100, 1, 64, 64), (100, 8, 256, 256), (28, 128, 28, 128))

#: Hidden sizes (= input sizes) of the single step with batch 1.
STEP_SIZES = (32, 64, 128, 256)


def cases(cells: list[str], shapes: list[tuple[int, int, int, int]]) -> list[Case]:
    """Every cell at every shape, cell by cell."""
    return [Case(cell, *shape) for cell in cells for shape in shapes]
