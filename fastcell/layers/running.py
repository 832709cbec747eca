"""Running pooling: last, mean and maximum of streams, updated step by step.

Each class takes a step of all rows or of the first n, and has a value at any time.
Whole sequences are pooled by the same operations in the same order, so a stream has the
same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.parameters import writable_values


class Running:
    """The base of the running pools, for B rows of D features.

    Attributes
    ----------
    steps : ndarray of int64, shape (B,)
        Number of steps of each row.
    """

    def __init__(self, rows: int, width: int, dtype: np.dtype) -> None:
        self.steps = np.zeros(rows, np.int64)
        self._pool = np.zeros((rows, width), dtype)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(writable_values(state))

    def update(self, h: np.ndarray) -> None:
        """Add a step of the first n rows; h is (n, D)."""
        self._take(h, len(h))
        self.steps[: len(h)] += 1

    def _take(self, h: np.ndarray, n: int) -> None:
        raise NotImplementedError

    def value(self) -> np.ndarray:
        """Return the pool of each row (B, D): zeros where there was no step."""
        return self._pool.copy()

    def reset(self, rows: Any = None) -> None:
        """Forget all steps: of all rows, or of `rows` (indices or a mask)."""
        rows = slice(None) if rows is None else rows
        self.steps[rows] = 0
        self._pool[rows] = 0


class RunningLast(Running):
    """The last step."""

    def _take(self, h: np.ndarray, n: int) -> None:
        self._pool[:n] = h


class RunningMean(Running):
    """The mean of the steps."""

    def _take(self, h: np.ndarray, n: int) -> None:
        self._pool[:n] += h

    def value(self) -> np.ndarray:
        """Return the mean of each row (B, D): zeros where there was no step."""
        steps = np.maximum(self.steps, 1).astype(self._pool.dtype)
        mean: np.ndarray = self._pool / steps[:, np.newaxis]
        return mean


class RunningMax(Running):
    """The largest value of each feature.

    Attributes
    ----------
    where : ndarray of int64, shape (B, D)
        The step of the maximum, the first of equal ones.
    """

    def __init__(self, rows: int, width: int, dtype: np.dtype) -> None:
        super().__init__(rows, width, dtype)
        self._pool[...] = -np.inf
        self.where = np.zeros((rows, width), np.int64)

    def _take(self, h: np.ndarray, n: int) -> None:
        # As in the core for whole sequences: of 0 and -0 the first one stays.
        pool = self._pool[:n]
        with np.errstate(invalid="ignore"):
            higher = h > pool
        np.copyto(pool, h, where=higher | np.isnan(h))
        at = np.broadcast_to(self.steps[:n, np.newaxis], higher.shape)
        np.copyto(self.where[:n], at, where=higher)

    def value(self) -> np.ndarray:
        """Return the maxima of each row (B, D): zeros where there was no step."""
        return np.where((self.steps > 0)[:, np.newaxis], self._pool, 0)

    def reset(self, rows: Any = None) -> None:
        """Forget all steps: of all rows, or of `rows` (indices or a mask)."""
        super().reset(rows)
        self._pool[slice(None) if rows is None else rows] = -np.inf
