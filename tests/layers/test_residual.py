"""Residual and highway connections, by their formulas and their slopes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from tolerances import DENSE, DIFFERENCE, DIFFERENCE_STEP, error

import fastcell
from fastcell.layers import Activation, Highway, Residual

D = 6
DOUBLE = {"dtype": np.float64}
LAYERS = {
    "gru": lambda: fastcell.GRU(D, D, seed=0, **DOUBLE),
    "both-ways": lambda: fastcell.LSTM(D, 3, bidirectional=True, seed=0, **DOUBLE),
    "batch-first": lambda: fastcell.GRU(D, D, batch_first=True, seed=0, **DOUBLE),
    "chain": lambda: fastcell.Sequential(
        [
            fastcell.RNN(D, 4, seed=0, **DOUBLE),
            Activation("tanh"),
            fastcell.Linear(4, D, seed=1, **DOUBLE),
        ]
    ),
    "linear": lambda: fastcell.Linear(D, D, seed=0, **DOUBLE),
}
AROUND = {
    "residual": Residual,
    "highway": lambda layer: Highway(layer, D, gate_bias=-0.5, seed=2, **DOUBLE),
}
by_layer = pytest.mark.parametrize("name", LAYERS)
by_kind = pytest.mark.parametrize("kind", AROUND)


def example(name, ragged=False):
    """x (T, B, D), or (B, T, D), and what goes with it."""
    x = np.random.default_rng(0).standard_normal((5, 3, D))
    lengths = np.array([5, 0, 3])
    if name == "batch-first":
        x = np.ascontiguousarray(x.swapaxes(0, 1))
    return x, ({"lengths": lengths} if ragged and name != "linear" else {})


def expected_of(kind, around, x, h):
    if kind == "residual":
        return x + h
    gate = around.state_dict()
    t = 1 / (1 + np.exp(-(x @ gate["gate.weight"].T + gate["gate.bias"])))
    return t * h + (1 - t) * x


def y_of(result):
    return result[0] if isinstance(result, tuple) else result


def exists_of(name, shape):
    exists = np.arange(5)[:, np.newaxis] < np.array([5, 0, 3])
    return np.broadcast_to(
        (exists.T if name == "batch-first" else exists)[..., None], shape
    )


@pytest.mark.parametrize("ragged", [False, True])
@by_layer
@by_kind
def test_outputs_are_those_of_the_formula(kind, name, ragged):
    layer = LAYERS[name]()
    around = AROUND[kind](layer)
    x, sequence = example(name, ragged)
    h = y_of(layer(x, **sequence))
    expected = expected_of(kind, around, x, h)
    if sequence:
        exists = exists_of(name, x.shape)
        x = np.where(exists, x, np.nan)  # is not read
        expected = np.where(exists, expected, 0)
    result, trained = around(x, **sequence), around.forward(x, **sequence)
    assert error(y_of(result), expected) < DENSE[np.float64]
    assert same_bits(y_of(trained), y_of(result))
    if name != "linear":
        state = layer(np.nan_to_num(x), **sequence)[1]
        for a, b, c in zip(
            *map(np.atleast_1d, (result[1], trained[1], state)), strict=True
        ):
            assert same_bits(a, b) and same_bits(a, c)


@pytest.mark.parametrize("ragged", [False, True])
@by_layer
@by_kind
def test_gradients_are_the_slopes(kind, name, ragged):
    around = AROUND[kind](LAYERS[name]())
    x, sequence = example(name, ragged)
    random = np.random.default_rng(1)
    dy = random.standard_normal(x.shape)
    if sequence:
        dy = np.where(exists_of(name, x.shape), dy, 0)

    def loss():
        return float((y_of(around(x, **sequence)) * dy).sum())

    *_, saved = around.forward(x, **sequence)
    spoiled = np.where(dy == 0, np.nan, dy) if sequence else dy
    results = around.backward(spoiled, saved)
    grads = results[-1]
    assert set(grads) == set(around.params)
    around_arrays = {name: around.params[name] for name in grads}
    for what, array, got in (
        ("x", x, results[0]),
        *((n, a, grads[n]) for n, a in around_arrays.items()),
    ):
        step = DIFFERENCE_STEP * random.standard_normal(array.shape)
        array += step
        ahead = loss()
        array -= 2 * step
        slope = (ahead - loss()) / (2 * DIFFERENCE_STEP)
        array += step
        found = float((got * step).sum()) / DIFFERENCE_STEP
        assert abs(found - slope) < DIFFERENCE * (1 + abs(slope)), what


@by_kind
def test_state_gradients_pass_through(kind):
    layer = LAYERS["gru"]()
    around = AROUND[kind](layer)
    x, _ = example("gru")
    dh = np.ones((1, 3, D))
    expected = layer.backward(None, layer.forward(x)[2], dh)
    got = around.backward(None, around.forward(x)[2], dh)
    assert same_bits(got[0], expected[0]) and same_bits(got[1], expected[1])
    assert set(got[2]) == set(around.params)
    for name, grad in expected[2].items():
        assert same_bits(got[2][f"layer.{name}"], grad)


@by_kind
def test_a_chain_steps_as_it_runs(kind):
    model = fastcell.Sequential(
        [
            fastcell.GRU(D, D, seed=5, **DOUBLE),
            AROUND[kind](fastcell.LSTM(D, D, seed=0, **DOUBLE)),
            AROUND[kind](fastcell.Linear(D, D, seed=1, **DOUBLE)),
        ]
    )
    x, _ = example("gru")
    y, (h, (h2, c2)) = model(x)
    session = model.session(3)
    steps = [session.step(x_t) for x_t in x[:3]]
    other = session.fork()
    steps += [session.step(x_t) for x_t in x[3:]]
    assert error(np.stack(steps), y) < DENSE[np.float64]
    assert same_bits(session.state[0], h)
    assert all(map(same_bits, session.state[1], (h2, c2)))
    assert error(other.step(x[3]), y[3]) < DENSE[np.float64]
    session.reset()
    assert not session.state[1][0].any()
    *_, saved = model.forward(x)
    dx, _, grads = model.backward(y, saved, (None, (h2, None)))
    assert dx.shape == x.shape and set(grads) == set(model.params)


@by_kind
def test_it_is_saved_copied_and_made_from_its_configuration(kind, path):
    around = AROUND[kind](LAYERS["gru"]())
    x, _ = example("gru")
    y, _ = around(x)
    fastcell.save(around, path)
    made = type(around).from_config(around.config())
    made.load_state_dict(around.state_dict())
    for other in (fastcell.load(path), copy.deepcopy(around), made):
        assert type(other) is type(around) and other.config() == around.config()
        assert same_bits(other(x)[0], y)
    chain = fastcell.Sequential({"first": around})
    again = fastcell.Sequential.from_config(chain.config())
    assert again.config() == chain.config()
    assert "first.layer.weight_ih_l0" in again.params


def test_a_highway_begins_with_its_gate_almost_closed():
    layer = Highway(fastcell.GRU(D, D), D)
    assert (layer.params["gate.bias"] == -2).all() and layer.params["gate.weight"].any()


def test_wrong_layers_and_calls_are_refused_by_name():
    refuses(TypeError, ["layer", "int"], Residual, 3)
    turned = fastcell.GRU(3, 3, go_backwards=True)
    refuses(ValueError, ["layer", "go_backwards"], Residual, turned)
    chain = fastcell.Sequential([fastcell.Linear(3, 3), turned])
    refuses(ValueError, ["layer", "go_backwards"], Residual, chain)
    x = np.ones((5, 2, 3), np.float32)
    wide = Residual(fastcell.GRU(3, 4))
    refuses(ValueError, ["layer", "(5, 2, 3)", "(5, 2, 4)"], wide, x)
    last = Residual(fastcell.GRU(3, 3))
    refuses(ValueError, ["layer", "(2, 3)"], last, x, outputs="last")
    dense = Residual(fastcell.Linear(3, 3))
    refuses(TypeError, ["lengths", "not recurrent"], dense, x, lengths=[5, 5])
    refuses(TypeError, ["state", "not recurrent"], dense, x, 1)
    refuses(TypeError, ["layer", "session"], dense.session)
    refuses(TypeError, ["saved", "int"], dense.backward, x, 3)
    *_, saved = last.forward(x)
    refuses(ValueError, ["dy", "(5, 2, 3)"], last.backward, x[1:], saved)
    refuses(TypeError, ["dy", "float64"], last.backward, x.astype(float), saved)
    refuses(ValueError, ["dstate"], last.backward, x, saved, x)
    assert last.backward(x, saved)[0].shape == x.shape  # could still be used
    config = {"layer": {"class": "Nothing", "config": {}}}
    refuses(ValueError, ["class", "Nothing"], Residual.from_config, config)
    refuses(TypeError, ["config"], Residual.from_config, {})
