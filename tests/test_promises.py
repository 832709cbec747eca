"""The promises of DESIGN section 4 that hold for every cell: bits, NaN, memory.

Threads are in test_threads.py, accuracy in test_accuracy.py, bad input in
test_layers_arguments.py.
"""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import oracle
import pytest
from oracle import by_name, joined, problem, same_bits

from fastcell.cells import REGISTRY

CELLS = list(REGISTRY.values())

# With 3 instruction sets: about a hundred random configurations for each property.
SEEDS = range(36)


def random_problem(seed, **fixed):
    """Make any layer with any batch; float32 two times of three."""
    random = np.random.default_rng(seed)
    cell = CELLS[seed % len(CELLS)]
    chosen = {
        "T": int(random.integers(1, 12)),
        "B": int(random.choice([1, 2, 3, 5, 7, 8, 13])),
        "I": int(random.choice([0, 1, 3, 16, 33])),
        "H": int(random.choice([1, 7, 9, 17, 33, 70])),
        "num_layers": int(random.integers(1, 4)),
        "bidirectional": bool(random.integers(2)),
        "kind": str(random.choice(oracle.KINDS)),
    }
    made = problem(cell, seed=seed, **{**chosen, **fixed})
    return made if seed % 3 == 0 else made.as_float32()


def rows_of(made, rows):
    """Return x, state and sequence arguments of some rows of the batch."""
    sequence = {
        n: a[rows] if n == "lengths" else a[:, rows] for n, a in made.sequence.items()
    }
    state = tuple(s[:, rows] for s in made.state)
    return {"x": made.x[:, rows], "state": state, **sequence}


# ------------------------------------------------------------ bits of forward


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sequence_does_not_depend_on_its_batch_mates(seed, isa):
    made = random_problem(seed)
    y, final = made.call()
    for row in range(made.B):
        alone, final_alone = made.call(**rows_of(made, [row]))
        assert same_bits(alone[:, 0], y[:, row])
        for got, expected in zip(final_alone, final, strict=True):
            assert same_bits(got[:, 0], expected[:, row])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sequence_does_not_depend_on_its_place(seed, isa):
    made = random_problem(seed)
    y, final = made.call()
    order = np.random.default_rng(seed).permutation(made.B)
    y_moved, final_moved = made.call(**rows_of(made, order))
    assert same_bits(y_moved, y[:, order])
    for got, expected in zip(final_moved, final, strict=True):
        assert same_bits(got, expected[:, order])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sequence_does_not_depend_on_its_padding(seed, isa):
    made = random_problem(seed, kind="lengths")
    y, final = made.call()
    steps = 3
    x = np.full((made.T + steps, *made.x.shape[1:]), np.nan, made.x.dtype)
    for row, length in enumerate(made.sequence["lengths"]):
        x[:length, row] = made.x[:length, row]
    y_padded, final_padded = made.call(x=x)
    assert same_bits(y_padded[: made.T], y)
    assert not y_padded[made.T :].any()
    assert all(map(same_bits, final_padded, final))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_row_with_a_length_is_the_shorter_sequence(seed, isa):
    made = random_problem(seed, kind="lengths")
    y, final = made.call()
    for row, length in enumerate(made.sequence["lengths"]):
        alone = rows_of(made, [row])
        del alone["lengths"]
        y_short, final_short = made.call(
            x=alone["x"][:length], state=alone["state"], lengths=None
        )
        assert same_bits(y_short[:, 0], y[:length, row])
        for got, expected in zip(final_short, final, strict=True):
            assert same_bits(got[:, 0], expected[:, row])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_masked_step_is_a_step_that_is_not_there(seed, isa):
    made = random_problem(seed, kind="mask")
    y, final = made.call()
    for row in range(made.B):
        kept = made.sequence["mask"][:, row]
        alone = rows_of(made, [row])
        y_short, final_short = made.call(
            x=alone["x"][kept], state=alone["state"], mask=None
        )
        assert same_bits(y_short[:, 0], y[kept, row])
        for got, expected in zip(final_short, final, strict=True):
            assert same_bits(got[:, 0], expected[:, row])


