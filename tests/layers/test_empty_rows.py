"""zero_length: the final state of sequences without steps, and its gradient."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from oracle import both_ways, by_name, joined, problem, same_bits, split
from refusals import refuses

import fastcell

EMPTY = np.array([False, True, False, True])
LENGTHS = np.where(EMPTY, 0, [5, 9, 2, 9])


def made_and_zeroing(cell, **arguments):
    """A problem with empty rows, and its layer with zero_length="zero"."""
    made = problem(cell, B=4, num_layers=2, **arguments)
    made.sequence["lengths"] = LENGTHS
    layer = type(made.layer).from_config({**made.layer.config(), "zero_length": "zero"})
    layer.load_state_dict(made.layer.state_dict())
    return made, layer


@both_ways
@by_name
def test_only_the_final_state_of_empty_rows_differs(cell, bidirectional):
    made, layer = made_and_zeroing(cell, bidirectional=bidirectional)
    y, final = made.call()
    for part, initial in zip(final, made.state, strict=True):  # "keep"
        assert same_bits(part[:, EMPTY], initial[:, EMPTY])
    got, got_final = layer(made.x, joined(made.state), **made.sequence)
    trained = layer.forward(made.x, joined(made.state), **made.sequence)
    for result in ((got, got_final), trained[:2]):
        assert same_bits(result[0], y)
        for a, b in zip(split(result[1]), final, strict=True):
            assert not a[:, EMPTY].any()
            assert same_bits(a[:, ~EMPTY], b[:, ~EMPTY])


@both_ways
@by_name
def test_its_gradient_is_zero_in_empty_rows_and_reads_no_nan(cell, bidirectional):
    made, layer = made_and_zeroing(cell, bidirectional=bidirectional)
    dx, dstate, grads = made.layer.backward(
        made.dy,
        made.layer.forward(made.x, joined(made.state), **made.sequence)[2],
        joined(made.dstate),
    )
    for part, d in zip(split(dstate), made.dstate, strict=True):  # "keep"
        assert same_bits(part[:, EMPTY], d[:, EMPTY])
    spoiled = tuple(d.copy() for d in made.dstate)
    for part in spoiled:
        part[:, EMPTY] = np.nan
    given = tuple(part.copy() for part in spoiled)
    saved = layer.forward(made.x, joined(made.state), **made.sequence)[2]
    got, got_dstate, got_grads = layer.backward(made.dy, saved, joined(given))
    assert all(same_bits(a, b) for a, b in zip(given, spoiled, strict=True))
    assert same_bits(got, dx)
    for a, b in zip(split(got_dstate), split(dstate), strict=True):
        assert not a[:, EMPTY].any()
        assert same_bits(a[:, ~EMPTY], b[:, ~EMPTY])
    for name, grad in grads.items():
        assert same_bits(got_grads[name], grad), name


@pytest.mark.parametrize("budget", [None, 0])
def test_segments_and_sequences_of_no_time(budget):
    layer = fastcell.LSTM(3, 4, zero_length="zero", seed=0)
    ones = np.ones((1, 2, 4), np.float32)
    x = np.ones((9, 2, 3), np.float32)
    arguments = {"lengths": np.array([0, 9]), "memory_budget": budget}
    _, (h, c), saved = layer.forward(x, (ones, ones), **arguments)
    assert not h[:, 0].any() and not c[:, 0].any() and h[:, 1].all()
    _, (dh, dc), _ = layer.backward(None, saved, (ones, None))
    assert not dh[:, 0].any() and not dc[:, 0].any() and dh[:, 1].any()
    _, (h, c), saved = layer.forward(x[:0], (ones, ones), memory_budget=budget)
    assert not h.any() and not c.any()
    assert not layer.backward(None, saved, (ones, ones))[1][0].any()
    assert (fastcell.LSTM(3, 4)(x[:0], (ones, ones))[1][0] == 1).all()


def test_a_row_of_masked_steps_is_not_empty():
    layer = fastcell.GRU(3, 4, zero_length="zero", seed=0)
    ones = np.ones((1, 1, 4), np.float32)
    x = np.ones((5, 1, 3), np.float32)
    _, h = layer(x, ones, mask=np.zeros((5, 1), bool))
    assert (h == 1).all()


def test_it_is_in_configurations_files_and_copies(path):
    layer = fastcell.RNN(3, 4, zero_length="zero", seed=0)
    fastcell.save(layer, path)
    for other in (fastcell.load(path), copy.deepcopy(layer)):
        assert other.config()["zero_length"] == other.zero_length == "zero"
    assert "zero_length" not in fastcell.RNN(3, 4).config()
    refuses(ValueError, ["zero_length", "keep"], fastcell.GRU, 3, 4, zero_length=0)
