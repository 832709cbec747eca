"""Callbacks of a training run: early stopping, saving the best model, logs of records.

A callback is called as ``callback(trainer, record)`` with each new record. If it has a
method ``begin(trainer)``, that is called before the first step of each run, new or
resumed, when ``trainer.history`` holds the records before it. Callbacks of this module
depend on the history alone, so a resumed run does the same as an uninterrupted one.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from fastcell._checks.files import named_errors, remove_leftovers, write_atomically
from fastcell._checks.names import one_of, path_of
from fastcell._checks.numbers import integer, real, shown
from fastcell.module import Module
from fastcell.train.history import History

Record = dict[str, Any]


class Running(Protocol):
    """The members of a trainer that these callbacks use."""

    model: Module
    history: History

    def stop(self) -> None: ...


__all__ = ["CSVLogger", "EarlyStopping", "JSONLogger", "SaveBest"]


class EarlyStopping:
    """End a run when a value has not improved for some records in a row.

    Parameters
    ----------
    patience : int
        Number of records in a row without a new best value that ends the run; at
        least 1.
    monitor : str, default "valid_loss"
        The key of the value in the records.
    mode : {"min", "max"}
        Whether less or more is better.
    min_delta : float, default 0.0
        A value is better only if it exceeds the best one by more than this. NaN and
        infinity never are.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as said above; in a run, if the records have no such
        value.

    Examples
    --------
    >>> from fastcell.callbacks import EarlyStopping
    >>> EarlyStopping(3, monitor="valid_accuracy", mode="max")
    EarlyStopping(patience=3, monitor='valid_accuracy', mode='max', min_delta=0.0)
    """

    def __init__(
        self,
        patience: int,
        monitor: str = "valid_loss",
        mode: Literal["min", "max"] = "min",
        min_delta: float = 0.0,
    ) -> None:
        self.patience = integer("patience", patience, minimum=1)
        self.monitor = _check_name(monitor)
        self.mode = _check_mode(mode)
        self.min_delta = real("min_delta", min_delta, minimum=0)

    def begin(self, trainer: Running) -> None:
        """Stop a run at once if its history already meets the condition."""
        if self._is_over(trainer.history):
            trainer.stop()

    def __call__(self, trainer: Running, record: Record) -> None:
        """Stop the run if this record was the last without a new best value."""
        _monitored(record, self.monitor)
        if self._is_over(trainer.history):
            trainer.stop()

    def __repr__(self) -> str:
        return (
            f"EarlyStopping(patience={self.patience}, monitor={self.monitor!r}, "
            f"mode={self.mode!r}, min_delta={self.min_delta})"
        )

    def _is_over(self, history: Sequence[Record]) -> bool:
        best, num_bad = None, 0
        for record in history:
            value = record.get(self.monitor)
            if _is_better(value, best, self.mode, self.min_delta):
                best, num_bad = value, 0
            else:
                num_bad += 1
        return num_bad >= self.patience


class SaveBest:
    """Save the model by `fastcell.save` whenever a value is better than all before.

    ``Trainer.fit(..., best=path)`` makes one.

    Parameters
    ----------
    path : path
        The destination. The write is atomic: the file stays until the next better one
        is complete.
    monitor : str, default "valid_loss"
        The key of the value in the records.
    mode : {"min", "max"}
        Whether less or more is better. NaN and infinity never are.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as said above; in a run, if the records have no such
        value, or the model is of no class that `fastcell.load` could build.

    Examples
    --------
    >>> from fastcell.callbacks import SaveBest
    >>> SaveBest("best.safetensors", monitor="valid_accuracy", mode="max")
    SaveBest('best.safetensors', monitor='valid_accuracy', mode='max')
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "valid_loss",
        mode: Literal["min", "max"] = "min",
    ) -> None:
        self.path = path_of("path", path)
        self.monitor = _check_name(monitor)
        self.mode = _check_mode(mode)

    def begin(self, trainer: Running) -> None:
        """Refuse a model that could not be saved, before it is trained."""
        from fastcell.serialize import class_name

        class_name(trainer.model)
        remove_leftovers(self.path)

    def __call__(self, trainer: Running, record: Record) -> None:
        """Save the model if the record is the best one."""
        from fastcell.serialize import save

        value = _monitored(record, self.monitor)
        best = None
        for earlier in trainer.history[:-1]:
            if _is_better(earlier.get(self.monitor), best, self.mode):
                best = earlier[self.monitor]
        if _is_better(value, best, self.mode):
            save(trainer.model, self.path)

    def __repr__(self) -> str:
        return f"SaveBest({self.path!r}, monitor={self.monitor!r}, mode={self.mode!r})"


