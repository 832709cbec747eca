"""Checks and weights shared by all losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.names import one_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Results of losses: of all elements together, and of each.
Total = tuple[float, "NDArray[np.floating]"]
Each = tuple["NDArray[np.float64]", "NDArray[np.floating]"]

# Elements of a block: 64 KiB of float32, which stay in the cache for all passes.
BLOCK = 16384

_FLOAT32 = np.dtype(np.float32)
_REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: Any) -> None:
    """Check the name of a reduction.

    Raises
    ------
    ValueError
        If there is no such reduction.
    """
    if type(reduction) is not str or reduction not in _REDUCTIONS:
        one_of("reduction", reduction, _REDUCTIONS)


def float_array(name: str, value: ArrayLike) -> NDArray[np.floating]:
    """Return an array of float32 or float64.

    Raises
    ------
    TypeError
        If it has another dtype.
    """
    array = as_array(name, value)
    # Identity first: to compare two dtypes takes a tenth of a short call.
    if array.dtype is not _FLOAT32 and array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64; got dtype {array.dtype}")
    return array


def first(condition: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the index of the first element that is true."""
    at = np.unravel_index(int(np.argmax(condition)), condition.shape)
    return tuple(int(i) for i in at)


def weights_of(
    name: str, value: Any, shape: tuple[int, ...], *, exact: bool = False
) -> NDArray[np.float64] | None:
    """Check weights of elements and return them as float64, or None if `value` is None.

    Parameters
    ----------
    name : str
        The argument's name in errors.
    value : array of real numbers, or None
        Finite and at least 0.
    shape : tuple of int
    exact : bool
        Whether the shape must be `shape`; else it may broadcast to it.

    Raises
    ------
    TypeError
        If they are not real numbers.
    ValueError
        If the shape does not fit, or one is negative or not finite.
    """
    if value is None:
        return None
    array = as_array(name, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers; got dtype {array.dtype}")
    fits = array.shape == shape
    if not fits and not exact:
        try:
            fits = np.broadcast_shapes(array.shape, shape) == shape
        except ValueError:
            fits = False
    if not fits:
        more = "" if exact else ", or one that broadcasts to it"
        raise ValueError(f"{name} must have the shape {shape}{more}; got {array.shape}")
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        at = first(wrong)
        raise ValueError(
            f"{name} must be finite and at least 0; got {array[at]} at {at}"
        )
    weights: NDArray[np.float64] = np.broadcast_to(array.astype(np.float64), shape)
    return weights


def divisor(reduction: str, total: float) -> float:
    """Return the divisor of weights: their sum for a mean, else 1; never 0."""
    return total if reduction == "mean" and total > 0 else 1.0
