"""Benchmark cases of batches with sequences of different length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastcell._judge.cases import Case

#: (T, B, H) with I = H: lengths uniform on 1..T.
GRID = ((100, 32, 256), (400, 16, 128))
QUICK_GRID = ((50, 16, 64),)

#: Number of evenly spaced batches from a file of lengths, their rows, and H.
FILE_BATCHES, FILE_ROWS, FILE_SIZE = 3, 32, 256


@dataclass(frozen=True)
class RaggedCase(Case):
    """A batch whose row b has ``lengths[b]`` steps; T is the longest."""

    lengths: tuple[int, ...] = ()

    @property
    def shape(self) -> str:
        """The text in tables, with the share of steps that exist."""
        return f"{super().shape}, {self.fill:.0%} full"

    @property
    def fill(self) -> float:
        """Existing steps as a share of the steps of the padded batch."""
        return sum(self.lengths) / (self.T * self.B)

    @property
    def flop(self) -> float:
        """As in `Case`, for existing steps only."""
        return super().flop * self.fill

    def mask(self) -> np.ndarray:
        """A mask of the existing steps, shape (T, B)."""
        return np.arange(self.T)[:, None] < np.array(self.lengths)

    def rows(self) -> np.ndarray:
        """The number of sequences with each step, shape (T,)."""
        return self.mask().sum(1)

    def input(self) -> np.ndarray:
        """As of `Case`, 0 past the ends."""
        return super().input() * self.mask()[..., None]

    def dy(self) -> np.ndarray:
        """As of `Case`, 0 past the ends."""
        return super().dy() * self.mask()[..., None]


def uniform_case(cell: str, T: int, B: int, H: int) -> RaggedCase:
    """Return a case with lengths drawn uniformly from 1..T, one of them T."""
    lengths = np.random.default_rng(6).integers(1, T + 1, B)
    lengths[B // 2] = T
    return RaggedCase(cell, T, B, H, H, tuple(map(int, lengths)))


def file_cases(cell: str, path: Path) -> Iterator[RaggedCase]:
    """Yield batches of consecutive lengths from a file with one length a line.

    Raises
    ------
    ValueError
        If a line is not a positive integer, or there are not enough for one batch.
    """
    lengths = [_length(line) for line in path.read_text().split()]
    whole = len(lengths) // FILE_ROWS
    if whole == 0:
        raise ValueError(f"{path} has {len(lengths)} lengths, not {FILE_ROWS}")
    count = min(FILE_BATCHES, whole)
    for k in range(count):
        start = k * whole // count * FILE_ROWS
        batch = tuple(lengths[start : start + FILE_ROWS])
        yield RaggedCase(cell, max(batch), FILE_ROWS, FILE_SIZE, FILE_SIZE, batch)


def _length(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"a length must be a positive integer, got {text!r}")
    return int(text)
