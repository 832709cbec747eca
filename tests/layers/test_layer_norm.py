"""LayerNorm: its formula, its gradients, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from tolerances import DIFFERENCE, DIFFERENCE_STEP, FORWARD, error

import fastcell

f32, f64 = np.float32, np.float64


def made(dtype, features=7, rows=(5, 3)):
    random = np.random.default_rng(0)
    layer = fastcell.LayerNorm(features, dtype=dtype)
    for array in layer.params.arrays().values():
        array[...] = random.standard_normal(features)
    layer.params.changed()
    return layer, random.standard_normal((*rows, features)).astype(dtype)


@pytest.mark.parametrize("rows", [(), (3,), (5, 3)])
@pytest.mark.parametrize("dtype", [f32, f64])
def test_rows_are_normalized_scaled_and_shifted(dtype, rows):
    layer, x = made(dtype, rows=rows)
    wide = x.astype(f64)
    g, b = (layer.params[n].astype(f64) for n in ("weight", "bias"))
    spread = np.sqrt(wide.var(axis=-1, keepdims=True) + 1e-5)
    expected = (wide - wide.mean(axis=-1, keepdims=True)) / spread * g + b
    y, _ = layer.forward(x)
    assert y.dtype == dtype
    assert error(y, expected) <= FORWARD[dtype]
    assert same_bits(y, layer(x))


def test_gradients_are_central_differences():
    layer, x = made(f64)
    y, saved = layer.forward(x)
    random = np.random.default_rng(1)
    dy = random.standard_normal(y.shape)
    dx, grads = layer.backward(dy, saved)
    gradients = {"x": dx, **grads}
    for name, array in {"x": x, **layer.params.arrays()}.items():
        direction = random.standard_normal(array.shape)
        before, ends = array.copy(), []
        for sign in (1, -1):
            array[...] = before + sign * DIFFERENCE_STEP * direction
            ends.append((layer(x) * dy).sum())
        array[...] = before
        expected = (ends[0] - ends[1]) / (2 * DIFFERENCE_STEP)
        got = (gradients[name] * direction).sum()
        assert abs(got - expected) / (1 + abs(expected)) <= DIFFERENCE, name


def test_constant_rows_give_the_bias():
    layer, x = made(f32)
    y = layer(np.full_like(x, 3))
    assert error(y, np.broadcast_to(layer.params["bias"], y.shape)) <= FORWARD[f32]


def test_saved_layer_loads(path):
    layer, x = made(f32)
    fastcell.save(layer, path)
    assert same_bits(fastcell.load(path)(x), layer(x))


def test_layer_norm_refuses():
    refuses(ValueError, ["features", ">= 1", "0"], fastcell.LayerNorm, 0)
    refuses(ValueError, ["eps", "> 0", "0"], fastcell.LayerNorm, 3, 0)
    refuses(
        TypeError, ["dtype", "float32 or float64"], fastcell.LayerNorm, 3, dtype=int
    )
    layer, x = made(f32)
    refuses(ValueError, ["x", "(..., 7)", "(5, 3, 6)"], layer, x[..., :6])
    refuses(TypeError, ["x", "float32", "float64"], layer, x.astype(f64))
    _, saved = layer.forward(x)
    refuses(ValueError, ["dy", "(5, 3, 7)"], layer.backward, x[:2], saved)
