"""Sequences from tables of text: one row a step, read by Python's csv module."""

from __future__ import annotations

import csv
import math
import os
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from fastcell._files import named_errors
from fastcell._numbers import flag

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class CsvSequences(NamedTuple):
    """What `read_csv_sequences` returns; an item for each sequence of the file."""

    ids: list[str]  # what the id column says
    sequences: list[NDArray[np.floating]]  # (T_i, I) features
    targets: list[Any] | None  # classes (int), values (float), or arrays (T_i,) of them
    classes: tuple[str, ...] | None  # the name of each class


def read_csv_sequences(
    path: str | os.PathLike[str],
    id_column: str,
    feature_columns: str | Sequence[str],
    target_column: str | None = None,
    *,
    target: Literal["class", "value"] = "class",
    per_step: bool = False,
    classes: Sequence[str] | None = None,
    dtype: DTypeLike = np.float32,
    delimiter: str = ",",
) -> CsvSequences:
    r"""Read sequences from a CSV file, of which each row is one step.

    The first row names the columns. The rows of a sequence have the same id and stand
    together, in the order of time. The file is read row by row: what is kept is the
    numbers. For a file that is larger than the memory, see `iter_csv_sequences`.

    Parameters
    ----------
    path : path
        UTF-8, with or without a byte order mark.
    id_column : str
        Tells which sequence a row belongs to.
    feature_columns : str or sequence of str
        The features, finite numbers.
    target_column : str, optional
        What the sequence is to be mapped to.
    target : {"class", "value"}
        Whether targets are names of classes, or numbers.
    per_step : bool, default False
        Whether each step has a target of its own. If not, all rows of a sequence say
        the same.
    classes : sequence of str, optional
        The names of the classes in the order of their numbers, such as those of the
        file that a model was trained on. If not given, they are those that come, in the
        order of numbers if all are whole numbers, in that of the alphabet otherwise.
    dtype : dtype, default float32
        float32 or float64, of the features.
    delimiter : str, default ","
        What stands between two columns.

    Returns
    -------
    CsvSequences
        A tuple ``(ids, sequences, targets, classes)``.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If an argument is not as said above, a column is missing, a value is no finite
        number, a class is unknown, or the rows of a sequence do not stand together; the
        error names the file, the line and the column.

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
    """
    if target not in ("class", "value"):
        raise ValueError(f'target must be "class" or "value"; got {target!r}')
    flag("per_step", per_step)
    ids, sequences, texts = [], [], []
    for name, x, said in _groups(
        path, id_column, feature_columns, target_column, dtype, delimiter
    ):
        ids.append(name)
        sequences.append(x)
        texts.append(said if per_step else said[:1])
        if not per_step:
            other = next((k for k, text in enumerate(said) if text != said[0]), None)
            if other is not None:
                raise ValueError(
                    f"{os.fsdecode(path)}: {target_column!r} must be the same in all "
                    f"rows of {name!r} without per_step; got {said[0]!r} and "
                    f"{said[other]!r}"
                )
    if target_column is None:
        return CsvSequences(ids, sequences, None, None)
    place = f"{os.fsdecode(path)}, {target_column!r}"
    if target == "value":
        targets = [
            np.array([_number(text, f"{place}, sequence {name!r}") for text in said])
            for name, said in zip(ids, texts, strict=True)
        ]
        names = None
    else:
        came = {text for said in texts for text in said}
        names = _in_order(came) if classes is None else tuple(classes)
        numbers = {name: number for number, name in enumerate(names)}
        unknown = sorted(came - numbers.keys())
        if unknown:
            raise ValueError(
                f"{place}: must be one of {', '.join(map(repr, names))}; "
                f"got {unknown[0]!r}"
            )
        targets = [np.array([numbers[text] for text in said]) for said in texts]
    if not per_step:
        targets = [values[0].item() for values in targets]
    return CsvSequences(ids, sequences, targets, names)


