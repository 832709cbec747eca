"""Feed-forward network: a multilayer perceptron (one to one)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastcell._checks.arrays import real_array
from fastcell._checks.names import list_of, one_of
from fastcell._checks.numbers import real, size
from fastcell.layers import Activation, Dropout, Linear, Sequential
from fastcell.layers.activation import KINDS as ACTIVATIONS
from fastcell.models.parts.base import ScoredModel
from fastcell.models.parts.common import (
    SavedOnce,
    check_batch,
    check_no_state,
    check_seed,
    part_seeds,
    take_saved,
)
from fastcell.models.parts.tasks import Classification, Regression
from fastcell.module import Module, check_dtype
from fastcell.named_classes import in_files

TASKS = ("classification", "regression")


@in_files
class FeedForward(ScoredModel):
    r"""Predict the class, or the values, of a vector: one to one.

    A multilayer perceptron: with :math:`h_0 = x`,

    .. math::
        h_k = \mathrm{dropout}(f(W_k h_{k-1} + b_k)), \quad y = W h_n + b

    trained by the cross-entropy of softmax(y) or by the mean squared error (Rumelhart,
    Hinton and Williams 1986, doi:10.1038/323533a0). Initial weights are uniform in
    +-1/sqrt(inputs), as in `Linear`.

    Parameters
    ----------
    input_size : int
        Features I.
    hidden_sizes : iterable of int
        Units of each hidden layer; an empty list gives a linear model.
    output_size : int
        Classes, at least 2, or values K.
    activation : {"tanh", "relu", "sigmoid"}, default "tanh"
        The function f.
    task : {"classification", "regression"}, default "classification"
        What y means.
    dropout : float, default 0.0
        Probability of dropping a hidden value, in training; in [0, 1).
    classes : iterable of str or of int, optional
        The label of each class, saved with the model and returned by `predict`.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial weights and of dropout.

    Attributes
    ----------
    classes : list of str or of int, or None
        The labels.
    network : Sequential
        The layers.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an argument is out of its range, or incompatible with another.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import FeedForward
    >>> model = FeedForward(2, [8], 2, "relu", seed=0)
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    >>> model.predict_proba(x).shape
    (4, 2)
    >>> loss, saved = model.loss((x, [0, 1, 1, 0]))
    >>> list(model.backward(saved))
    ['hidden_0.weight', 'hidden_0.bias', 'output.weight', 'output.bias']
    """

    def __init__(
        self,
        input_size: int,
        hidden_sizes: Iterable[int],
        output_size: int,
        activation: str = "tanh",
        task: str = "classification",
        dropout: float = 0.0,
        *,
        classes: Any = None,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        self.input_size = size("input_size", input_size)
        widths = list_of("hidden_sizes", hidden_sizes, "a list of sizes")
        self.hidden_sizes = [size("hidden_sizes", width) for width in widths]
        self.activation = one_of("activation", activation, ACTIVATIONS)
        self.dropout = real("dropout", dropout, minimum=0, below=1)
        self.dtype = check_dtype(dtype)
        self.seed = check_seed(seed)
        one_of("task", task, TASKS)
        self.task: Classification | Regression
        self.classes: list[str] | list[int] | None = None
        if task == "classification":
            self.task = Classification(output_size, classes, "output_size")
            self.classes = self.task.classes
        elif classes is not None:
            raise ValueError("classes must be left out of a regression")
        else:
            self.task = Regression(output_size, self.dtype)
        self._task = task
        self._build()

    def _build(self) -> None:
        count = len(self.hidden_sizes)
        seeds = part_seeds(self.seed, 2 * count + 1)
        named: dict[str, Module] = {}
        width = self.input_size
        for k, units in enumerate(self.hidden_sizes):
            named[f"hidden_{k}"] = Linear(width, units, dtype=self.dtype, seed=seeds[k])
            named[f"activation_{k}"] = Activation(self.activation)
            if self.dropout:
                named[f"dropout_{k}"] = Dropout(self.dropout, seed=seeds[count + k])
            width = units
        named["output"] = Linear(
            width, self.task.outputs, dtype=self.dtype, seed=seeds[-1]
        )
        self.network = Sequential(named)
        self._parts = named

    # ------------------------------------------------------------------ the module

    def children(self) -> dict[str, Module]:
        """Return the layers by name."""
        return dict(self._parts)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        return {
            "input_size": self.input_size,
            "hidden_sizes": list(self.hidden_sizes),
            "output_size": self.task.outputs,
            "activation": self.activation,
            "task": self._task,
            "dropout": self.dropout,
            "classes": None if self.classes is None else list(self.classes),
            "dtype": self.dtype.name,
            "seed": self.seed,
        }

    def __call__(self, x: Any) -> np.ndarray:
        """Return y, for inference.

        Parameters
        ----------
        x : array, shape (B, I)
            The vectors, of the model's dtype, finite.

        Returns
        -------
        ndarray, shape (B, output_size)

        Raises
        ------
        TypeError
            If the dtype is wrong.
        ValueError
            If the shape is wrong, or a value is not finite.
        """
        scores: np.ndarray = self.network(self._checked_x(x))
        return scores

    # ------------------------------------------------------------------- the model

    def loss(self, batch: Any, state: Any = None) -> tuple[float, SavedOnce]:
        """Return the mean loss of a batch, for training.

        Parameters
        ----------
        batch : tuple (x, y)
            x as in a call; it is kept and not copied: it must not be written to before
            `backward`. y: classes (B,), of which -100 is ignored, or the probability of
            each, (B, output_size); or values (B, K) or, for one value, (B,).
        state
            Must be None: batches do not continue one another.

        Returns
        -------
        loss : float
            Mean over the targets that count.
        saved
            Values for `backward`, which consumes them; ``saved.state`` is None.

        Raises
        ------
        TypeError, ValueError
            If a part of the batch is not as described.
        """
        check_no_state(state)
        x, targets = self._checked(batch)
        y, saved = self.network.forward(x)
        loss, dy = self.task.loss(y, targets)
        return loss, SavedOnce(None, dy, saved)

    def backward(self, saved: SavedOnce) -> dict[str, np.ndarray]:
        """Return the gradient of the loss, keyed like `state_dict()`.

        Raises
        ------
        ValueError
            If `saved` was used before.
        """
        dy, network = take_saved(saved)
        grads: dict[str, np.ndarray] = self.network.backward(dy, network)[1]
        return grads

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, None, dict[str, tuple[float, int]]]:
        """Return what `evaluate` returns, and the task's scores of the batch."""
        check_no_state(state)
        x, targets = self._checked(batch)
        y = self.network(x)
        return self.task.loss(y, targets)[0], None, self.task.assess(y, targets)

    def predict(self, x: Any) -> np.ndarray:
        """Return the likeliest classes, or the values.

        Parameters and errors are those of a call.

        Returns
        -------
        ndarray, shape (B,), or (B, K) of K values
            Classes are labels, if the model has them; else class numbers.
        """
        return self.task.answers(self(x))

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return the probability of each class, (B, output_size).

        Raises
        ------
        ValueError
            If the task is regression.
        """
        if not isinstance(self.task, Classification):
            raise ValueError("task must be classification for probabilities")
        return self.task.probabilities(self(x))

    def count(self, batch: Any) -> int:
        """Return the number of targets over which `loss` is the mean."""
        return self.task.count(self._checked(batch)[1])

    # ------------------------------------------------------------------------ checks

    def _checked(self, batch: Any) -> tuple[np.ndarray, np.ndarray]:
        batch = check_batch(batch, "(x, y)")
        x = self._checked_x(batch[0])
        return x, self.task.targets(batch[1], x.shape[:1])

    def _checked_x(self, x: Any) -> np.ndarray:
        x = real_array("x", x, self.dtype)
        if x.ndim != 2 or x.shape[1] != self.input_size:
            raise ValueError(
                f"x must have the shape (B, {self.input_size}); got {x.shape}"
            )
        if not np.isfinite(x).all():
            row, i = (int(k) for k in np.argwhere(~np.isfinite(x))[0])
            raise ValueError(
                f"x must be finite; got {x[row, i]} in row {row}, feature {i}"
            )
        checked: np.ndarray = x
        return checked