@pytest.mark.parametrize("seed", SEEDS)
def test_chunks_with_carried_state_are_the_whole(seed, isa):
    made = random_problem(seed, bidirectional=False)
    y, final = made.call()
    random = np.random.default_rng(seed)
    cuts = sorted({0, made.T, *random.integers(0, made.T + 1, 3).tolist()})
    state = made.state
    for first, last in pairwise(cuts):
        sequence = {
            n: np.clip(a - first, 0, last - first) if n == "lengths" else a[first:last]
            for n, a in made.sequence.items()
        }
        chunk, state = made.call(x=made.x[first:last], state=state, **sequence)
        assert same_bits(chunk, y[first:last])
    assert all(map(same_bits, state, final))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_session_is_the_whole(seed, isa):
    made = random_problem(seed, bidirectional=False, kind="plain")
    y, final = made.call()
    session = made.layer.session(made.B)
    session.state = joined(made.state)
    for t in range(made.T):
        assert same_bits(session.step(np.ascontiguousarray(made.x[t])), y[t])
    assert all(map(same_bits, oracle.split(session.state), final))


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_repeat_bit_for_bit(seed, isa):
    made = random_problem(seed)
    first = made.train()[2]
    made.as_float32().train()  # leaves other garbage in the scratch memory
    for name, gradient in made.train()[2].items():
        assert same_bits(gradient, first[name]), name


@pytest.mark.parametrize("seed", SEEDS)
def test_memory_left_by_other_calls_is_never_read(seed, isa):
    # Scratch and `saved` are used again: fill them with NaN in between.
    made = random_problem(seed)
    y, final, gradients = made.train()
    poison = problem(made.cell, T=made.T + 2, B=made.B + 3, I=40, H=80, num_layers=3)
    for poisoned in (poison, poison.as_float32()):
        poisoned.x[...] = np.nan
        poisoned.train()
    own = made.layer.forward(np.full_like(made.x, np.nan))[2]
    made.layer.backward(made.dy, own)
    y_again, final_again, gradients_again = made.train()
    assert same_bits(y, y_again)
    assert all(map(same_bits, final, final_again))
    for name, gradient in gradients.items():
        assert same_bits(gradient, gradients_again[name]), name


# ------------------------------------------------------------ NaN and infinity


def spoiled(made, t, row, value):
    x = made.x.copy()
    x[t, row, -1] = value
    return x


@by_name
def test_nan_spreads_from_its_own_step_on_in_its_own_sequence(cell, isa):
    made = problem(cell, T=6, B=9, I=5, H=21, num_layers=2).as_float32()
    y, final = made.call()
    y_nan, final_nan = made.call(x=spoiled(made, 2, 4, np.nan))
    others = np.arange(9) != 4
    assert same_bits(y_nan[:, others], y[:, others])
    assert same_bits(y_nan[:2], y[:2])
    assert np.isnan(y_nan[2:, 4]).all()
    for got, expected in zip(final_nan, final, strict=True):
        assert same_bits(got[:, others], expected[:, others])
        assert np.isnan(got[:, 4]).all()


