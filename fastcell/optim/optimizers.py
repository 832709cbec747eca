"""The optimizers: what a step does to the parameters, in place.

The rules, argument names and defaults are those of ``torch.optim``. In the functions
that `_rule` returns, `p` and `g` are a block of a parameter and of its gradient, `a`
and `b` are buffers of garbage, and the rest is what the optimizer keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell import _core
from fastcell._numbers import flag
from fastcell.optim.base import Hyperparameter, Optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating]

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "RMSprop"]


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum if wanted.

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
        At least 0; without it no array is kept.
    dampening : float
    weight_decay : float
        At least 0.
    nesterov : bool
        Sutskever et al. 2013 (proceedings.mlr.press/v28/sutskever13); needs a momentum
        and no dampening.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as said above, or two arrays share memory.

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

    def _rule(self) -> Callable[..., None]:
        lr, momentum, decay = self.lr, self.momentum, self.weight_decay
        fresh_share = 1.0 if self.steps == 1 else 1.0 - self.dampening

        def plain(p: Array, g: Array, a: Array, b: Array) -> None:
            g = _with_decay(g, p, decay, a)
            p -= np.multiply(g, lr, out=b)

        def with_momentum(p: Array, g: Array, v: Array, a: Array, b: Array) -> None:
            g = _with_decay(g, p, decay, a)
            v *= momentum  # zero before the first step
            v += np.multiply(g, fresh_share, out=b)
            if self.nesterov:
                np.multiply(v, momentum, out=b)
                b += g
                b *= lr
            else:
                np.multiply(v, lr, out=b)
            p -= b

        return with_momentum if momentum else plain


class RMSprop(Optimizer):
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
            g = _with_decay(g, p, decay, a)
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


class Adagrad(Optimizer):
    r"""Gradients over the root of the sum of all their squares so far.

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
        What the sum of squares begins with; at least 0.
    eps : float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as said above, or two arrays share memory.

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

    def _rule(self) -> Callable[..., None]:
        lr = self.lr / (1.0 + (self.steps - 1) * self.lr_decay)
        decay, eps = self.weight_decay, self.eps

        def update(p: Array, g: Array, s: Array, a: Array, b: Array) -> None:
            g = _with_decay(g, p, decay, a)
            s += np.multiply(g, g, out=b)
            np.sqrt(s, out=b)
            b += eps
            np.divide(g, b, out=b)
            b *= lr
            p -= b

        return update


class Adam(Optimizer):
    r"""Running mean of the gradients over the root of that of their squares.

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
        Take the largest :math:`v` so far (Reddi, Kale & Kumar 2018, arXiv:1904.09237).

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as said above, or two arrays share memory.

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

    # Whether the decay is part of the gradient, or is taken from the parameter itself.
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
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise ValueError(
                f"betas must be a pair of numbers; got {betas!r}"
            ) from None
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

    def _rule(self) -> Callable[..., None]:
        (beta1, beta2), eps, amsgrad = self.betas, self.eps, self.amsgrad
        decay_in_gradient = self.weight_decay if self._decay_in_gradient else 0.0
        shrink = 1.0 if self._decay_in_gradient else 1.0 - self.lr * self.weight_decay
        # The bias corrections as factors of whole blocks, as in torch.
        rate = self.lr / (1.0 - beta1**self.steps)
        root_correction = 1.0 / (1.0 - beta2**self.steps) ** 0.5

        def fused(p: Array, g: Array, m: Array, v: Array, *_: Array) -> None:
            rule = (beta1, beta2, eps, rate, root_correction, decay_in_gradient, shrink)
            _core.adam(p, np.ascontiguousarray(g), m, v, *rule)

        def amsgrad_update(
            p: Array, g: Array, m: Array, v: Array, v_max: Array, a: Array, b: Array
        ) -> None:
            g = _with_decay(g, p, decay_in_gradient, a)
            if shrink != 1.0:
                p *= shrink
            _average(m, g, beta1, b)
            _average_square(v, g, beta2, b)
            np.maximum(v_max, v, out=v_max)
            np.sqrt(v_max, out=b)
            b *= root_correction
            b += eps
            np.divide(m, b, out=b)
            b *= rate
            p -= b

        return amsgrad_update if amsgrad else fused


class AdamW(Adam):
    r"""Adam with the weight decay taken from the parameter, apart from the gradient.

    Each step begins with :math:`p \leftarrow (1 - lr \cdot weight\_decay) \, p` and
    goes on as `Adam` without decay (Loshchilov & Hutter 2019, arXiv:1711.05101).

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


def _with_decay(g: Array, p: Array, decay: float, out: Array) -> Array:
    """Return g + decay p, in `out`, or `g` itself if there is no decay."""
    if not decay:
        return g
    np.multiply(p, decay, out=out)
    out += g
    return out


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
