r"""LSTM with coupled input and forget gates (Greff et al. 2017, arXiv:1503.04069).

.. math::
    f, o &= \sigma(a_f), \sigma(a_o), \quad g = \tanh(a_g), \quad
        a = W x_t + b_{ih} + R h_{t-1} + b_{hh} \\
    c_t &= f c_{t-1} + (1 - f) g \\
    h_t &= o \tanh(c_t)

With peepholes f sees p_f c_{t-1} and o sees p_o c_t; with a projection the output is
W_hr h_t.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastcell.cells.lstm import LSTM, LSTMCell, half, projected
from fastcell.cells.registry import Cell, State, linear, sigmoid


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t and c_t by the formula, in NumPy."""
    h, c = state
    f, g, o = np.split(linear(x, w, "ih") + linear(h, w, "hh"), 3, axis=-1)
    p_f, p_o = np.split(w.get("weight_ch", np.zeros(2)), 2)
    keep = sigmoid(f + p_f * c)
    c = keep * c + (1 - keep) * np.tanh(g)
    return projected(sigmoid(o + p_o * c) * np.tanh(c), w), c


_COUPLED = {"coupled_input_forget": True}
_BOTH = {"peephole": True, "coupled_input_forget": True}

CELLS = (
    Cell("lstm_coupled", LSTM, LSTMCell, step, _COUPLED),
    Cell("lstm_coupled_projected", LSTM, LSTMCell, step, _COUPLED, half),
    Cell("lstm_peephole_coupled", LSTM, LSTMCell, step, _BOTH),
    Cell("lstm_peephole_coupled_projected", LSTM, LSTMCell, step, _BOTH, half),
)
