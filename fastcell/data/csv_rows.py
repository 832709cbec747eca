"""Iterator over the sequences of a CSV file, with errors by line and column."""

from __future__ import annotations

import csv
import io
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from fastcell._checks.names import one_of, path_of, real_dtype, string_of, strings_of
from fastcell.data.files import reading

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Row = tuple[str, "NDArray[np.floating]", list[str]]


class CsvRows(Iterator[Row]):
    """Iterates over the sequences of a CSV file, with one in memory at a time.

    Parameters are those of `fastcell.data.read_csv_sequences`.

    Parameters
    ----------
    present : iterable of str
        Targets that are never taken as missing.

    Attributes
    ----------
    name : str
        Name of the file.
    skipped : int
        Number of sequences left out so far.
    lines : array of int
        Line numbers of the ends of the last sequence's rows.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        id_column: str,
        feature_columns: str | Sequence[str],
        target_column: str | None = None,
        *,
        missing: Literal["error", "skip"],
        missing_values: Sequence[str],
        present: Iterable[str] = (),
        dtype: DTypeLike = np.float32,
        delimiter: str = ",",
    ) -> None:
        one_of("missing", missing, ("error", "skip"))
        self.name = path_of("path", path)
        self.skipped = 0
        self.lines = array("q")
        self._path, self._delimiter = path, delimiter
        self._skip = missing == "skip"
        self._missing = frozenset(strings_of("missing_values", missing_values))
        self._present = frozenset(present)
        self._dtype = real_dtype("dtype", dtype)
        self._id_column = string_of("id_column", id_column)
        if target_column is not None:
            string_of("target_column", target_column, "a string or None")
        self._target_column = target_column
        self._features = (
            (feature_columns,)
            if isinstance(feature_columns, str)
            else strings_of("feature_columns", feature_columns)
        )
        if not self._features:
            raise ValueError("feature_columns must name at least one column; got none")
        self._groups = self._read()

    def __next__(self) -> Row:
        return next(self._groups)

    def check_same(self, said: list[str]) -> None:
        """Raise if the rows of the last sequence differ in their targets."""
        for k, text in enumerate(said):
            if text != said[0]:
                self._refuse_target(
                    k,
                    "must be the same in all rows of a sequence without per_step; "
                    f"got {said[0]!r} and {text!r}",
                )

    def number(self, row: int, text: str) -> float:
        """Return the target of a row as a finite number."""
        number = _number(text)
        if not math.isfinite(number):
            self._refuse_target(row, f"must be a finite number; got {text!r}")
        return number

    def number_of(self, row: int, text: str, numbers: dict[str, int]) -> int:
        """Return the number of the class in the target of a row."""
        if text not in numbers:
            known = ", ".join(map(repr, numbers))
            self._refuse_target(row, f"must be one of {known}; got {text!r}")
        return numbers[text]

    def _refuse_target(self, row: int, why: str) -> NoReturn:
        raise ValueError(
            f"{self.name}, line {self.lines[row]}, {self._target_column!r}: {why}"
        )

    def _read(self) -> Iterator[Row]:
        """Yield the id, features and targets of each sequence."""
        with (
            reading(self._path) as raw,
            io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file,
        ):
            rows = csv.reader(file, delimiter=self._delimiter, strict=True)
            try:
                yield from self._gathered(rows)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{self.name}: the text must be UTF-8: {error}"
                ) from None
            except csv.Error as error:
                raise ValueError(
                    f"{self.name}, line {rows.line_num}: {error}"
                ) from None

    def _gathered(self, rows: Any) -> Iterator[Row]:
        name = self.name
        header = next(rows, None)
        if not header:
            raise ValueError(f"{name}: the file must begin with names of columns")
        id_place = _place(name, header, "id_column", self._id_column)
        places = [_place(name, header, "feature_columns", f) for f in self._features]
        target_place = (
            None
            if self._target_column is None
            else _place(name, header, "target_column", self._target_column)
        )
        most = float(np.finfo(self._dtype).max)
        seen: set[str] = set()
        current: str | None = None
        whole = True  # whether no value of this sequence is missing
        numbers, lines = array("d"), array("q")
        texts: list[str] = []
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
                    if whole:
                        yield self._group(current, numbers, texts, lines)
                    self.skipped += not whole
                    numbers, texts, lines = array("d"), [], array("q")
                current = row[id_place]
                whole = not self._is_missing(rows, header, id_place, current)
                if current in seen and whole:
                    raise ValueError(
                        f"{name}, line {rows.line_num}, {self._id_column!r}: the rows "
                        f"of {current!r} must be adjacent; got others between them"
                    )
                seen.add(current)
            for place in places:
                text = row[place]
                value = _number(text)
                if not -most <= value <= most:
                    if not self._is_missing(rows, header, place, text):
                        raise ValueError(
                            f"{name}, line {rows.line_num}, {header[place]!r}: must be "
                            f"a finite number in {self._dtype}; got {text!r}"
                        )
                    whole = False
                numbers.append(value)
            if target_place is not None:
                text = row[target_place]
                if text not in self._present and self._is_missing(
                    rows, header, target_place, text
                ):
                    whole = False
                texts.append(text)
            lines.append(rows.line_num)
        if current is None:
            raise ValueError(f"{name}: must have at least one row; got the header only")
        if whole:
            yield self._group(current, numbers, texts, lines)
        self.skipped += not whole

    def _is_missing(self, rows: Any, header: list[str], place: int, text: str) -> bool:
        """Return whether a text is a missing value; raise if these are errors."""
        if text not in self._missing and text.strip() not in self._missing:
            return False
        if self._skip:
            return True
        raise ValueError(
            f"{self.name}, line {rows.line_num}, {header[place]!r}: must not be "
            f'missing; got {text!r} (missing="skip" leaves such sequences out)'
        )

    def _group(
        self, name: str, numbers: array[float], texts: list[str], lines: array[int]
    ) -> Row:
        self.lines = lines
        x = np.frombuffer(numbers).reshape(-1, len(self._features))
        return name, x.astype(self._dtype), texts


def _number(text: str) -> float:
    """Return a text as a number, NaN if it is none."""
    try:
        return math.nan if "_" in text else float(text)  # 1_000 is Python only
    except ValueError:
        return math.nan


def _place(name: str, header: list[str], argument: str, column: str) -> int:
    if header.count(column) != 1:
        some = "no" if column not in header else "more than one"
        raise ValueError(
            f"{argument} must be among the columns of {name}, "
            f"{', '.join(map(repr, header))}; got {column!r}, of which there is {some}"
        )
    return header.index(column)
