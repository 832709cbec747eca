"""The promises of DESIGN section 4 that hold for every cell: NaN and memory.

Bits are in test_bits.py, threads in test_threads.py, accuracy in test_accuracy.py, bad
input in test_layers_arguments.py.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import oracle
import pytest
from oracle import by_name, problem, same_bits

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
