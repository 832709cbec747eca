r"""sLSTM, the scalar-memory cell of xLSTM (Beck et al. 2024, arXiv:2405.04517).

.. math::
    m_t &= \max(a_i, \log f + m_{t-1}), \text{ or } a_i \text{ where } n_{t-1} = 0,
        \quad a = W x_t + b_{ih} + R h_{t-1} + b_{hh} \\
    i' &= \exp(a_i - m_t), \quad f' = \exp(\log f + m_{t-1} - m_t) \\
    c_t &= f' c_{t-1} + i' \tanh(a_z) \\
    n_t &= f' n_{t-1} + i' \\
    h_t &= \sigma(a_o) \, c_t / n_t

The input gate is an exponential. The stabilizer m keeps it finite: c and n are the
paper's values times exp(-m). R is block-diagonal: a head only reads its own units.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastcell.cells.registry import State, linear, sigmoid

# From here on TiRex' forget gate is constant.
LARGEST_FORGET = 15.0


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """Return log(1 / (1 + exp(-x))), without overflow."""
    value: np.ndarray = -np.logaddexp(0, -x)
    return value


def recurrent(h: np.ndarray, w: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return R h + b_hh, with R (G H, H / heads): a head reads its own units."""
    weight = w["weight_hh"]
    head = weight.shape[1]
    heads = h.shape[1] // head
    blocks = weight.reshape(-1, heads, head, head)  # gate, head, unit, unit before
    product = np.einsum("bkp,gkup->bgku", h.reshape(-1, heads, head), blocks)
    return product.reshape(len(h), -1) + w.get("bias_hh", 0)


def step(
    x: np.ndarray, state: State, w: Mapping[str, np.ndarray], form: str = "floored"
) -> State:
    """Return h_t, c_t, n_t and m_t by the formula, in NumPy."""
    h, c, n, m = state
    i, f, z, o = np.split(linear(x, w, "ih") + recurrent(h, w), 4, axis=-1)
    if form == "exponential":
        log_f = f + m
    elif form == "clamped":
        log_f = log_sigmoid(np.minimum(f, LARGEST_FORGET)) + m
    else:
        log_f = log_sigmoid(f) + m
    m = np.where(n == 0, i, np.maximum(i, log_f))
    i, f = np.exp(i - m), np.exp(np.minimum(log_f - m, 0))
    c = f * c + i * np.tanh(z)
    n = f * n + i
    if form == "floored":
        n = np.maximum(n, 1)
    return sigmoid(o) * (c / n), c, n, m
