"""Memory of the C core: packed weights, saved values, streams; wrong ones refused."""

from __future__ import annotations

import numpy as np
import pytest

import fastcell
from fastcell import _core

T, B, N, H = 5, 3, 4, 7  # N: inputs


def misaligned(memory):
    """Return a copy of bytes that begins 8 past a multiple of 64."""
    copy = _core.aligned_empty(len(memory) + 64)[8 : 8 + len(memory)]
    copy[:] = memory
    return copy


def moved(memory):
    copy = _core.aligned_empty(len(memory))
    copy[:] = memory
    return copy


def zeros(size):
    return _core.aligned_empty(size, zeroed=True)


class Calls:
    """A GRU, and its calls to the core with memory of the test's own."""

    def __init__(self):
        self.layer = fastcell.GRU(N, H, seed=1)
        self.stack = self.layer._stack
        self.packed = self.layer._packed(False)[1]
        self.backward_packed = self.layer._packed(True)[1]
        x = np.random.default_rng(1).standard_normal((T, B, N)).astype(np.float32)
        self.lengths = np.array([T, 1, 3])
        self.call = _core.Batch(
            T, B, x, None, self.lengths, *(None,) * 5, fastcell.get_num_threads()
        )
        self.saved = _core.aligned_empty(self.stack.saved_size(self.call))

    def forward(self, packed, saved):
        y = np.empty((T, B, H), np.float32)
        self.stack.forward(packed, self.call, y, None, None, saved)
        return y

    def backward(self, packed, saved, dy=None):
        dx = np.empty((T, B, N), np.float32)
        if dy is None:
            dy = np.ones((T, B, H), np.float32)
        self.stack.backward(
            packed, None, self.call, dy, None, None, dx, None, None, None, saved
        )
        return dx

    def stream(self, packed):
        return _core.Stream(self.stack, packed, B)


@pytest.fixture
def calls():
    return Calls()


ELSEWHERE = "multiple of 64"
OTHER = "expected what this layer made"


def test_memory_begins_at_a_multiple_of_64(calls):
    packed, saved = misaligned(calls.packed), misaligned(calls.saved)
    with pytest.raises(ValueError, match=ELSEWHERE):
        calls.forward(packed, None)
    with pytest.raises(ValueError, match=ELSEWHERE):
        calls.forward(calls.packed, saved)
    with pytest.raises(ValueError, match=ELSEWHERE):
        calls.stream(packed).step(np.ones((B, N), np.float32))
    calls.forward(calls.packed, calls.saved)
    with pytest.raises(ValueError, match=ELSEWHERE):
        calls.backward(calls.backward_packed, misaligned(calls.saved))
    with pytest.raises(ValueError, match=ELSEWHERE):
        calls.backward(misaligned(calls.backward_packed), calls.saved)


def test_moved_memory_gives_the_same_bits(calls):
    y = calls.forward(calls.packed, calls.saved)
    saved = moved(calls.saved)
    dx = calls.backward(calls.backward_packed, calls.saved)
    assert np.array_equal(calls.forward(moved(calls.packed), None), y)
    assert np.array_equal(calls.backward(moved(calls.backward_packed), saved), dx)


def test_other_memory_is_refused(calls):
    with pytest.raises(ValueError, match=OTHER):
        calls.forward(zeros(len(calls.packed)), None)
    with pytest.raises(ValueError, match=OTHER):
        calls.backward(calls.backward_packed, zeros(len(calls.saved)))
    with pytest.raises(ValueError, match="saved must have 128 bytes; got 64"):
        calls.backward(calls.backward_packed, zeros(64))
    calls.forward(calls.packed, calls.saved)
    size = len(calls.saved)
    with pytest.raises(
        ValueError, match=f"saved must have {size} bytes; got {size - 64}"
    ):
        calls.backward(calls.backward_packed, calls.saved[:-64])
    calls.backward(calls.backward_packed, calls.saved)


def test_saved_serves_one_backward(calls):
    calls.forward(calls.packed, calls.saved)
    calls.backward(calls.backward_packed, calls.saved)
    with pytest.raises(ValueError, match="used up by an earlier backward; run forward"):
        calls.backward(calls.backward_packed, calls.saved)


def test_backward_does_not_read_the_lengths_again(calls):
    calls.forward(calls.packed, calls.saved)
    dx = calls.backward(calls.backward_packed, calls.saved)
    calls.forward(calls.packed, calls.saved)
    calls.lengths[:] = [1, T, T]
    again = calls.backward(calls.backward_packed, calls.saved)
    assert np.array_equal(again, dx)


def test_dy_may_be_broadcast(calls):
    gradient = np.linspace(-1, 1, H, dtype=np.float32)
    shape = (T, B, H)
    calls.forward(calls.packed, calls.saved)
    wanted = calls.backward(
        calls.backward_packed,
        calls.saved,
        np.ascontiguousarray(np.broadcast_to(gradient, shape)),
    )
    calls.forward(calls.packed, calls.saved)
    got = calls.backward(
        calls.backward_packed, calls.saved, np.broadcast_to(gradient, shape)
    )
    assert np.array_equal(got, wanted)


def test_a_stream_forks_from_another(calls):
    x = np.random.default_rng(2).standard_normal((2, B, N)).astype(np.float32)
    first = calls.stream(calls.packed)
    first.step(x[0])
    second = calls.stream(calls.packed)
    second.fork_from(first)
    assert np.array_equal(first.step(x[1]), second.step(x[1]))


def arguments_of(**given):
    """Return what a Batch of 2 steps of 1 row takes, in its order, and some others."""
    arguments = {"steps": 2, "rows": 1, "x": np.zeros((2, 1, 3)), "index": None}
    arguments |= dict.fromkeys(("lengths", "mask", "reset", "h0", "c0", "dropout"))
    return [*(arguments | given).values(), 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": np.zeros((2, 1, 4))}, r"x must be \(2, 1, 3\)"),
        ({"x": np.zeros((2, 1, 3), np.float32)}, "x must have items of 8 bytes; got 4"),
        ({"index": np.zeros((3, 1), np.int32)}, "index must have 2 items; got 3"),
        ({"lengths": np.zeros(2, np.int64)}, "lengths must have 1 items; got 2"),
        ({"mask": np.zeros((2, 2), bool)}, "mask must have 2 items; got 4"),
        ({"h0": np.zeros((1, 1, 4))}, "h0 must have 2 items; got 4"),
        ({"c0": np.zeros((1, 1, 2))}, "c0 must have 4 items; got 2"),
    ],
)
def test_an_array_that_does_not_fit_is_named(given, message):
    stack = _core.Stack("lstm_projected", "float64", 3, 4, 2, 1, 1)
    with pytest.raises(ValueError, match=message):
        stack.saved_size(_core.Batch(*arguments_of(**given)))


def test_a_parameter_that_does_not_fit_is_named():
    stack = _core.Stack("lstm", "float64", 3, 4, 0, 1, 1)
    weights = [np.zeros(shape) for shape in ((16, 3), (16, 5), 16, 16)]
    with pytest.raises(ValueError, match="weight_hh must have 64 items; got 80"):
        stack.pack(False, [tuple(weights)], 1)
    with pytest.raises(ValueError, match="weights must be tuples of 4 arrays; got 3"):
        stack.pack(False, [tuple(weights[:3])], 1)
    with pytest.raises(ValueError, match="weights must be 1 tuples; got 2"):
        stack.pack(False, [tuple(weights)] * 2, 1)
