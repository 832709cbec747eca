"""The policy for sequences without steps: `zero_length` of a recurrent layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell import _core

POLICIES = ("keep", "zero")
Arrays = tuple[Any, Any]  # h and c, each an array or None


def empty_rows(call: _core.Batch) -> np.ndarray | None:
    """Return which rows of a batch have no steps, (B,) of bool; None if there is none.

    A row whose steps are all masked is not empty: its steps exist.
    """
    if call.steps == 0:
        return np.ones(call.rows, bool) if call.rows else None
    if call.lengths is None:
        return None
    empty: np.ndarray = call.lengths == 0
    return empty if empty.any() else None


def without_rows(state: Arrays, rows: np.ndarray | None) -> Arrays:
    """Return h and c (L D, B, n) with zeros in these rows, in copies if there are any.

    The final state is so where its policy is "zero"; so is the gradient that then
    reaches the initial one.

    Examples
    --------
    >>> h, c = without_rows((np.ones((1, 2, 1)), None), np.array([True, False]))
    >>> h.ravel().tolist()
    [0.0, 1.0]
    """
    if rows is None:
        return state
    h, c = (
        None
        if part is None
        else np.where(rows[:, np.newaxis], part.dtype.type(0), part)
        for part in state
    )
    return h, c
