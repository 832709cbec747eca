"""Sessions: a layer one step at a time. That steps equal the whole is in
test_bits.py."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import by_name, joined, problem, same_bits, split
from refusals import refuses

import fastcell
from fastcell.cells import REGISTRY

X = np.ones((3, 2), np.float32)


def session_of(cell, B=3, num_layers=2):
    made = problem(cell, B=B, T=6, num_layers=num_layers).as_float32()
    session = made.layer.session(B)
    session.state = joined(made.state)
    return made, session


@by_name
def test_the_state_begins_at_zero_and_follows_the_steps(cell):
    made, _ = session_of(cell)
    session = made.layer.session(3)
    for part in split(session.state):
        assert not part.any()
    for t in range(made.T):
        session.step(made.x[t])
        _, expected = made.call(x=made.x[: t + 1], state=None)
        assert all(map(same_bits, split(session.state), expected))


@by_name
def test_a_state_that_was_set_is_the_one_that_is_read(cell):
    made, session = session_of(cell)
    assert all(map(same_bits, split(session.state), made.state))
    session.step(made.x[0])  # the other side of the state's memory
    session.state = joined(made.state)
    assert all(map(same_bits, split(session.state), made.state))


@by_name
def test_the_state_that_is_read_is_a_copy(cell):
    made, session = session_of(cell)
    for part in split(session.state):
        part[...] = np.nan
    assert all(map(same_bits, split(session.state), made.state))


@by_name
def test_reset_zeroes_all_streams_or_the_rows_it_names(cell):
    made, session = session_of(cell)
    for rows in ([1], np.array([False, True, False]), slice(1, 2), np.int64(1)):
        session.state = joined(made.state)
        session.reset(rows)
        for part, before in zip(split(session.state), made.state, strict=True):
            assert not part[:, 1].any()
            assert same_bits(part[:, [0, 2]], before[:, [0, 2]])
    session.reset()
    assert not any(part.any() for part in split(session.state))
    y = session.step(made.x[0])
    assert same_bits(y, made.call(x=made.x[:1], state=None)[0][0])


def test_reset_refuses_rows_that_are_not_there():
    _, session = session_of(REGISTRY["lstm"])
    before = session.state
    with pytest.raises(IndexError, match="3"):
        session.reset([3])
    assert all(map(same_bits, session.state, before))


@by_name
def test_a_fork_continues_on_its_own(cell):
    made, session = session_of(cell)
    session.step(made.x[0])
    other = session.fork()
    assert all(map(same_bits, split(other.state), split(session.state)))
    y = session.step(made.x[1])
    session.step(made.x[2])
    assert same_bits(other.step(made.x[1]), y)
    session.reset()
    assert same_bits(other.step(made.x[2]), made.call(x=made.x[:3])[0][2])


@by_name
def test_streams_step_together_as_they_would_alone(cell):
    made, session = session_of(cell, B=7)
    singles = [made.layer.session() for _ in range(7)]
    for row, single in enumerate(singles):
        single.state = joined(tuple(s[:, row : row + 1] for s in made.state))
    for t in range(made.T):
        y = session.step(made.x[t])
        for row, single in enumerate(singles):
            assert same_bits(single.step(made.x[t, row]), y[row])


def test_one_stream_takes_a_vector_or_a_row():
    layer = fastcell.GRU(2, 4, seed=0)
    flat, row = layer.session(), layer.session(batch_size=1)
    y = flat.step(X[0])
    assert y.shape == (4,)
    assert same_bits(y[np.newaxis], row.step(X[:1]))


@by_name
def test_out_is_filled_and_returned(cell):
    made, session = session_of(cell)
    expected = made.call()[0]
    out = np.full_like(expected[0], np.nan)
    for t in range(made.T):
        assert session.step(made.x[t], out=out) is out
        assert same_bits(out, expected[t])


@by_name
def test_a_step_returns_an_array_of_its_own(cell):
    made, session = session_of(cell)
    first = session.step(made.x[0])
    kept = first.copy()
    session.step(made.x[1])
    assert same_bits(first, kept)


def test_a_session_keeps_the_weights_it_was_made_with():
    layer = fastcell.LSTM(2, 4, seed=0)
    session, twin = layer.session(3), layer.session(3)
    session.step(X)
    twin.step(X)
    layer.params["weight_hh_l0"][...] = 9
    layer(np.ones((1, 3, 2), np.float32))  # packs the new weights
    assert same_bits(session.step(X), twin.step(X))
    assert not np.array_equal(session.fork().step(X), layer.session(3).step(X))


def test_a_session_outlives_its_layer():
    expected = fastcell.LSTM(2, 4, seed=0)(X[np.newaxis])[0][0]
    session = fastcell.LSTM(2, 4, seed=0).session(3)
    trash = [np.full(10_000, np.nan, np.float32) for _ in range(100)]
    assert same_bits(session.step(X), expected)
    del trash


NO_STREAMS = """
import numpy as np, fastcell
session = fastcell.LSTM(2, 4).session(0)
print(session.step(np.zeros((0, 2), np.float32)).shape, session.state[0].shape)
"""


def test_a_session_of_no_streams_is_legal(run_python):
    # In a process of its own: a loop that waits for rows would not end.
    done = run_python(NO_STREAMS)
    assert done.stdout.strip() == "(0, 4) (1, 0, 4)", done.stderr


def test_dropout_is_not_in_a_session():
    layer = fastcell.GRU(2, 4, num_layers=2, dropout=0.9, seed=0)
    assert same_bits(layer.session(3).step(X), layer(X[np.newaxis])[0][0])


BAD_STEPS = [
    (np.ones((3, 3), np.float32), ["x", "float32", "(3, 2)", "(3, 3)"]),
    (np.ones((2, 2), np.float32), ["x", "float32", "(3, 2)", "(2, 2)"]),
    (np.ones((1, 3, 2), np.float32), ["x", "(3, 2)", "(1, 3, 2)"]),
    (np.ones(2, np.float32), ["x", "(3, 2)", "(2,)"]),
    (np.ones((3, 2)), ["x", "float32", "float64"]),
    (np.ones((3, 2), np.int32), ["x", "float32", "int32"]),
    (np.ones((3, 2), ">f4"), ["x", "float32", ">f4"]),
    (np.asfortranarray(X * 2), ["x", "contiguous"]),
    (np.ones((3, 4), np.float32)[:, ::2], ["x", "contiguous"]),
    (np.ones((6, 2), np.float32)[::2], ["x", "contiguous"]),
]


@pytest.mark.parametrize("x, words", BAD_STEPS)
def test_a_step_refuses_and_leaves_the_state(x, words):
    session = fastcell.LSTM(2, 4, seed=0).session(3)
    session.step(X)
    before = session.state
    refuses(ValueError, words, session.step, x)
    assert all(map(same_bits, session.state, before))


def test_a_step_refuses_a_wrong_out():
    session = fastcell.LSTM(2, 4, seed=0).session(3)
    before = session.state
    for out in (np.ones((3, 5), np.float32), np.ones((3, 4)), np.ones(4, np.float32)):
        refuses(ValueError, ["out", "float32", "(3, 4)"], session.step, X, out=out)
    constant = np.ones((3, 4), np.float32)
    constant.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        session.step(X, out=constant)
    assert (constant == 1).all()
    assert all(map(same_bits, session.state, before))


@pytest.mark.parametrize("x", [None, [1.0, 2.0], "ab", 1.0])
def test_a_step_refuses_what_has_no_buffer(x):
    with pytest.raises(TypeError):
        fastcell.LSTM(2, 4).session().step(x)


def test_a_state_of_a_wrong_shape_or_dtype_is_refused():
    _, session = session_of(REGISTRY["lstm"])
    h, c = before = session.state
    bad = [
        ((h[:1], c), ValueError, ["state h", "(2, 3, 7)", "(1, 3, 7)"]),
        ((h, c[:, :2]), ValueError, ["state c", "(2, 3, 7)", "(2, 2, 7)"]),
        ((h.astype(np.float64), c), TypeError, ["state h", "float32", "float64"]),
        (h, TypeError, ["state", "(h, c)"]),
    ]
    for state, error, words in bad:
        refuses(error, words, setattr, session, "state", state)
    assert all(map(same_bits, session.state, before))


def test_sessions_that_cannot_be_are_refused():
    refuses(
        ValueError, ["bidirectional"], fastcell.GRU(2, 4, bidirectional=True).session
    )
    layer = fastcell.GRU(2, 4)
    refuses(ValueError, ["batch_size", ">= 0", "-1"], layer.session, -1)
    refuses(TypeError, ["batch_size", "integer", "1.5"], layer.session, 1.5)
    with pytest.raises(MemoryError):
        layer.session(2**50)
