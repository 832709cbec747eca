"""Embedding, Linear, Dropout, Sequential, and dropout between recurrent layers."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from oracle import by_name, joined, problem, same_bits, split
from refusals import refuses
from tolerances import (
    DENSE,
    DIFFERENCE,
    DIFFERENCE_STEP,
    GRADIENT_FLOAT32,
    STANDARD_ERRORS,
    error,
)

import fastcell
from fastcell.cells import REGISTRY

f32, f64 = np.float32, np.float64


# ------------------------------------------------------------------- Embedding

IDS = np.array([[3, 0, 3], [1, 3, 4]])


def test_an_embedding_looks_up_rows():
    layer = fastcell.Embedding(5, 4, seed=0)
    weight = layer.params["weight"]
    for ids in (IDS, IDS.astype(np.uint8), IDS.astype(np.uint64), IDS.tolist(), IDS.T):
        assert same_bits(layer(ids), weight[np.asarray(ids, int)])
    assert layer(2).shape == (4,)
    assert layer(np.zeros((0, 3), int)).shape == (0, 3, 4)


def test_the_gradient_of_an_embedding_sums_over_repeated_ids():
    layer = fastcell.Embedding(5, 4, dtype=f64, seed=0)
    _, saved = layer.forward(IDS)
    dy = np.random.default_rng(0).standard_normal((2, 3, 4))
    dx, grads = layer.backward(dy, saved)
    expected = np.zeros((5, 4))
    for place in np.ndindex(IDS.shape):
        expected[IDS[place]] += dy[place]
    assert dx is None
    assert error(grads["weight"], expected) <= DENSE[f64]


@pytest.mark.parametrize("padding_idx, row", [(1, 1), (-2, 3)])
def test_a_padding_row_is_zero_and_learns_nothing(padding_idx, row):
    layer = fastcell.Embedding(5, 4, padding_idx, seed=0)
    assert not layer.params["weight"][row].any()
    assert layer.params["weight"][[0, 2, 4]].all()
    dy = np.ones((2, 3, 4), f32)
    grads = layer.backward(dy, layer.forward(IDS)[1])[1]
    assert not grads["weight"][row].any()
    assert grads["weight"][0].all()
    model = fastcell.Sequential([layer, fastcell.GRU(4, 3, seed=0)])
    y, _, saved = model.forward(IDS)
    grads = model.backward(np.ones_like(y), saved)[2]
    assert not grads["0.weight"][row].any()
    assert grads["0.weight"][0].all()


BAD_IDS = [
    ([[0, 5]], ValueError, ["ids", "0 to 4", "5", "(0, 1)"]),
    ([[0], [-1]], ValueError, ["ids", "0 to 4", "-1", "(1, 0)"]),
    (np.array([2**63], np.uint64), ValueError, ["ids", "0 to 4", str(2**63)]),
    ([[0.0]], TypeError, ["ids", "integers", "float64"]),
    ([[True]], TypeError, ["ids", "integers", "bool"]),
    (None, TypeError, ["ids", "array", "NoneType"]),
    ("a", TypeError, ["ids", "integers"]),
]


@pytest.mark.parametrize("ids, error, words", BAD_IDS)
def test_ids_are_refused_on_every_path(ids, error, words):
    layer = fastcell.Embedding(5, 4, seed=0)
    refuses(error, words, layer, ids)
    refuses(error, words, layer.forward, ids)
    model = fastcell.Sequential([layer, fastcell.GRU(4, 3)])
    refuses(error, words, model, ids)
    refuses(error, words, model.forward, ids)
    refuses(error, words, model.session().step, ids)


BAD_EMBEDDINGS = [
    ({"num_embeddings": 0}, ValueError, ["num_embeddings", ">= 1", "0"]),
    ({"embedding_dim": 2.5}, TypeError, ["embedding_dim", "integer", "2.5"]),
    ({"padding_idx": 5}, ValueError, ["padding_idx", "5"]),
    ({"padding_idx": -6}, ValueError, ["padding_idx", "-6"]),
    ({"padding_idx": 1.0}, TypeError, ["padding_idx", "integer", "1.0"]),
    ({"dtype": np.int32}, TypeError, ["dtype", "float32 or float64"]),
    ({"seed": -1}, ValueError, ["seed", ">= 0", "-1"]),
]


@pytest.mark.parametrize("changes, error, words", BAD_EMBEDDINGS)
def test_an_embedding_refuses(changes, error, words):
    good = {"num_embeddings": 5, "embedding_dim": 4}
    refuses(error, words, fastcell.Embedding, **{**good, **changes})


def test_an_embedding_refuses_a_wrong_dy():
    layer = fastcell.Embedding(5, 4, seed=0)
    _, saved = layer.forward(IDS)
    refuses(
        ValueError, ["dy", "(2, 3, 4)"], layer.backward, np.ones((2, 3, 5), f32), saved
    )
    refuses(TypeError, ["dy", "float32", "float64"], layer.backward, np.ones(3), saved)


# ------------------------------------------------------------- the gather path


def gather_pair(cell, bidirectional=False, batch_first=False, dtype=f64):
    """Return a model on the gather path, and its two layers, for the dense path."""
    embedding = fastcell.Embedding(50, 6, padding_idx=2, dtype=dtype, seed=0)
    layer = cell.layer(
        6,
        9,
        num_layers=2,
        bidirectional=bidirectional,
        batch_first=batch_first,
        dtype=dtype,
        seed=1,
    )
    return fastcell.Sequential([embedding, layer]), embedding, layer


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@by_name
def test_the_gather_path_is_the_dense_path(cell, bidirectional, batch_first, isa):
    random = np.random.default_rng(0)
    for dtype, tolerance in ((f64, DENSE[f64]), (f32, GRADIENT_FLOAT32)):
        model, embedding, layer = gather_pair(cell, bidirectional, batch_first, dtype)
        ids = random.integers(0, 20, (30, 7))  # most ids repeat; more than half never
        lengths = random.integers(
            0, 8 if batch_first else 31, ids.shape[not batch_first]
        )
        mask = random.random(ids.shape) < 0.8
        sequence = {"lengths": lengths, "mask": mask}
        vectors, kept = embedding.forward(ids)
        y, state = model(ids, **sequence)
        assert same_bits(y, layer(vectors, **sequence)[0])
        y_trained, state_trained, saved = model.forward(ids, **sequence)
        assert same_bits(y_trained, y)
        assert all(map(same_bits, split(state_trained), split(state)))
        dy = random.standard_normal(y.shape).astype(dtype)
        dstate = joined(
            tuple(random.standard_normal(s.shape).astype(dtype) for s in split(state))
        )
        dx, dinitial, grads = model.backward(dy, saved, dstate)
        _, _, saved = layer.forward(vectors, **sequence)
        dvectors, dinitial_dense, layer_grads = layer.backward(dy, saved, dstate)
        table = embedding.backward(dvectors, kept)[1]["weight"]
        assert dx is None
        assert all(map(same_bits, split(dinitial), split(dinitial_dense)))
        assert error(grads["0.weight"], table) <= tolerance
        assert not grads["0.weight"][20:].any()
        for name, grad in layer_grads.items():
            assert error(grads[f"1.{name}"], grad) <= tolerance, name


def test_the_gather_path_takes_one_unbatched_sequence():
    model, embedding, layer = gather_pair(REGISTRY["lstm"])
    ids = np.array([3, 1, 3, 4])
    assert same_bits(model(ids)[0], layer(embedding(ids))[0])
    y, _, saved = model.forward(ids)
    assert model.backward(y, saved)[2]["0.weight"].shape == (50, 6)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0, 0)])
def test_the_gather_path_without_ids_keeps_the_state(shape):
    model, _, _ = gather_pair(REGISTRY["gru"])
    h = np.random.default_rng(0).standard_normal((2, shape[1], 9))
    y, final, saved = model.forward(np.zeros(shape, int), h)
    assert same_bits(final, h)
    _, dh, grads = model.backward(y, saved, h)
    assert same_bits(dh, h)
    assert not any(grad.any() for grad in grads.values())


def test_the_gather_path_refuses_what_does_not_fit():
    embedding = fastcell.Embedding(5, 4)
    narrow = fastcell.Sequential([embedding, fastcell.GRU(3, 2)])
    refuses(ValueError, ["x", "I = 3", "vectors of 4"], narrow, IDS)
    double = fastcell.Sequential([embedding, fastcell.GRU(4, 2, dtype=f64)])
    refuses(TypeError, ["x", "float64", "float32"], double, IDS)
    model = fastcell.Sequential([embedding, fastcell.GRU(4, 2)])
    refuses(ValueError, ["x", "(T, B)", "(1, 2, 3)"], model, IDS[np.newaxis])
    refuses(ValueError, ["x", "(T, B)", "()"], model, 3)


# ---------------------------------------------------------------------- Linear

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


# --------------------------------------------------------------------- Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [f32, f64])
def test_dropout_drops_its_share_and_keeps_the_mean(p, dtype):
    n = 200_000
    layer = fastcell.Dropout(p, seed=0)
    y, factors = layer.forward(np.ones((n // 100, 100), dtype))
    assert y.dtype == dtype
    assert set(np.unique(y)) == {0, dtype(1 / (1 - p))}
    dropped = (y == 0).mean()
    assert abs(dropped - p) <= STANDARD_ERRORS * (p * (1 - p) / n) ** 0.5
    spread = (p / (1 - p) / n) ** 0.5
    assert abs(y.mean(dtype=f64) - 1) <= STANDARD_ERRORS * spread
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    dx, grads = layer.backward(dy, factors)
    assert same_bits(dx, dy * y)  # x is 1: y is what it was multiplied with
    assert grads == {}


def test_dropout_of_none_or_all():
    x = np.ones(1000, f32)
    assert same_bits(fastcell.Dropout(0).forward(x)[0], x)
    assert not fastcell.Dropout(1).forward(x)[0].any()


def test_dropout_is_for_training_only_and_repeats_by_seed():
    x = np.ones(1000, f32)
    one, two, other = (fastcell.Dropout(0.5, seed=s) for s in (1, 1, 2))
    assert one(x) is x
    first, second = one.forward(x)[0], one.forward(x)[0]
    assert same_bits(first, two.forward(x)[0])
    assert same_bits(second, two.forward(x)[0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other.forward(x)[0])
    state = one.rng_state()
    third = one.forward(x)[0]
    one.set_rng_state(state)
    assert same_bits(one.forward(x)[0], third)


def test_dropout_refuses():
    refuses(ValueError, ["p", "<= 1", "1.5"], fastcell.Dropout, 1.5)
    refuses(ValueError, ["p", ">= 0", "-0.5"], fastcell.Dropout, -0.5)
    refuses(ValueError, ["p", "finite", "nan"], fastcell.Dropout, float("nan"))
    refuses(TypeError, ["p", "number"], fastcell.Dropout, "0.5")
    layer = fastcell.Dropout(0.5, seed=0)
    refuses(
        TypeError, ["x", "float32 or float64", "int64"], layer.forward, np.arange(3)
    )
    _, saved = layer.forward(np.ones(4, f32))
    refuses(ValueError, ["dy", "(4,)", "(3,)"], layer.backward, np.ones(3, f32), saved)
    refuses(TypeError, ["dy", "float32", "float64"], layer.backward, np.ones(4), saved)


# ------------------------------------------- dropout between recurrent layers


@pytest.mark.parametrize("bidirectional", [False, True])
@by_name
def test_dropout_between_layers_and_its_gradient(cell, bidirectional):
    made = problem(
        cell,
        T=6,
        B=4,
        H=9,
        num_layers=3,
        bidirectional=bidirectional,
        dropout=0.4,
        kind="lengths",
    )
    layer = made.layer
    state = layer.rng_state()
    masks = layer._dropout_masks(made.T, made.B)
    assert masks.shape == (2, made.T, made.B, made.dy.shape[-1])
    assert set(np.unique(masks)) == {0, 1 / (1 - 0.4)}
    layer.set_rng_state(state)
    y, final, gradients = made.train()
    made.sequence["dropout"] = masks  # for the oracle
    y_expected, final_expected = made.expected()
    assert error(y, y_expected) <= DENSE[f64]
    for got, expected in zip(final, final_expected, strict=True):
        assert error(got, expected) <= DENSE[f64]
    errors = oracle.slope_error(made, gradients)
    assert max(errors.values()) <= DIFFERENCE, errors


@by_name
def test_dropout_between_layers_repeats_by_seed_and_rests_in_inference(cell):
    def made(seed, dropout=0.5, num_layers=2):
        return cell.layer(3, 8, num_layers=num_layers, dropout=dropout, seed=seed)

    x = np.ones((9, 4, 3), f32)
    one, two = made(1), made(1)
    first, second = one.forward(x)[0], one.forward(x)[0]
    assert same_bits(first, two.forward(x)[0])
    assert same_bits(second, two.forward(x)[0])
    assert not np.array_equal(first, second)
    plain = made(1, dropout=0.0)
    assert same_bits(one(x)[0], plain(x)[0])
    assert same_bits(made(1, num_layers=1).forward(x)[0], made(1, 0.0, 1)(x)[0])
    nothing = made(1, dropout=1.0).forward(x)[0]
    assert np.isfinite(nothing).all()
    assert same_bits(nothing[:, 0], nothing[:, 1])


# ------------------------------------------------------------------ Sequential


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
    dz, last = model.layers[1].backward(y, layer.forward(x)[0])
    assert same_bits(grads["1.weight"], last["weight"])
    assert same_bits(dx, layer.backward(dz, x)[0])


def test_a_layer_used_twice_is_one_with_the_sum_of_its_gradients():
    layer = fastcell.Linear(3, 3, dtype=f64, seed=0)
    model = fastcell.Sequential([layer, layer])
    x = np.random.default_rng(0).standard_normal((5, 3))
    y, saved = model.forward(x)
    dy = np.ones_like(y)
    _, grads = model.backward(dy, saved)
    dz, last = layer.backward(dy, layer(x))
    _, first = layer.backward(dz, x)
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
    with pytest.raises(KeyError, match="rng state: expected"):
        model.set_rng_state({"9": state["2"]})
