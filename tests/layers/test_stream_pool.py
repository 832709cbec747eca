"""StreamPool: ragged arrivals have the bits of sessions, and bad ids are refused."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import by_name, same_bits

import fastcell

I, H = 7, 33  # noqa: E741


def layer_of(cell, dtype=np.float32):
    return cell.layer(I, H, num_layers=2, dtype=dtype, seed=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@by_name
def test_arrivals_in_any_order_have_the_bits_of_sessions(cell, dtype, isa):
    layer, rng = layer_of(cell, dtype), np.random.default_rng(0)
    pool = fastcell.StreamPool(layer, capacity=2)
    ids = pool.open(9)
    sessions = {i: layer.session() for i in ids}
    for _ in range(12):
        arrived = rng.permutation(ids)[: rng.integers(0, 10)]
        x = rng.standard_normal((len(arrived), I)).astype(dtype)
        y = pool.step(arrived, x)
        for row, i in enumerate(arrived):
            assert same_bits(y[row], sessions[i].step(x[row]))
    for i, session in sessions.items():
        for ours, theirs in zip(pool.state([i]), session.state, strict=True):
            assert same_bits(ours, theirs)


def test_many_streams_do_not_depend_on_the_number_of_threads(set_threads):
    layer = fastcell.LSTM(64, 128, seed=0)
    x = np.random.default_rng(0).standard_normal((200, 64), np.float32)
    outputs = []
    for threads in (1, 2, 3):
        set_threads(threads)
        pool = fastcell.StreamPool(layer)
        ids = pool.open(200)
        outputs.append([pool.step(ids, x), pool.step(ids[::-1], x)])
    for other in outputs[1:]:
        assert all(same_bits(a, b) for a, b in zip(outputs[0], other, strict=True))


def test_growing_and_reopening_keep_the_others_and_start_at_zero():
    layer = fastcell.LSTM(I, H, seed=0)
    pool = fastcell.StreamPool(layer, capacity=1)
    x = np.ones((1, I), np.float32)
    (first,) = pool.open()
    y = [pool.step([first], x)]
    others = pool.open(20)
    assert len(pool) == 21 and first not in others
    y.append(pool.step([first], x))
    session = layer.session()
    assert all(same_bits(row[0], session.step(x[0])) for row in y)
    pool.close(others[3:5])
    assert len(pool) == 19
    again = pool.open(2)
    assert set(again) == set(others[3:5])
    pool.step(again, np.ones((2, I), np.float32))
    pool.reset(again)
    assert not np.any(pool.state(again)[0])
    state = pool.state([first])
    pool.set_state([again[0]], state)
    assert same_bits(pool.step([again[0]], x), pool.step([first], x))


def test_out_is_filled():
    pool = fastcell.StreamPool(fastcell.GRU(I, H, seed=0))
    ids = pool.open(3)
    out = np.full((3, H), np.nan, np.float32)
    assert pool.step(ids, np.ones((3, I), np.float32), out) is out
    assert np.isfinite(out).all()
    with pytest.raises(ValueError, match="out must be a contiguous, writable float32"):
        pool.step(ids, np.ones((3, I), np.float32), out[:2])


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([0, 1, 0], ValueError, "stream 0 comes twice"),
        ([0, 5], KeyError, "stream 5 is not open"),
        ([-1], KeyError, "stream -1 is not open"),
        ([10**9], KeyError, "stream 1000000000 is not open"),
        ([0.5], TypeError, "ids must be integers"),
        ([[0]], ValueError, "ids must have one axis"),
    ],
)
def test_bad_ids_step_nothing(ids, error, message):
    pool = fastcell.StreamPool(fastcell.GRU(I, H, seed=0))
    known = pool.open(3)
    with pytest.raises(error, match=message):
        pool.step(ids, np.ones((len(ids), I), np.float32))
    assert not np.any(pool.state(known))


def test_other_refusals():
    container = fastcell.Sequential([fastcell.GRU(I, H)])
    with pytest.raises(TypeError, match="layer must be an RNN, LSTM or GRU; got Seq"):
        fastcell.StreamPool(container)
    for capacity, error in ((2**50, MemoryError), (2**70, ValueError)):
        with pytest.raises(error, match=f"capacity must .* got {capacity}"):
            fastcell.StreamPool(fastcell.GRU(I, H), capacity)
    with pytest.raises(MemoryError, match="count must be a number"):
        fastcell.StreamPool(fastcell.GRU(I, H)).open(2**60)
    with pytest.raises(ValueError, match="one direction"):
        fastcell.StreamPool(fastcell.GRU(I, H, bidirectional=True))
    with pytest.raises(ValueError, match="capacity"):
        fastcell.StreamPool(fastcell.GRU(I, H), capacity=0)
    pool = fastcell.StreamPool(fastcell.GRU(I, H))
    with pytest.raises(TypeError, match="x must be float32"):
        pool.step(pool.open(), np.ones((1, I)))
    with pytest.raises(ValueError, match="x must have the shape"):
        pool.step(pool.open(), np.ones((1, I + 1), np.float32))
    assert pool.step([], np.empty((0, I), np.float32)).shape == (0, H)
