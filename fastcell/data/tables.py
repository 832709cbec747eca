"""Sequences from tables in memory: data frames, or mappings of columns."""

from __future__ import annotations

import decimal
import itertools
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, final

import numpy as np

from fastcell._checks.names import list_of, one_of, real_dtype, string_of, strings_of
from fastcell._checks.numbers import flag, shown
from fastcell.data.columns import Column, columns_of
from fastcell.data.csv_files import in_order

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class _Columns(NamedTuple):
    ids: list[Any]  # from the id column; [None] without one
    sequences: list[NDArray[np.floating]]  # (T_i, I) features
    targets: list[Any] | None  # classes (int), values (float), or arrays (T_i,) of them
    classes: tuple[Any, ...] | None  # each class as in the target column


@final
class TableSequences(_Columns):
    """Result of `sequences_from_table`, one item for each sequence of the table."""

    skipped: int = 0  # number of sequences left out for a missing value


def sequences_from_table(
    frame: Any,
    id_column: str | None,
    feature_columns: str | Sequence[str],
    target_column: str | None = None,
    *,
    time_column: str | None = None,
    target: Literal["class", "value"] = "class",
    per_step: bool = False,
    classes: Sequence[Any] | None = None,
    missing: Literal["error", "skip"] = "error",
    dtype: DTypeLike = np.float32,
) -> TableSequences:
    """Return the sequences of a table in memory in which each row is one step.

    `id_column` identifies the sequence of each row. Without it, the whole table is one
    sequence, such as a series for `fastcell.data.Windows` and a
    `fastcell.models.Forecaster`.

    Data frames need the package `narwhals` (``pip install narwhals``), which supports
    pandas, polars, Arrow (pyarrow) and others.

    Parameters
    ----------
    frame : data frame, or mapping of str to array
        A DataFrame of pandas or polars, an Arrow table, or columns (N,) by name. An
        index of pandas is not a column; ``frame.reset_index()`` makes it one.
    id_column : str or None
        The column that identifies the sequence of a row: numbers, text or dates. Rows
        of a sequence need not be adjacent. None: all rows are one sequence.
    feature_columns : str or sequence of str
        The features, finite numbers.
    target_column : str, optional
        The target of the sequence.
    time_column : str, optional
        The column that sorts the rows of each sequence. Without it, and for equal
        values, rows keep the order of the table.
    target : {"class", "value"}
        Whether targets are classes (text or whole numbers) or numbers.
    per_step : bool, default False
        Whether each step has its own target. If not, all rows of a sequence must have
        the same.
    classes : sequence, optional
        The classes in the order of their numbers, such as those of a model's training
        table. By default those that occur, sorted by number if all are whole numbers,
        else alphabetically.
    missing : {"error", "skip"}
        Treatment of a missing value (null, NaN) in these columns: an error, or the
        whole sequence is left out and counted. Adjacent rows without an id form one
        such sequence.
    dtype : dtype, default float32
        Dtype of the features, float32 or float64.

    Returns
    -------
    TableSequences
        A tuple ``(ids, sequences, targets, classes)``, sequences in the order of the
        first occurrence of their ids; its attribute `skipped` is the number left out.

    Raises
    ------
    ImportError
        If `frame` is a data frame, and `narwhals` is not installed.
    TypeError, ValueError
        If an argument is not as described above, a column is missing or of another
        kind, a value is missing or no finite number, a class is unknown, or no sequence
        is left; the error names the row, from 0, and the column.

    Examples
    --------
    >>> from fastcell.data import sequences_from_table
    >>> table = {"walk": ["a", "b", "a"], "x": [0, 3, 1], "label": ["up", "down", "up"]}
    >>> data = sequences_from_table(table, "walk", "x", "label")
    >>> data.ids, data.targets, data.classes
    (['a', 'b'], [1, 0], ('down', 'up'))
    >>> data.sequences[0]
    array([[0.],
           [1.]], dtype=float32)

    One long series, and windows of it:

    >>> from fastcell.data import Windows
    >>> hours = {"load": [0.3, 0.1, 0.4, 0.1, 0.5], "hour": [0, 1, 2, 4, 3]}
    >>> series = sequences_from_table(hours, None, "load", time_column="hour")
    >>> series.sequences[0][:, 0]
    array([0.3, 0.1, 0.4, 0.5, 0.1], dtype=float32)
    >>> Windows(series.sequences, given=2, ahead=1)
    <Windows of 1 batches: 3 windows of 2 frames and 1 ahead, batch_size=32>
    """
    one_of("missing", missing, ("error", "skip"))
    one_of("target", target, ("class", "value"))
    flag("per_step", per_step)
    real = real_dtype("dtype", dtype)
    for name, column in (
        ("id_column", id_column),
        ("target_column", target_column),
        ("time_column", time_column),
    ):
        if column is not None:
            string_of(name, column, "a string or None")
    features = (
        (feature_columns,)
        if isinstance(feature_columns, str)
        else strings_of("feature_columns", feature_columns)
    )
    if not features:
        raise ValueError("feature_columns must name at least one column; got none")
    known = None if classes is None else _known(classes)

    table = _Table(frame, missing == "skip")
    codes, ids = table.sequences(id_column)
    columns = [table.numbers("feature_columns", column, real) for column in features]
    said: Any = None
    if target_column is not None and target == "value":
        said = table.numbers("target_column", target_column, np.dtype(np.float64))
    elif target_column is not None:
        said = table.values("target_column", target_column)
    # The last key is the primary one; rows of equal keys keep their order.
    keys = [codes] if time_column is None else [table.ranks(time_column), codes]
    whole = np.ones(len(ids), np.bool_)
    whole[codes[table.lacking & (codes >= 0)]] = False
    if not whole.any():
        raise ValueError(
            "frame must have a sequence of which no value is missing; all "
            f"{len(ids) + table.nameless} were left out"
        )
    order = np.lexsort(keys)
    order = order[codes[order] >= 0]
    order = order[whole[codes[order]]]
    ends = np.flatnonzero(np.diff(codes[order])) + 1

    targets: list[Any] | None = None
    names: tuple[Any, ...] | None = None
    if target_column is not None:
        said = said[order]
        if target == "class":
            said, names = _numbered(target_column, said, order, known)
        targets = np.split(said, ends)
        if not per_step:
            targets = _one_each(target_column, targets, order, names)
    data = TableSequences(
        [name for name, kept in zip(ids, whole.tolist(), strict=True) if kept],
        np.split(np.stack([column[order] for column in columns], axis=1), ends),
        targets,
        names,
    )
    data.skipped = len(ids) - int(whole.sum()) + table.nameless
    return data


