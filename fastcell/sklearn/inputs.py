"""Validation of X: lists of arrays or data frames, arrays, tables as sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

_REALS = [np.float64, np.float32]


def checked_sequences(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Check X of any supported form, and return its sequences (T_i, I).

    Parameters
    ----------
    estimator : estimator
        The estimator that stores, or has, the number of features and their names.
    X : list of arrays or data frames, array (N, T, I), or array-like (N, T)
    reset : bool
        Whether X is that of `fit`; otherwise it must have the same features.

    Returns
    -------
    list of arrays, or array (N, T, I)
        Real and finite.

    Raises
    ------
    TypeError, ValueError
        If X has another form, or its features differ from those of `fit`.
    """
    items = _list_of_sequences(X)
    if items is not None:
        steps = [_steps(i, sequence) for i, sequence in enumerate(items)]
        first = items[0] if hasattr(items[0], "columns") else steps[0]
        _check_columns(items)
        validate_data(estimator, first, skip_check_array=True, reset=reset)
        width = steps[0].shape[1]
        for i, array in enumerate(steps):
            if array.shape[1] != width:
                raise ValueError(
                    f"X[{i}] must have {width} features, as X[0]; got {array.shape[1]}"
                )
        return steps
    if axes_of(X) == 3:
        X = check_array(
            X, dtype=_REALS, allow_nd=True, input_name="X", estimator=estimator
        )
        if 0 in X.shape[1:]:
            raise ValueError(
                "X must have at least one step and one feature; got the shape "
                f"{X.shape}"
            )
        validate_data(estimator, X[0], skip_check_array=True, reset=reset)
        return X
    table = validate_data(estimator, X, dtype=_REALS, reset=reset)
    return table[:, :, np.newaxis]


def _list_of_sequences(X: Any) -> list[Any] | None:
    """Return a list, tuple or column of sequences as a list; None if X is a table."""
    if isinstance(X, (list, tuple)):
        items = list(X)
    elif str(getattr(X, "dtype", "")) == "object" and axes_of(X) == 1:
        items = list(np.asarray(X, object))
    else:
        return None
    first = items[0] if items else 0.0
    if isinstance(first, (list, tuple)):  # of numbers: a row of a table
        of_steps = len(first) > 0 and np.ndim(first[0]) > 0
    else:
        of_steps = getattr(first, "ndim", 0) > 0 or hasattr(first, "columns")
    return items if of_steps else None


def _steps(i: int, sequence: Any) -> np.ndarray:
    """Return a sequence as an array (T, I) of real numbers, finite."""
    array = sequence
    if hasattr(array, "to_numpy"):
        array = array.to_numpy()
    array = np.asarray(array)
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"X[{i}] must be numbers; {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"X[{i}] must be real numbers; got dtype {array.dtype}")
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"X[{i}] must have the shape (T, I), with at least one step and one "
            f"feature; got {array.shape}"
        )
    assert_all_finite(array, input_name=f"X[{i}]")
    return array


def _check_columns(X: Any) -> None:
    """Raise unless all data frames have the columns of the first, in their order."""
    names = list(getattr(X[0], "columns", []))
    for i, frame in enumerate(X):
        its = list(getattr(frame, "columns", names))
        if its != names:
            raise ValueError(f"X[{i}] must have the columns {names} of X[0]; got {its}")


def axes_of(X: Any) -> int:
    """Return the number of axes; 0 if X is not an array, which others refuse."""
    ndim = getattr(X, "ndim", None)
    if ndim is None:
        try:
            ndim = np.asarray(X).ndim
        except ValueError:  # lists of different lengths
            return 0
    return int(ndim)
