"""The states of a stack of recurrent layers: h alone, or h, c and others."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from fastcell._checks.arrays import check_shape, real_array
from fastcell.layers.batches import Layout

LSTMState = tuple[np.ndarray, np.ndarray]  # (h, c)
# The state of a layer for its caller: h alone, or a tuple (h, c, ...).
StateT = TypeVar("StateT")


class States:
    """Shapes and dtype of the states: h (L D, B, P), and others (L D, B, H).

    The core takes h, and as c one array (L D, B, n H) of the n other states.

    Parameters
    ----------
    names : tuple of str
        ``("h",)``, ``("h", "c")`` or more.
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
        self._output_size = output_size
        self._hidden_size = hidden_size
        self._dtype = dtype

    def empty(self, B: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return arrays for the core's h and c; None instead of c if there is none."""
        h = np.empty((self._passes, B, self._output_size), self._dtype)
        if len(self._names) == 1:
            return h, None
        width = (len(self._names) - 1) * self._hidden_size
        return h, np.empty((self._passes, B, width), self._dtype)

    def outputs(self, steps: int, B: int) -> np.ndarray:
        """Return an array for the outputs of one direction, (steps, B, P)."""
        return np.empty((steps, B, self._output_size), self._dtype)

    def nbytes(self, B: int) -> int:
        """Return the bytes of those arrays."""
        width = self._output_size + (len(self._names) - 1) * self._hidden_size
        return self._passes * B * width * self._dtype.itemsize

    def joined(self, h: np.ndarray, c: np.ndarray | None) -> Any:
        """Return h, or the tuple (h, c, ...), from the core's h and c, as views."""
        if c is None:
            return h
        if len(self._names) == 2:
            return h, c
        H = self._hidden_size
        others = range(len(self._names) - 1)
        return h, *(c[..., i * H : (i + 1) * H] for i in others)

    def to_caller(
        self, state: tuple[np.ndarray, np.ndarray | None], layout: Layout
    ) -> Any:
        """Return h, or the tuple (h, c, ...), in the caller's layout."""
        h, c = state
        return self.joined(
            layout.state_to_caller(h), None if c is None else layout.state_to_caller(c)
        )

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
        state or, if allowed, for a part.
        """
        if state is None:
            return None, None
        found: list[np.ndarray | None] = []
        for part_name, part in zip(
            self._names, parts_of(name, state, self._names), strict=True
        ):
            if part is None and parts_may_be_none:
                found.append(None)
                continue
            label = f"{name} {part_name}"
            width = self._hidden_size if found else self._output_size
            array = real_array(label, part, self._dtype)
            rows = () if layout.unbatched else (B,)
            check_shape(label, array, (self._passes, *rows, width))
            array = layout.state_to_core(array)
            found.append(np.array(array, order="C", copy=True if copies else None))
        h, *others = found
        return h, self._as_c(others, B)

    def _as_c(self, others: list[np.ndarray | None], B: int) -> np.ndarray | None:
        """Return the states beside h as one array; None if all are."""
        if len(others) < 2 or all(part is None for part in others):
            return others[0] if others else None
        c = np.zeros((self._passes, B, len(others), self._hidden_size), self._dtype)
        for i, part in enumerate(others):
            if part is not None:
                c[:, :, i] = part
        return c.reshape(self._passes, B, len(others) * self._hidden_size)


def parts_of(name: str, state: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the parts of a caller's state, checked for their number."""
    if len(names) == 1:
        return (state,)
    if isinstance(state, (tuple, list)) and len(state) == len(names):
        return tuple(state)
    got = type(state).__name__
    if isinstance(state, (tuple, list)):
        got += f" of {len(state)}"
    raise TypeError(f"{name} must be a tuple ({', '.join(names)}); got {got}")
