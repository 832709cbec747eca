r"""RNN, GRU and LSTM whose activations and clips are chosen: their formulas.

.. math::
    \text{RNN: } h_t &= f(a) \\
    \text{GRU: } r, z &= f(x_r + h_r), f(x_z + h_z), \quad n = g(x_n + r h_n), \quad
        h_t = (1 - z) n + z h_{t-1} \\
    \text{LSTM: } i, f, o &= f(a_i), f(a_f), f(a_o), \quad
        c_t = clip(f c_{t-1} + i g(a_g)), \quad h_t = o h(c_t)

Their layers are `RNN`, `GRU` and `LSTM`. Each entry of the registry is a cell of the
core with some options, and its step has the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell.cells.activations import Choice, clipped
from fastcell.cells.gru import ACTIVATIONS as OF_GRU
from fastcell.cells.gru import GRU, GRUCell
from fastcell.cells.lstm import ACTIVATIONS as OF_LSTM
from fastcell.cells.lstm import LSTM, LSTMCell, half, projected
from fastcell.cells.registry import Cell, State, Step, linear
from fastcell.cells.rnn import RNN, RNNCell

Weights = Mapping[str, np.ndarray]


def rnn_step(choice: Choice) -> Step:
    """Return the step of an RNN with these options."""

    def step(x: np.ndarray, state: State, w: Weights) -> State:
        (h,) = state
        return (choice.activate(0, linear(x, w, "ih") + linear(h, w, "hh")),)

    return step


def gru_step(choice: Choice, reset_after: bool = True) -> Step:
    """Return the step of a GRU with these options."""

    def step(x: np.ndarray, state: State, w: Weights) -> State:
        (h,) = state
        xr, xz, xn = np.split(linear(x, w, "ih"), 3, axis=-1)
        hr, hz, hn = np.split(linear(h, w, "hh"), 3, axis=-1)
        r, z = choice.activate(0, xr + hr), choice.activate(0, xz + hz)
        if reset_after:
            n = choice.activate(1, xn + r * hn)
        else:
            hn = np.split(linear(r * h, w, "hh"), 3, axis=-1)[2]
            n = choice.activate(1, xn + hn)
        return ((1 - z) * n + z * h,)

    return step


def lstm_step(choice: Choice) -> Step:
    """Return the step of an LSTM with these options, in the form of its weights."""

    def step(x: np.ndarray, state: State, w: Weights) -> State:
        h, c = state
        units = c.shape[-1]
        a = linear(x, w, "ih") + linear(h, w, "hh")
        *a_i, a_f, a_g, a_o = np.split(a, a.shape[-1] // units, axis=-1)
        peepholes = w.get("weight_ch", np.zeros((len(a_i) + 2) * units))
        *p_i, p_f, p_o = np.split(peepholes, len(a_i) + 2)
        f = choice.activate(0, a_f + p_f * c)
        i = choice.activate(0, a_i[0] + p_i[0] * c) if a_i else 1 - f
        c = clipped(f * c + i * choice.activate(1, a_g), choice.cell_clip)
        o = choice.activate(0, a_o + p_o * c)
        return projected(o * choice.activate(2, c), w), c

    return step


# The clips seldom hold: a difference across one would say nothing about a gradient.
_ONE = {"activations": ("softsign",), "gate_clip": 9.0}
_TWO = {"activations": ("sigmoid", "softsign"), "gate_clip": 9.0}
_THREE = {
    "activations": ("sigmoid", ("scaled_tanh", 1.2, 0.7), "softsign"),
    "cell_clip": 1.5,
    "gate_clip": 9.0,
}
_RNN_STEP = rnn_step(Choice.of(("tanh",), **_ONE))
_LSTM_STEP = lstm_step(Choice.of(OF_LSTM, **_THREE))


def _lstm(form: str, **arguments: Any) -> Cell:
    name, options = f"lstm{form}_with_options", {**_THREE, **arguments}
    proj_size = half if form == "_projected" else None
    return Cell(name, LSTM, LSTMCell, _LSTM_STEP, options, proj_size)


CELLS = (
    Cell("rnn_with_options", RNN, RNNCell, _RNN_STEP, _ONE),
    Cell("gru_with_options", GRU, GRUCell, gru_step(Choice.of(OF_GRU, **_TWO)), _TWO),
    Cell(
        "gru_reset_before_with_options",
        GRU,
        GRUCell,
        gru_step(Choice.of(OF_GRU, **_TWO), reset_after=False),
        {**_TWO, "reset_after": False},
    ),
    _lstm(""),
    _lstm("_projected"),
    _lstm("_peephole", peephole=True),
    _lstm("_coupled", coupled_input_forget=True),
    _lstm("_peephole_coupled", peephole=True, coupled_input_forget=True),
)
