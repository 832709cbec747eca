"""Columns of data frames and mappings, with masks of missing values.

Data frames are read by the package `narwhals`, which is imported when first needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastcell._checks.numbers import shown
from fastcell.data.files import one_line

Column = tuple[NDArray[Any], NDArray[np.bool_]]

# Attributes that mark a data frame, of which it or its class has one.
_OF_FRAMES = ("columns", "__arrow_c_stream__", "__arrow_c_array__")


class Columns(Protocol):
    """Interface of a table.

    Attributes
    ----------
    names : list of str
    count : int
        Number of rows.
    """

    names: list[str]
    count: int

    def values(self, name: str, sortable: bool = False) -> Column:
        """Return the values of a column, and a mask of missing ones.

        Numbers have their own dtype; all else is an array of objects, also dates unless
        `sortable`. Missing values are undefined.
        """


def columns_of(frame: Any) -> Columns:
    """Return the columns of a data frame, or of a mapping of names to arrays.

    Raises
    ------
    ImportError
        If `frame` is a data frame, and `narwhals` is not installed.
    TypeError, ValueError
        If it is neither.
    """
    if isinstance(frame, Mapping):
        return _Arrays(frame)
    if isinstance(frame, type) or not any(hasattr(type(frame), n) for n in _OF_FRAMES):
        raise TypeError(
            "frame must be a data frame, or a mapping of names to columns; "
            f"got {shown(frame)}{_way_out(frame)}"
        )
    return _Frame(frame)


class _Arrays:
    """A table from a mapping of names to arrays or lists."""

    def __init__(self, frame: Mapping[str, Any]) -> None:
        self._frame = frame
        self.names = list(frame)
        self.count = len(self._array(self.names[0])) if self.names else 0

    def values(self, name: str, sortable: bool = False) -> Column:
        array = self._array(name)
        if len(array) != self.count:
            raise ValueError(
                f"frame[{name!r}] must have {self.count} rows, as the first column; "
                f"got {len(array)}"
            )
        kind = array.dtype.kind
        if kind == "O":
            # NaN and NaT are not equal to themselves.
            gone = np.array([_is_missing(value) for value in array], np.bool_)
        elif kind == "f":
            gone = np.isnan(array)
        elif kind in "mM":
            gone = np.isnat(array)
        else:
            gone = np.zeros(self.count, np.bool_)
        if isinstance(self._frame[name], np.ma.MaskedArray):
            gone |= np.ma.getmaskarray(self._frame[name])
        if kind in "SU" or (kind in "mM" and not sortable):
            array = _objects(list(array))
        return array, gone

    def _array(self, name: str) -> NDArray[Any]:
        column = self._frame[name]
        try:
            array = np.asarray(column)
            if array.dtype.kind in "SU" and not isinstance(column, np.ndarray):
                array = _objects(list(column))  # numbers among text remain numbers
        except Exception as error:  # columns of any class may raise anything
            raise TypeError(
                f"frame[{name!r}] must be an array; {one_line(error)}"
            ) from None
        if array.ndim != 1:
            raise ValueError(
                f"frame[{name!r}] must have one dimension; got the shape {array.shape}"
            )
        return array


class _Frame:
    """A table from a data frame, by narwhals."""

    def __init__(self, frame: Any) -> None:
        try:
            import narwhals
        except ImportError as error:
            raise ImportError(
                "frame: a data frame needs the package narwhals, which is not "
                "installed: pip install narwhals"
            ) from error
        self._narwhals = narwhals
        try:
            self._frame = narwhals.from_native(_whole(frame), eager_only=True)
        except Exception as error:  # including narwhals' own classes
            raise TypeError(
                "frame must be a data frame that narwhals knows, with columns of "
                f"different names; got {shown(frame)}{_way_out(frame)} "
                f"({one_line(error)})"
            ) from None
        self.names = list(self._frame.columns)
        self.count = len(self._frame)

    def values(self, name: str, sortable: bool = False) -> Column:
        series = self._frame[name]
        kind = series.dtype
        gone = np.array(series.is_null().to_numpy(), np.bool_)
        if kind.is_float():
            gone |= np.array(series.is_nan().fill_null(True).to_numpy(), np.bool_)
        number = kind.is_numeric() or kind == self._narwhals.Boolean
        if gone.any() or not (number or (sortable and kind.is_temporal())):
            values = series.to_list()
            if not kind.is_float():
                return _objects(values), gone
            pairs = zip(values, gone.tolist(), strict=True)
            return np.array([np.nan if no else v for v, no in pairs], float), gone
        return np.asarray(series.to_numpy()), gone


def _way_out(frame: Any) -> str:
    """Return a hint how to make a frame of a series or a lazy frame."""
    for method in ("to_frame", "collect"):
        if hasattr(type(frame), method):
            return f": say frame.{method}()"
    return ""


def _whole(frame: Any) -> Any:
    """Return a frame that narwhals can read; record batches become Arrow tables."""
    if type(frame).__name__ in ("RecordBatch", "RecordBatchReader", "DuckDBPyRelation"):
        import pyarrow

        return pyarrow.table(frame)
    return frame


def _objects(values: list[Any]) -> NDArray[Any]:
    return np.fromiter(values, object, len(values))  # lists are objects as well


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except Exception:  # comparing pandas' NA has no truth value
        return type(value).__name__ == "NAType"
