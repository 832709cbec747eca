r"""LSTM with peepholes (Gers, Schraudolph and Schmidhuber, JMLR 3, 2002).

.. math::
    i, f &= \sigma(a_i + p_i c_{t-1}), \sigma(a_f + p_f c_{t-1}), \quad
        g = \tanh(a_g), \quad a = W x_t + b_{ih} + R h_{t-1} + b_{hh} \\
    c_t &= f c_{t-1} + i g \\
    o &= \sigma(a_o + p_o c_t) \\
    h_t &= o \tanh(c_t), \quad \text{projected: } h_t = W_{hr} (o \tanh(c_t))
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastcell.cells.lstm import LSTM, LSTMCell, half, projected
from fastcell.cells.registry import Cell, State, linear, sigmoid


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t and c_t by the formula, in NumPy."""
    h, c = state
    i, f, g, o = np.split(linear(x, w, "ih") + linear(h, w, "hh"), 4, axis=-1)
    p_i, p_f, p_o = np.split(w["weight_ch"], 3)
    c_new = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
    return projected(sigmoid(o + p_o * c_new) * np.tanh(c_new), w), c_new


_PEEPHOLE = {"peephole": True}

CELLS = (
    Cell("lstm_peephole", LSTM, LSTMCell, step, _PEEPHOLE),
    Cell("lstm_peephole_projected", LSTM, LSTMCell, step, _PEEPHOLE, half),
)
