"""Heads of frame models: the base class, Bernoulli distributions, plain values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array, check_shape
from fastcell._checks.numbers import flag
from fastcell.layers.pooling import existing_steps
from fastcell.losses.parts import divisor, weights_of
from fastcell.models.parts.tasks import Regression, Scores


class Head(ABC):
    """Base class: from the outputs of N steps, (N, `outputs`), to frames of G elements.

    Parameters
    ----------
    frame_size : int
        G, at least 1.
    dtype : dtype
        Dtype of the model.
    ignore_nan : bool, default False
        Whether elements of targets that are NaN are left out.

    Attributes
    ----------
    outputs : int
        Number of outputs of a step.
    has_density : bool
        Whether the head is a distribution, with likelihoods and samples.
    wanted : str
        Requirement on the elements of a target, for errors.
    uneven : bool
        As for `fastcell.models.parts.tasks.Classification`.
    """

    has_density = True

    def __init__(
        self, frame_size: int, dtype: np.dtype, ignore_nan: bool = False
    ) -> None:
        self.frame_size = frame_size
        self.outputs = frame_size
        self.dtype = dtype
        self.ignore_nan = flag("ignore_nan", ignore_nan)
        self.wanted = f"finite in {dtype}"
        self.uneven = False

    def config(self) -> dict[str, Any]:
        """Return the model's arguments for the head, except defaults."""
        return {"ignore_nan": True} if self.ignore_nan else {}

    def count(self, targets: np.ndarray, weights: np.ndarray | None = None) -> int:
        """Return the number of frames (N, G) that count."""
        if weights is None and not self.ignore_nan:
            return len(targets)
        return int(np.count_nonzero(self.frame_weights(targets, weights)))

    def total(self, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Return the sum of weights that the loss is divided by."""
        return float(self.frame_weights(targets, weights).sum())

    def frame_weights(
        self, targets: np.ndarray, weights: np.ndarray | None
    ) -> np.ndarray:
        """Return the weight of each frame, (N,): 0 if all its elements are left out."""
        w = np.ones(len(targets)) if weights is None else weights
        if self.ignore_nan:
            w = np.where(np.isnan(targets).all(axis=-1), 0.0, w)
        return w

    def targets(
        self, y: Any, shape: tuple[int, int], lengths: np.ndarray | None
    ) -> np.ndarray:
        """Return the frames of a batch, (T, B, G), in the dtype of the model.

        Raises
        ------
        TypeError
            If they are not real numbers.
        ValueError
            If the shape is wrong, or a value within the lengths is not allowed.
        """
        y = as_array("y", y)
        if y.dtype.kind not in "fiub":
            raise TypeError(f"y must be real numbers; got dtype {y.dtype}")
        check_shape("y", y, (*shape, self.frame_size))
        with np.errstate(over="ignore"):  # becomes infinite, which is refused next
            y = y.astype(self.dtype, copy=False)
        wrong = ~self.valid(y)
        if self.ignore_nan:
            wrong &= ~np.isnan(y)
        if wrong.any():
            if lengths is not None:
                wrong &= existing_steps(lengths, len(y))[..., np.newaxis]
            if wrong.any():
                t, row, g = (int(k) for k in np.argwhere(wrong)[0])
                raise ValueError(
                    f"y must be {self.wanted}; got {y[t, row, g]} at step {t} of row "
                    f"{row}, element {g}"
                )
        frames: np.ndarray = y
        return frames

    def valid(self, targets: np.ndarray) -> np.ndarray:
        """Return a mask of the allowed elements, in the shape of `targets`."""
        finite: np.ndarray = np.isfinite(targets)
        return finite

    @abstractmethod
    def loss(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Return the mean loss of frames (N, G), 0 if N is 0, and its gradient.

        The mean is weighted by `weights` (N,), if given.
        """

    @abstractmethod
    def nll(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the negative log-likelihood of each frame in nats, (N,) float64."""

    def assess(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[float, Scores]:
        """Return the mean loss, and the sum and number of ``"nll"``.

        Weights apply to the loss. The score only leaves out frames of weight 0.
        """
        w = self.frame_weights(targets, weights)
        there = w > 0
        w, nll = w[there], self.nll(outputs, targets)[there]
        loss = float((w * nll).sum()) / divisor("mean", float(w.sum()))
        return loss, {"nll": (float(nll.sum()), len(nll))}

    @abstractmethod
    def mean(self, outputs: np.ndarray) -> np.ndarray:
        """Return the expected frames (N, G)."""

    @abstractmethod
    def sample(
        self, outputs: np.ndarray, temperature: float, random: np.random.Generator
    ) -> np.ndarray:
        """Return frames (N, G) drawn; for a temperature of 0, the likeliest ones."""


class BernoulliHead(Head):
    r"""Independent elements that are 0 or 1, each with a sigmoid.

    .. math::
        -\log P(y) = -\sum_g y_g \log \sigma(z_g) + (1 - y_g) \log \sigma(-z_g)
            = \sum_g \max(z_g, 0) - z_g y_g + \log(1 + e^{-|z_g|})

    (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392, the RNN with sigmoids). A
    temperature divides the logits. With weights :math:`c_g` of elements that are 1, the
    loss has :math:`c_g y_g` in place of :math:`y_g` and is no longer a likelihood.

    Parameters
    ----------
    frame_size, dtype, ignore_nan
        As for `Head`.
    pos_weight : array of real numbers, optional
        Weights c, one for all elements or (G,), at least 0.

    Examples
    --------
    >>> import numpy as np
    >>> head = BernoulliHead(2, np.dtype(float))
    >>> head.nll(np.zeros((1, 2)), np.array([[0.0, 1.0]])).round(4)  # 2 log 2
    array([1.3863])
    """

    def __init__(
        self,
        frame_size: int,
        dtype: np.dtype,
        pos_weight: Any = None,
        ignore_nan: bool = False,
    ) -> None:
        super().__init__(frame_size, dtype, ignore_nan)
        self.wanted = '0 or 1 for the head "bernoulli"'
        checked = weights_of("pos_weight", pos_weight, (frame_size,))
        self.pos_weight = None if checked is None else checked.tolist()

    def config(self) -> dict[str, Any]:
        """Return the model's arguments for the head."""
        weights = {} if self.pos_weight is None else {"pos_weight": self.pos_weight}
        return {**super().config(), **weights}

    def valid(self, targets: np.ndarray) -> np.ndarray:
        """Return which elements are 0 or 1."""
        binary: np.ndarray = (targets == 0) | (targets == 1)
        return binary

    def loss(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Return the mean negative log-likelihood of a frame, and its gradient."""
        from fastcell.losses import binary_cross_entropy

        if weights is None and not self.ignore_nan:
            # The mean over all elements; that over frames is G times as much.
            loss, doutputs = binary_cross_entropy(
                outputs, targets, pos_weight=self.pos_weight
            )
            doutputs *= self.frame_size
            return loss * self.frame_size, doutputs
        w = self.frame_weights(targets, weights)
        w = w / divisor("mean", float(w.sum()))
        there = ~np.isnan(targets)
        return binary_cross_entropy(
            outputs,
            np.where(there, targets, 0),
            weight=np.where(there, w[:, np.newaxis], 0),
            pos_weight=self.pos_weight,
            reduction="sum",
        )

    def nll(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the negative log-likelihood of each frame; NaN elements have none."""
        with np.errstate(invalid="ignore"):
            elements = np.log1p(np.exp(-np.abs(outputs)))
            elements += np.maximum(outputs, 0)
            elements -= outputs * targets
        if self.ignore_nan:
            elements[np.isnan(targets)] = 0
        nll: np.ndarray = elements.sum(axis=-1, dtype=np.float64)
        return nll

    def assess(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[float, Scores]:
        """Return the mean loss, and the sum and number of ``"nll"``."""
        loss, scores = super().assess(outputs, targets, weights)
        if self.pos_weight is not None:
            loss = self.loss(outputs, targets, weights)[0]
        return loss, scores

    def mean(self, outputs: np.ndarray) -> np.ndarray:
        """Return the probability of each element."""
        return sigmoid(outputs)

    def sample(
        self, outputs: np.ndarray, temperature: float, random: np.random.Generator
    ) -> np.ndarray:
        """Return 1 where a uniform number is below the probability, else 0."""
        uniform = random.random(outputs.shape)
        if temperature == 0:
            return (outputs > 0).astype(outputs.dtype)
        with np.errstate(over="ignore"):  # to infinity, whose sigmoid is right
            p = sigmoid(outputs.astype(np.float64) / temperature)
        return (uniform < p).astype(outputs.dtype)


class ValuesHead(Head):
    """Plain values with a mean error; no distribution, so no samples.

    Parameters
    ----------
    frame_size, dtype, ignore_nan
        As for `Head`.
    error, delta
        The error, as for `fastcell.models.parts.tasks.Regression`.
    """

    has_density = False

    def __init__(
        self,
        frame_size: int,
        dtype: np.dtype,
        error: str = "mse",
        delta: float | None = None,
        ignore_nan: bool = False,
    ) -> None:
        super().__init__(frame_size, dtype, ignore_nan)
        self._task = Regression(frame_size, dtype, error, delta, ignore_nan)
        self.uneven = True  # the loss is a mean over elements, `count` counts frames

    def config(self) -> dict[str, Any]:
        """Return the model's arguments for the head."""
        return self._task.config()

    def total(self, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Return the sum of weights of the elements."""
        return self._task.total(targets, weights)

    def loss(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Return the mean error of the elements, and its gradient."""
        return self._task.loss(outputs, targets, weights)

    def nll(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Raise, as there is no density.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            'the head must be "bernoulli" or "mixture" for a likelihood; got "values"'
        )

    def assess(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[float, Scores]:
        """Return the mean error, and the sum and number of ``"mae"``."""
        loss = self._task.loss(outputs, targets, weights)[0]
        return loss, self._task.assess(outputs, targets, weights)

    def mean(self, outputs: np.ndarray) -> np.ndarray:
        """Return the outputs."""
        return outputs

    def sample(
        self, outputs: np.ndarray, temperature: float, random: np.random.Generator
    ) -> np.ndarray:
        """Return the outputs."""
        return outputs


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e^-z) without overflow, in the dtype of z."""
    small = np.exp(-np.abs(z))
    y: np.ndarray = np.where(z >= 0, 1, small) / (1 + small)
    return y
