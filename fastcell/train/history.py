"""The history of a training run: its records, the best one, and their plot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fastcell._checks.names import path_of
from fastcell._checks.numbers import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Keys of a record that are not plotted as curves.
_NO_CURVES = {"step", "epoch", "learning_rate", "tokens_per_second", "seconds"}


class History(list[dict[str, Any]]):
    """A list of records, one for each validation, in the order of the steps.

    A record is a dict with the keys ``step`` and ``epoch`` (steps and epochs done),
    ``train_loss`` (mean since the record before) and ``valid_loss`` (None without
    validation data), in nats per target; the same in the units of the model under
    ``train_bpc`` and ``valid_bpc`` (bits per character, for a language model); the
    scores of the model on the validation data, such as ``valid_accuracy``;
    ``learning_rate`` of the last step; ``tokens_per_second`` of training since the
    record before; and ``seconds`` of the run, including its time before a resumption.

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
        """Return one value of all records; None for records without it.

        Raises
        ------
        TypeError
            If `name` is no string.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a string; got {shown(name)}")
        return [record.get(name) for record in self]

    @property
    def best(self) -> dict[str, Any] | None:
        """The record of the smallest validation loss, the first of several."""
        validated = [r for r in self if r.get("valid_loss") is not None]
        return min(validated, key=lambda r: r["valid_loss"], default=None)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw losses and scores over the steps, with matplotlib.

        Parameters
        ----------
        path : path, optional
            A file to save the picture to; its suffix chooses the format.

        Returns
        -------
        matplotlib.figure.Figure
            A figure with axes for the loss and for each other value. Without
            `path` it belongs to ``matplotlib.pyplot``, whose ``show()`` shows it.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no record.
        OSError
            If the file cannot be written.
        """
        if not self:
            raise ValueError("history must have at least one record to plot; got none")
        if path is not None:
            path = path_of("path", path)
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "History.plot needs the package matplotlib, which is not installed: "
                "pip install matplotlib"
            ) from error
        # "loss" -> {"train": ..., "valid": ...}, and so for the other values.
        values: dict[str, dict[str, list[Any]]] = {}
        for key in dict.fromkeys(key for record in self for key in record):
            kind, _, name = key.partition("_")
            curve = self.column(key)
            if key not in _NO_CURVES and name and any(v is not None for v in curve):
                values.setdefault(name, {})[kind] = curve
        size = (6.0, 2.5 * len(values))
        if path is None:
            from matplotlib import pyplot

            figure = pyplot.figure(figsize=size, layout="constrained")
        else:
            figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(values), sharex=True, squeeze=False)[:, 0]
        for ax, (name, curves) in zip(axes, values.items(), strict=True):
            for kind, curve in curves.items():
                points = [
                    (r["step"], v)
                    for r, v in zip(self, curve, strict=True)
                    if v is not None
                ]
                # A line does not show a single point.
                marker = "o" if len(points) == 1 else None
                ax.plot(*zip(*points, strict=True), label=kind, marker=marker)
            ax.set_ylabel(name)
            ax.grid(alpha=0.3)
            ax.legend()
        axes[-1].set_xlabel("step")
        if path is not None:
            figure.savefig(path)
        return figure