class _Table:
    """The columns of a table, and a mask of rows with missing values.

    Attributes
    ----------
    lacking : (N,) array of bool
        Rows with a missing value in the columns read so far.
    nameless : int
        Number of sequences without an id.
    """

    def __init__(self, frame: Any, skip: bool) -> None:
        self._columns = columns_of(frame)
        self._skip = skip
        if self._columns.count == 0:
            raise ValueError("frame must have at least one row; got none")
        self.lacking = np.zeros(self._columns.count, np.bool_)
        self.nameless = 0

    def sequences(self, column: str | None) -> tuple[NDArray[np.int64], list[Any]]:
        """Return the number of each row's sequence, -1 without an id, and the ids."""
        if column is None:
            return np.zeros(len(self.lacking), np.int64), [None]
        values, gone = self._asked("id_column", column)
        first = gone & ~np.concatenate([[False], gone[:-1]])
        self.nameless = int(np.count_nonzero(first))
        codes = np.full(len(values), -1, np.int64)
        try:
            codes[~gone], ids = _factorized(values[~gone])
        except TypeError as error:  # a column of lists
            raise TypeError(
                f"id_column must name a column of numbers, text or dates; got "
                f"{column!r}: {error}"
            ) from None
        return codes, ids

    def numbers(self, argument: str, column: str, dtype: np.dtype) -> NDArray[Any]:
        """Return a column of finite numbers; undefined where one is missing."""
        values, gone = self._asked(argument, column)
        if values.dtype.kind not in "biuf":
            kinds = (numbers.Real, decimal.Decimal)
            for value in values[~gone]:
                if not isinstance(value, kinds):
                    raise TypeError(
                        f"{argument} must name columns of numbers; got {column!r}, "
                        f"which holds {shown(value)}"
                    )
        reals = np.where(gone, 0, values).astype(np.float64)
        wrong = ~(np.abs(reals) <= float(np.finfo(dtype).max))
        if wrong.any():
            row = int(np.argmax(wrong))
            _refuse(row, column, f"be a finite number in {dtype}; got {values[row]}")
        checked: NDArray[Any] = reals.astype(dtype)
        return checked

    def values(self, argument: str, column: str) -> NDArray[Any]:
        """Return a column of anything; undefined where one is missing."""
        return self._asked(argument, column)[0]

    def ranks(self, column: str) -> NDArray[Any]:
        """Return the sort keys of the rows by a column."""
        values, gone = self._asked("time_column", column, sortable=True)
        if values.dtype.kind in "biufmM":
            return values
        rows = np.flatnonzero(~gone).tolist()
        ranks = np.zeros(len(values), np.int64)
        try:
            rows.sort(key=values.__getitem__)
            for before, row in itertools.pairwise(rows):
                ranks[row] = ranks[before] + bool(values[row] != values[before])
        except TypeError as error:
            raise TypeError(
                f"time_column must name a column that can be sorted; got {column!r}: "
                f"{error}"
            ) from None
        return ranks

    def _asked(self, argument: str, column: str, sortable: bool = False) -> Column:
        names = self._columns.names
        if column not in names:
            raise ValueError(
                f"{argument} must be among the columns of frame, "
                f"{', '.join(map(repr, names[:50]))}; got {column!r}"
            )
        values, gone = self._columns.values(column, sortable)
        if gone.any() and not self._skip:
            _refuse(
                int(np.argmax(gone)),
                column,
                'not be missing (missing="skip" leaves such sequences out)',
            )
        self.lacking |= gone
        return values, gone


