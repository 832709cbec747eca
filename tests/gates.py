"""The gates of every cell by its formula, in NumPy, and traces made of them.

A cell's step returns states alone, so the gates are written once more, from the papers
that the steps name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from oracle import Problem, run

from fastcell.cells import Cell
from fastcell.cells.activations import Choice
from fastcell.cells.lstm_layer_norm import normalized
from fastcell.cells.min_gru import positive_candidate
from fastcell.cells.registry import linear, sigmoid

Weights = Mapping[str, np.ndarray]
States = tuple[np.ndarray, ...]
Gates = dict[str, np.ndarray]

OF_LSTM, OF_GRU = ("sigmoid", "tanh", "tanh"), ("sigmoid", "tanh")


def gates_of(cell: Cell) -> Callable[[np.ndarray, States, Weights], Gates]:
    """Return ``gates(x, state, weights)`` of a cell, by name."""
    exact = {
        "lstm_layer_norm": lstm_layer_norm,
        "gru_layer_norm": gru_layer_norm,
        "mgu": mgu,
        "ligru": ligru,
    }
    if cell.name in exact:
        return exact[cell.name]
    families = {
        "rnn": nothing,
        "indrnn": nothing,
        "lru": nothing,
        "lstm": lstm,
        "gru": gru,
        "min_gru": min_gru,
        "min_lstm": min_lstm,
        "slstm": slstm,
    }
    name = max((n for n in families if cell.name.startswith(n)), key=len)
    family = families[name]
    return lambda x, state, w: family(cell, x, state, w)


def nothing(cell: Cell, x: np.ndarray, state: States, w: Weights) -> Gates:
    """The one gate is the state."""
    return {}


def _choice(cell: Cell, usual: tuple[str, ...]) -> Choice:
    given = [cell.options.get(n) for n in ("activations", "gate_clip", "cell_clip")]
    return Choice.of(usual, *given)


def lstm(cell: Cell, x: np.ndarray, state: States, w: Weights) -> Gates:
    h, c = state
    choice, units = _choice(cell, OF_LSTM), c.shape[-1]
    a = linear(x, w, "ih") + linear(h, w, "hh")
    *a_i, a_f, a_g, a_o = np.split(a, a.shape[-1] // units, axis=-1)
    peepholes = w.get("weight_ch", np.zeros((len(a_i) + 2) * units))
    *p_i, p_f, p_o = np.split(peepholes, len(a_i) + 2)
    found = {"f": choice.activate(0, a_f + p_f * c), "g": choice.activate(1, a_g)}
    i = 1 - found["f"]
    if a_i:
        i = found["i"] = choice.activate(0, a_i[0] + p_i[0] * c)
    c = found["f"] * c + i * found["g"]
    if choice.cell_clip is not None:
        c = np.clip(c, -choice.cell_clip, choice.cell_clip)
    return {**found, "o": choice.activate(0, a_o + p_o * c)}


def lstm_layer_norm(x: np.ndarray, state: States, w: Weights) -> Gates:
    h, _ = state
    a = normalized(x @ w["weight_ih"].T, w["weight_ln_ih"], w.get("bias_ih", 0))
    a = a + normalized(h @ w["weight_hh"].T, w["weight_ln_hh"], w.get("bias_hh", 0))
    i, f, g, o = np.split(a, 4, axis=-1)
    return {"i": sigmoid(i), "f": sigmoid(f), "g": np.tanh(g), "o": sigmoid(o)}


def gru(cell: Cell, x: np.ndarray, state: States, w: Weights) -> Gates:
    (h,) = state
    choice = _choice(cell, OF_GRU)
    xr, xz, xn = np.split(linear(x, w, "ih"), 3, axis=-1)
    hr, hz, hn = np.split(linear(h, w, "hh"), 3, axis=-1)
    r, z = choice.activate(0, xr + hr), choice.activate(0, xz + hz)
    if cell.options.get("reset_after", True):
        return {"r": r, "z": z, "n": choice.activate(1, xn + r * hn), "h_n": hn}
    hn = np.split(linear(r * h, w, "hh"), 3, axis=-1)[2]
    return {"r": r, "z": z, "n": choice.activate(1, xn + hn)}


def gru_layer_norm(x: np.ndarray, state: States, w: Weights) -> Gates:
    (h,) = state

    def gates(of: np.ndarray, which: str) -> list[np.ndarray]:
        a = np.split(of @ w[f"weight_{which}"].T, 3, axis=-1)
        gain = np.split(w[f"weight_ln_{which}"], 3)
        bias = np.split(w.get(f"bias_{which}", np.zeros(3 * h.shape[-1])), 3)
        r_and_z = normalized(
            np.concatenate(a[:2], axis=-1),
            np.concatenate(gain[:2]),
            np.concatenate(bias[:2]),
        )
        return [*np.split(r_and_z, 2, axis=-1), normalized(a[2], gain[2], bias[2])]

    xr, xz, xn = gates(x, "ih")
    hr, hz, hn = gates(h, "hh")
    r = sigmoid(xr + hr)
    return {"r": r, "z": sigmoid(xz + hz), "n": np.tanh(xn + r * hn)}


def mgu(x: np.ndarray, state: States, w: Weights) -> Gates:
    (h,) = state
    xf, xn = np.split(linear(x, w, "ih"), 2, axis=-1)
    f = sigmoid(xf + np.split(linear(h, w, "hh"), 2, axis=-1)[0])
    hn = np.split(linear(f * h, w, "hh"), 2, axis=-1)[1]
    return {"f": f, "n": np.tanh(xn + hn)}


def ligru(x: np.ndarray, state: States, w: Weights) -> Gates:
    (h,) = state
    z, n = np.split(linear(x, w, "ih") + linear(h, w, "hh"), 2, axis=-1)
    return {"z": sigmoid(z), "n": np.maximum(n, 0)}


def min_gru(cell: Cell, x: np.ndarray, state: States, w: Weights) -> Gates:
    z, n = np.split(linear(x, w, "ih"), 2, axis=-1)
    positive = cell.options.get("positive", False)
    return {"z": sigmoid(z), "n": positive_candidate(n) if positive else n}


def min_lstm(cell: Cell, x: np.ndarray, state: States, w: Weights) -> Gates:
    f, i, n = np.split(linear(x, w, "ih"), 3, axis=-1)
    f, i = sigmoid(f), sigmoid(i)
    n = positive_candidate(n) if cell.options.get("positive", False) else n
    return {"f": f, "i": i, "n": n, "s": f / (f + i)}


def slstm(cell: Cell, x: np.ndarray, state: States, w: Weights) -> Gates:
    h, _, n, m = state
    a_i, a_f, z, o = np.split(linear(x, w, "ih") + linear(h, w, "hh"), 4, axis=-1)
    if cell.options.get("form") == "exponential":
        log_f = a_f
    else:
        most = 15.0 if cell.options.get("form") == "clamped" else np.inf
        log_f = -np.logaddexp(0, -np.minimum(a_f, most))
    largest = np.where(n == 0, a_i, np.maximum(a_i, log_f + m))
    i = np.exp(a_i - largest)
    f = np.exp(np.minimum(log_f + m - largest, 0))
    return {"i": i, "f": f, "z": np.tanh(z), "o": sigmoid(o)}


def expected_trace(made: Problem) -> dict[str, np.ndarray]:
    """Return states and gates (L, D, T, B, n) of a problem by the formulas."""
    seen: list[tuple[States, States, Gates]] = []
    gates = gates_of(made.cell)

    def step(x: np.ndarray, state: States, w: Weights) -> States:
        after = made.cell.step(x, state, w)
        seen.append((state, after, gates(x, state, w)))
        return after

    L, D = made.layer.num_layers, 2 if made.layer.bidirectional else 1
    weights = made.layer.state_dict()
    spied = replace(made.cell, step=step)
    run(spied, weights, made.x, made.state, L, D, **made.sequence)
    T, B = made.T, made.B
    lengths = made.sequence.get("lengths", np.full(B, T))
    exists = np.arange(T)[:, np.newaxis] < lengths
    active = exists & made.sequence.get("mask", np.ones((T, B), bool))
    found: dict[str, np.ndarray] = {}
    for turn, (before, after, values) in enumerate(seen):
        (layer, d), s = divmod(turn // T, D), turn % T
        t = T - 1 - s if d else s
        of_step = {
            name: np.where(active[t, :, np.newaxis], new, old)
            * exists[t, :, np.newaxis]
            for name, new, old in zip(made.layer.states, after, before, strict=True)
        }
        for name, value in values.items():
            of_step[name] = value * active[t, :, np.newaxis]
        for name, value in of_step.items():
            shape = (L, D, T, *value.shape)
            found.setdefault(name, np.zeros(shape))[layer, d, t] = value
    return found
