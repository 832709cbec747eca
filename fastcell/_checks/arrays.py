"""Checks of array arguments; errors name the argument."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell import _core
from fastcell._checks.names import WrongRows
from fastcell._checks.numbers import shown

# in_range(values, least, most): whether it is a C-contiguous int64 array in this range.
# Arrays of our own data sets are, and need no other check.
in_range = _core.in_range


# fill_rows(x, sequences, lengths): x[t, b] = sequences[b][t], if all are C-contiguous
# and of the dtype of x; else False.
fill_rows = _core.fill_rows


# fingerprint(x): a hash of the bits of x, of all or of a sample of its numbers.
fingerprint = _core.fingerprint


def all_finite(x: np.ndarray) -> bool:
    """Return whether x holds neither NaN nor infinity."""
    return _core.are_finite(x) or bool(np.isfinite(x).all())


def as_array(name: str, value: Any) -> np.ndarray:
    """Return an object with a buffer, ``__array__`` or ``__dlpack__`` as an array.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise TypeError(f"{name} must be an array of numbers; got one of objects")
        return value
    if hasattr(value, "batch_sizes"):  # a tuple: NumPy may convert it
        raise _no_array(name, value)
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            array = np.from_dlpack(value)
        else:
            array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError, OverflowError) as error:
        raise _no_array(name, value) from error
    if array.dtype == object:
        raise _no_array(name, value)
    return array


def _no_array(name: str, value: Any) -> TypeError:
    """Return the error for an object that is no array, with what to do instead."""
    kind = type(value).__name__
    if hasattr(value, "batch_sizes"):
        got = f"{kind}: pad it, and say lengths="
    elif getattr(value, "requires_grad", False) is True:
        got = f"{kind} that requires grad: say {name}.detach()"
    elif getattr(getattr(value, "device", None), "type", "cpu") != "cpu":
        got = f"{kind} on {value.device}: say {name}.cpu()"
    elif "bfloat16" in str(getattr(value, "dtype", "")):
        got = f"{kind} of bfloat16, which NumPy does not have: say {name}.float()"
    else:
        got = kind
    return TypeError(f"{name} must be an array; got {got}")


def real_array(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """Return an array of exactly this dtype, never cast.

    Raises
    ------
    TypeError
        If it has another dtype.
    """
    array = as_array(name, value)
    # Identity first: comparing two dtypes takes a tenth of a short call.
    if array.dtype is not dtype and array.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}; got {array.dtype}")
    return array


def floats(name: str, value: Any) -> np.ndarray:
    """Return an array of float32 or float64, never cast.

    Raises
    ------
    TypeError
        If it has another dtype.
    """
    array = as_array(name, value)
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"{name} must be float32 or float64; got {array.dtype}")
    return array


def check_shape(
    name: str, array: np.ndarray, shape: tuple[int, ...], of: str = ""
) -> np.ndarray:
    """Return `array` if it has this shape; `of` explains the shape in the error.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}{of}; got {array.shape}")
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


def check_rows(rows: Any, count: int) -> Any:
    """Return an index of rows, `count` in all: integers, a mask, or a slice.

    Raises
    ------
    TypeError
        If it is none of these.
    IndexError
        If one is out of range, or the mask has another size; it is a ValueError too.
    """
    if isinstance(rows, slice):
        return rows
    index = as_array("rows", rows)
    if index.size == 0:
        return np.zeros(0, np.int64)
    if index.dtype == np.bool_:
        if index.shape != (count,):
            raise WrongRows(f"rows must be a mask ({count},); got {index.shape}")
    elif index.dtype.kind not in "iu":
        raise TypeError(f"rows must be indices or a mask; got {index.dtype}")
    elif index.ndim > 1:
        raise ValueError(f"rows must have one axis; got the shape {index.shape}")
    elif index.min() < -count or index.max() >= count:
        raise WrongRows(f"rows must be from {-count} to {count - 1}; got {shown(rows)}")
    return index


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
    """Return integer ids from 0 to count - 1, or any integers for None, as an array.

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


def row_of_ids(value: Any, count: int) -> list[int]:
    """Return the ids of one text, from 0 to count - 1, as numbers.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If they have not one dimension, or one is out of range.
    """
    ids = as_array("ids", value)
    if ids.ndim != 1:
        raise ValueError(f"ids must have one dimension; got the shape {ids.shape}")
    # An empty list becomes an array of floats.
    found: list[int] = check_ids("ids", ids, count).tolist() if ids.size else []
    return found


def converted(name: str, value: Any, like: np.ndarray) -> np.ndarray:
    """Return `value` as an array of the shape of `like`, cast to its dtype.

    Tensors that require a gradient and numbers of bfloat16 are accepted: the values are
    copied into parameters.

    Raises
    ------
    TypeError
        If it is no array of real numbers.
    ValueError
        If the shape differs.
    """
    if hasattr(value, "requires_grad") and hasattr(value, "detach"):
        value = value.detach()
    kind = str(getattr(value, "dtype", ""))
    if "bfloat16" in kind or "float8" in kind:
        # Exact: float32 holds all values of bfloat16. NumPy has no such dtype.
        value = value.float() if hasattr(value, "float") else value.astype(np.float32)
    array = as_array(name, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers; got {array.dtype}")
    return check_shape(name, array, like.shape).astype(like.dtype, copy=False)
