r"""Layer-normalized GRU (Ba, Kiros and Hinton 2016, arXiv:1607.06450).

.. math::
    x &= \mathrm{LN}(W x_t; u_{ih}, b_{ih}), \quad
        h = \mathrm{LN}(R h_{t-1}; u_{hh}, b_{hh}) \\
    r, z &= \sigma(x_r + h_r), \sigma(x_z + h_z) \\
    n &= \tanh(x_n + r h_n) \\
    h_t &= (1 - z) n + z h_{t-1}

where LN(a; u, b) = u (a - mean(a)) / sqrt(var(a) + 1e-5) + b, over the 2 H values of r
and z and, apart from them, over the H values of n, as printed there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastcell.cells.gru import GRU, GRUCell
from fastcell.cells.lstm_layer_norm import normalized
from fastcell.cells.registry import Cell, State, sigmoid


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    xr, xz, xn = _gates(x, w, "ih")
    hr, hz, hn = _gates(h, w, "hh")
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = np.tanh(xn + r * hn)
    return ((1 - z) * n + z * h,)


def _gates(x: np.ndarray, w: Mapping[str, np.ndarray], which: str) -> list[np.ndarray]:
    """Return the gates of a product, normalized."""
    a, gain = x @ w[f"weight_{which}"].T, w[f"weight_ln_{which}"]
    bias = w.get(f"bias_{which}", np.zeros_like(gain))
    n = 2 * gain.size // 3  # where its values begin
    rz = normalized(a[..., :n], gain[:n], bias[:n])
    return [*np.split(rz, 2, axis=-1), normalized(a[..., n:], gain[n:], bias[n:])]


CELLS = (Cell("gru_layer_norm", GRU, GRUCell, step, {"layer_norm": True}),)
