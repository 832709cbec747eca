"""Stochastic gradient descent (SGD) optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastcell._checks.numbers import flag
from fastcell.optim.base import Hyperparameter, Optimizer

if TYPE_CHECKING:
    from fastcell.optim.base import Array

__all__ = ["SGD"]


class SGD(Optimizer):
    r"""Stochastic gradient descent, optionally with momentum.

    With the gradient :math:`g`, to which :math:`\lambda p` is added for the weight
    decay :math:`\lambda`, and the momentum :math:`\mu`:

    .. math::

        b &\leftarrow \mu b + (1 - dampening) \, g \qquad (b \leftarrow g
            \text{ in the first step}) \\
        p &\leftarrow p - lr \cdot b, \qquad
        p \leftarrow p - lr \, (g + \mu b) \text{ with } nesterov

    Parameters
    ----------
    params : mapping of str to array
        ``model.params``, or a dict of C-contiguous arrays of float32 or float64; each
        step changes them in place.
    lr : float
        At least 0; may be assigned between steps.
    momentum : float
        At least 0; with 0 no arrays are kept.
    dampening : float
    weight_decay : float
        At least 0.
    nesterov : bool
        Sutskever et al. 2013 (proceedings.mlr.press/v28/sutskever13); needs a momentum
        and no dampening.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described above, or two arrays share memory.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.optim import SGD
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = SGD(params, lr=0.1)
    >>> optimizer.step({"weight": np.array([1.0, -1.0])})
    >>> params["weight"]
    array([0.9, 2.1])
    """

    _rule = "sgd"
    _slot_order = ("momentum_buffer",)

    momentum = Hyperparameter(minimum=0)
    dampening = Hyperparameter()
    weight_decay = Hyperparameter(minimum=0)
    nesterov = Hyperparameter(flag)

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    @classmethod
    def _checked(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        checked = super()._checked(values)
        if checked["nesterov"] and (not checked["momentum"] or checked["dampening"]):
            raise ValueError(
                f"nesterov needs a momentum > 0 and a dampening of 0; "
                f"got momentum {checked['momentum']}, dampening {checked['dampening']}"
            )
        return checked

    @staticmethod
    def _slot_names(hyperparameters: Mapping[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if hyperparameters["momentum"] else ()

    def _arguments(self) -> tuple[Any, ...]:
        share = 1.0 if self.steps == 1 else 1.0 - self.dampening
        return self.lr, self.weight_decay, self.momentum, share, self.nesterov
