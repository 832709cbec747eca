"""Sequence tagger: one class for each step of a sequence (many to many, in step)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell.models.parts.common import IGNORED, step_weights
from fastcell.models.parts.each_step import EachStep
from fastcell.models.parts.sequence_model import SequenceModel
from fastcell.models.parts.tasks import Classification
from fastcell.named_classes import in_files


@in_files
class SequenceTagger(SequenceModel):
    r"""Classify each step of a sequence: many to many, in step.

    The probability of class k at step t is

    .. math::
        P(y_t = k \mid x) = \mathrm{softmax}(W \, \mathrm{dropout}(h_t) + b)_k

    trained by the mean cross-entropy of the steps (Graves and Schmidhuber 2005,
    doi:10.1016/j.neunet.2005.06.042). Targets y (T, B) are class numbers, of which -100
    is ignored, or (T, B, num_classes) the probability of each class. Targets past the
    lengths are ignored too.

    Parameters
    ----------
    input_size : int
        Features I of a step; with `embedding_dim` the number of distinct ids.
    hidden_size : int
        Units of each recurrent layer and direction.
    num_classes : int
        At least 2.
    num_layers, cell, bidirectional, dropout
        As for `SequenceClassifier`.
    embedding_dim : int, optional
        Features of an embedded id. If given, inputs are integer ids.
    classes : iterable of str or of int, optional
        The label of each class, saved with the model and returned by `predict`.
    class_weight : array of real numbers (num_classes,), optional
        The weight of each class in the loss, as for `fastcell.losses.cross_entropy`.
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
    TypeError, ValueError
        If an argument is of the wrong type or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import SequenceTagger
    >>> model = SequenceTagger(10, 8, 3, bidirectional=True, embedding_dim=4, seed=0)
    >>> ids = np.array([[1, 2], [3, 4], [5, 0]])  # 3 steps, 2 sequences
    >>> tags = model.predict(ids, lengths=[3, 2])
    >>> tags.shape, int(tags[2, 1])
    ((3, 2), -100)
    """

    unit = "steps"

    task: Classification

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = False,
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
            dropout=dropout,
            embedding_dim=embedding_dim,
            dtype=dtype,
            seed=seed,
            precision=precision,
            layer_options=layer_options,
        )

    def _make_readout(self, seed: int | None) -> EachStep:
        return EachStep()

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        return {
            **super().config(),
            "num_classes": self.num_classes,
            "classes": None if self.classes is None else list(self.classes),
            **self.task.config(),
        }

    def predict(self, x: Any, lengths: Any = None) -> np.ndarray:
        """Return the likeliest class of each step.

        Parameters and errors are those of a call.

        Returns
        -------
        ndarray, shape (T, B)
            Class numbers, -100 past the lengths; or, if the model has labels, an array
            of labels (dtype object), None past the lengths.
        """
        x, lengths = self.encoder.checked(x, lengths)
        tags = self.task.answers(self._infer(x, lengths))
        if self.classes is None:
            return self._laid_out(tags, x, lengths, IGNORED)
        return self._laid_out(tags.astype(object), x, lengths, None)

    def predict_proba(self, x: Any, lengths: Any = None) -> np.ndarray:
        """Return the probability of each class at each step, (T, B, num_classes).

        It is 0 past the lengths. Parameters and errors are those of a call.
        """
        x, lengths = self.encoder.checked(x, lengths)
        p = self.task.probabilities(self._infer(x, lengths))
        return self._laid_out(p, x, lengths)

    def _laid_out(
        self,
        values: np.ndarray,
        x: np.ndarray,
        lengths: np.ndarray | None,
        fill: Any = 0,
    ) -> np.ndarray:
        return EachStep.laid_out(values, x.shape[:2], lengths, fill)

    def _targets(self, y: Any, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        tags = self.task.targets(y, x.shape[:2])
        return EachStep.selected(tags, lengths)

    def _target_weights(
        self, weights: Any, x: np.ndarray, lengths: np.ndarray | None
    ) -> np.ndarray | None:
        weights = step_weights(weights, x.shape[:2])
        return None if weights is None else EachStep.selected(weights, lengths)
