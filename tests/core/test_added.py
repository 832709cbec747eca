"""Inputs that are multiplied already, and all states of each step."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import KINDS, problem, same_bits

from fastcell import _core
from fastcell.cells import REGISTRY

# Not of cells that normalize W x before b_ih is added, nor of those where H is not P.
PLAIN = [
    cell
    for name, cell in REGISTRY.items()
    if not cell.proj_size and "layer_norm" not in name
]
of_plain_cells = pytest.mark.parametrize("cell", PLAIN, ids=lambda cell: cell.name)
SEVERAL = [cell for cell in REGISTRY.values() if len(cell.states) > 1]
of_several_states = pytest.mark.parametrize("cell", SEVERAL, ids=lambda c: c.name)
both_ways = pytest.mark.parametrize("bidirectional", [False, True])


def batch_of(made, x, added=None, threads=1):
    """Return a batch of a problem in the core's form."""
    T, B = made.x.shape[:2]
    h, *others = made.state
    c = np.concatenate(others, -1) if others else None
    sequence = {
        name: None if value is None else np.ascontiguousarray(value)
        for name, value in made.sequence.items()
    }
    batch = _core.Batch(
        T,
        B,
        x,
        None,
        sequence.get("lengths"),
        *(None if f is None else f.view(np.uint8) for f in flags(sequence)),
        h,
        c,
        None,
        threads,
    )
    batch.added = added
    return batch


def flags(sequence):
    return sequence.get("mask"), sequence.get("reset")


def run(layer, stack, batch, weights, dy):
    """Return y, all states of each step, and the gradients of `added` and of x."""
    T, B, D = batch.steps, batch.rows, 2 if layer.bidirectional else 1
    others, H = len(layer.states) - 1, layer.hidden_size
    passes = layer.num_layers * D
    y = np.empty((T, B, D * layer.output_size))
    h = np.empty((passes, B, layer.output_size))
    c = np.empty((passes, B, others * H)) if others else None
    cs = np.full((others, T, B, D * H), np.nan) if others else None
    saved = _core.aligned_empty(stack.saved_size(batch))
    stack.forward(stack.pack(False, weights, 1), batch, y, h, c, saved, cs)
    dadded = np.full((T, B, D * len(layer.gates) * H), np.nan)
    dx = np.empty(batch.x.shape)
    stack.backward(
        stack.pack(True, weights, 1),
        None,
        batch,
        dy,
        None,
        None,
        dx,
        None,
        None,
        None,
        saved,
        None,
        dadded,
    )
    return y, cs, dadded, dx


@pytest.mark.parametrize("kind", KINDS)
@both_ways
@of_plain_cells
def test_added_inputs_are_a_product_with_one(cell, bidirectional, kind, isa):
    """W = 1 multiplies x with nothing: the same bits as what is added to no input."""
    made = problem(cell, T=5, B=3, H=9, num_layers=2, bidirectional=bidirectional)
    made.sequence = problem(cell, T=5, B=3, H=9, kind=kind).sequence
    layer, D = made.layer, 2 if bidirectional else 1
    width = len(cell.gates) * 9
    with_w = cell.layer(
        width, 9, num_layers=2, bidirectional=bidirectional, dtype=float
    )
    params = dict(layer.params)
    for name in list(params):
        if name.startswith("weight_ih_l0"):
            params[name] = np.eye(width)
    added = np.random.default_rng(1).standard_normal((5, 3, width))
    one = run(
        with_w, with_w._stack, batch_of(made, added), by_pass(with_w, params), made.dy
    )
    without = cell.layer(0, 9, num_layers=2, bidirectional=bidirectional, dtype=float)
    for name in list(params):
        if name.startswith("weight_ih_l0"):
            params[name] = np.empty((width, 0))
    none = np.empty((5, 3, 0))
    batch = batch_of(made, none, np.tile(added, D))
    other = run(without, without._stack, batch, by_pass(without, params), made.dy)
    assert same_bits(one[0], other[0])
    dadded = other[2].reshape(5, 3, D, width)
    assert np.allclose(dadded.sum(2), one[3], rtol=1e-13, atol=1e-13)
    assert same_bits(one[2], other[2])


def by_pass(layer, params):
    return layer._by_pass(params)


@pytest.mark.parametrize("kind", KINDS)
@both_ways
@of_several_states
def test_all_states_are_those_of_shorter_sequences(cell, bidirectional, kind):
    """The states after step t are the final ones of the steps up to t."""
    made = problem(cell, T=5, B=3, H=9, kind=kind, bidirectional=bidirectional)
    layer = made.layer
    batch = batch_of(made, made.x)
    _, cs, _, _ = run(layer, layer._stack, batch, by_pass(layer, layer.params), made.dy)
    assert not np.isnan(cs).any()
    lengths = made.sequence.get("lengths", np.full(3, 5))
    for t in range(5):
        rows = np.flatnonzero(lengths > t)
        part = {
            name: value[: t + 1, rows]
            for name, value in made.sequence.items()
            if name != "lengths"
        }
        if not len(rows):
            continue
        _, final = made.call(
            x=made.x[: t + 1, rows],
            state=tuple(s[:, rows] for s in made.state),
            lengths=None,
            **part,
        )
        for i, state in enumerate(final[1:]):
            assert same_bits(cs[i, t, rows, :9], state[0])
    for row, length in enumerate(lengths):
        assert not cs[:, length:, row].any()
