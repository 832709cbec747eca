r"""Layer-normalized LSTM (Ba, Kiros and Hinton 2016, arXiv:1607.06450).

.. math::
    a &= \mathrm{LN}(W x_t; u_{ih}, b_{ih}) + \mathrm{LN}(R h_{t-1}; u_{hh}, b_{hh}) \\
    i, f, o &= \sigma(a_i), \sigma(a_f), \sigma(a_o), \quad g = \tanh(a_g) \\
    c_t &= f c_{t-1} + i g \\
    h_t &= o \tanh(\mathrm{LN}(c_t; u_c, b_c))

where LN(a; u, b) = u (a - mean(a)) / sqrt(var(a) + 1e-5) + b: of W x and R h over the
values of all gates, as PyTorch's LayerNormLSTMCell has it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastcell.cells.lstm import LSTM, LSTMCell
from fastcell.cells.registry import Cell, State, sigmoid


def normalized(a: np.ndarray, gain: np.ndarray, bias: np.ndarray | int) -> np.ndarray:
    """Return LN(a; gain, bias), over the last axis."""
    centered = a - a.mean(axis=-1, keepdims=True)
    variance = (centered * centered).mean(axis=-1, keepdims=True)
    result: np.ndarray = gain * centered / np.sqrt(variance + 1e-5) + bias
    return result


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t and c_t by the formula, in NumPy."""
    h, c = state
    a = normalized(x @ w["weight_ih"].T, w["weight_ln_ih"], w.get("bias_ih", 0))
    a = a + normalized(h @ w["weight_hh"].T, w["weight_ln_hh"], w.get("bias_hh", 0))
    i, f, g, o = np.split(a, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(normalized(c, w["weight_ln_c"], w["bias_ln_c"])), c


CELLS = (Cell("lstm_layer_norm", LSTM, LSTMCell, step, {"layer_norm": True}),)
