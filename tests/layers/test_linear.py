"""Linear: its products, their gradients, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from tolerances import DENSE, error

import fastcell

f32, f64 = np.float32, np.float64

LINEAR_SIZES = [(1, 1, (1,)), (7, 9, (3,)), (33, 17, (5, 3)), (40, 300, (2, 3, 50))]


@pytest.mark.parametrize("dtype", [f32, f64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("inputs, outputs, rows", LINEAR_SIZES)
def test_a_linear_layer_and_its_gradients(inputs, outputs, rows, bias, dtype, isa):
    random = np.random.default_rng(0)
    layer = fastcell.Linear(inputs, outputs, bias, dtype=dtype, seed=0)
    weights = {n: w.astype(f64) for n, w in layer.state_dict().items()}
    x = random.standard_normal((*rows, inputs)).astype(dtype)
    dy = random.standard_normal((*rows, outputs)).astype(dtype)
    y, saved = layer.forward(x)
    dx, grads = layer.backward(dy, saved)
    wide_x, wide_dy = x.astype(f64), dy.astype(f64)
    assert same_bits(y, layer(x))
    assert y.dtype == dx.dtype == dtype
    assert (
        error(y, wide_x @ weights["weight"].T + weights.get("bias", 0)) <= DENSE[dtype]
    )
    assert error(dx, wide_dy @ weights["weight"]) <= DENSE[dtype]
    flat_dy = wide_dy.reshape(-1, outputs)
    expected = flat_dy.T @ wide_x.reshape(-1, inputs)
    assert error(grads["weight"], expected) <= DENSE[dtype]
    assert set(grads) == set(weights)
    if bias:
        assert error(grads["bias"], flat_dy.sum(axis=0)) <= DENSE[dtype]


def test_the_rows_of_a_linear_layer_do_not_depend_on_each_other(isa):
    random = np.random.default_rng(0)
    layer = fastcell.Linear(33, 77, seed=0)
    x = random.standard_normal((23, 33)).astype(f32)
    y = layer(x)
    assert all(same_bits(layer(x[row]), y[row]) for row in range(23))


def test_a_linear_layer_takes_any_layout_and_no_rows():
    layer = fastcell.Linear(4, 3, seed=0)
    x = np.random.default_rng(0).standard_normal((6, 5, 4)).astype(f32)
    y = layer(x)
    for view in (
        np.asfortranarray(x),
        x[::-1][::-1],
        x.swapaxes(0, 1).copy().swapaxes(0, 1),
    ):
        assert same_bits(layer(view), y)
        saved = layer.forward(view)[1]
        assert same_bits(
            layer.backward(np.asfortranarray(y), saved)[0],
            layer.backward(y, layer.forward(x)[1])[0],
        )
    empty, saved = layer.forward(np.zeros((0, 4), f32))
    assert empty.shape == (0, 3)
    dx, grads = layer.backward(empty, saved)
    assert dx.shape == (0, 4)
    assert not any(grad.any() for grad in grads.values())


def test_a_linear_layer_refuses():
    layer = fastcell.Linear(4, 3, seed=0)
    refuses(ValueError, ["x", "(..., 4)", "(2, 3)"], layer, np.ones((2, 3), f32))
    refuses(ValueError, ["x", "(..., 4)", "()"], layer, f32(1))
    refuses(TypeError, ["x", "float32", "float64"], layer, np.ones((2, 4)))
    y, saved = layer.forward(np.ones((2, 4), f32))
    refuses(
        ValueError,
        ["dy", "(2, 3)", "(2, 4)"],
        layer.backward,
        np.ones((2, 4), f32),
        saved,
    )
    refuses(
        TypeError, ["dy", "float32", "float64"], layer.backward, y.astype(f64), saved
    )
    refuses(ValueError, ["in_features", ">= 1", "0"], fastcell.Linear, 0, 3)
    refuses(TypeError, ["out_features", "integer"], fastcell.Linear, 3, 2.5)
    refuses(TypeError, ["bias", "True or False"], fastcell.Linear, 3, 2, None)
