"""RMSprop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._numbers import flag
from fastcell.optim.base import Hyperparameter
from fastcell.optim.blockwise import BlockwiseOptimizer, with_decay

if TYPE_CHECKING:
    from fastcell.optim.base import Array

__all__ = ["RMSprop"]


class RMSprop(BlockwiseOptimizer):
    r"""Gradients over a running root of their mean square.

    With the gradient :math:`g`, to which :math:`\lambda p` is added for the weight
    decay :math:`\lambda` (Hinton, "Neural networks for machine learning", lecture 6;
    centered: Graves 2013, arXiv:1308.0850):

    .. math::

        v &\leftarrow \alpha v + (1 - \alpha) g^2 \\
        m &\leftarrow \alpha m + (1 - \alpha) g \quad \text{if centered, else } m = 0 \\
        d &= g / (\sqrt{v - m^2} + eps) \\
        b &\leftarrow momentum \cdot b + d \\
        p &\leftarrow p - lr \cdot b

    Parameters
    ----------
    params : mapping of str to array
        ``model.params``, or a dict of C-contiguous arrays of float32 or float64; each
        step changes them in place.
    lr : float
        At least 0; may be assigned between steps.
    alpha : float
        At least 0 and less than 1.
    eps : float
        At least 0.
    weight_decay : float
        At least 0.
    momentum : float
        At least 0.
    centered : bool
        Take the variance of the gradient instead of its mean square. Where rounding
        makes it negative it counts as 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as said above, or two arrays share memory.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.optim import RMSprop
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = RMSprop(params, lr=0.1)
    >>> optimizer.step({"weight": np.array([1.0, -0.01])})
    >>> params["weight"].round(3)
    array([0., 3.])
    """

    alpha = Hyperparameter(minimum=0, below=1)
    eps = Hyperparameter(minimum=0)
    weight_decay = Hyperparameter(minimum=0)
    momentum = Hyperparameter(minimum=0)
    centered = Hyperparameter(flag)

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    @staticmethod
    def _slot_names(hyperparameters: Mapping[str, Any]) -> tuple[str, ...]:
        names = ["square_avg"]
        if hyperparameters["centered"]:
            names.append("grad_avg")
        if hyperparameters["momentum"]:
            names.append("momentum_buffer")
        return tuple(names)

    def _rule(self) -> Callable[..., None]:
        lr, alpha, eps = self.lr, self.alpha, self.eps
        momentum, decay, centered = self.momentum, self.weight_decay, self.centered

        def update(p: Array, g: Array, v: Array, *others: Array) -> None:
            *others, a, b = others
            g = with_decay(g, p, decay, a)
            _average_square(v, g, alpha, b)
            if centered:
                m = others[0]
                _average(m, g, alpha, b)
                np.multiply(m, m, out=b)
                np.subtract(v, b, out=b)
                np.maximum(b, 0.0, out=b)
                np.sqrt(b, out=b)
            else:
                np.sqrt(v, out=b)
            b += eps
            np.divide(g, b, out=b)
            if momentum:
                velocity = others[-1]
                velocity *= momentum
                velocity += b
                np.multiply(velocity, lr, out=b)
            else:
                b *= lr
            p -= b

        return update


def _average(mean: Array, g: Array, keep: float, scratch: Array) -> None:
    """Turn mean into keep mean + (1 - keep) g, as mean + (1 - keep) (g - mean)."""
    np.subtract(g, mean, out=scratch)
    scratch *= 1.0 - keep
    mean += scratch


def _average_square(mean: Array, g: Array, keep: float, scratch: Array) -> None:
    """Turn mean into keep mean + (1 - keep) g^2, which stays above zero."""
    mean *= keep
    np.multiply(g, g, out=scratch)
    scratch *= 1.0 - keep
    mean += scratch
