"""Adam (with AMSGrad) and AdamW optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastcell._checks.numbers import flag, real, shown
from fastcell.optim.base import Hyperparameter, Optimizer

if TYPE_CHECKING:
    from fastcell.optim.base import Array

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    r"""Adam: running mean of gradients divided by the root of that of their squares.

    With the gradient :math:`g` of step :math:`t` (from 1), to which :math:`\lambda p`
    is added for the weight decay :math:`\lambda` (Kingma & Ba 2015, arXiv:1412.6980):

    .. math::

        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        p &\leftarrow p - lr \; \frac{m}{1 - \beta_1^t} \Big/
            \left( \sqrt{\frac{v}{1 - \beta_2^t}} + eps \right)

    Parameters
    ----------
    params : mapping of str to array
        ``model.params``, or a dict of C-contiguous arrays of float32 or float64; each
        step changes them in place.
    lr : float
        At least 0; may be assigned between steps.
    betas : (float, float)
        Each at least 0 and less than 1.
    eps : float
        At least 0.
    weight_decay : float
        At least 0.
    amsgrad : bool
        Use the largest :math:`v` so far (Reddi, Kale & Kumar 2018, arXiv:1904.09237).

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described above, or two arrays share memory.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.optim import Adam
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = Adam(params, lr=0.1)
    >>> optimizer.step({"weight": np.array([1.0, -0.01])})
    >>> params["weight"].round(3)
    array([0.9, 2.1])
    """

    beta1 = Hyperparameter(minimum=0, below=1)
    beta2 = Hyperparameter(minimum=0, below=1)
    eps = Hyperparameter(minimum=0)
    weight_decay = Hyperparameter(minimum=0)
    amsgrad = Hyperparameter(flag)

    _rule = "adam"
    _slot_order = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    # True: the decay is added to the gradient. False: it is applied to the parameter.
    _decay_in_gradient = True

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas must be a pair of numbers; got {shown(betas)}")
        beta1, beta2 = (
            real(f"betas[{i}]", betas[i], minimum=0, below=1) for i in range(2)
        )
        super().__init__(
            params,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
        )

    @property
    def betas(self) -> tuple[float, float]:
        """The decay rates of the running means of the gradient and of its square."""
        return self.beta1, self.beta2

    @staticmethod
    def _slot_names(hyperparameters: Mapping[str, Any]) -> tuple[str, ...]:
        names = ("exp_avg", "exp_avg_sq")
        return (*names, "max_exp_avg_sq") if hyperparameters["amsgrad"] else names

    def _arguments(self) -> tuple[Any, ...]:
        given, steps = self._hyperparameters, self._steps
        lr, beta1, beta2 = given["lr"], given["beta1"], given["beta2"]
        decay, shrink = given["weight_decay"], 1.0
        if not self._decay_in_gradient:
            decay, shrink = 0.0, 1.0 - lr * decay
        # The bias corrections as factors of whole arrays, as in torch.
        rate = lr / (1.0 - beta1**steps)
        root_correction = 1.0 / (1.0 - beta2**steps) ** 0.5
        return beta1, beta2, given["eps"], rate, root_correction, decay, shrink


class AdamW(Adam):
    r"""Adam with decoupled weight decay.

    Each step computes :math:`p \leftarrow (1 - lr \cdot weight\_decay) \, p`, then the
    step of `Adam` without decay (Loshchilov & Hutter 2019, arXiv:1711.05101).

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad
        As for `Adam`; `weight_decay` is 0.01 if not given.

    Raises
    ------
    TypeError, ValueError
        As for `Adam`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.optim import AdamW
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = AdamW(params, lr=0.1, weight_decay=0.5)
    >>> optimizer.step({"weight": np.array([0.0, -0.01])})
    >>> params["weight"].round(3)
    array([0.95, 2.  ])
    """

    _decay_in_gradient = False

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)
