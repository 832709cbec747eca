"""Embedding, and the gather path from it into a recurrent layer."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import by_name, joined, same_bits, split
from refusals import refuses
from tolerances import DENSE, GRADIENT_FLOAT32, error

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
    words = ["x must be", *words[1:]]
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
    y, saved = fastcell.Embedding(9, 4).forward([7])
    refuses(ValueError, ["saved", "another layer"], layer.backward, y, saved)


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
