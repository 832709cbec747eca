"""Checks of arguments that are neither numbers nor arrays: names, paths, containers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fastcell._checks.numbers import shown


class WrongNames(KeyError, ValueError):
    """Names of a mapping that are missing or unknown.

    It is a KeyError whose text is shown without quotes, and a ValueError, as for all
    invalid arguments.
    """

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class WrongRows(IndexError, ValueError):
    """Rows out of range."""


def one_of(name: str, value: Any, names: Iterable[str]) -> Any:
    """Return `value`, which has to be one of the names.

    Raises
    ------
    ValueError
        If it is none of them.

    Examples
    --------
    >>> one_of("mode", "min", ("min", "max"))
    'min'
    """
    names = tuple(names)
    if not isinstance(value, str) or value not in names:
        if len(names) > 3:
            wanted = f"one of {', '.join(names)}"
        else:
            wanted = " or ".join(f'"{known}"' for known in names)
        raise ValueError(f"{name} must be {wanted}; got {shown(value)}")
    return value


def path_of(name: str, value: Any) -> str:
    """Return a path as a string; a file descriptor is refused.

    Raises
    ------
    TypeError
        If it is neither a string, nor bytes, nor a path.
    ValueError
        If it holds a null character.
    """
    try:
        path = os.fsdecode(value)
    except TypeError:
        raise TypeError(f"{name} must be a path; got {shown(value)}") from None
    if "\0" in path:
        raise ValueError(f"{name} must be without null characters; got {shown(path)}")
    return path


def mapping_of(name: str, value: Any, what: str = "a mapping") -> Mapping[str, Any]:
    """Return `value`, which has to be a mapping.

    Raises
    ------
    TypeError
        If it is none.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be {what}; got {type(value).__name__}")
    return value


def list_of(name: str, value: Any, what: str) -> list[Any]:
    """Return the items of an iterable that is neither a string nor a mapping.

    Raises
    ------
    TypeError
        If `value` is not one.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be {what}; got {shown(value)}")
    return list(value)


def callable_of(name: str, value: Any, what: str) -> Callable[..., Any]:
    """Return `value`, which has to be callable.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not callable(value):
        raise TypeError(f"{name} must be {what}; got {shown(value)}")
    call: Callable[..., Any] = value
    return call


def has_methods(name: str, value: Any, what: str, methods: Iterable[str]) -> Any:
    """Return `value`, which has to have these methods.

    Raises
    ------
    TypeError
        If one is missing.
    """
    missing = [m for m in methods if not callable(getattr(value, m, None))]
    if missing or isinstance(value, type):
        raise TypeError(f"{name} must be {what}; got {shown(value)}")
    return value


def string_of(name: str, value: Any, what: str = "a string") -> str:
    """Return `value`, which has to be a string.

    Raises
    ------
    TypeError
        If it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {what}; got {shown(value)}")
    return value


def iterable_of(name: str, value: Any, what: str) -> Iterable[Any]:
    """Return `value`, which has to be iterable, and neither a text nor a mapping.

    Raises
    ------
    TypeError
        If it is not.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be {what}; got {shown(value)}")
    return value


def strings_of(name: str, value: Any) -> tuple[str, ...]:
    """Return the strings that an iterable holds.

    Raises
    ------
    TypeError
        If it is none, or one of its items is no string.
    """
    found = tuple(iterable_of(name, value, "a sequence of strings"))
    for place, item in enumerate(found):
        string_of(f"{name}[{place}]", item)
    return found


def items_of(name: str, value: Any, what: str) -> Any:
    """Return `value`, which has to have a length and items by index.

    Raises
    ------
    TypeError
        If it has not, or is a string or a mapping.
    """
    if (
        isinstance(value, (str, bytes, Mapping, type))
        or not hasattr(value, "__getitem__")
        or not hasattr(value, "__len__")
        or hasattr(value, "batch_sizes")  # a PackedSequence of torch
    ):
        raise TypeError(f"{name} must be {what}; got {shown(value)}")
    return value


def real_dtype(name: str, value: Any) -> np.dtype:
    """Return float32 or float64.

    Raises
    ------
    TypeError
        If `value` is neither.
    """
    try:
        dtype: np.dtype | None = None if value is None else np.dtype(value)
    except Exception:  # objects of other libraries may raise anything
        dtype = None
    if dtype is None or dtype not in (np.float32, np.float64):
        got = shown(value) if dtype is None else str(dtype)
        raise TypeError(f"{name} must be float32 or float64; got {got}")
    return dtype
