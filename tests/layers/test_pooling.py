"""Pooling and Activation: values, gradients, lengths, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from slopes import assert_slopes
from tolerances import DENSE, error

import fastcell
from fastcell.layers import Activation, Pooling

f32, f64 = np.float32, np.float64
KINDS = ("last", "mean", "max", "attention")
LENGTHS = [3, 0, 7, 1, 7, 6, 2]

every_kind = pytest.mark.parametrize("kind", KINDS)
both_ways = pytest.mark.parametrize("bidirectional", [False, True])


def layer_of(kind, bidirectional=False, dtype=f64, D=6):
    size = 5 if kind == "attention" else None
    return Pooling(D, kind, bidirectional, size, dtype=dtype, seed=3)


def steps_of(dtype=f64, T=7, B=7, D=6, seed=0):
    return np.random.default_rng(seed).standard_normal((T, B, D)).astype(dtype)


def by_formula(layer, h):
    """Pool one sequence (n, D), of at least one step, by the formula."""
    if layer.kind == "mean":
        return h.sum(axis=0) / len(h)
    if layer.kind == "max":
        return np.array([max(column) for column in h.T.tolist()])
    if layer.kind == "last":
        half = h.shape[1] // 2 if layer.bidirectional else h.shape[1]
        return np.concatenate([h[-1, :half], h[0, half:]])
    w = layer.state_dict()
    hidden = np.tanh(h @ w["hidden.weight"].T + w["hidden.bias"])
    e = np.exp(hidden @ w["score.weight"][0])
    return (e[:, np.newaxis] / e.sum() * h).sum(axis=0)


@both_ways
@every_kind
def test_each_row_is_the_formula_over_its_own_steps(kind, bidirectional):
    layer, h = layer_of(kind, bidirectional), steps_of()
    y = layer(h, LENGTHS)
    assert y.shape == (len(LENGTHS), 6)
    for row, n in enumerate(LENGTHS):
        if n:
            assert error(y[row], by_formula(layer, h[:n, row])) <= DENSE[f64]
        else:
            assert not y[row].any()
    whole = layer(h)
    for row in range(len(LENGTHS)):
        assert error(whole[row], by_formula(layer, h[:, row])) <= DENSE[f64]


@both_ways
@every_kind
@pytest.mark.parametrize("lengths", [None, LENGTHS, [2] * len(LENGTHS)])
def test_the_gradients_are_the_differences(kind, bidirectional, lengths):
    layer, h = layer_of(kind, bidirectional), steps_of()
    y, saved = layer.forward(h, lengths)
    assert same_bits(y, layer(h, lengths))
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dh, grads = layer.backward(dy, saved)
    assert list(grads) == list(layer.state_dict())
    assert_slopes(
        lambda: float((layer(h, lengths) * dy).sum()),
        {"h": h, **layer.params.arrays()},
        {"h": dh, **grads},
        layer.params.changed,
    )


@pytest.mark.parametrize("dtype", [f32, f64])
@both_ways
@every_kind
def test_a_row_does_not_depend_on_the_others_or_on_padding(
    kind, bidirectional, dtype, isa
):
    layer = layer_of(kind, bidirectional, dtype, D=2)
    h = steps_of(dtype, T=40, B=7, D=2)
    lengths = [31, 0, 40, 1, 17, 40, 9]
    y = layer(h, lengths)
    for row, n in enumerate(lengths):
        assert same_bits(layer(h[:n, [row]])[0], y[row])
        assert same_bits(layer(h[:, [row]], [n])[0], y[row])
    order = [4, 1, 6, 0, 5, 2, 3]
    moved = layer(h[:, order], np.array(lengths)[order])
    assert same_bits(moved, y[order])


@every_kind
def test_what_stands_past_the_lengths_is_not_read(kind):
    layer, h = layer_of(kind), steps_of()
    spoilt = h.copy()
    for row, n in enumerate(LENGTHS):
        spoilt[n:, row] = np.nan
    y, saved = layer.forward(h, LENGTHS)
    other, other_saved = layer.forward(spoilt, LENGTHS)
    assert same_bits(y, other)
    dh, grads = layer.backward(np.ones_like(y), saved)
    other_dh, other_grads = layer.backward(np.ones_like(y), other_saved)
    assert same_bits(dh, other_dh)
    assert all(same_bits(grads[name], other_grads[name]) for name in grads)
    for row, n in enumerate(LENGTHS):
        assert not dh[n:, row].any()


@pytest.mark.parametrize("kind", ["mean", "max", "attention"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row(kind, bad):
    layer, h = layer_of(kind), steps_of()
    y = layer(h, LENGTHS)
    h[1, 2, 3] = bad
    with np.errstate(invalid="ignore"):
        other = layer(h, LENGTHS)
    assert not np.isfinite(other[2, 3])
    rest = [0, 1, 3, 4, 5, 6]
    assert same_bits(other[rest], y[rest])


def test_of_equal_values_the_first_has_the_gradient():
    layer = Pooling(1, "max")
    h = np.array([2, 5, 5, 1], f32).reshape(4, 1, 1)
    y, saved = layer.forward(h)
    dh, _ = layer.backward(np.ones_like(y), saved)
    assert dh.ravel().tolist() == [0, 1, 0, 0]


@every_kind
@pytest.mark.parametrize("T, B", [(0, 3), (4, 0), (0, 0)])
def test_no_steps_and_no_rows_are_zeros(kind, T, B):
    layer = layer_of(kind)
    y, saved = layer.forward(np.zeros((T, B, 6)))
    assert y.shape == (B, 6)
    assert not y.any()
    dh, grads = layer.backward(np.ones_like(y), saved)
    assert dh.shape == (T, B, 6)
    assert not any(grad.any() for grad in grads.values())


@pytest.mark.parametrize("kind", ["last", "mean", "max"])
def test_a_running_pool_has_the_bits_of_the_whole(kind):
    layer, h = layer_of(kind, dtype=f32), steps_of(f32)
    running = layer.running(h.shape[1])
    assert not running.value().any()
    for t in range(len(h)):
        running.update(h[t])
        assert same_bits(running.value(), layer(h[: t + 1]))
    running.reset([1, 3])
    assert running.steps.tolist() == [7, 0, 7, 0, 7, 7, 7]
    assert not running.value()[[1, 3]].any()
    assert same_bits(running.value()[0], layer(h)[0])
    running.update(h[0])
    assert same_bits(running.value()[[1, 3]], h[0, [1, 3]])


def test_a_pool_of_the_whole_sequence_has_no_running_one():
    refuses(ValueError, ["attention"], layer_of("attention").running, 2)
    refuses(ValueError, ["directions"], layer_of("last", True).running, 2)


@every_kind
def test_a_saved_pooling_loads(kind, path):
    layer = layer_of(kind, dtype=f32)
    fastcell.save(layer, path)
    loaded = fastcell.load(path)
    assert loaded.config() == layer.config()
    h = steps_of(f32)
    assert same_bits(loaded(h, LENGTHS), layer(h, LENGTHS))


def test_attention_without_scores_is_the_mean():
    layer, h = layer_of("attention"), steps_of()
    layer.params["score.weight"] = np.zeros((1, 5))
    assert (
        error(layer(h, LENGTHS), Pooling(6, "mean", dtype=f64)(h, LENGTHS))
        <= (DENSE[f64])
    )


@pytest.mark.parametrize(
    "arguments, kind, words",
    [
        ({"kind": "median"}, ValueError, ["kind", "attention", "'median'"]),
        ({"kind": None}, ValueError, ["kind", "None"]),
        ({"input_size": 0}, ValueError, ["input_size", ">= 1"]),
        ({"input_size": 3, "bidirectional": True}, ValueError, ["input_size", "even"]),
        ({"bidirectional": 1}, TypeError, ["bidirectional"]),
        ({"attention_size": 3}, ValueError, ["attention_size", "'last'"]),
        ({"kind": "attention", "attention_size": 0}, ValueError, ["attention_size"]),
        ({"dtype": int}, TypeError, ["dtype"]),
        ({"seed": -1}, ValueError, ["seed"]),
    ],
)
def test_bad_arguments_of_pooling_are_named(arguments, kind, words):
    refuses(kind, words, lambda: Pooling(**{"input_size": 4, **arguments}))


def test_pooling_refuses():
    layer, h = layer_of("mean"), steps_of()
    refuses(TypeError, ["h", "float64", "float32"], layer, h.astype(f32))
    refuses(ValueError, ["h", "(T, B, 6)", "(7, 7, 5)"], layer, h[..., :5])
    refuses(ValueError, ["h", "(T, B, 6)"], layer, h[0])
    refuses(ValueError, ["lengths", "0 to 7", "8"], layer, h, [8] * 7)
    refuses(ValueError, ["lengths", "(7,)"], layer, h, [1])
    y, saved = layer.forward(h)
    refuses(ValueError, ["dy", "(7, 6)"], layer.backward, y[:2], saved)
    for other in (layer_of("max"), layer_of("last"), layer_of("mean", True)):
        refuses(ValueError, ["saved", "another layer"], other.backward, y, saved)


# ------------------------------------------------------------------ Activation


@pytest.mark.parametrize("kind", ["tanh", "relu", "sigmoid"])
def test_an_activation_and_its_gradient(kind):
    layer, x = Activation(kind), steps_of()
    y, saved = layer.forward(x)
    if kind == "sigmoid":
        np.testing.assert_allclose(y, 1 / (1 + np.exp(-x)), rtol=1e-15)
    else:
        expected = np.tanh(x) if kind == "tanh" else np.where(x > 0, x, 0)
        assert same_bits(y, expected)
    assert same_bits(layer(x), y)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx, grads = layer.backward(dy, saved)
    assert grads == {}
    assert_slopes(lambda: float((layer(x) * dy).sum()), {"x": x}, {"x": dx})


def test_an_activation_refuses():
    refuses(
        ValueError,
        ["kind", '"tanh" or "relu" or "sigmoid"', "'gelu'"],
        Activation,
        "gelu",
    )
    refuses(TypeError, ["x", "float32", "int64"], Activation(), np.zeros(3, int))
    _, saved = Activation().forward(np.zeros((2, 3), f32))
    refuses(ValueError, ["dy", "(2, 3)"], Activation().backward, np.ones(3, f32), saved)


def test_an_activation_in_a_sequential_loads(path):
    model = fastcell.Sequential(
        [fastcell.Linear(3, 4, seed=0), Activation("relu"), fastcell.Linear(4, 2)]
    )
    fastcell.save(model, path)
    x = steps_of(f32)[..., :3]
    assert same_bits(fastcell.load(path)(x), model(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maximum_of_zeros_of_both_signs_is_the_first_in_streams_too(dtype):
    layer = Pooling(2, "max", dtype=dtype)
    h = np.array([[[0.0, -0.0]], [[-0.0, 0.0]]], dtype)
    y = layer(h)
    np.testing.assert_array_equal(np.signbit(y), [[False, True]])
    running = layer.running(1)
    for step in h:
        running.update(step)
    np.testing.assert_array_equal(np.signbit(running.value()), [[False, True]])


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_memory_order_of_steps_and_gradients_makes_no_difference(kind):
    random = np.random.default_rng(0)
    h = random.standard_normal((4, 3, 5)).astype(np.float32)
    dy = random.standard_normal((3, 5)).astype(np.float32)
    layer, lengths = Pooling(5, kind), [4, 0, 2]
    y, saved = layer.forward(h, lengths)
    dh, _ = layer.backward(dy, saved)
    turned = np.asfortranarray(h)
    y_turned, saved = layer.forward(turned, lengths)
    dh_turned, _ = layer.backward(np.asfortranarray(dy), saved)
    np.testing.assert_array_equal(y_turned, y)
    np.testing.assert_array_equal(dh_turned, dh)
