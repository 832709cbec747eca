r"""minLSTM: its gates follow from x alone (Feng et al. 2024, arXiv:2410.01201).

.. math::
    f, i &= \sigma(a_f), \sigma(a_i), \quad n = g(a_n), \quad a = W x_t + b_{ih} \\
    h_t &= \frac{f}{f + i} h_{t-1} + \frac{i}{f + i} n
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from fastcell.cells.positive import PositiveLayer, PositiveStep, positive_candidate
from fastcell.cells.registry import Cell, State, linear, sigmoid
from fastcell.named_classes import in_files


def kept_share(a_f: np.ndarray, a_i: np.ndarray) -> np.ndarray:
    """Return f / (f + i), also where both are 0 in this precision."""
    log_f, log_i = -np.logaddexp(0, -a_f), -np.logaddexp(0, -a_i)
    difference = log_f - log_i
    difference[a_f == a_i] = 0
    return sigmoid(difference)


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    a_f, a_i, n = np.split(linear(x, w, "ih"), 3, axis=-1)
    s = kept_share(a_f, a_i)
    return (s * h + (1 - s) * n,)


def positive_step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t of the positive form by the formula, in NumPy."""
    (h,) = state
    a_f, a_i, n = np.split(linear(x, w, "ih"), 3, axis=-1)
    s = kept_share(a_f, a_i)
    return (s * h + (1 - s) * positive_candidate(n),)


@in_files
class MinLSTM(PositiveLayer):
    r"""A stack of minLSTM layers, whose gates follow from x alone.

    .. math::
        f, i &= \sigma(a_f), \sigma(a_i), \quad n = g(a_n), \quad
            a = W x_t + b_{ih} \\
        h_t &= \frac{f}{f + i} h_{t-1} + \frac{i}{f + i} n

    There are no recurrent weights, and h is the only state; gate order f i n; g is the
    identity, or see the argument `positive`. Feng et al. 2024, arXiv:2410.01201.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.MinLSTM(3, 4, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    _core_cells = ("min_lstm", "min_lstm_positive")
    _keeping_gates: ClassVar = {"f": 1, "i": -1}


class MinLSTMCell(PositiveStep):
    """One step of a `MinLSTM`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.MinLSTMCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    _layer_class = MinLSTM


CELLS = (
    Cell("min_lstm", MinLSTM, MinLSTMCell, step),
    Cell("min_lstm_positive", MinLSTM, MinLSTMCell, positive_step, {"positive": True}),
)
