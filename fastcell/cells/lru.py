r"""LRU: a linear recurrence on the complex diagonal (Orvieto et al. 2023).

.. math::
    h_t &= \lambda h_{t-1} + e^{\gamma} (W x_t + b_{ih}), \quad
        \lambda = \exp(-e^{\nu} + i e^{\theta})

h, W, b and lambda are complex; arXiv:2303.06349.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import Any, Unpack

import numpy as np

from fastcell._checks.numbers import real
from fastcell.cells.registry import Cell, State, linear
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.named_classes import in_files
from fastcell.parameters import Parameters

_LEAST = 2.0**-53  # of a uniform number: its logarithm is finite


def complex_of(units: np.ndarray) -> np.ndarray:
    """Return pairs of units as complex numbers; an odd last one is real."""
    if units.shape[-1] % 2:
        units = np.concatenate([units, np.zeros_like(units[..., :1])], axis=-1)
    return units[..., ::2] + 1j * units[..., 1::2]


def units_of(numbers: np.ndarray, hidden_size: int) -> np.ndarray:
    """Return the units of complex numbers, the inverse of `complex_of`."""
    units = np.stack([numbers.real, numbers.imag], axis=-1)
    return units.reshape(*numbers.shape[:-1], 2 * numbers.shape[-1])[..., :hidden_size]


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    H = h.shape[-1]
    nu, gamma = w["weight_lambda"][::2], w["weight_gamma"][::2]
    angle = np.zeros_like(nu)  # of a real unit
    angle[: H // 2] = np.exp(w["weight_lambda"][1::2])
    eigenvalue = np.exp(-np.exp(nu) + 1j * angle)
    gains = np.repeat(np.exp(gamma), 2)[:H]
    return (units_of(eigenvalue * complex_of(h), H) + gains * linear(x, w, "ih"),)


@in_files
class LRU(Recurrent[np.ndarray]):
    r"""A stack of linear recurrent units.

    .. math::
        h_t &= \lambda h_{t-1} + e^{\gamma} (W x_t + b_{ih}), \quad
            \lambda = \exp(-e^{\nu} + i e^{\theta})

    h is N = H / 2 complex numbers, each with a lambda of its own; |lambda| < 1. Orvieto
    et al., ICML 2023, arXiv:2303.06349. A complex number is two units, its real part
    and then its imaginary part, so that ``y.view(np.complex64)`` has h as complex
    numbers, and the paper's Re(C h) is a `Linear` of y, whose weight is Re C and -Im C,
    column by column. Nothing in the layer is nonlinear: the paper has nonlinear layers
    between its recurrent ones, such as `Activation` and `Highway`.

    ============= ========= =====================================================
    parameter     shape     values
    ============= ========= =====================================================
    weight_ih     (H, I)    rows Re and Im of W in turns: the paper's B
    bias_ih       (H,)      b in the same order; the paper has none
    weight_lambda (H,)      nu and theta in turns: its nu_log and theta_log
    weight_gamma  (H,)      its gamma_log; every second value is unread, and has
                            the gradient 0
    ============= ========= =====================================================

    With an odd H the last unit has no partner and is real: its lambda is
    exp(-exp(nu)).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H, twice the number of complex states.
    num_layers : int, default 1
        L: each layer reads the outputs of the one below.
    bias : bool, default True
        Whether there is b_ih.
    batch_first : bool, default False
        Whether x is (B, T, I) rather than (T, B, I).
    dropout : float, default 0.0
        Probability, in training, of dropping an output between layers.
    bidirectional : bool, default False
        Whether a second pass runs from the last step to the first; y then has 2 H
        features.
    r_min, r_max : float, default 0.0 and 1.0
        lambda begins uniform on the ring r_min <= \|lambda\| <= r_max of the complex
        plane, 0 <= r_min < r_max <= 1. Near 1 the memory is long.
    max_phase : float, default 2 pi
        Its angle begins uniform in [0, max_phase), 0 < max_phase <= 2 pi.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Of the initial weights and of dropout. With init="uniform", the default, W is
        normal with variance 1/(2 I), as in the paper, and b is 0; with others see
        `fastcell.layers.starts.Start`. gamma is log sqrt(1 - \|lambda\|^2), so that h
        has the size of x.
    **options
        Arguments of all layers, such as zoneout, init and merge: see
        `fastcell.layers.options.Options`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.LRU(3, 8, r_min=0.9, r_max=0.999, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape, y.view(np.complex64).shape
    ((5, 2, 8), (1, 2, 8), (5, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * pi,
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.r_min = real("r_min", r_min, minimum=0, maximum=1)
        self.r_max = real("r_max", r_max, minimum=0, maximum=1)
        if self.r_min >= self.r_max:
            raise ValueError(
                f"r_min must be less than r_max, {self.r_max}; got {r_min}"
            )
        self.max_phase = real("max_phase", max_phase, minimum=0, maximum=2 * pi)
        if self.max_phase == 0:
            raise ValueError(f"max_phase must be above 0; got {max_phase}")
        super().__init__(
            "lru",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            dtype,
            seed,
            **options,
        )

    def _new_parameters(self) -> Parameters:
        parameters = super()._new_parameters()
        for name, shape in self._shapes.items():
            if name.startswith("weight_lambda"):
                nu, theta, gamma = self._ring((shape[0] + 1) // 2)
                gamma_name = name.replace("lambda", "gamma")
                parameters[name] = _in_turns(nu, theta, shape[0])
                parameters[gamma_name] = _in_turns(gamma, 0 * gamma, shape[0])
            elif self._start.init == "uniform" and name.startswith("weight_ih"):
                variance = 1 / (2 * max(shape[1], 1))
                parameters[name] = self._random.normal(0, variance**0.5, shape)
            elif self._start.init == "uniform" and name.startswith("bias_ih"):
                parameters[name] = np.zeros(shape)
        return parameters

    def _ring(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return nu, theta and gamma of numbers that are uniform on the ring."""
        u, v = np.maximum(self._random.uniform(0, 1, (2, count)), _LEAST)
        squares = u * (self.r_max**2 - self.r_min**2) + self.r_min**2
        decay = -0.5 * np.log(np.minimum(squares, 1 - _LEAST))  # -log |lambda|
        gamma = 0.5 * np.log(-np.expm1(-2 * decay))
        return np.log(decay), np.log(self.max_phase * v), gamma

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {
            **super().config(),
            "r_min": self.r_min,
            "r_max": self.r_max,
            "max_phase": self.max_phase,
        }


class LRUCell(RecurrentCell[np.ndarray]):
    """One step of an `LRU`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.LRUCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * pi,
        dtype: Any = np.float32,
        seed: int | None = None,
        init: str = "uniform",
    ) -> None:
        super().__init__(
            LRU(
                input_size,
                hidden_size,
                1,
                bias,
                r_min=r_min,
                r_max=r_max,
                max_phase=max_phase,
                dtype=dtype,
                seed=seed,
                init=init,
            )
        )


def _in_turns(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    return np.stack([first, second], axis=-1).reshape(-1)[:count]


CELLS = (Cell("lru", LRU, LRUCell, step),)
