"""What every model of this package offers, and the trainer relies on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from fastcell._checks.numbers import number
from fastcell.module import Module

if TYPE_CHECKING:
    import numpy as np


class Model(Module, ABC):
    """A module with a loss: the contract between a model and its training.

    A batch is whatever the model's data set yields; only the model looks inside. For
    batches that continue one another, such as windows of one long text, the state after
    a batch is handed to the next: gradients stop at the border between the two, which
    is truncated backpropagation through time (Williams and Peng 1990,
    doi:10.1162/neco.1990.2.4.490).

    A subclass gives the abstract methods below. `loss` and `backward` are the training
    pair; `evaluate` is the same loss as inference, without dropout and without saved
    values; `predict` is what the model is for. A model with a score of its own, such as
    the accuracy of a classifier, gives `assess` as well.

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

    #: What `count` counts, which a display of the speed tells.
    unit = "targets"

    @abstractmethod
    def loss(self, batch: Any, state: Any = None) -> tuple[float, Any]:
        """Run the model on a batch for training.

        Parameters
        ----------
        batch
            What the model is trained on. The models of this package take a tuple, or a
            mapping that has the parts by their names. Its features (x, images) are kept
            and not copied: they must not be written to before `backward`, which refuses
            features that have other bits, by a sample of their numbers. Lengths,
            labels and ids may be.
        state
            The recurrent state to start from; None is zeros.

        Returns
        -------
        loss : float
            Mean over the targets that count, by their weights if they have any.
        saved
            What `backward` needs, used up by it; `saved.state` is the state after the
            batch.
        """

    @abstractmethod
    def backward(self, saved: Any) -> dict[str, np.ndarray]:
        """Return the gradient of the loss, keyed like `state_dict()`.

        Raises
        ------
        ValueError
            If `saved` was used before, by another thread at the same time too; or a
            parameter that the gradient depends on, or the features of the batch, have
            changed since.
        """

    @abstractmethod
    def evaluate(self, batch: Any, state: Any = None) -> tuple[float, Any]:
        """Return the loss of a batch as inference gives it, and the state after it."""

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, Any, dict[str, tuple[float, int]]]:
        """Return what `evaluate` returns, and the task's own scores of the batch.

        Returns
        -------
        loss, state
            As from `evaluate`.
        scores : dict of str to (float, int)
            By name, a sum and what it has to be divided by: sums over the batches of a
            data set give its score. None by default.
        """
        loss, state = self.evaluate(batch, state)
        return loss, state, {}

    @abstractmethod
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model predicts for its input."""

    @abstractmethod
    def count(self, batch: Any) -> int:
        """Return the number of targets over which `loss` is the mean."""

    def total_weight(self, batch: Any) -> float:
        """Return the sum of the weights that `loss` is divided by.

        The loss of several batches together is the mean of theirs, weighted by this.
        By default it is the number of targets, `count`; a model whose targets have
        weights says so in ``saved.weight`` as well.
        """
        return float(self.count(batch))

    def metrics(self, loss: float) -> dict[str, float]:
        """Return `loss` in the units of the field, by name; nothing by default.

        Examples
        --------
        >>> from fastcell.models import LanguageModel
        >>> LanguageModel(2, 1, 1).metrics(0.6931471805599453)
        {'bpc': 1.0}
        """
        number("loss", loss)
        return {}


class ScoredModel(Model):
    """A model whose `assess` gives scores of the task, and so the loss as well.

    Its batches do not continue one another.
    """

    @abstractmethod
    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, Any, dict[str, tuple[float, int]]]:
        """Return the loss as inference gives it, None, and the task's own scores."""

    def evaluate(self, batch: Any, state: Any = None) -> tuple[float, Any]:
        """Return the loss of a batch as inference gives it, and None for the state.

        Parameters and errors are those of `loss`.
        """
        return self.assess(batch, state)[:2]
