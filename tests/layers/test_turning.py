"""go_backwards: each sequence from its last step to its first."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from oracle import (
    KINDS,
    Problem,
    by_name,
    joined,
    problem,
    same_bits,
    slope_error,
    split,
)
from refusals import refuses
from tolerances import DENSE, DIFFERENCE, GRADIENT_FLOAT32, error

import fastcell


def reversed_rows(array, lengths):
    """The steps of each row in reverse order, those past its length at their place."""
    out = array.copy()
    for row in range(array.shape[1]):
        n = len(array) if lengths is None else lengths[row]
        out[:n, row] = array[:n, row][::-1]
    return out


def backwards(layer, **changes):
    """The same layer with go_backwards."""
    config = {**layer.config(), "go_backwards": True, **changes}
    other = type(layer).from_config(config)
    other.load_state_dict(layer.state_dict())
    return other


@pytest.mark.parametrize("kind", ["plain", "lengths", "mask"])
@by_name
def test_it_is_a_forward_layer_on_reversed_sequences(cell, kind):
    made = problem(cell, T=6, num_layers=2, kind=kind)
    lengths = made.sequence.get("lengths")
    sequence = dict(made.sequence)
    if kind == "mask":
        sequence["mask"] = sequence["mask"][::-1]
    x = reversed_rows(made.x, lengths)
    expected, final, saved = made.layer.forward(x, joined(made.state), **sequence)
    layer = backwards(made.layer)
    y, got_final, kept = layer.forward(made.x, joined(made.state), **made.sequence)
    assert same_bits(y, expected)
    assert same_bits(layer(made.x, joined(made.state), **made.sequence)[0], expected)
    for a, b in zip(split(got_final), split(final), strict=True):
        assert same_bits(a, b)
    dx, dstate, grads = made.layer.backward(made.dy, saved, joined(made.dstate))
    got = layer.backward(made.dy, kept, joined(made.dstate))
    assert same_bits(got[0], reversed_rows(dx, lengths))
    for a, b in zip(split(got[1]), split(dstate), strict=True):
        assert same_bits(a, b)
    for name, grad in grads.items():
        assert same_bits(got[2][name], grad), name


@pytest.mark.parametrize("kind", KINDS)
@by_name
def test_it_is_the_reverse_direction_of_a_bidirectional_layer(cell, kind):
    """As Keras' Bidirectional has it: a layer that goes backwards, turned back."""
    made = problem(cell, T=9, bidirectional=True, kind=kind)
    layer = cell.layer(3, 7, dtype=np.float64, go_backwards=True)
    weights = made.layer.state_dict()
    layer.load_state_dict(
        {name: weights[f"{name}_reverse"] for name in layer.state_dict()}
    )
    state = joined(tuple(part[1:] for part in made.state))
    dstate = joined(tuple(part[1:] for part in made.dstate))
    lengths, half = made.sequence.get("lengths"), layer.output_size
    y, final, saved = made.layer.forward(made.x, joined(made.state), **made.sequence)
    dy = made.dy.copy()
    dy[..., :half] = 0
    zeros = tuple(np.concatenate([0 * d[:1], d[1:]]) for d in made.dstate)
    expected = made.layer.backward(dy, saved, joined(zeros))
    got, got_final, kept = layer.forward(made.x, state, **made.sequence)
    assert same_bits(reversed_rows(got, lengths), y[..., half:])
    for a, b in zip(split(got_final), split(final), strict=True):
        assert same_bits(a[0], b[1])
    results = layer.backward(reversed_rows(dy[..., half:], lengths), kept, dstate)
    for a, b in zip(split(results[1]), split(expected[1]), strict=True):
        assert same_bits(a[0], b[1])
    for name, grad in results[2].items():
        # Summed over the steps in another order, if rows begin at different ones.
        assert error(grad, expected[2][f"{name}_reverse"]) < DENSE[np.float64], name


