"""The records of a training run."""

from __future__ import annotations

from typing import Any


class History(list[dict[str, Any]]):
    """A list of records, one for each validation, in the order of the steps.

    A record is a dict with the keys ``step`` and ``epoch`` (steps and epochs done),
    ``train_loss`` (mean since the record before) and ``valid_loss`` (None without
    validation data), in nats per target; the same in the units of the model under
    ``train_bpc`` and ``valid_bpc`` (bits per character, for a language model);
    ``learning_rate`` of the last step; ``tokens_per_second`` of training since the
    record before; and ``seconds`` since the start of the run, all its parts together.

    Examples
    --------
    >>> from fastcell.train import History
    >>> history = History(
    ...     [
    ...         {"step": 10, "train_loss": 2.0, "valid_loss": 2.1},
    ...         {"step": 20, "train_loss": 1.5, "valid_loss": 1.9},
    ...         {"step": 30, "train_loss": 1.2, "valid_loss": 2.0},
    ...     ]
    ... )
    >>> history.column("train_loss")
    [2.0, 1.5, 1.2]
    >>> history.best["step"]
    20
    """

    def column(self, name: str) -> list[Any]:
        """Return one value of all records; None where a record has none."""
        return [record.get(name) for record in self]

    @property
    def best(self) -> dict[str, Any] | None:
        """The record of the smallest validation loss, the first of several."""
        validated = [r for r in self if r.get("valid_loss") is not None]
        return min(validated, key=lambda r: r["valid_loss"], default=None)
