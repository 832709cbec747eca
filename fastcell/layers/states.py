"""The states of a stack of recurrent layers: h, or h and c."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from fastcell._checks.arrays import check_shape, real_array
from fastcell.layers.batches import Layout

LSTMState = tuple[np.ndarray, np.ndarray]  # (h, c)
# The state of a layer for its caller: h alone, or (h, c).
StateT = TypeVar("StateT")


class States:
    """Shapes and dtype of the states: h (L D, B, P), and c (L D, B, H) if there is one.

    Parameters
    ----------
    names : tuple of str
        ``("h",)`` or ``("h", "c")``.
    passes, output_size, hidden_size : int
        L D, P and H.
    dtype : dtype
    """

    def __init__(
        self,
        names: tuple[str, ...],
        passes: int,
        output_size: int,
        hidden_size: int,
        dtype: np.dtype,
    ) -> None:
        self._names = names
        self._passes = passes
        self._widths = (output_size, hidden_size)[: len(names)]
        self._dtype = dtype

    def empty(self, B: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return arrays for h and c; None instead of c if the cell has none."""
        h = np.empty((self._passes, B, self._widths[0]), self._dtype)
        if len(self._widths) == 1:
            return h, None
        return h, np.empty((self._passes, B, self._widths[1]), self._dtype)

    def outputs(self, steps: int, B: int) -> np.ndarray:
        """Return an array for the outputs of one direction, (steps, B, P)."""
        return np.empty((steps, B, self._widths[0]), self._dtype)

    def nbytes(self, B: int) -> int:
        """Return the bytes of those arrays."""
        return self._passes * B * sum(self._widths) * self._dtype.itemsize

    def to_caller(
        self, state: tuple[np.ndarray, np.ndarray | None], layout: Layout
    ) -> Any:
        """Return h, or the tuple (h, c), for the caller."""
        h = layout.state_to_caller(state[0])
        return h if state[1] is None else (h, layout.state_to_caller(state[1]))

    def to_core(
        self,
        name: str,
        state: Any,
        layout: Layout,
        B: int,
        *,
        copies: bool = False,
        parts_may_be_none: bool = False,
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Check a state of the caller; return h and c as arrays for the core.

        Without a copy they may be the caller's arrays. None is zero: for the whole
        state or, if allowed, for h or c.
        """
        if state is None:
            return None, None
        if len(self._names) == 1:
            parts: tuple[Any, ...] = (state,)
        elif isinstance(state, (tuple, list)) and len(state) == 2:
            parts = tuple(state)
        else:
            raise TypeError(
                f"{name} must be a tuple (h, c); got {type(state).__name__}"
            )
        found: list[np.ndarray | None] = [None, None]
        for i, (part, width) in enumerate(zip(parts, self._widths, strict=True)):
            if part is None and parts_may_be_none:
                continue
            label = f"{name} {self._names[i]}"
            array = real_array(label, part, self._dtype)
            rows = () if layout.unbatched else (B,)
            check_shape(label, array, (self._passes, *rows, width))
            array = layout.state_to_core(array)
            found[i] = np.array(array, order="C", copy=True if copies else None)
        return found[0], found[1]
