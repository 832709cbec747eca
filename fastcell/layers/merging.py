"""Merging the outputs of both directions: `merge` of a bidirectional layer.

The modes are those of Keras' Bidirectional (merge_mode). Each works on the last axis,
which holds the P features of the forward direction, then those of the reverse one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._checks.names import one_of

MERGES = ("concat", "sum", "mul", "ave")


def merge_of(merge: Any, bidirectional: bool, num_layers: int) -> str:
    """Check the argument `merge` of a layer.

    Raises
    ------
    ValueError
        If it is unknown, or is not "concat" in a layer of one direction or in a stack.
    """
    mode: str = one_of("merge", merge, MERGES)
    if mode != "concat" and not bidirectional:
        raise ValueError(
            f'merge must be "concat" in a layer of one direction; got {merge!r}'
        )
    if mode != "concat" and num_layers > 1:
        raise ValueError(
            f'merge must be "concat" with num_layers > 1, whose layers read both '
            f"directions; got {merge!r}: chain layers in a Sequential to merge after "
            "each"
        )
    return mode


def merged(y: np.ndarray, merge: str) -> np.ndarray:
    """Return the outputs (..., P) of both directions' (..., 2 P); y itself for concat.

    Examples
    --------
    >>> merged(np.array([[1.0, 2.0, 3.0, 5.0]]), "mul")
    array([[ 3., 10.]])
    """
    if merge == "concat":
        return y
    forward, reverse = np.split(y, 2, axis=-1)
    if merge == "mul":
        product: np.ndarray = forward * reverse
        return product
    total: np.ndarray = forward + reverse
    if merge == "ave":
        total /= 2
    return total


def merged_gradient(dy: np.ndarray, y: np.ndarray | None, merge: str) -> np.ndarray:
    """Return the gradient (..., 2 P) of both directions' outputs.

    Parameters
    ----------
    dy : ndarray, shape (..., P)
        That of what `merged` returned.
    y : ndarray, shape (..., 2 P), or None
        What `merged` took; only "mul" reads it.
    merge : str
    """
    if merge == "concat":
        return dy
    if merge == "mul":
        assert y is not None
        forward, reverse = np.split(y, 2, axis=-1)
        return np.concatenate([dy * reverse, dy * forward], axis=-1)
    if merge == "ave":
        dy = dy / 2
    return np.concatenate([dy, dy], axis=-1)
