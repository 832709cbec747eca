"""Base classes of all models: the interface that the trainer uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from fastcell._checks.numbers import number
from fastcell.module import Module

if TYPE_CHECKING:
    import numpy as np


class Model(Module, ABC):
    """A module with a loss: the contract between a model and its training.

    A batch is whatever the model's data set yields; only the model looks inside. If
    batches continue one another, such as windows of one long text, the state after a
    batch is passed to the next one. Gradients stop at the border between the two:
    truncated backpropagation through time (Williams and Peng 1990,
    doi:10.1162/neco.1990.2.4.490).

    A subclass implements the abstract methods below. `loss` and `backward` are for
    training; `evaluate` is the same loss without dropout and without saved values;
    `predict` returns predictions. A model with a score of its own, such as the accuracy
    of a classifier, overrides `assess` as well.

    Examples
    --------
    One step of training, by hand:

    >>> import numpy as np
    >>> import fastcell
    >>> from fastcell.models import LanguageModel
    >>> from fastcell.optim import SGD
    >>> model = LanguageModel(5, 4, 8, seed=0)
    >>> optimizer = SGD(model.params, lr=0.5)
    >>> ids = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    >>> batch = ids[:-1], ids[1:]
    >>> before, saved = model.loss(batch)
    >>> optimizer.step(model.backward(saved))
    >>> after, _ = model.evaluate(batch)
    >>> bool(after < before)
    True
    """

    #: The unit of `count`, shown in displays of speed.
    unit = "targets"

    @abstractmethod
    def loss(self, batch: Any, state: Any = None) -> tuple[float, Any]:
        """Run the model on a batch for training.

        Parameters
        ----------
        batch
            Training data. The models of this package take a tuple, or a mapping from
            the names of its parts. Features (x, images) are kept and not copied: they
            must not be written to before `backward`, which checks a sample of their
            values and raises if one has changed. Lengths, labels and ids may be written
            to.
        state
            The recurrent state to start from; None is zeros.

        Returns
        -------
        loss : float
            Mean over the targets that count, weighted if they have weights.
        saved
            Values for `backward`, which consumes them. `saved.state` is the state after
            the batch.
        """

    @abstractmethod
    def backward(self, saved: Any) -> dict[str, np.ndarray]:
        """Return the gradient of the loss, keyed like `state_dict()`.

        Raises
        ------
        ValueError
            If `saved` was used before, also by a concurrent thread; or if the features
            of the batch or a parameter that the gradient depends on have changed since.
        """

    @abstractmethod
    def evaluate(self, batch: Any, state: Any = None) -> tuple[float, Any]:
        """Return the loss of a batch without dropout, and the state after it."""

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, Any, dict[str, tuple[float, int]]]:
        """Return what `evaluate` returns, and the task's scores of the batch.

        Returns
        -------
        loss, state
            As from `evaluate`.
        scores : dict of str to (float, int)
            For each score a numerator and a denominator; both are summed over the
            batches of a data set. Empty by default.
        """
        loss, state = self.evaluate(batch, state)
        return loss, state, {}

    @abstractmethod
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the model's predictions for its input."""

    @abstractmethod
    def count(self, batch: Any) -> int:
        """Return the number of targets over which `loss` is the mean."""

    def total_weight(self, batch: Any) -> float:
        """Return the sum of weights that `loss` is divided by.

        The loss of several batches is the mean of their losses weighted by this sum. By
        default it is the number of targets, `count`. A model with weighted targets also
        sets ``saved.weight``.
        """
        return float(self.count(batch))

    def metrics(self, loss: float) -> dict[str, float]:
        """Return `loss` in customary units, by name, such as "bpc"; empty by default.

        Examples
        --------
        >>> from fastcell.models import LanguageModel
        >>> LanguageModel(2, 1, 1).metrics(0.6931471805599453)
        {'bpc': 1.0}
        """
        number("loss", loss)
        return {}


class ScoredModel(Model):
    """A model that implements `assess`, and `evaluate` by it.

    Batches do not continue one another.
    """

    @abstractmethod
    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, Any, dict[str, tuple[float, int]]]:
        """Return the loss without dropout, None, and the task's scores."""

    def evaluate(self, batch: Any, state: Any = None) -> tuple[float, Any]:
        """Return the loss of a batch without dropout, and None for the state.

        Parameters and errors are those of `loss`.
        """
        return self.assess(batch, state)[:2]
