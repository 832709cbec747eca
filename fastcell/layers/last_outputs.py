"""The last outputs only: `outputs="last"` of a recurrent layer's call.

They are the final h of the last layer, of both directions side by side, so the outputs
of the other steps need not be stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._checks.names import one_of

OUTPUTS = ("all", "last")


def is_last(outputs: Any) -> bool:
    """Return whether a call returns the last outputs only.

    Raises
    ------
    ValueError
        If `outputs` is neither "all" nor "last".
    """
    return bool(one_of("outputs", outputs, OUTPUTS) == "last")


def last_outputs(h: np.ndarray, directions: int) -> np.ndarray:
    """Return the final h (L D, B, P) of the last layer as outputs, (B, D P), a copy."""
    return np.concatenate(h[-directions:], axis=-1)


def with_last_gradient(
    dh: np.ndarray | None, dy: np.ndarray, passes: int, directions: int
) -> np.ndarray:
    """Return the gradient of the final h (L D, B, P), with that of the last outputs.

    Parameters
    ----------
    dh : ndarray, shape (L D, B, P), or None for zeros
    dy : ndarray, shape (B, D P)
        The gradient of what `last_outputs` returned.
    passes : int
        L D.
    directions : int
        D.

    Examples
    --------
    >>> with_last_gradient(None, np.array([[1.0, 2.0]]), 4, 2).ravel()
    array([0., 0., 1., 2.])
    """
    parts = np.stack(np.split(dy, directions, axis=-1))
    shape = (passes, *parts.shape[1:])
    dh = np.zeros(shape, dy.dtype) if dh is None else dh.copy()
    dh[-directions:] += parts
    return dh