@by_name
def test_gradients_are_the_slopes(cell):
    made = problem(cell, T=6, num_layers=2, kind="lengths")
    layer, lengths = backwards(made.layer), made.sequence["lengths"]
    _, _, saved = layer.forward(made.x, joined(made.state), **made.sequence)
    dx, dstate, grads = layer.backward(made.dy, saved, joined(made.dstate))
    # The oracle runs forward: over the reversed x, which has the reversed gradient.
    mirror = Problem(
        made.cell,
        made.layer,
        reversed_rows(made.x, lengths),
        made.state,
        made.dy,
        made.dstate,
        made.sequence,
    )
    gradients = {"x": reversed_rows(dx, lengths), **grads}
    gradients |= {f"state {i}": part for i, part in enumerate(split(dstate))}
    assert max(slope_error(mirror, gradients).values()) < DIFFERENCE


@pytest.mark.parametrize("lengths", [None, [9, 4]])
def test_embedded_ids_batch_first_segments_and_last_outputs(lengths):
    layer = fastcell.GRU(3, 4, go_backwards=True, seed=0)
    table = fastcell.Embedding(5, 3, seed=1)
    ids = np.random.default_rng(0).integers(0, 5, (9, 2))
    x = table(ids)
    y, h, saved = layer.forward(x, lengths=lengths)
    dx, _, grads = layer.backward(y, saved)
    model = fastcell.Sequential([table, layer])
    got, _, kept = model.forward(ids, lengths=lengths)
    assert same_bits(got, y)
    named = model.backward(y, kept)[2]
    expected = np.zeros((5, 3), np.float32)
    exists = np.arange(9)[:, np.newaxis] < ([9, 9] if lengths is None else lengths)
    np.add.at(expected, ids[exists], dx[exists])
    assert error(named["0.weight"], expected) < GRADIENT_FLOAT32
    first = backwards(layer, batch_first=True)
    got, _, kept = first.forward(
        np.ascontiguousarray(x.swapaxes(0, 1)), lengths=lengths
    )
    assert same_bits(got.swapaxes(0, 1), y)
    assert same_bits(first.backward(got, kept)[0].swapaxes(0, 1), dx)
    got, _, kept = layer.forward(x, lengths=lengths, memory_budget=0)
    assert same_bits(got, y)
    results = layer.backward(y, kept)
    assert same_bits(results[0], dx)
    assert all(same_bits(results[2][name], grad) for name, grad in grads.items())
    assert same_bits(layer(x, lengths=lengths, outputs="last")[0], h[0])


def test_x_that_is_changed_is_noticed():
    layer = fastcell.GRU(3, 4, go_backwards=True, seed=0)
    x = np.ones((5, 2, 3), np.float32)
    y, _, saved = layer.forward(x)
    x += 1
    refuses(ValueError, ["x", "changed"], layer.backward, y, saved)


def test_masked_outputs_are_zero_in_the_order_of_reading():
    layer = fastcell.GRU(3, 4, go_backwards=True, zero_output_for_mask=True, seed=0)
    mask = np.array([[True], [True], [False], [True]])
    y, _ = layer(np.ones((4, 1, 3), np.float32), mask=mask)
    assert [bool(step.any()) for step in y] == [True, False, True, True]


def test_it_is_in_configurations_files_and_copies(path):
    layer = fastcell.LSTM(3, 4, go_backwards=True, seed=0)
    fastcell.save(layer, path)
    for other in (fastcell.load(path), copy.deepcopy(layer)):
        assert other.go_backwards is other.config()["go_backwards"] is True
    assert "go_backwards" not in fastcell.LSTM(3, 4).config()


def test_what_needs_the_beginning_first_is_refused():
    layer = fastcell.GRU(3, 4, go_backwards=True)
    refuses(ValueError, ["go_backwards"], layer.session)
    refuses(ValueError, ["go_backwards"], fastcell.StreamPool, layer)
    both = {"go_backwards": True, "bidirectional": True}
    refuses(ValueError, ["go_backwards", "bidirectional"], fastcell.RNN, 3, 4, **both)
    refuses(TypeError, ["go_backwards", "1"], fastcell.LSTM, 3, 4, go_backwards=1)
