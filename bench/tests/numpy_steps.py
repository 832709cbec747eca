"""Reference results of layers: the NumPy steps of the cell registry, in float64.

Outputs do not depend on other rows or on later steps, so only a few rows and steps are
compared. A gradient is compared with the central difference along itself, which must
equal its norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.testing import assert_allclose

#: The number of steps and of rows to compare.
STEPS, ROWS = 4, 2

#: Tolerances of float32 layers against float64 steps, relative to the largest value.
FORWARD_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4

_DIFFERENCE = 1e-6

Arrays = Mapping[str, np.ndarray]


def outputs(cell: Any, weights: Arrays, x: np.ndarray) -> np.ndarray:
    """Return the outputs (T, B, H) of `cell.step` over `x` (T, B, I) from a zero state.

    `cell` is an entry of ``fastcell.cells.REGISTRY``, `weights` a layer's state dict.
    """
    weights = {
        name.removesuffix("_l0"): value.astype(np.float64)
        for name, value in weights.items()
    }
    rows, width = weights["weight_hh"].shape  # width of h; c has H units
    widths = [width, rows // len(cell.gates)][: len(cell.states)]
    state = tuple(np.zeros((x.shape[1], n)) for n in widths)
    y = np.empty((*x.shape[:2], width))
    for t, x_t in enumerate(x.astype(np.float64)):
        state = cell.step(x_t, state, weights)
        y[t] = state[0]
    return y


def assert_outputs(cell: Any, weights: Arrays, x: np.ndarray, y: np.ndarray) -> None:
    """Compare the first steps and rows of `y` with the NumPy step."""
    expected = outputs(cell, weights, x[:STEPS, :ROWS])
    assert_allclose(
        y[:STEPS, :ROWS],
        expected,
        rtol=0,
        atol=FORWARD_TOLERANCE * np.abs(expected).max(),
    )


def assert_gradients(cell: Any, layer: Any, x: np.ndarray) -> None:
    """Compare the gradients from the first steps and rows with central differences."""
    weights = layer.state_dict()
    y, _, saved = layer.forward(x)
    dy = np.zeros_like(y)
    few = np.s_[:STEPS, :ROWS]
    dy[few] = np.random.default_rng(7).standard_normal(dy[few].shape)
    dx, _, grads = layer.backward(dy, saved)
    assert not dx[STEPS:].any(), "later steps have a gradient of earlier outputs"
    assert not dx[:, ROWS:].any(), "rows have a gradient of other rows' outputs"
    values = {**weights, "x": x[few]}
    for name, grad in {**grads, "x": dx[few]}.items():
        length = np.linalg.norm(grad.astype(np.float64))
        if len(x) == 1 and name.startswith("weight_hh"):
            assert length == 0, "one step from a zero state uses no recurrent weight"
            continue
        assert length > 0, f"the gradient of {name} is zero"
        change = grad.astype(np.float64) * (_DIFFERENCE / length)
        difference = 0.0
        for sign in (1, -1):
            moved = {**values, name: values[name].astype(np.float64) + sign * change}
            x_moved = moved.pop("x")
            difference += sign * np.sum(dy[few] * outputs(cell, moved, x_moved))
        assert_allclose(
            difference / (2 * _DIFFERENCE),
            length,
            rtol=GRADIENT_TOLERANCE,
            err_msg=f"gradient of {name}",
        )
