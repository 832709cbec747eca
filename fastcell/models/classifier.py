"""Sequence classifier: one class for each sequence (many to one)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell.models.parts.sequence_model import SequenceModel
from fastcell.models.parts.tasks import Classification
from fastcell.named_classes import in_files


@in_files
class SequenceClassifier(SequenceModel):
    r"""Classify sequences: many to one.

    With the outputs :math:`h_t` of recurrent layers over the sequence,

    .. math::
        r &= \mathrm{pool}(h_0 \dots h_{n-1}) \\
        P(y = k \mid x) &= \mathrm{softmax}(W \, \mathrm{dropout}(r) + b)_k

    trained by its cross-entropy (Graves 2012, doi:10.1007/978-3-642-24797-2, chapter 2;
    pooling over time: `fastcell.layers.Pooling`). Targets y (B,) are class numbers, of
    which -100 is ignored, or (B, num_classes) the probability of each class.

    Parameters
    ----------
    input_size : int
        Features I of a step; with `embedding_dim` the number of distinct ids.
    hidden_size : int
        Units of each recurrent layer and direction.
    num_classes : int
        At least 2.
    num_layers : int, default 1
        Stacked recurrent layers.
    cell : str, default "lstm"
        The cell of the recurrent layers: "lstm", "gru", "rnn" (with tanh), or another
        name of `fastcell.cells.REGISTRY`.
    bidirectional : bool, default False
        Whether each layer reads in both directions.
    pooling : {"last", "mean", "max", "attention"}, default "last"
        How the outputs of all steps are reduced to one vector.
    dropout : float, default 0.0
        Probability of dropping a value after the embedding, between the recurrent
        layers and before the scores, in training; in [0, 1).
    embedding_dim : int, optional
        Features of an embedded id. If given, inputs are integer ids.
    classes : iterable of str or of int, optional
        The label of each class, saved with the model and returned by `predict`.
    class_weight : array of real numbers (num_classes,), optional
        The weight of each class in the loss, as for `fastcell.losses.cross_entropy`:
        above 1 for rare classes that must not be missed.
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

    Attributes
    ----------
    classes : list of str or of int, or None
        The labels.
    class_weight : list of float, or None

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an argument is out of its range, or `classes` does not name each class once.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import SequenceClassifier
    >>> model = SequenceClassifier(3, 8, 2, pooling="max", classes=["no", "yes"])
    >>> x = np.zeros((5, 4, 3), np.float32)  # 5 steps, 4 sequences, 3 features
    >>> model.predict(x, lengths=[5, 2, 1, 3]).shape
    (4,)
    >>> loss, saved = model.loss((x, [5, 2, 1, 3], [0, 1, 1, 0]))
    >>> sorted(model.backward(saved))[:2]
    ['decoder.bias', 'decoder.weight']
    """

    task: Classification

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = False,
        pooling: str = "last",
        dropout: float = 0.0,
        *,
        embedding_dim: int | None = None,
        classes: Any = None,
        class_weight: Any = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        precision: str | None = None,
        layer_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = Classification(num_classes, classes, class_weight=class_weight)
        self.num_classes = self.task.outputs
        self.classes = self.task.classes
        self.class_weight = self.task.class_weight
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
            "num_classes": self.num_classes,
            "pooling": self.pooling,
            "classes": None if self.classes is None else list(self.classes),
            **self.task.config(),
        }

    def predict(self, x: Any, lengths: Any = None) -> np.ndarray:
        """Return the likeliest class of each sequence.

        Parameters
        ----------
        x : array, shape (T, B, I), or integer ids, shape (T, B)
            The sequences, of the model's dtype, finite.
        lengths : array of int, shape (B,), optional
            Steps of each sequence, 0 to T; all T if not given.

        Returns
        -------
        ndarray, shape (B,)
            Labels, if the model has them; else class numbers.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is wrong, or a value is not finite or out of range.
        """
        return self.task.answers(self(x, lengths))

    def predict_proba(self, x: Any, lengths: Any = None) -> np.ndarray:
        """Return the probability of each class, (B, num_classes).

        Parameters and errors are those of `predict`.
        """
        return self.task.probabilities(self(x, lengths))
