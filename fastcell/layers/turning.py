"""Sequences from their last step to their first: `go_backwards` of a recurrent layer.

The core runs forward over the turned sequences. Without lengths they are a view, with
them a copy, because each row has its own end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell import _core
from fastcell._checks.numbers import flag


def goes_backwards(value: Any, bidirectional: bool) -> bool:
    """Check the argument `go_backwards` of a layer.

    Raises
    ------
    TypeError
        If it is no bool.
    ValueError
        If it is True in a bidirectional layer.
    """
    if flag("go_backwards", value) and bidirectional:
        raise ValueError(
            "go_backwards must be False in a bidirectional layer, which runs both "
            "ways; got True"
        )
    return bool(value)


def turned(array: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Return an array (T, B, ...) with the steps of each row in reverse order.

    Steps past the lengths stay at their place, so turning twice changes nothing. It is
    a view if there are no lengths.

    Examples
    --------
    >>> turned(np.array([[1, 4], [2, 5], [3, 6]]), np.array([3, 2])).T
    array([[3, 2, 1],
           [5, 4, 6]])
    """
    if lengths is None:
        return array[::-1]
    t = np.arange(len(array))[:, np.newaxis]
    return array[np.where(t < lengths, lengths - 1 - t, t), np.arange(len(lengths))]


def turned_batch(call: _core.Batch) -> _core.Batch:
    """Return a batch with all sequences turned: x or its index, the mask, the resets.

    A reset is a border between its step and the one before: the state is zeroed there
    in either direction, as in the reverse direction of a bidirectional layer.
    """
    lengths, index, mask, reset = call.lengths, call.index, call.mask, call.reset
    if reset is not None:
        # The border behind each step, which a turned sequence crosses before it.
        behind = np.zeros_like(reset)
        behind[:-1] = reset[1:]
        if lengths is not None:
            behind[np.arange(1, call.steps + 1)[:, np.newaxis] >= lengths] = 0
        reset = np.ascontiguousarray(turned(behind, lengths))
    return _core.Batch(
        call.steps,
        call.rows,
        turned(call.x, lengths) if index is None else call.x,
        None if index is None else np.ascontiguousarray(turned(index, lengths)),
        lengths,
        None if mask is None else np.ascontiguousarray(turned(mask, lengths)),
        reset,
        call.h0,
        call.c0,
        call.dropout,
        call.threads,
    )