def iter_csv_sequences(
    path: str | os.PathLike[str],
    id_column: str,
    feature_columns: str | Sequence[str],
    target_column: str | None = None,
    *,
    dtype: DTypeLike = np.float32,
    delimiter: str = ",",
) -> Iterator[tuple[str, NDArray[np.floating], list[str]]]:
    r"""Go through the sequences of a CSV file, one in memory at a time.

    Parameters and errors are those of `read_csv_sequences`.

    Yields
    ------
    id : str
    x : (T, I) array
    targets : list of str
        What the target column says at each step; empty without one.

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
    yield from _groups(
        path, id_column, feature_columns, target_column, dtype, delimiter
    )


def _groups(
    path: str | os.PathLike[str],
    id_column: str,
    feature_columns: str | Sequence[str],
    target_column: str | None,
    dtype: DTypeLike,
    delimiter: str,
) -> Iterator[tuple[str, NDArray[np.floating], list[str]]]:
    """Yield id, features, and texts of the target column."""
    name = os.fsdecode(path)
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64; got {dtype}")
    most = float(np.finfo(dtype).max)
    features = (
        [feature_columns] if isinstance(feature_columns, str) else list(feature_columns)
    )
    if not features:
        raise ValueError("feature_columns must name at least one column; got none")
    with (
        named_errors(path),
        open(path, encoding="utf-8-sig", newline="") as file,
    ):
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = next(rows, None)
            if not header:
                raise ValueError(f"{name}: the file must begin with names of columns")
            id_place = _place(name, header, "id_column", id_column)
            places = [_place(name, header, "feature_columns", f) for f in features]
            target_place = (
                None
                if target_column is None
                else _place(name, header, "target_column", target_column)
            )
            seen: set[str] = set()
            current: str | None = None
            numbers, texts = array("d"), []
            for row in rows:
                if not row:  # an empty line
                    continue
                if len(row) != len(header):
                    raise ValueError(
                        f"{name}, line {rows.line_num}: must have the {len(header)} "
                        f"columns of the header; got {len(row)}"
                    )
                if row[id_place] != current:
                    if current is not None:
                        yield current, _matrix(numbers, len(features), dtype), texts
                        numbers, texts = array("d"), []
                    current = row[id_place]
                    if current in seen:
                        raise ValueError(
                            f"{name}, line {rows.line_num}: the rows of {current!r} "
                            "must stand together; got others between them"
                        )
                    seen.add(current)
                for place in places:
                    try:
                        value = float(row[place])
                    except ValueError:
                        value = math.nan
                    if not -most <= value <= most:
                        raise ValueError(
                            f"{name}, line {rows.line_num}, {header[place]!r}: must be "
                            f"a finite number in {dtype}; got {row[place]!r}"
                        )
                    numbers.append(value)
                if target_place is not None:
                    texts.append(row[target_place])
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: the text must be UTF-8: {error}") from None
        except csv.Error as error:
            raise ValueError(f"{name}, line {rows.line_num}: {error}") from None
        if current is None:
            raise ValueError(f"{name}: must have at least one row; got the header only")
        yield current, _matrix(numbers, len(features), dtype), texts


def _place(name: str, header: list[str], argument: str, column: str) -> int:
    if header.count(column) != 1:
        some = "no" if column not in header else "more than one"
        raise ValueError(
            f"{argument} must be among the columns of {name}, "
            f"{', '.join(map(repr, header))}; got {column!r}, of which there is {some}"
        )
    return header.index(column)


def _number(text: str, where: str) -> float:
    """Return the finite number that a text stands for, or raise an error."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: must be a finite number; got {text!r}")
    return number


def _matrix(numbers: array[float], width: int, dtype: np.dtype) -> NDArray[Any]:
    return np.frombuffer(numbers).reshape(-1, width).astype(dtype)


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Return names of classes as they are numbered: whole numbers by their value."""
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))
