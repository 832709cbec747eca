"""Sequences from CSV files, one row for each step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, final

import numpy as np

from fastcell._checks.names import one_of, strings_of
from fastcell._checks.numbers import flag
from fastcell.data.csv_rows import CsvRows

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


# Texts of missing values: the list of pandas.read_csv.
MISSING_VALUES = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
    *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)


class _Columns(NamedTuple):
    ids: list[str]  # from the id column
    sequences: list[NDArray[np.floating]]  # (T_i, I) features
    targets: list[Any] | None  # classes (int), values (float), or arrays (T_i,) of them
    classes: tuple[str, ...] | None  # the name of each class


@final
class CsvSequences(_Columns):
    """Result of `read_csv_sequences`, with one item for each sequence of the file."""

    skipped: int = 0  # number of sequences left out for a missing value


def read_csv_sequences(
    path: str | os.PathLike[str],
    id_column: str,
    feature_columns: str | Sequence[str],
    target_column: str | None = None,
    *,
    target: Literal["class", "value"] = "class",
    per_step: bool = False,
    classes: Sequence[str] | None = None,
    missing: Literal["error", "skip"] = "error",
    missing_values: Sequence[str] = MISSING_VALUES,
    dtype: DTypeLike = np.float32,
    delimiter: str = ",",
) -> CsvSequences:
    r"""Read sequences from a CSV file in which each row is one step.

    The first row names the columns. The rows of a sequence have the same id and are
    adjacent, ordered by time. The file is read row by row, and only numbers are kept in
    memory. For files larger than memory, see `iter_csv_sequences`.

    Parameters
    ----------
    path : path
        UTF-8, with or without a byte order mark.
    id_column : str
        The column that identifies the sequence of a row.
    feature_columns : str or sequence of str
        The features, finite numbers.
    target_column : str, optional
        The target of the sequence.
    target : {"class", "value"}
        Whether targets are names of classes or numbers.
    per_step : bool, default False
        Whether each step has its own target. If not, all rows of a sequence must have
        the same.
    classes : sequence of str, optional
        The names of the classes in the order of their numbers, such as those of a
        model's training file. By default those that occur, sorted by number if all are
        whole numbers, else alphabetically.
    missing : {"error", "skip"}
        Treatment of a missing id, feature or target: an error, or the whole sequence is
        left out and counted. Adjacent rows without an id form one such sequence.
    missing_values : sequence of str
        Texts of missing values, ignoring blanks around them. By default as in pandas:
        the empty text, NA, N/A, NaN, None, NULL and similar. Names in `classes` are
        never missing values.
    dtype : dtype, default float32
        Dtype of the features, float32 or float64.
    delimiter : str, default ","
        The separator of columns.

    Returns
    -------
    CsvSequences
        A tuple ``(ids, sequences, targets, classes)``; its attribute `skipped` is the
        number of sequences left out.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If an argument is not as described above, a column is missing, a value is
        missing or no finite number, a class is unknown, the rows of a sequence are not
        adjacent, or no sequence is left; the error names the file, the line and the
        column.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastcell.data import read_csv_sequences
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "walks.csv")
    ...     with open(path, "w") as file:
    ...         size = file.write("walk,x,y,label\na,0,1,up\na,0,2,up\nb,3,1,down\n")
    ...     data = read_csv_sequences(path, "walk", ["x", "y"], "label")
    >>> data.ids, data.targets, data.classes
    (['a', 'b'], [1, 0], ('down', 'up'))
    >>> data.sequences[0]
    array([[0., 1.],
           [0., 2.]], dtype=float32)

    A missing label is not a class:

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "walks.csv")
    ...     with open(path, "w") as file:
    ...         size = file.write("walk,x,label\na,0,up\nb,3,NA\nc,2,down\n")
    ...     data = read_csv_sequences(path, "walk", "x", "label", missing="skip")
    >>> data.ids, data.classes, data.skipped
    (['a', 'c'], ('down', 'up'), 1)
    """
    one_of("target", target, ("class", "value"))
    flag("per_step", per_step)
    given = None if classes is None else strings_of("classes", classes)
    if given == ():
        raise ValueError("classes must hold at least one name; got none")
    rows = CsvRows(
        path,
        id_column,
        feature_columns,
        target_column,
        missing=missing,
        missing_values=missing_values,
        present=given or (),
        dtype=dtype,
        delimiter=delimiter,
    )
    known: dict[str, int] | None = None
    if given is not None:
        known = {name: n for n, name in enumerate(given)}
    if given is not None and len(set(given)) < len(given):
        raise ValueError(f"classes must differ; got {given!r}")
    ids, sequences = [], []
    found: list[Any] = []  # targets: arrays, or texts until the classes are known
    for name, x, said in rows:
        ids.append(name)
        sequences.append(x)
        if target_column is None:
            continue
        if not per_step:
            rows.check_same(said)
            said = said[:1]
        if target == "value":
            found.append(np.array([rows.number(*one) for one in enumerate(said)]))
        elif known is not None:
            numbers = [rows.number_of(k, text, known) for k, text in enumerate(said)]
            found.append(np.array(numbers))
        else:
            found.append(said)
    if not ids:
        raise ValueError(
            f"{rows.name}: must have a sequence of which no value is missing; all "
            f"{rows.skipped} were left out"
        )
    targets: list[Any] | None = found
    names: tuple[str, ...] | None = None
    if target_column is None:
        targets = None
    elif target == "value":
        names = None
    elif known is None:
        names = in_order({text for said in found for text in said})
        known = {name: number for number, name in enumerate(names)}
        targets = [np.array([known[text] for text in said]) for said in found]
    else:
        names = given
    if targets is not None and not per_step:
        targets = [values[0].item() for values in targets]
    data = CsvSequences(ids, sequences, targets, names)
    data.skipped = rows.skipped
    return data


def iter_csv_sequences(
    path: str | os.PathLike[str],
    id_column: str,
    feature_columns: str | Sequence[str],
    target_column: str | None = None,
    *,
    missing: Literal["error", "skip"] = "error",
    missing_values: Sequence[str] = MISSING_VALUES,
    dtype: DTypeLike = np.float32,
    delimiter: str = ",",
) -> CsvRows:
    r"""Iterate over the sequences of a CSV file, with one in memory at a time.

    Parameters and errors are those of `read_csv_sequences`.

    Returns
    -------
    CsvRows
        An iterator. Its attribute `skipped` is the number of sequences left out so far.

    Yields
    ------
    id : str
    x : (T, I) array
    targets : list of str
        Texts of the target column at each step; empty without one.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastcell.data import iter_csv_sequences
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "walks.csv")
    ...     with open(path, "w") as file:
    ...         size = file.write("walk,x\na,0\na,1\nb,3\n")
    ...     [len(x) for _, x, _ in iter_csv_sequences(path, "walk", "x")]
    [2, 1]
    """
    return CsvRows(
        path,
        id_column,
        feature_columns,
        target_column,
        missing=missing,
        missing_values=missing_values,
        dtype=dtype,
        delimiter=delimiter,
    )


def in_order(names: set[str]) -> tuple[str, ...]:
    """Return names of classes in the order of their numbers: whole numbers by value."""
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))