class _Logger(ABC):
    """A text file with a part for each record of a run.

    A new run starts with an empty file, a resumed one with the records of its history;
    other content of the file is overwritten. Each new record is appended.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path_of("path", path)

    def begin(self, trainer: Running) -> None:
        """Write the file from the history of the run."""
        remove_leftovers(self.path)
        write_atomically(self.path, self._text(trainer.history).encode())

    def __call__(self, trainer: Running, record: Record) -> None:
        """Add a record to the file."""
        added = self._added(record)
        if added is None:
            self.begin(trainer)
            return
        with (
            named_errors(self.path),
            open(self.path, "a", encoding="utf-8", newline="") as file,
        ):
            file.write(added)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @abstractmethod
    def _text(self, history: Sequence[Record]) -> str:
        """Return the whole file."""

    @abstractmethod
    def _added(self, record: Record) -> str | None:
        """Return the text to append; None if the whole file has to be rewritten."""


class CSVLogger(_Logger):
    """Write the records of a run to a CSV file: a column per key, a row per record.

    Parameters
    ----------
    path : path
        The file. A new run overwrites it, a resumed one goes on with it.

    Raises
    ------
    OSError
        In a run, if the file cannot be written.

    Examples
    --------
    ``Trainer(model, optimizer, callbacks=[CSVLogger("log.csv")])``
    """

    _columns: tuple[str, ...] = ()

    def _text(self, history: Sequence[Record]) -> str:
        self._columns = tuple(dict.fromkeys(key for r in history for key in r))
        if not history:
            return ""
        return self._rows([dict(zip(self._columns, self._columns, strict=True))]) + (
            self._rows(history)
        )

    def _added(self, record: Record) -> str | None:
        if not record.keys() <= set(self._columns):
            return None
        return self._rows([record])

    def _rows(self, records: Sequence[Record]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._columns, lineterminator="\n").writerows(records)
        return text.getvalue()


class JSONLogger(_Logger):
    """Write the records of a run to a file of JSON objects, one a line.

    NaN and infinity become null; NumPy's arrays become lists.

    Parameters
    ----------
    path : path
        The file. A new run overwrites it, a resumed one goes on with it.

    Raises
    ------
    OSError
        In a run, if the file cannot be written.

    Examples
    --------
    ``Trainer(model, optimizer, callbacks=[JSONLogger("log.jsonl")])``
    """

    def _text(self, history: Sequence[Record]) -> str:
        return "".join(self._added(record) for record in history)

    def _added(self, record: Record) -> str:
        return json.dumps(_finite(record), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Return a value for JSON; callbacks may have added values of any type."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _monitored(record: Record, name: str) -> float:
    """Return a value of a record; an error if it is missing."""
    value: float | None = record.get(name)
    if value is None:
        there = ", ".join(key for key, other in record.items() if other is not None)
        raise ValueError(
            f"monitor must be a value of the records, {there}; got {name!r}"
            + ("; was there no valid_data?" if name.startswith("valid_") else "")
        )
    return value


def _is_better(
    value: float | None, best: float | None, mode: str, min_delta: float = 0.0
) -> bool:
    if value is None or not math.isfinite(value):
        return False
    if best is None:
        return True
    gain = best - value if mode == "min" else value - best
    return gain > min_delta


def _check_name(monitor: Any) -> str:
    if not isinstance(monitor, str):
        raise TypeError(f"monitor must be a string; got {shown(monitor)}")
    return monitor


def _check_mode(mode: Any) -> Literal["min", "max"]:
    checked: Literal["min", "max"] = one_of("mode", mode, ("min", "max"))
    return checked
