"""Schemas: checks of trees of plain values and arrays, such as a file's content.

A schema is a function ``schema(where, value)`` that raises ValueError, with the place
and what was expected there, unless `value` is valid. Functions of this module return
schemas: ``entries({"step": whole(), "loss": number()})`` requires a dictionary with
these two keys. A file's content is checked as a whole before a part of it is used.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

Schema = Callable[[str, Any], None]

# Larger integers have no exact float64.
MOST = 2**53

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60
_REPR.maxlevel = 3
_LONGEST_TEXT = 400


def shown(value: Any) -> str:
    """Return a short text of a value for an error, however long or deep it is.

    Examples
    --------
    >>> len(shown("a" * 1000)) < 100
    True
    """
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, {value.shape}"
    if type(value) is int and abs(value) >= 2**128:
        return "a very large integer"
    return _REPR.repr(value)


def shortened(text: Any, most: int = _LONGEST_TEXT) -> str:
    """Return the text of an error without its middle, if it is longer than `most`.

    Examples
    --------
    >>> shortened(ValueError("as it was"))
    'as it was'
    >>> len(shortened("a" * 1000)) <= 400
    True
    """
    whole = str(text)
    if len(whole) <= most:
        return whole
    part = most // 2 - 3
    return f"{whole[:part]} ... {whole[-part:]}"


def refuse(where: str, expected: str, value: Any) -> None:
    """Raise the error that all schemas raise.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(f"{where} must be {expected}; got {shown(value)}")


def whole(minimum: int = 0, maximum: int = MOST) -> Schema:
    """Return the schema of an integer in a range, both ends included.

    Examples
    --------
    >>> whole(1)("step", 0)
    Traceback (most recent call last):
    ...
    ValueError: step must be an integer from 1 to 9007199254740992; got 0
    """

    def check(where: str, value: Any) -> None:
        if type(value) is not int or not minimum <= value <= maximum:
            refuse(where, f"an integer from {minimum} to {maximum}", value)

    return check


def number(
    minimum: float = -math.inf,
    below: float = math.inf,
    *,
    above: float = -math.inf,
    finite: bool = True,
) -> Schema:
    """Return the schema of a real number in a range; NaN and infinity if not `finite`.

    Examples
    --------
    >>> number(0)("loss_sum", None)
    Traceback (most recent call last):
    ...
    ValueError: loss_sum must be a finite number from 0; got None
    """

    def check(where: str, value: Any) -> None:
        if type(value) is float:
            right = math.isfinite(value) or not finite
        else:
            right = type(value) is int and abs(value) <= MOST
        if right and math.isfinite(value):
            right = minimum <= value < below and value > above
        if not right:
            limits = f" from {minimum:g}" if minimum > -math.inf else ""
            limits += f" above {above:g}" if above > -math.inf else ""
            limits += f" below {below:g}" if below < math.inf else ""
            refuse(where, f"a {'finite ' * finite}number{limits}", value)

    return check


def text(where: str, value: Any) -> None:
    """Be the schema of a string that may name a file: not empty, without null bytes."""
    if not isinstance(value, str) or not value or "\0" in value:
        refuse(where, "a text", value)


def boolean(where: str, value: Any) -> None:
    """Be the schema of True and False."""
    if not isinstance(value, bool):
        refuse(where, "true or false", value)


def one_of(*choices: Any) -> Schema:
    """Return the schema of a value that is one of these, of the same type."""

    def check(where: str, value: Any) -> None:
        if not any(type(value) is type(c) and value == c for c in choices):
            refuse(where, " or ".join(map(shown, choices)), value)

    return check


def optional(schema: Schema) -> Schema:
    """Return the schema of a value that may be None."""

    def check(where: str, value: Any) -> None:
        if value is not None:
            schema(where, value)

    return check


def dictionary(where: str, value: Any) -> None:
    """Be the schema of any dictionary whose keys are strings."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        refuse(where, "a dictionary", value)


def entries(schemas: Mapping[str, Schema], may_lack: Collection[str] = ()) -> Schema:
    """Return the schema of a dictionary with these keys and no others.

    Parameters
    ----------
    schemas : mapping of str to schema
        What each key holds.
    may_lack : collection of str
        The keys that may be missing.

    Examples
    --------
    >>> entries({"step": whole()})("position", {"stop": 1})
    Traceback (most recent call last):
    ...
    ValueError: position must have the entry 'step'; it is missing
    """

    def check(where: str, value: Any) -> None:
        dictionary(where, value)
        for key in schemas:
            if key not in value and key not in may_lack:
                raise ValueError(f"{where} must have the entry {key!r}; it is missing")
        for key in value:
            if key not in schemas:
                raise ValueError(f"{where} must have no entry {shown(key)}")
        for key, part in value.items():
            schemas[key](f"{where}.{key}", part)

    return check


def items(schema: Schema) -> Schema:
    """Return the schema of a list whose items are all of one schema."""

    def check(where: str, value: Any) -> None:
        if not isinstance(value, list):
            refuse(where, "a list", value)
        for i, item in enumerate(value):
            schema(f"{where}[{i}]", item)

    return check


def like(own: Any) -> Schema:
    """Return the schema of a value with the structure of `own`.

    Dictionaries have the same keys; lists and tuples have the same length; arrays have
    the same dtype and shape; strings are equal; integers are not negative and have at
    most 128 bits.

    Examples
    --------
    >>> like({"kind": "a", "x": np.zeros(2)})("state", {"kind": "a", "x": np.ones(3)})
    Traceback (most recent call last):
    ...
    ValueError: state.x must be an array of float64, (2,); got an array of float64, (3,)
    """

    def check(where: str, value: Any) -> None:
        if isinstance(own, Mapping):
            entries({key: like(part) for key, part in own.items()})(where, value)
        elif isinstance(own, (list, tuple)):
            if type(value) is not type(own) or len(value) != len(own):
                refuse(where, f"a {type(own).__name__} of {len(own)}", value)
            for i, (mine, its) in enumerate(zip(own, value, strict=True)):
                like(mine)(f"{where}[{i}]", its)
        elif isinstance(own, np.ndarray):
            if (
                not isinstance(value, np.ndarray)
                or value.dtype != own.dtype
                or value.shape != own.shape
            ):
                refuse(where, shown(own), value)
        elif type(own) is int:
            whole(0, 2**128 - 1)(where, value)
        elif type(own) is float:
            number()(where, value)
        else:
            one_of(own)(where, value)

    return check
