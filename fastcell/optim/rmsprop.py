"""RMSprop optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastcell._checks.numbers import flag
from fastcell.optim.base import Hyperparameter, Optimizer

if TYPE_CHECKING:
    from fastcell.optim.base import Array

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    r"""RMSprop: gradients divided by the root of their running mean square.

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
        Use the variance of the gradient instead of its mean square. A variance that
        rounding makes negative counts as 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described above, or two arrays share memory.

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

    _rule = "rmsprop"
    _slot_order = ("square_avg", "grad_avg", "momentum_buffer")

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

    def _arguments(self) -> tuple[Any, ...]:
        return self.lr, self.weight_decay, self.alpha, self.eps, self.momentum
