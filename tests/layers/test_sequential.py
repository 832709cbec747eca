"""Sequential: chains of layers, their states, sessions and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from tolerances import DENSE, DIFFERENCE, DIFFERENCE_STEP, error

import fastcell

f32, f64 = np.float32, np.float64


def language_model(dtype=f64, dropout=0.0):
    return fastcell.Sequential(
        [
            fastcell.Embedding(11, 5, dtype=dtype, seed=0),
            fastcell.LSTM(5, 7, dtype=dtype, seed=1),
            fastcell.Dropout(dropout, seed=2),
            fastcell.GRU(7, 6, num_layers=2, dtype=dtype, seed=3),
            fastcell.Linear(6, 11, dtype=dtype, seed=4),
        ]
    )


def test_sequential_is_its_layers_one_after_another():
    model = language_model()
    ids = np.random.default_rng(0).integers(0, 11, (6, 3))
    y, (lstm_state, gru_state) = model(ids)
    embedding, lstm, _, gru, linear = model.layers
    z, expected_lstm = lstm(embedding(ids))
    z, expected_gru = gru(z)
    assert same_bits(y, linear(z))
    assert all(map(same_bits, lstm_state, expected_lstm))
    assert same_bits(gru_state, expected_gru)


def test_the_gradients_of_sequential_are_the_differences():
    model = language_model()
    random = np.random.default_rng(0)
    ids = random.integers(0, 11, (6, 3))
    _, state = model(ids[::-1])
    y, _, saved = model.forward(ids, state)
    dy = random.standard_normal(y.shape)
    dstate = (
        tuple(random.standard_normal(s.shape) for s in state[0]),
        random.standard_normal(state[1].shape),
    )
    dx, dinitial, grads = model.backward(dy, saved, dstate)
    assert dx is None
    assert list(grads) == list(model.state_dict())

    def loss(weights, state):
        model.load_state_dict(weights)
        y, (lstm, gru) = model(ids, state)
        total = (y * dy).sum() + (gru * dstate[1]).sum()
        return total + sum((s * d).sum() for s, d in zip(lstm, dstate[0], strict=True))

    weights = model.state_dict()
    for name, weight in weights.items():
        direction = random.standard_normal(weight.shape)
        ahead, behind = (
            loss({**weights, name: weight + s * DIFFERENCE_STEP * direction}, state)
            for s in (1, -1)
        )
        expected = (ahead - behind) / (2 * DIFFERENCE_STEP)
        got = (grads[name] * direction).sum()
        assert abs(got - expected) <= DIFFERENCE * (1 + abs(expected)), name
    direction = random.standard_normal(state[1].shape)
    ahead, behind = (
        loss(weights, (state[0], state[1] + s * DIFFERENCE_STEP * direction))
        for s in (1, -1)
    )
    expected = (ahead - behind) / (2 * DIFFERENCE_STEP)
    got = (dinitial[1] * direction).sum()
    assert abs(got - expected) <= DIFFERENCE * (1 + abs(expected))


def test_sequential_hands_lengths_to_all_recurrent_layers():
    model = language_model()
    ids = np.random.default_rng(0).integers(0, 11, (6, 3))
    _, (lstm, gru) = model(ids, lengths=[2, 6, 0])
    _, (lstm_short, gru_short) = model(ids[:2, :1])
    assert same_bits(lstm[1][:, :1], lstm_short[1])
    assert same_bits(gru[:, :1], gru_short)


def test_a_sequential_in_a_sequential_is_the_flat_one():
    flat = language_model()
    embedding, lstm, dropout, gru, linear = flat.layers
    nested = fastcell.Sequential(
        [
            fastcell.Sequential([embedding, lstm, dropout]),
            gru,
            fastcell.Sequential([linear]),
        ]
    )
    ids = np.random.default_rng(0).integers(0, 11, (6, 3))
    y, state, saved = flat.forward(ids)
    y_nested, state_nested, saved_nested = nested.forward(ids)
    assert same_bits(y, y_nested)
    assert same_bits(state[1], state_nested[1])
    _, dstate, grads = flat.backward(y, saved)
    _, dstate_nested, grads_nested = nested.backward(y, saved_nested)
    assert same_bits(dstate[1], dstate_nested[1])
    assert list(grads_nested) == list(nested.state_dict())
    for grad, other in zip(grads.values(), grads_nested.values(), strict=True):
        assert same_bits(grad, other)
    assert "0.1.weight_ih_l0" in grads_nested
    assert list(nested.rng_state()) == ["0.1", "0.2", "1"]


def test_a_session_of_sequential_is_the_whole():
    model = language_model(f32, dropout=0.5)
    ids = np.random.default_rng(0).integers(0, 11, (6, 3))
    y, state = model(ids)
    session = model.session(3)
    for t in range(3):
        assert same_bits(session.step(ids[t]), y[t])
    other = session.fork()
    middle = session.state
    for t in range(3, 6):
        assert same_bits(session.step(ids[t]), y[t])
    assert same_bits(session.state[1], state[1])
    assert all(map(same_bits, session.state[0], state[0]))
    assert same_bits(other.step(ids[3]), y[3])
    session.state = middle
    assert same_bits(session.step(ids[3]), y[3])
    session.reset([0, 2])
    assert not session.state[1][:, [0, 2]].any()
    assert session.state[1][:, 1].all()
    session.reset()
    assert same_bits(session.step(ids[0]), y[0])


def test_sequential_without_a_recurrent_layer_has_no_state():
    layer = fastcell.Linear(3, 2, dtype=f64, seed=0)
    model = fastcell.Sequential([layer, fastcell.Linear(2, 4, dtype=f64, seed=1)])
    x = np.random.default_rng(0).standard_normal((5, 3))
    y, saved = model.forward(x)
    assert same_bits(model(x), y)
    dx, grads = model.backward(y, saved)
    z, first_saved = layer.forward(x)
    dz, last = model.layers[1].backward(y, model.layers[1].forward(z)[1])
    assert same_bits(grads["1.weight"], last["weight"])
    assert same_bits(dx, layer.backward(dz, first_saved)[0])


def test_a_layer_used_twice_is_one_with_the_sum_of_its_gradients():
    layer = fastcell.Linear(3, 3, dtype=f64, seed=0)
    model = fastcell.Sequential([layer, layer])
    x = np.random.default_rng(0).standard_normal((5, 3))
    y, saved = model.forward(x)
    dy = np.ones_like(y)
    _, grads = model.backward(dy, saved)
    z, first_saved = layer.forward(x)
    dz, last = layer.backward(dy, layer.forward(z)[1])
    _, first = layer.backward(dz, first_saved)
    assert list(grads) == list(model.state_dict()) == ["0.weight", "0.bias"]
    for name in first:
        assert error(grads[f"0.{name}"], first[name] + last[name]) <= DENSE[f64]


def test_tied_weights_have_one_gradient():
    embedding = fastcell.Embedding(5, 3, dtype=f64, seed=0)
    linear = fastcell.Linear(3, 5, dtype=f64, seed=1)
    apart = fastcell.Sequential([fastcell.Embedding(5, 3, dtype=f64), linear])
    apart.params["0.weight"] = linear.params["weight"]
    ids = np.array([1, 4, 1])
    dy = np.random.default_rng(0).standard_normal((3, 5))
    expected = apart.backward(dy, apart.forward(ids)[1])[1]
    linear.params.share("weight", embedding.params)
    embedding.params["weight"] = apart.state_dict()["0.weight"]
    tied = fastcell.Sequential([embedding, linear])
    grads = tied.backward(dy, tied.forward(ids)[1])[1]
    assert list(grads) == list(tied.state_dict())
    total = expected["0.weight"] + expected["1.weight"]
    assert error(grads["0.weight"], total) <= DENSE[f64]


def test_sequential_refuses():
    refuses(
        TypeError,
        ["layers", "str", "at 1"],
        fastcell.Sequential,
        [fastcell.GRU(1, 2), "x"],
    )
    refuses(ValueError, ["layers", "at least one"], fastcell.Sequential, [])
    model = language_model()
    ids = np.zeros((2, 3), int)
    refuses(ValueError, ["state", "2 states"], model, ids, np.zeros(3))
    y, _, saved = model.forward(ids)
    refuses(ValueError, ["dstate", "2 states"], model.backward, y, saved, (None,))
    model.backward(y, saved)
    refuses(ValueError, ["saved", "used up"], model.backward, y, saved)
    both_ways = fastcell.Sequential([fastcell.GRU(1, 2, bidirectional=True)])
    refuses(ValueError, ["bidirectional"], both_ways.session)


def test_ids_are_called_x_as_the_argument_is():
    model = language_model()
    nested = fastcell.Sequential([model])
    for call in (model, model.forward, nested, nested.forward):
        refuses(ValueError, ["x must be ids from 0", "99"], call, [[99]])
        refuses(TypeError, ["x must be integers"], call, [[0.5]])
    refuses(ValueError, ["x must be ids from 0", "99"], model.session().step, [99])


def test_a_configuration_is_refused_by_its_part():
    config = fastcell.Sequential({"a": fastcell.Linear(1, 2)}).config()
    make, layer = fastcell.Sequential.from_config, config["layers"][0]
    for changes, kind, words in (
        ({"layers": None}, TypeError, ["config['layers']"]),
        ({"layers": ["Linear"]}, TypeError, ["config['layers'][0]"]),
        (
            {"layers": [layer, {"class": "Liner"}]},
            ValueError,
            ["[1]['class']", "Liner"],
        ),
        ({"layers": [layer, {"class": "GRU"}]}, TypeError, ["config", "NoneType"]),
        ({"names": ["a", "b"]}, ValueError, ["config['names']", "1", "2"]),
        ({"names": [1]}, TypeError, ["config['names'][0]"]),
    ):
        refuses(kind, words, make, {**config, **changes})


def test_a_configuration_makes_a_sequential_again():
    model = language_model(dropout=0.25)
    again = fastcell.Sequential.from_config(model.config())
    assert again.config() == model.config()
    assert all(
        same_bits(w, model.state_dict()[n]) for n, w in again.state_dict().items()
    )


def test_random_states_of_all_generators_are_kept_and_checked():
    model = language_model(dropout=0.5)
    ids = np.zeros((6, 3), int)
    state = model.rng_state()
    first = model.forward(ids)[0]
    assert not np.array_equal(first, model.forward(ids)[0])
    model.set_rng_state(state)
    assert same_bits(model.forward(ids)[0], first)
    with pytest.raises(KeyError, match="states must be of"):
        model.set_rng_state({"9": state["2"]})
