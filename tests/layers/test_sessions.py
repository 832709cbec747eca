"""Sessions: a layer one step at a time. The equality with whole sequences is in
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


def edit_what_was_handed_out(layer):
    layer.params["weight_ih_l0"][...] *= 2


def step_of_an_optimizer(layer):
    grads = {name: np.ones_like(array) for name, array in layer.state_dict().items()}
    fastcell.optim.SGD(layer.params, lr=0.1).step(grads)


def another_precision(layer):
    layer.to("bf16")


CHANGES = [edit_what_was_handed_out, step_of_an_optimizer, another_precision]


@pytest.mark.parametrize("change", CHANGES)
@by_name
def test_a_step_has_the_newest_weights_and_goes_on_from_its_state(cell, change):
    layer = problem(cell, I=2).as_float32().layer
    session, refreshed = layer.session(3), layer.session(3)
    for each in (session, refreshed):
        each.step(X)
    fork, before = session.fork(), session.state
    old = layer(X[np.newaxis], before)[0][0]
    change(layer)
    expected = layer(X[np.newaxis], before)[0][0]
    assert not same_bits(expected, old)
    refreshed.refresh()
    for each in (session, refreshed, fork):
        assert same_bits(each.step(X), expected)


def test_a_session_sees_what_is_written_while_somebody_holds_the_array():
    layer = fastcell.GRU(2, 4, seed=0)
    weight = layer.params["weight_ih_l0"]
    session = layer.session(3)
    for _ in range(3):
        before = session.state
        weight += 0.25
        assert same_bits(session.step(X), layer(X[np.newaxis], before)[0][0])


def test_sessions_of_a_layer_have_one_pack():
    layer = fastcell.GRU(2, 4, seed=0)
    one, other = layer.session(), layer.session(3)
    layer.params.changed()
    one.refresh()
    other.step(X)
    assert one.packed is other.packed


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
    (np.ones((3, 3), np.float32), ValueError, ["x", "(3, 2)", "(3, 3)"]),
    (np.ones((2, 2), np.float32), ValueError, ["x", "(3, 2)", "(2, 2)"]),
    (np.ones((1, 3, 2), np.float32), ValueError, ["x", "(3, 2)", "(1, 3, 2)"]),
    (np.ones(2, np.float32), ValueError, ["x", "(3, 2)", "(2,)"]),
    (np.ones((3, 2)), TypeError, ["x", "float32", "float64"]),
    (np.ones((3, 2), np.int32), TypeError, ["x", "float32", "int32"]),
    (np.ones((3, 2), ">f4"), TypeError, ["x", "float32", ">f4"]),
    ([[1.0, 2.0]] * 3, TypeError, ["x", "float32", "float64"]),
    (None, TypeError, ["x", "array", "NoneType"]),
    ("ab", TypeError, ["x", "float32"]),
    (1.0, TypeError, ["x", "float32", "float64"]),
]


@pytest.mark.parametrize("x, error, words", BAD_STEPS)
def test_a_step_refuses_what_the_layer_refuses_and_leaves_the_state(x, error, words):
    layer = fastcell.LSTM(2, 4, seed=0)
    session = layer.session(3)
    session.step(X)
    before = session.state
    refuses(error, words, session.step, x)
    if error is TypeError:
        with pytest.raises(error) as raised:
            layer(x)
        refuses(error, [str(raised.value)], session.step, x)
    assert all(map(same_bits, session.state, before))


SAME_STEPS = {
    "Fortran order": np.asfortranarray(X),
    "every second feature": np.repeat(X, 2, axis=1)[:, ::2],
    "every second row": np.repeat(X, 2, axis=0)[::2],
    "buffer": memoryview(X),
    "subclass": X.view(type("Named", (np.ndarray,), {})),
    "read-only": np.broadcast_to(X, X.shape),
}


@pytest.mark.parametrize("x", SAME_STEPS.values(), ids=SAME_STEPS)
def test_a_step_takes_what_the_layer_takes(x):
    session = fastcell.LSTM(2, 4, seed=0).session(3)
    expected = fastcell.LSTM(2, 4, seed=0)(X[np.newaxis])[0][0]
    out = np.empty_like(expected)
    assert same_bits(session.step(x, out), expected)


def test_a_step_of_float64_takes_a_list():
    layer = fastcell.GRU(2, 4, dtype=np.float64, seed=0)
    expected = layer(np.array([[0.5, -1.0]]))[0][0]
    assert same_bits(layer.session().step([0.5, -1.0]), expected)


def read_only(array):
    array.flags.writeable = False
    return array


BAD_OUTS = [
    (np.ones((3, 5), np.float32), ValueError, "float32 (3, 5)"),
    (np.ones((3, 4)), ValueError, "float64 (3, 4)"),
    (np.ones(4, np.float32), ValueError, "float32 (4,)"),
    (np.ones((4, 3), np.float32).T, ValueError, "non-contiguous float32 (3, 4)"),
    (read_only(np.ones((3, 4), np.float32)), ValueError, "read-only float32 (3, 4)"),
    ([[1.0] * 4] * 3, TypeError, "list"),
    ("ab", TypeError, "str"),
]


@pytest.mark.parametrize("out, error, got", BAD_OUTS)
def test_a_wrong_out_is_refused(out, error, got):
    session = fastcell.LSTM(2, 4, seed=0).session(3)
    before = session.state
    words = ["out must be a contiguous, writable float32 array", "(3, 4)", f"got {got}"]
    refuses(error, words, session.step, X, out=out)
    pool = fastcell.StreamPool(session._layer)
    refuses(error, words, pool.step, pool.open(3), X, out=out)
    assert np.all(out == np.ones_like(out)) or isinstance(out, (str, list))
    assert all(map(same_bits, session.state, before))


BAD_ROWS = [
    ("a", TypeError),
    ([1.0], TypeError),
    (object(), TypeError),
    (2**70, TypeError),
    (3, IndexError),
    (-4, IndexError),
    (np.ones(2, bool), IndexError),
]


@pytest.mark.parametrize("rows, error", BAD_ROWS)
def test_a_reset_of_rows_that_are_not_there_is_refused(rows, error):
    session = fastcell.LSTM(2, 4, seed=0).session(3)
    session.step(X)
    before = session.state
    refuses(error, ["rows must be"], session.reset, rows)
    assert all(map(same_bits, session.state, before))
    session.reset([])
    assert all(map(same_bits, session.state, before))


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
    for rows in (2**50, 2**63 - 1):
        refuses(MemoryError, ["batch_size", str(rows)], layer.session, rows)
    refuses(ValueError, ["batch_size", str(2**70)], layer.session, 2**70)
