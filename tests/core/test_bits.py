"""Promise 1 of DESIGN section 4: a sequence's result is its own, bit for bit, in 200
random configurations under every instruction set.

The name of a failing test names its configuration. test_threads.py has calls long
enough for teams to disband, and calls from many threads.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from configurations import (
    CONFIGURATIONS,
    PRECISIONS,
    active,
    changed,
    differing,
    results,
    rows_of,
)
from oracle import joined, problem, same_bits, split

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY


def for_each(wanted=lambda c: True):
    """Run a test for each configuration that its property applies to."""
    return pytest.mark.parametrize("c", [*filter(wanted, CONFIGURATIONS)], ids=str)


def one_way(c):
    return not c.bidirectional


def rows_on_axis_1(arrays, rows):
    return {n: a[:, rows] for n, a in arrays.items()}


# ----------------------------------------------------------- the configurations


def described(c, threads, training=0):
    stack = c.made().layer._stack
    return stack.describe(c.T, c.B, threads, training)


def test_the_configurations_reach_what_they_are_for(isa):
    both = {(c.cell, c.precision) for c in CONFIGURATIONS}
    assert both == {(cell, p) for cell in REGISTRY for p in PRECISIONS}
    # Ragged batches have fewer steps than what is described.
    full = [c for c in CONFIGURATIONS if c.kind in ("plain", "reset")]
    forward = {c: described(c, 4) for c in full}
    shared = [c for c, d in forward.items() if d["loop_threads"] > 1 and not d["small"]]
    assert len(shared) > len(full) / 3
    ranges = [c for c in shared if forward[c]["row_parts"] > 1]
    teams = [c for c in shared if forward[c]["members"] > 1]
    assert len(ranges) >= 10
    assert len(teams) >= 10
    assert {c.precision for c in ranges} == {c.precision for c in teams}
    # Rows that are not a multiple of a tile's, and units of a vector's.
    uneven = [c for c, d in forward.items() if c.B > d["tile_rows"] > 1]
    assert len([c for c in uneven if c.B % forward[c]["tile_rows"]]) >= 10
    assert len([c for c, d in forward.items() if c.H % d["lanes"] > 1]) >= 10
    # Narrow products go through blocks of 48 rows.
    narrow = [c for c in CONFIGURATIONS if c.B > 48 and c.precision in ("bf16", "int8")]
    assert len(narrow) >= 5


# ------------------------------------------------------------------- properties


@for_each()
def test_results_and_gradients_do_not_depend_on_the_number_of_threads(
    c, isa, set_threads
):
    made = c.made()
    set_threads(1)
    own, weights = results(made)
    for threads in (1, 2, 3, 4):
        set_threads(threads)
        own_again, weights_again = results(made)
        assert not differing(own_again, own), threads
        assert not differing(weights_again, weights), threads


@for_each()
def test_a_sequence_does_not_depend_on_its_batch_mates_and_place(c, isa):
    made = c.made()
    own, _ = results(made)
    random = np.random.default_rng(c.seed)
    some = random.permutation(c.B)[: 1 + c.B // 2]
    slices = [[0], [c.B - 1], np.arange(c.B // 3, c.B), some]
    for rows in slices:
        alone, _ = results(rows_of(made, rows))
        assert not differing(alone, rows_on_axis_1(own, rows)), rows


@for_each()
def test_a_sequence_does_not_depend_on_its_padding(c, isa):
    made, more = c.made(), 3

    def padded(array, value):
        end = np.full((more, *array.shape[1:]), value, array.dtype)
        return np.concatenate([array, end])

    sequence = {n: padded(a, True) for n, a in made.sequence.items() if n != "lengths"}
    lengths = made.sequence.get("lengths", np.full(c.B, c.T))
    x = made.x.copy()
    for row, length in enumerate(lengths):
        x[length:, row] = np.nan
    own, weights = results(made)
    own_padded, weights_padded = results(
        changed(
            made,
            x=padded(x, np.nan),
            dy=padded(made.dy, 7),
            sequence={**sequence, "lengths": lengths},
        )
    )
    for name in {"y", "y of training", "dx"} & own.keys():
        assert not own_padded[name][c.T :].any(), name
        own_padded[name] = own_padded[name][: c.T]
    assert not differing(own_padded, own)
    assert not differing(weights_padded, weights)


@for_each(lambda c: c.kind == "lengths")
def test_a_row_with_a_length_is_the_shorter_sequence(c, isa):
    made = c.made()
    y, final = made.call()
    for row in {0, c.B // 2, c.B - 1}:
        length = made.sequence["lengths"][row]
        alone = rows_of(made, [row])
        y_short, final_short = alone.call(x=alone.x[:length], lengths=None)
        assert same_bits(y_short[:, 0], y[:length, row]), row
        for got, expected in zip(final_short, final, strict=True):
            assert same_bits(got[:, 0], expected[:, row]), row


@for_each(lambda c: c.kind == "mask")
def test_a_masked_step_is_a_step_that_is_not_there(c, isa):
    made = c.made()
    y, final = made.call()
    for row in {0, c.B // 2, c.B - 1}:
        kept = made.sequence["mask"][:, row]
        alone = rows_of(made, [row])
        y_short, final_short = alone.call(x=alone.x[kept], mask=None)
        assert same_bits(y_short[:, 0], y[kept, row]), row
        for got, expected in zip(final_short, final, strict=True):
            assert same_bits(got[:, 0], expected[:, row]), row


@for_each(one_way)
def test_chunks_with_carried_state_are_the_whole(c, isa):
    made = c.made()
    y, final = made.call()
    random = np.random.default_rng(c.seed)
    cuts = sorted({0, c.T, min(1, c.T), *random.integers(0, c.T + 1, 2).tolist()})
    state = made.state
    for first, last in pairwise(cuts):
        sequence = {
            n: np.clip(a - first, 0, last - first) if n == "lengths" else a[first:last]
            for n, a in made.sequence.items()
        }
        chunk, state = made.call(x=made.x[first:last], state=state, **sequence)
        assert same_bits(chunk, y[first:last]), (first, last)
    assert all(map(same_bits, state, final))


@for_each(one_way)
def test_a_session_is_the_whole(c, isa):
    made = c.made()
    y, final = made.call()
    steps, reset = active(made)
    # A session steps all its rows: of a batch with gaps, the one row that has most.
    all_rows = made.sequence.keys() <= {"reset"}
    rows = np.arange(c.B) if all_rows else np.argmax(steps.sum(axis=0))[np.newaxis]
    session = made.layer.session(len(rows))
    session.state = joined(tuple(s[:, rows] for s in made.state))
    for t in range(c.T):
        session.reset(reset[t, rows])
        if steps[t, rows].all():
            assert same_bits(session.step(made.x[t, rows]), y[t, rows]), t
    for got, expected in zip(split(session.state), final, strict=True):
        assert same_bits(got, expected[:, rows])


@for_each(one_way)
def test_a_pool_of_streams_is_the_whole(c, isa):
    made = c.made()
    y, final = made.call()
    steps, reset = active(made)
    pool = fastcell.StreamPool(made.layer, capacity=c.B + 2)
    ids = pool.open(c.B + 2)[::-1][: c.B]  # rows of the batch are not those of memory
    pool.set_state(ids, joined(made.state))
    for t in range(c.T):
        pool.reset(ids[reset[t]])
        rows = np.random.default_rng(t).permutation(np.flatnonzero(steps[t]))
        assert same_bits(pool.step(ids[rows], made.x[t, rows]), y[t, rows]), t
    for got, expected in zip(split(pool.state(ids)), final, strict=True):
        assert same_bits(got, expected)


@for_each(lambda c: c.trains)
def test_gradients_repeat_bit_for_bit_whatever_memory_holds(c, isa):
    # Scratch and `saved` are used again: fill them with NaN in between.
    made = c.made()
    own, weights = results(made)
    poison = problem(made.cell, T=10, B=16, I=40, H=80, num_layers=3)
    for poisoned in (poison, poison.as_float32()):
        poisoned.x[...] = np.nan
        poisoned.train()
    saved = made.layer.forward(np.full_like(made.x, np.nan))[2]
    made.layer.backward(made.dy, saved)
    own_again, weights_again = results(made)
    assert not differing(own_again, own)
    assert not differing(weights_again, weights)


# -------------------------------------------------------------- instruction sets


@pytest.fixture
def select_isa():
    before = _core.isa()
    yield _core.select_isa
    _core.select_isa(before)


@for_each(lambda c: c.cell == "rnn_relu")
def test_products_do_not_depend_on_the_instruction_set(c, select_isa):
    """A cell without exponentials is its products, and those are one chain for each
    output in every set: of multiply-adds rounded once, which portable C has not, or of
    narrow numbers, whose products are exact."""
    narrow = c.precision in ("bf16", "int8")
    sets = [s for s in _core.isas() if narrow or s != "portable"]
    made = c.made()
    select_isa(sets[0])
    own, weights = results(made)
    for name in sets[1:]:
        select_isa(name)
        own_there, weights_there = results(made)
        assert not differing(own_there, own), name
        assert not differing(weights_there, weights), name