def _factorized(values: NDArray[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """Return the number of each value, and the values in order of occurrence.

    Raises
    ------
    TypeError
        If a value is not hashable.
    """
    if values.dtype.kind in "biuf":
        there, first, codes = np.unique(values, return_index=True, return_inverse=True)
        order = np.argsort(first)
        return np.argsort(order)[codes], there[order].tolist()
    places: dict[Any, int] = {}
    found = [places.setdefault(item, len(places)) for item in values.tolist()]
    return np.array(found, np.int64), list(places)


def _numbered(
    column: str,
    said: NDArray[Any],
    rows: NDArray[np.int64],
    known: tuple[Any, ...] | None,
) -> tuple[NDArray[np.int64], tuple[Any, ...]]:
    """Return the class numbers of the target column, and the classes."""
    try:
        codes, values = _factorized(said)
        names = [_class(value) for value in values]
    except TypeError:
        for row, value in zip(rows.tolist(), said.tolist(), strict=True):
            if not _is_class(value):
                _refuse(
                    row,
                    column,
                    f"be a class, text or a whole number; got {shown(value)}",
                )
        raise
    if known is None:
        known = _in_order(column, set(names))
    places = {name: place for place, name in enumerate(known)}
    chosen = np.array([places.get(name, -1) for name in names], np.int64)[codes]
    if chosen.min() < 0:
        place = int(np.argmin(chosen))
        some = ", ".join(map(repr, known[:20]))
        got = names[int(codes[place])]
        _refuse(int(rows[place]), column, f"be one of the classes {some}; got {got!r}")
    return chosen, known


def _is_class(value: Any) -> bool:
    try:
        _class(value)
    except TypeError:
        return False
    return True


def _class(value: Any) -> Any:
    """Return a class as text or an integer, also from an integral float.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float) and not value.is_integer():
        raise TypeError
    if isinstance(value, (float, numbers.Integral, np.bool_)):
        return int(value)
    raise TypeError


def _in_order(column: str, names: set[Any]) -> tuple[Any, ...]:
    if all(isinstance(name, str) for name in names):
        return in_order(names)
    if any(isinstance(name, str) for name in names):
        raise TypeError(
            "target_column must name a column of text or of whole numbers; "
            f"got {column!r}, which holds both"
        )
    return tuple(sorted(names))


def _one_each(
    column: str,
    targets: list[NDArray[Any]],
    rows: NDArray[np.int64],
    names: tuple[Any, ...] | None,
) -> list[Any]:
    """Return the target of each sequence, the same in all of its rows."""
    start = 0
    for part in targets:
        other = part != part[0]
        if other.any():
            at = int(np.argmax(other))
            one, two = (part[k].item() for k in (0, at))
            if names is not None:
                one, two = names[one], names[two]
            _refuse(
                int(rows[start + at]),
                column,
                "be the same in all rows of a sequence without per_step; "
                f"got {one!r} and {two!r}",
            )
        start += len(part)
    return [part[0].item() for part in targets]


def _refuse(row: int, column: str, what: str) -> NoReturn:
    raise ValueError(f"frame, row {row}, {column!r}: must {what}")


def _known(classes: Any) -> tuple[Any, ...]:
    """Return the caller's classes, checked: text or integers, all distinct."""
    try:
        known = tuple(map(_class, list_of("classes", classes, "a list of classes")))
        if not known or len(set(known)) < len(known):
            raise ValueError(f"classes must be one or more, and differ; got {known!r}")
    except TypeError:
        raise TypeError(
            f"classes must be text or whole numbers; got {shown(classes)}"
        ) from None
    return known
