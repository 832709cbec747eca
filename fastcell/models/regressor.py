"""Sequence regressor: one vector of values for each sequence (many to one)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell.models.parts.sequence_model import SequenceModel
from fastcell.models.parts.tasks import Regression
from fastcell.module import check_dtype
from fastcell.named_classes import in_files


@in_files
class SequenceRegressor(SequenceModel):
    r"""Predict one or several values of a sequence: many to one.

    As `SequenceClassifier`, with values in place of scores:

    .. math::
        y = W \, \mathrm{dropout}(\mathrm{pool}(h_0 \dots h_{n-1})) + b

    trained by the mean squared error, or another of `fastcell.losses`.

    Parameters
    ----------
    input_size : int
        Features I of a step; with `embedding_dim` the number of distinct ids.
    hidden_size : int
        Units of each recurrent layer and direction.
    output_size : int, default 1
        Values K of a sequence.
    num_layers, cell, bidirectional, pooling, dropout
        As for `SequenceClassifier`.
    embedding_dim : int, optional
        Features of an embedded id. If given, inputs are integer ids.
    loss : {"mse", "mae", "huber"}, default "mse"
        The mean squared, absolute or Huber's error of a value.
    delta : float, optional
        Where Huber's error changes from squared to absolute; 1 if not given. For
        "huber" only.
    ignore_nan : bool, default False
        Leave out values of a target that are NaN; by default they are errors.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial weights and of dropout.
    precision : {"float32", "bf16"}, optional
        Precision of the recurrent products: see `fastcell.module.Module.to`. Weights,
        gradients and optimizer state are float32 in both cases.
    layer_options : mapping of str to value, optional
        Other arguments of the recurrent layers, such as ``{"init": "orthogonal",
        "forget_bias": 1.0, "zoneout": 0.1}``: those of all layers
        (`fastcell.layers.options.Options`), and those of the cell's class. They are
        saved with the model.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import SequenceRegressor
    >>> model = SequenceRegressor(3, 8, 2, cell="gru", seed=0)
    >>> x = np.zeros((5, 4, 3), np.float32)
    >>> model.predict(x, lengths=[5, 2, 1, 3]).shape
    (4, 2)
    """

    unit = "values"

    task: Regression

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int = 1,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = False,
        pooling: str = "last",
        dropout: float = 0.0,
        *,
        embedding_dim: int | None = None,
        loss: str = "mse",
        delta: float | None = None,
        ignore_nan: bool = False,
        dtype: Any = np.float32,
        seed: int | None = None,
        precision: str | None = None,
        layer_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = Regression(output_size, check_dtype(dtype), loss, delta, ignore_nan)
        self.output_size = self.task.outputs
        self._build(
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            cell=cell,
            bidirectional=bidirectional,
            pooling=pooling,
            dropout=dropout,
            embedding_dim=embedding_dim,
            dtype=dtype,
            seed=seed,
            precision=precision,
            layer_options=layer_options,
        )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        return {
            **super().config(),
            "output_size": self.output_size,
            "pooling": self.pooling,
            **self.task.config(),
        }

    def predict(self, x: Any, lengths: Any = None) -> np.ndarray:
        """Return the values of each sequence.

        Parameters and errors are those of a call.

        Returns
        -------
        ndarray, shape (B, K), or (B,) if K is 1
        """
        return self.task.answers(self(x, lengths))
