"""Checks of scalar arguments, shared by the losses, the optimizers and the data."""

from __future__ import annotations

import math
import numbers
import operator


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
        Bounds that belong to the range.
    above, below : float, optional
        Bounds that do not.

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
        return value  # before any text is made: optimizers ask in each step
    limits = {">=": minimum, ">": above, "<=": maximum, "<": below}
    expected = " and ".join(f"{k} {v:g}" for k, v in limits.items() if v is not None)
    expected = f"a finite number {expected}".rstrip()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {expected}; got {value!r}")
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
        raise ValueError(f"{name} must be {expected}; got {value!r}")
    return number


def integer(name: str, value: object, *, minimum: int | None = None) -> int:
    """Return `value` as an int, or raise an error that names it `name`.

    Parameters
    ----------
    name : str
        What the error calls the value.
    value : integer
        Python's or NumPy's; not a bool, and not a float even if it is whole.
    minimum : int, optional
        The smallest value allowed.

    Raises
    ------
    TypeError
        If `value` is not an integer.
    ValueError
        If it is less than `minimum`.

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
        raise TypeError(f"{name} must be {expected}; got {value!r}") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be {expected}; got {number}")
    return number


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
        raise TypeError(f"{name} must be True or False; got {value!r}")
    return value
