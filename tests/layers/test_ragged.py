"""Ragged: sequences as a list of arrays, or as the steps of all of them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from oracle import both_ways, by_name, joined, problem, same_bits, split
from refusals import refuses

import fastcell
from fastcell import Ragged


def parts_of(array, lengths):
    """The existing steps of each row of an array (T, B, ...)."""
    return [np.ascontiguousarray(array[:n, i]) for i, n in enumerate(lengths)]


@pytest.mark.parametrize("kind", ["lengths", "everything"])
@both_ways
@by_name
def test_it_has_the_bits_of_a_padded_batch(cell, bidirectional, kind):
    made = problem(cell, T=7, num_layers=2, bidirectional=bidirectional, kind=kind)
    lengths = np.array([7, 0, 3])
    made.sequence["lengths"] = lengths
    y, final, saved = made.layer.forward(made.x, joined(made.state), **made.sequence)
    dx, dstate, grads = made.layer.backward(made.dy, saved, joined(made.dstate))
    x = Ragged(parts_of(made.x, lengths))
    flags = {
        name: Ragged(parts_of(array, lengths))
        for name, array in made.sequence.items()
        if name != "lengths"
    }
    got, got_final, kept = made.layer.forward(x, joined(made.state), **flags)
    inferred, _ = made.layer(x, joined(made.state), **flags)
    for result in (got, inferred):
        for a, b in zip(result, parts_of(y, lengths), strict=True):
            assert same_bits(a, b)
    x.values[...] = 0  # was copied
    dy = Ragged(parts_of(made.dy, lengths))
    results = made.layer.backward(dy, kept, joined(made.dstate))
    for a, b in zip(results[0], parts_of(dx, lengths), strict=True):
        assert same_bits(a, b)
    for a, b in zip(
        (*split(got_final), *split(results[1])),
        (*split(final), *split(dstate)),
        strict=True,
    ):
        assert same_bits(a, b)
    for name, grad in grads.items():
        assert same_bits(results[2][name], grad), name


def test_lists_and_values_with_offsets_are_the_same_and_values_are_kept():
    parts = [np.ones((n, 2)) * n for n in (3, 0, 1)]
    values = np.concatenate(parts)
    for x in (Ragged(parts), Ragged(values, [0, 3, 3, 4]), Ragged(iter(parts))):
        assert len(x) == 3
        assert x.offsets.dtype == np.int64 and x.offsets.tolist() == [0, 3, 3, 4]
        assert x.lengths.tolist() == [3, 0, 1]
        assert all(map(np.array_equal, x, parts))
        assert np.array_equal(x[-1], parts[2])
        assert x.padded().shape == (3, 3, 2)
        np.testing.assert_array_equal(x.padded()[:, 2], [[1, 1], [0, 0], [0, 0]])
    assert Ragged(values, [0, 4]).values is values
    assert np.shares_memory(Ragged(values, [0, 1, 4])[1], values)
    refuses(IndexError, ["i", "3"], x.__getitem__, 3)
    assert "3 sequences" in repr(x)


def test_the_layers_options_hold():
    parts = [np.random.default_rng(n).standard_normal((n, 3)) for n in (4, 2)]
    x = Ragged([part.astype(np.float32) for part in parts])
    padded, lengths = x.padded(), x.lengths
    for options in (
        {"batch_first": True},
        {"go_backwards": True},
        {"bidirectional": True, "merge": "mul"},
        {"zero_length": "zero"},
    ):
        layer = fastcell.GRU(3, 4, seed=0, **options)
        first = options.get("batch_first")
        y, h = layer(padded.swapaxes(0, 1) if first else padded, lengths=lengths)
        y = y.swapaxes(0, 1) if first else y
        got, got_h, saved = layer.forward(x)
        assert all(map(same_bits, got, parts_of(y, lengths))) and same_bits(got_h, h)
        dx, _, _ = layer.backward(list(got), saved)  # a list is enough
        assert isinstance(dx, Ragged) and dx.values.shape == x.values.shape
        last, h, saved = layer.forward(x, outputs="last")
        assert last.shape == (2, 4)
        dx_last, _, _ = layer.backward(last, saved)
        assert isinstance(dx_last, Ragged)
    layer = fastcell.GRU(3, 4, seed=0)
    y, _, saved = layer.forward(x, memory_budget=0)
    assert same_bits(y.values, layer(x)[0].values)
    dx, _, _ = layer.backward(y, saved)
    _, _, saved = layer.forward(x)
    assert same_bits(dx.values, layer.backward(y, saved)[0].values)


def test_recurrent_layers_of_a_chain_hand_it_on():
    model = fastcell.Sequential(
        [fastcell.GRU(3, 4, seed=0), fastcell.LSTM(4, 2, seed=1)]
    )
    x = Ragged([np.ones((n, 3), np.float32) for n in (5, 2)])
    y, _, saved = model.forward(x)
    padded, _ = model(x.padded(), lengths=x.lengths)
    assert all(map(same_bits, y, parts_of(padded, x.lengths)))
    dx, _, grads = model.backward(y, saved)
    assert dx.values.shape == x.values.shape and len(grads) == 8


def test_sequences_without_steps():
    layer = fastcell.GRU(3, 4, seed=0)
    y, h = layer(Ragged(np.ones((0, 3), np.float32), [0, 0, 0]))
    assert y.values.shape == (0, 4) and h.shape == (1, 2, 4) and not h.any()
    y, h = layer(Ragged(np.ones((0, 3), np.float32), [0]))
    assert len(y) == 0 and h.shape == (1, 0, 4)


def test_it_can_be_copied_and_pickled():
    x = Ragged(np.arange(6.0).reshape(3, 2), [0, 1, 3])
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert np.array_equal(other.values, x.values)
        assert np.array_equal(other.offsets, x.offsets)


def test_wrong_parts_are_refused_by_name():
    values, word = np.ones((3, 2), np.float32), "offsets"
    refuses(ValueError, [word, "from 0 to 3", "[0, 2]"], Ragged, values, [0, 2])
    refuses(ValueError, [word, "[1, 3]"], Ragged, values, [1, 3])
    refuses(ValueError, [word, "[0, 2, 1, 3]"], Ragged, values, [0, 2, 1, 3])
    refuses(TypeError, [word, "float"], Ragged, values, [0.0, 3.0])
    refuses(ValueError, [word], Ragged, values, [[0, 3]])
    refuses(TypeError, ["values", "array without"], Ragged, values)
    refuses(ValueError, ["values"], Ragged, [])
    other = np.ones((3, 5), np.float32)
    refuses(ValueError, ["values[1]", "(3, 5)"], Ragged, [values, other])
    refuses(TypeError, ["values[1]", "float64"], Ragged, [values, np.ones((3, 2))])
    refuses(TypeError, ["values[0]"], Ragged, ["junk"])


def test_wrong_calls_are_refused_by_name():
    layer = fastcell.GRU(2, 4, seed=0)
    x = Ragged(np.ones((5, 2), np.float32), [0, 3, 5])
    refuses(ValueError, ["lengths", "left out"], layer, x, lengths=[3, 2])
    refuses(TypeError, ["x", "float64"], layer, Ragged(np.ones((5, 2)), [0, 5]))
    wide = Ragged(np.ones((5, 3), np.float32), [0, 5])
    refuses(ValueError, ["x", "I = 2", "(5, 3)"], layer, wide)
    for name in ("mask", "reset"):
        flags = Ragged(np.ones(5, bool), [0, 2, 5])
        words = [name, "[3, 2]", "[2, 3]"]
        refuses(ValueError, words, layer, x, **{name: flags})
        numbers = Ragged(np.ones(5), [0, 3, 5])
        refuses(TypeError, [name, "bool"], layer, x, **{name: numbers})
    y, _, saved = layer.forward(x)
    lengths = Ragged(y.values, [0, 2, 5])
    refuses(ValueError, ["dy", "[2, 3]"], layer.backward, lengths, saved)
    refuses(
        ValueError, ["dy", "(5, 4)"], layer.backward, Ragged(x.values, [0, 5]), saved
    )
    refuses(TypeError, ["dy", "float64"], layer.backward, [np.ones((5, 4))], saved)
    refuses(TypeError, ["dy"], layer.backward, 3, saved)
    assert layer.backward(y, saved)[0].values.shape == (5, 2)  # could still be used
    # No other layer takes it for an array, batch first.
    same = Ragged([np.ones((2, 2), np.float32)] * 2)
    refuses(TypeError, ["x", "Ragged"], fastcell.Linear(2, 3), same)
