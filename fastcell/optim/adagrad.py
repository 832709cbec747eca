"""Adagrad optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastcell.optim.base import Hyperparameter, Optimizer

if TYPE_CHECKING:
    from fastcell.optim.base import Array

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    r"""Adagrad: gradients divided by the root of the sum of their past squares.

    With the gradient :math:`g` of step :math:`t` (from 1), to which :math:`\lambda p`
    is added for the weight decay :math:`\lambda` (Duchi, Hazan & Singer 2011, JMLR 12):

    .. math::

        s &\leftarrow s + g^2 \\
        p &\leftarrow p - \frac{lr}{1 + (t - 1) \, lr\_decay} \; g / (\sqrt{s} + eps)

    Parameters
    ----------
    params : mapping of str to array
        ``model.params``, or a dict of C-contiguous arrays of float32 or float64; each
        step changes them in place.
    lr : float
        At least 0; may be assigned between steps.
    lr_decay : float
        At least 0.
    weight_decay : float
        At least 0.
    initial_accumulator_value : float
        Initial value of the sum of squares; at least 0.
    eps : float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described above, or two arrays share memory.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.optim import Adagrad
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = Adagrad(params, lr=0.1)
    >>> optimizer.step({"weight": np.array([1.0, -0.01])})
    >>> params["weight"].round(3)
    array([0.9, 2.1])
    """

    _rule = "adagrad"
    _slot_order = ("sum",)

    lr_decay = Hyperparameter(minimum=0)
    weight_decay = Hyperparameter(minimum=0)
    initial_accumulator_value = Hyperparameter(minimum=0)
    eps = Hyperparameter(minimum=0)

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        for total in self._slots["sum"].values():
            total[...] = self.initial_accumulator_value

    @staticmethod
    def _slot_names(hyperparameters: Mapping[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _arguments(self) -> tuple[Any, ...]:
        rate = self.lr / (1.0 + (self.steps - 1) * self.lr_decay)
        return rate, self.weight_decay, self.eps
