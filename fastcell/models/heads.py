"""What the outputs of a model of frames stand for: a distribution, or plain values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fastcell._arrays import as_array, check_shape
from fastcell.layers.pooling import existing_steps

Scores = dict[str, tuple[float, int]]


class Head(ABC):
    """From the outputs of N steps, (N, `outputs`), to frames of G elements.

    Parameters
    ----------
    frame_size : int
        G, at least 1.
    dtype : dtype
        Of the model.

    Attributes
    ----------
    outputs : int
        Outputs that a step needs.
    has_density : bool
        Whether it is a distribution, so that there is a likelihood, and drawing.
    wanted : str
        What the elements of a target have to be, for errors.
    """

    has_density = True

    def __init__(self, frame_size: int, dtype: np.dtype) -> None:
        self.frame_size = frame_size
        self.outputs = frame_size
        self.dtype = dtype
        self.wanted = f"finite in {dtype}"

    def count(self, targets: np.ndarray) -> int:
        """Return the number of frames (N, G)."""
        return len(targets)

    def targets(
        self, y: Any, shape: tuple[int, int], lengths: np.ndarray | None
    ) -> np.ndarray:
        """Return the frames of a batch, (T, B, G), in the dtype of the model.

        Raises
        ------
        TypeError
            If they are not real numbers.
        ValueError
            If the shape is another, or a value within the lengths is not as wanted.
        """
        y = as_array("y", y)
        if y.dtype.kind not in "fiub":
            raise TypeError(f"y must be real numbers; got dtype {y.dtype}")
        check_shape("y", y, (*shape, self.frame_size))
        with np.errstate(over="ignore"):  # becomes infinite, which is refused next
            y = y.astype(self.dtype, copy=False)
        wrong = ~self.valid(y)
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
        """Return which elements may be targets, of the shape of `targets`."""
        finite: np.ndarray = np.isfinite(targets)
        return finite

    @abstractmethod
    def loss(
        self, outputs: np.ndarray, targets: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the mean loss of frames (N, G), 0 of none, and its gradient."""

    @abstractmethod
    def nll(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the negative log-likelihood of each frame in nats, (N,) float64."""

    def assess(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[float, Scores]:
        """Return the mean loss as inference, and the sum and number of ``"nll"``."""
        total, count = float(self.nll(outputs, targets).sum()), len(targets)
        return total / max(count, 1), {"nll": (total, count)}

    @abstractmethod
    def mean(self, outputs: np.ndarray) -> np.ndarray:
        """Return the expected frames (N, G)."""

    @abstractmethod
    def sample(
        self, outputs: np.ndarray, temperature: float, random: np.random.Generator
    ) -> np.ndarray:
        """Return frames (N, G) drawn; of a temperature of 0, the likeliest."""


class BernoulliHead(Head):
    r"""Elements that are 0 or 1, each on its own: a sigmoid for each of them.

    .. math::
        -\log P(y) = -\sum_g y_g \log \sigma(z_g) + (1 - y_g) \log \sigma(-z_g)
            = \sum_g \max(z_g, 0) - z_g y_g + \log(1 + e^{-|z_g|})

    (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392, there the RNN with sigmoids).
    With a temperature the logits are divided by it.

    Examples
    --------
    >>> import numpy as np
    >>> head = BernoulliHead(2, np.dtype(float))
    >>> head.nll(np.zeros((1, 2)), np.array([[0.0, 1.0]])).round(4)  # 2 log 2
    array([1.3863])
    """

    def __init__(self, frame_size: int, dtype: np.dtype) -> None:
        super().__init__(frame_size, dtype)
        self.wanted = '0 or 1 for the head "bernoulli"'

    def valid(self, targets: np.ndarray) -> np.ndarray:
        """Return which elements are 0 or 1."""
        binary: np.ndarray = (targets == 0) | (targets == 1)
        return binary

    def loss(
        self, outputs: np.ndarray, targets: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the mean negative log-likelihood of a frame, and its gradient."""
        from fastcell.losses import binary_cross_entropy

        # Of the elements of all frames; of a frame it is G times as much.
        loss, doutputs = binary_cross_entropy(outputs, targets)
        doutputs *= self.frame_size
        return loss * self.frame_size, doutputs

    def nll(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the negative log-likelihood of each frame."""
        with np.errstate(invalid="ignore"):
            elements = np.log1p(np.exp(-np.abs(outputs)))
            elements += np.maximum(outputs, 0)
            elements -= outputs * targets
        nll: np.ndarray = elements.sum(axis=-1, dtype=np.float64)
        return nll

    def mean(self, outputs: np.ndarray) -> np.ndarray:
        """Return the probability of each element."""
        return sigmoid(outputs)

    def sample(
        self, outputs: np.ndarray, temperature: float, random: np.random.Generator
    ) -> np.ndarray:
        """Return ones where a uniform number is below the probability."""
        uniform = random.random(outputs.shape)
        if temperature == 0:
            return (outputs > 0).astype(outputs.dtype)
        with np.errstate(over="ignore"):  # to infinity, whose sigmoid is right
            p = sigmoid(outputs.astype(np.float64) / temperature)
        return (uniform < p).astype(outputs.dtype)


class ValuesHead(Head):
    """Values, by their mean squared error: no distribution, so nothing is drawn."""

    has_density = False

    def loss(
        self, outputs: np.ndarray, targets: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the mean squared error of the elements, and its gradient."""
        from fastcell.losses import mse

        return mse(outputs, targets)

    def nll(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Raise: there is no density.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            'the head must be "bernoulli" or "mixture" for a likelihood; got "values"'
        )

    def assess(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[float, Scores]:
        """Return the mean squared error, and sum and number of ``"mae"``."""
        difference = np.abs(outputs - targets, dtype=np.float64)
        loss = float(np.square(difference).sum()) / max(difference.size, 1)
        return loss, {"mae": (float(difference.sum()), difference.size)}

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
