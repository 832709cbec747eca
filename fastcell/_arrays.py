"""Checks of array arguments: before any work, and by the argument's name."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell import _core

# in_range(values, least, most): is it a C-contiguous array of int64 in this range? What
# comes from our own data sets is, and needs no other check.
in_range = _core.in_range


# fill_rows(x, sequences, lengths): x[t, b] = sequences[b][t], if all are C-contiguous
# and of the dtype of x; else False.
fill_rows = _core.fill_rows


# fingerprint(x): a hash of the bits of x, of all or of a sample of its numbers.
fingerprint = _core.fingerprint


def all_finite(x: np.ndarray) -> bool:
    """Is there neither NaN nor infinity in x?"""
    return _core.are_finite(x) or bool(np.isfinite(x).all())


def as_array(name: str, value: Any) -> np.ndarray:
    """Return anything with a buffer, ``__array__`` or ``__dlpack__`` as an array.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(
            f"{name} must be an array; got {type(value).__name__}"
        ) from error
    if array.dtype == object:
        raise TypeError(f"{name} must be an array; got {type(value).__name__}")
    return array


def real_array(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """Return an array of exactly this dtype: nothing is cast in silence.

    Raises
    ------
    TypeError
        If it has another dtype.
    """
    array = as_array(name, value)
    # Identity first: to compare two dtypes takes a tenth of a short call.
    if array.dtype is not dtype and array.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}; got {array.dtype}")
    return array


def check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return `array`, whose shape has to be this one.

    Raises
    ------
    ValueError
        If it is another.
    """
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}; got {array.shape}")
    return array


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return `out`, if results of this shape and dtype can be written to it.

    Raises
    ------
    TypeError
        If it is no array.
    ValueError
        If it is of another shape or dtype, not C-contiguous, or read-only.
    """
    wanted = f"out must be a contiguous, writable {dtype} array of shape {shape}; got"
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{wanted} {type(out).__name__}")
    flags = out.flags
    if (
        out.shape != shape
        or out.dtype != dtype
        or not (flags.c_contiguous and flags.writeable)
    ):
        kind = "" if flags.writeable else "read-only "
        kind += "" if flags.c_contiguous else "non-contiguous "
        raise ValueError(f"{wanted} {kind}{out.dtype} {out.shape}")
    return out


def rows_of(array: np.ndarray) -> np.ndarray:
    """Return `array`, or a copy if its last axis is not contiguous in memory."""
    if array.flags.c_contiguous:
        return array
    itemsize = array.itemsize
    if array.shape[-1] > 1 and array.strides[-1] != itemsize:
        return np.ascontiguousarray(array)
    if any(stride % itemsize for stride in array.strides):  # a field of a record
        return np.ascontiguousarray(array)
    return array


def check_ids(name: str, value: Any, count: int | None) -> np.ndarray:
    """Return integer ids from 0 to count - 1, or of any size for None, as an array.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If one is out of range; the error names it and its place.
    """
    if count is not None and in_range(value, 0, count - 1):
        return value
    ids = as_array(name, value)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers; got {ids.dtype}")
    if count is not None and ids.size and (ids.min() < 0 or ids.max() >= count):
        where = np.argwhere((ids < 0) | (ids >= count))[0]
        raise ValueError(
            f"{name} must be ids from 0 to {count - 1}; "
            f"got {ids[tuple(where)]} at {tuple(int(i) for i in where)}"
        )
    return ids
