"""Checks of scalar arguments, shared by the losses, the optimizers and the data."""

from __future__ import annotations

import math
import numbers
import operator
import reprlib

# The largest size that the core and NumPy accept. Seeds may be larger.
LARGEST = 2**63 - 1

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60


def shown(value: object) -> str:
    """Return a short text, one line, of an invalid argument.

    Examples
    --------
    >>> shown(-1), shown("a" * 1000)[:5], shown(10**5000)
    ('-1', "'aaaa", 'an integer of 16610 bits')
    """
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, type):
        return value.__name__
    try:
        text = _repr.repr(value)
    except Exception:  # the repr of a foreign object may raise anything
        return type(value).__name__
    # "<DataLoader object at 0x7f...>" says no more than the name.
    return type(value).__name__ if "\n" in text or text.startswith("<") else text


def real(
    name: str,
    value: object,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a float, or raise an error that names it `name`.

    Parameters
    ----------
    name : str
        What the error calls the value.
    value : real number
        Python's or NumPy's; not a bool, not a string.
    minimum, maximum : float, optional
        Inclusive bounds.
    above, below : float, optional
        Exclusive bounds.

    Raises
    ------
    TypeError
        If `value` is not a real number.
    ValueError
        If it is NaN, infinite or outside of the range.

    Examples
    --------
    >>> real("lr", 1, minimum=0)
    1.0
    >>> real("lr", float("nan"), minimum=0)
    Traceback (most recent call last):
    ...
    ValueError: lr must be a finite number >= 0; got nan
    """
    if type(value) is float and (
        -math.inf < value < math.inf
        and (minimum is None or value >= minimum)
        and (maximum is None or value <= maximum)
        and (above is None or value > above)
        and (below is None or value < below)
    ):
        return value  # before any text is made: optimizers check in each step
    limits = {">=": minimum, ">": above, "<=": maximum, "<": below}
    expected = " and ".join(f"{k} {v:g}" for k, v in limits.items() if v is not None)
    expected = f"a finite number {expected}".rstrip()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {expected}; got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:  # a Python integer beyond the range of double
        number = math.inf
    if (
        not math.isfinite(number)
        or (minimum is not None and number < minimum)
        or (maximum is not None and number > maximum)
        or (above is not None and number <= above)
        or (below is not None and number >= below)
    ):
        raise ValueError(f"{name} must be {expected}; got {shown(value)}")
    return number


def number(name: str, value: object) -> float:
    """Return `value` as a float, NaN and infinity included, or raise an error.

    Raises
    ------
    TypeError
        If `value` is not a real number.

    Examples
    --------
    >>> number("loss", float("nan"))
    nan
    """
    if type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number; got {shown(value)}")
    try:
        return float(value)
    except OverflowError:  # `Real` itself promises no order with int
        above: bool = value > 0  # type: ignore[operator]
        return math.inf if above else -math.inf


def integer(
    name: str,
    value: object,
    *,
    minimum: int | None = None,
    maximum: int | None = LARGEST,
) -> int:
    """Return `value` as an int, or raise an error that names it `name`.

    Parameters
    ----------
    name : str
        What the error calls the value.
    value : integer
        Python's or NumPy's; not a bool, and not a float even if it is whole.
    minimum : int, optional
        The smallest value allowed.
    maximum : int, optional
        The largest value allowed; 2^63 - 1 by default, so that it does not overflow
        later, in an error without the name. None is no limit.

    Raises
    ------
    TypeError
        If `value` is not an integer.
    ValueError
        If it is less than `minimum` or more than `maximum`.

    Examples
    --------
    >>> integer("batch_size", 0, minimum=1)
    Traceback (most recent call last):
    ...
    ValueError: batch_size must be an integer >= 1; got 0
    """
    expected = "an integer" if minimum is None else f"an integer >= {minimum}"
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be {expected}; got {shown(value)}") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be {expected}; got {shown(number)}")
    if maximum is not None and not -maximum <= number <= maximum:
        expected += f"{' and' if minimum is not None else ''} <= {maximum}"
        raise ValueError(f"{name} must be {expected}; got {shown(number)}")
    return number


def size(name: str, value: object, *, minimum: int = 1) -> int:
    """Return `value` as the length of an axis, checked.

    Raises
    ------
    TypeError
        If `value` is not an integer.
    ValueError
        If it is less than `minimum` or more than 2^31 - 1.

    Examples
    --------
    >>> size("hidden_size", 2**40)
    Traceback (most recent call last):
    ...
    ValueError: hidden_size must be an integer >= 1 and <= 2147483647; got 1099511627776
    """
    return integer(name, value, minimum=minimum, maximum=2**31 - 1)


def seed_of(seed: object) -> int | None:
    """Return a seed: an integer from 0, of any size, or None for a random one.

    Raises
    ------
    TypeError
        If it is neither an integer nor None.
    ValueError
        If it is negative.
    """
    return None if seed is None else integer("seed", seed, minimum=0, maximum=None)


def flag(name: str, value: object) -> bool:
    """Return `value`, which has to be a bool, or raise an error that names it.

    Raises
    ------
    TypeError
        If `value` is neither True nor False.

    Examples
    --------
    >>> flag("nesterov", True)
    True
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False; got {shown(value)}")
    return value