@by_name
def test_nan_spreads_both_ways_from_its_step_in_a_bidirectional_layer(cell, isa):
    made = problem(cell, T=6, B=3, I=5, H=21, bidirectional=True).as_float32()
    y, _ = made.call()
    y_nan, _ = made.call(x=spoiled(made, 2, 1, np.nan))
    P = made.layer.output_size
    assert same_bits(y_nan[:2, :, :P], y[:2, :, :P])
    assert np.isnan(y_nan[2:, 1, :P]).all()
    assert same_bits(y_nan[3:, :, P:], y[3:, :, P:])
    assert np.isnan(y_nan[:3, 1, P:]).all()
    assert same_bits(y_nan[:, [0, 2]], y[:, [0, 2]])


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38])
@by_name
def test_infinity_stays_in_its_own_sequence_from_its_own_step_on(cell, value, isa):
    made = problem(cell, T=6, B=9, I=5, H=21).as_float32()
    y, _ = made.call()
    y_far, _ = made.call(x=spoiled(made, 2, 4, value))
    others = np.arange(9) != 4
    assert same_bits(y_far[:, others], y[:, others])
    assert same_bits(y_far[:2], y[:2])
    with np.errstate(invalid="ignore", over="ignore"):
        expected = made.expected({**made.values(), "x": spoiled(made, 2, 4, value)})[0]
    # What the formula makes of it: saturated gates, or infinity for relu.
    assert np.allclose(y_far[2, 4], expected[2, 4], atol=1e-5, equal_nan=True)


@by_name
def test_a_reset_ends_nan_and_a_mask_skips_it(cell):
    made = problem(cell, T=6, B=3).as_float32()
    x = spoiled(made, 2, 1, np.nan)
    reset = np.zeros((6, 3), bool)
    reset[4] = True
    y, final = made.call(x=x, reset=reset)
    assert np.isnan(y[2:4, 1]).all()
    assert np.isfinite(y[4:]).all()
    assert all(np.isfinite(s).all() for s in final)
    assert np.isfinite(
        made.call(x=x, mask=np.arange(6)[:, np.newaxis] != [9, 2, 9])[0]
    ).all()


@by_name
def test_nan_in_a_state_stays_in_its_row(cell):
    made = problem(cell, B=9, num_layers=2).as_float32()
    y, _ = made.call()
    state = tuple(s.copy() for s in made.state)
    state[-1][0, 4] = np.nan
    y_nan, _ = made.call(state=state)
    others = np.arange(9) != 4
    assert same_bits(y_nan[:, others], y[:, others])
    assert np.isnan(y_nan[:, 4]).all()


@by_name
def test_nan_in_a_gradient_stays_in_its_row_and_its_past(cell, isa):
    made = problem(cell, T=6, B=9, I=5, H=21).as_float32()
    clean = made.train()[2]
    made.dy[3, 4] = np.nan  # of every unit: a dead relu passes nothing on
    gradients = made.train()[2]
    others = np.arange(9) != 4
    assert same_bits(gradients["x"][:, others], clean["x"][:, others])
    assert same_bits(gradients["x"][4:], clean["x"][4:])
    assert np.isnan(gradients["x"][:4, 4]).any(axis=-1).all()
    assert same_bits(gradients["state 0"][:, others], clean["state 0"][:, others])


# ---------------------------------------------------------------------- memory


@by_name
def test_a_step_with_out_allocates_nothing(cell):
    made = problem(cell, B=8, I=64, H=300, num_layers=2).as_float32()
    session = made.layer.session(8)
    x, out = np.ascontiguousarray(made.x[0]), session.step(made.x[0]).copy()
    session.step(x, out=out)
    tracemalloc.start()
    try:
        session.step(x, out=out)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            session.step(x, out=out)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # NumPy describes a buffer in some 100 bytes, and frees them; a row has 1200.
    assert after - before < 64
    assert peak - before < 512


@by_name
def test_inference_keeps_nothing_and_training_keeps_what_it_says(cell):
    made = problem(cell, T=200, B=8, I=4, H=64).as_float32()
    made.call()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        y, final = made.call()
        after, _ = tracemalloc.get_traced_memory()
        results = y.nbytes + sum(s.nbytes for s in final)
        assert after - before < results + 20_000
        del y, final
        before, _ = tracemalloc.get_traced_memory()
        y, final, saved = made.layer.forward(made.x)
        after, _ = tracemalloc.get_traced_memory()
        results = y.nbytes + sum(s.nbytes for s in oracle.split(final))
        assert abs(after - before - results - saved.nbytes) < 20_000
    finally:
        tracemalloc.stop()
