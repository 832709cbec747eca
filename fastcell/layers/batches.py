"""Checks of the arguments of a recurrent layer, and their layout for the core."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array, check_shape, in_range, real_array, rows_of
from fastcell.layers.indexed import IndexedRows


class Layout:
    """The axes of the caller's arrays: batch first or not, with a batch axis or not.

    The arrays may be NumPy's or tensors.
    """

    __slots__ = ("batch_first", "unbatched")

    def __init__(self, batch_first: bool, unbatched: bool) -> None:
        self.batch_first = batch_first and not unbatched
        self.unbatched = unbatched

    def to_core(self, array: Any) -> Any:
        """Return a view with the axes (T, B, ...)."""
        if self.unbatched:
            return array[:, np.newaxis]
        return array.swapaxes(0, 1) if self.batch_first else array

    def to_caller(self, array: Any) -> Any:
        """Return a view with the caller's axes of an array (T, B, ...)."""
        if self.unbatched:
            return array[:, 0]
        return array.swapaxes(0, 1) if self.batch_first else array

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the caller's shape of an array (T, B, n) of the core."""
        T, B, n = shape
        if self.unbatched:
            return T, n
        return (B, T, n) if self.batch_first else (T, B, n)

    def gradient(
        self, name: str, value: Any, shape: tuple[int, int, int], dtype: np.dtype
    ) -> np.ndarray:
        """Return a gradient of the caller, which the core views as (T, B, n), checked.

        Raises
        ------
        TypeError, ValueError
            If the dtype or the shape is wrong.
        """
        array = real_array(name, value, dtype)
        return check_shape(name, array, self.shape(shape))

    def finished(self, array: np.ndarray) -> Any:
        """Return for the caller what `empty` made, now filled."""
        return array

    def last_shape(self, B: int, n: int) -> tuple[int, ...]:
        """Return the caller's shape of one step of an array, (B, n) of the core."""
        return (n,) if self.unbatched else (B, n)

    def empty(self, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
        """Return a new array for the caller, which the core views as (T, B, n)."""
        return np.empty(self.shape(shape), dtype)

    def state_shape(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the caller's shape of a state (L D, B, n) of the core."""
        passes, B, n = shape
        return (passes, n) if self.unbatched else (passes, B, n)

    def state_to_core(self, array: Any) -> Any:
        return array[:, np.newaxis] if self.unbatched else array

    def state_to_caller(self, array: Any) -> Any:
        return array[:, 0] if self.unbatched else array


# The layout of calls that the core checks itself: (T, B, I), and at most lengths.
PLAIN = Layout(batch_first=False, unbatched=False)


def sequence_of(
    x: Any, input_size: int, dtype: np.dtype, batch_first: bool
) -> tuple[Layout, np.ndarray, np.ndarray | None]:
    """Return the layout of x, its rows, and the index of the row of each step.

    The rows are (T, B, I) and the index is None; for `IndexedRows`, they are (U, I) and
    the index is (T, B), a copy.
    """
    if isinstance(x, IndexedRows):
        real_array("x", x.rows, dtype)
        if x.index.ndim not in (1, 2) or x.rows.shape[1] != input_size:
            axes = "(B, T)" if batch_first else "(T, B)"
            raise ValueError(
                f"x must be ids {axes} or (T,) of vectors of I = {input_size}; "
                f"got ids {x.index.shape} of vectors of {x.rows.shape[1]}"
            )
        layout = Layout(batch_first, x.index.ndim == 1)
        return layout, x.rows, np.array(layout.to_core(x.index), order="C")
    x = real_array("x", x, dtype)
    if x.ndim not in (2, 3) or x.shape[-1] != input_size:
        axes = "(B, T, I)" if batch_first else "(T, B, I)"
        raise ValueError(
            f"x must have the shape {axes} or (T, I) with I = {input_size}; "
            f"got {x.shape}"
        )
    layout = Layout(batch_first, x.ndim == 2)
    return layout, rows_of(layout.to_core(x)), None


def lengths_of(
    lengths: Any, T: int, B: int, name: str = "lengths"
) -> np.ndarray | None:
    """Return lengths as int64 (B,), a copy, or None; errors call them `name`."""
    if lengths is None:
        return None
    if type(lengths) is np.ndarray:
        lengths = lengths.copy()  # before the checks: another thread may write to it
    if in_range(lengths, 0, T) and lengths.shape == (B,):  # the usual case
        return lengths
    array = as_array(name, lengths)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} must be integers; got {array.dtype}")
    check_shape(name, array, (B,))
    wrong = (array < 0) | (array > T)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{name} must be from 0 to {T}; got {array[row]} for row {row}"
        )
    return np.array(array, np.int64, order="C")


def flags_of(
    name: str, value: Any, layout: Layout, T: int, B: int
) -> np.ndarray | None:
    """Return a mask or reset as contiguous bytes (T, B), a copy, or None."""
    if value is None:
        return None
    array = as_array(name, value)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} must be bool; got {array.dtype}")
    shape = (T,) if layout.unbatched else (B, T) if layout.batch_first else (T, B)
    check_shape(name, array, shape)
    return np.array(layout.to_core(array), order="C").view(np.uint8)
