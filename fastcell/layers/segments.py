"""Checkpointing in time: a batch in segments, with only the states between them kept.

The schedule is that of two levels of Griewank and Walther, ACM TOMS 26(1), 2000: about
sqrt(T) segments of sqrt(T) steps, and one more forward.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np

from fastcell import _core
from fastcell.layers.states import States

Arrays = tuple[np.ndarray | None, np.ndarray | None]


class Segments:
    """One batch in segments of `length` steps, the last of which may be shorter.

    Forward keeps the states at their borders. Backward processes them from the last to
    the first: forward once more with `saved`, then backward. It passes on dstate and,
    in the core's carry, the rows of an incomplete block of weight gradients.

    Parameters
    ----------
    stack : Stack
        In one direction.
    call : Batch
        All steps.
    states : States
        Allocates arrays for states.
    pairs_before : ndarray of int, shape (T + 1,)
        Steps of all rows that exist and are not masked, before each time.
    length : int
        Steps of a segment, at least 1.
    recompute : bool
        Whether segments keep states only, and compute their gates again.

    Attributes
    ----------
    nbytes : int
        Bytes held between forward and backward: the states at the borders.
    saved_bytes : int
        Bytes that the largest segment keeps during its backward.
    peak_bytes : int
        The sum of both.
    """

    def __init__(
        self,
        stack: _core.Stack,
        call: _core.Batch,
        states: States,
        pairs_before: np.ndarray,
        length: int,
        recompute: bool,
    ) -> None:
        T = call.steps
        self._stack = stack
        self._call = call
        self._states = states
        self._recompute = recompute
        self._bounds = [*range(0, max(T, 1), length), T]
        self._pairs_before = pairs_before
        self.saved_bytes = self._most_saved()
        self.nbytes = (len(self._bounds) - 2) * states.nbytes(call.rows)
        self.peak_bytes = self.nbytes + self.saved_bytes
        self._borders: list[Arrays] = []  # initial states of all segments but the first

    def forward(self, packed: Any, y: np.ndarray | None, h: Any, c: Any) -> None:
        """Fill y (T, B, P) or None, and the final states; keep those at borders."""
        self._borders = []
        last = len(self._bounds) - 2
        for i in range(last + 1):
            begin, end = self._bounds[i : i + 2]
            final: Arrays = (h, c) if i == last else self._states.empty(self._call.rows)
            y_part = None if y is None else y[begin:end]
            self._stack.forward(packed, self._part(i), y_part, *final, None)
            if i < last:
                self._borders.append(final)

    def backward(
        self,
        packed: Any,
        packed_forward: Any,
        dy: np.ndarray | None,
        dstate: Arrays,
        dx: np.ndarray,
        dstate_in: Arrays,
        gradients: list[tuple[Any, ...]],
        memory: Any,
    ) -> None:
        """Fill dx and dstate_in, and add to the weight gradients.

        Parameters
        ----------
        memory : bytes
            At least `saved_bytes`.
        """
        call, T, B = self._call, self._call.steps, self._call.rows
        call.check_isa()
        carry = _core.aligned_empty(self._stack.carry_size(call))
        y = self._states.outputs(self._bounds[1], B)  # written and not used
        for i in reversed(range(len(self._bounds) - 1)):
            begin, end = self._bounds[i : i + 2]
            part = self._part(i)
            self._stack.forward(
                packed_forward, part, y[: end - begin], None, None, memory
            )
            before = self._states.empty(B) if i else dstate_in
            self._stack.backward(
                packed,
                packed_forward if part.recompute else None,
                part,
                None if dy is None else dy[begin:end],
                *dstate,
                dx if call.index is not None else dx[begin:end],
                *before,
                gradients,
                memory,
                (begin, T - end, int(self._pairs_before[begin]), carry),
            )
            dstate = before

    def _part(self, i: int) -> _core.Batch:
        """Return segment i, from the states that forward left."""
        state = self._borders[i - 1] if i else (self._call.h0, self._call.c0)
        begin, end = self._bounds[i : i + 2]
        return _steps(self._call, begin, end, state, self._recompute, True)

    def _most_saved(self) -> int:
        """Return the bytes of the segment with the most pairs, or of the last one."""
        pairs = np.diff(self._pairs_before[self._bounds])
        sizes = []
        for i in {int(pairs[:-1].argmax()) if len(pairs) > 1 else 0, len(pairs) - 1}:
            begin, end = self._bounds[i : i + 2]
            part = _steps(self._call, begin, end, (None, None), self._recompute, False)
            sizes.append(self._stack.saved_size(part))
        return max(sizes)


def cut(stack: _core.Stack, call: _core.Batch, states: States, budget: int) -> Segments:
    """Return the fewest segments that fit the budget, or about sqrt(T) of them.

    Segments that keep their gates come first: they cost one forward less.
    """
    T, pairs = call.steps, _pairs_before(call)
    for recompute in (False, True):
        for length in _lengths(T):
            segments = Segments(stack, call, states, pairs, length, recompute)
            if segments.peak_bytes <= budget:
                return segments
    return Segments(stack, call, states, pairs, isqrt(max(T - 1, 0)) + 1, True)


def _lengths(T: int) -> list[int]:
    """Return the lengths to try, from 2 segments on, to somewhat below sqrt(T).

    Shorter segments keep more states at the borders than they save inside: below a
    quarter of sqrt(T) there is nothing to gain.
    """
    least = max(isqrt(T) // 4, 1)
    lengths = {-(-T // count) for count in range(2, T // least + 1)}
    return sorted(lengths, reverse=True)


def _steps(
    call: _core.Batch,
    begin: int,
    end: int,
    state: Arrays,
    recompute: bool,
    dropout: bool,
) -> _core.Batch:
    """Return the steps begin .. end-1 as a batch, with or without dropout."""
    indexed = call.index is not None

    def part(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[begin:end]

    lengths = call.lengths
    steps = _core.Batch(
        end - begin,
        call.rows,
        call.x if indexed else call.x[begin:end],
        part(call.index),
        None if lengths is None else np.clip(lengths - begin, 0, end - begin),
        part(call.mask),
        part(call.reset),
        *state,
        np.ascontiguousarray(call.dropout[:, begin:end])
        if dropout and call.dropout is not None
        else None,
        call.threads,
    )
    steps.recompute = recompute
    steps.key, steps.first_step = call.key, call.first_step + begin
    return steps


def _pairs_before(call: _core.Batch) -> np.ndarray:
    """Return the number of existing, unmasked steps of all rows before each time."""
    T, B = call.steps, call.rows
    active = np.full(T, B, np.int64)
    if call.lengths is not None or call.mask is not None:
        exists = np.ones((T, B), bool)
        if call.lengths is not None:
            exists &= np.arange(T)[:, np.newaxis] < call.lengths
        if call.mask is not None:
            exists &= call.mask != 0
        active = exists.sum(axis=1, dtype=np.int64)
    return np.concatenate([np.zeros(1, np.int64), active.cumsum()])
