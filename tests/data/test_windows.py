"""Windows of recordings: contents, order, and bad arguments."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import refuses

from fastcell.data import Windows
from fastcell.train.checkpoint import data_fingerprint

LENGTHS = (9, 4, 6, 14)


def recordings():
    """Return recordings whose values tell where they stand."""
    return [
        np.stack([np.full(n, i), np.arange(n)], axis=1) for i, n in enumerate(LENGTHS)
    ]


def begun(batch):
    """Return where the windows of a batch begin: recording and frame."""
    return [tuple(map(int, frame)) for frame in batch[0][0]]


def all_begun(epoch):
    return [place for batch in epoch for place in begun(batch)]


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_each_window_comes_once_an_epoch(stride):
    data = Windows(recordings(), 3, 2, 4, stride=stride, seed=1)
    expected = [
        (i, begin)
        for i, n in enumerate(LENGTHS)
        for begin in range(0, n - 5 + 1, stride)
    ]
    assert data.count == len(expected)
    assert len(data) == -(-len(expected) // 4)
    orders = [all_begun(data.epoch(n)) for n in range(3)]
    for order in orders:
        assert sorted(order) == expected
    assert orders[0] == all_begun(data) != orders[1]
    still = Windows(recordings(), 3, 2, 4, stride=stride, shuffle=False)
    assert all_begun(still) == all_begun(still.epoch(7)) == expected


def test_a_window_goes_on_in_its_recording():
    data = Windows(recordings(), 3, 2, 4)
    assert data.input_size == 2
    for x, lengths, y in data.epoch(2):
        assert lengths is None
        assert (x.dtype, y.dtype) == (np.float32, np.float32)
        frames = np.concatenate([x, y])
        assert (len(x), len(y)) == (3, 2)
        assert (frames[..., 0] == frames[0, :, 0]).all()
        expected = frames[0, :, 1] + np.arange(5)[:, np.newaxis]
        np.testing.assert_array_equal(frames[..., 1], expected)


def test_recordings_of_one_length_may_be_one_array():
    array = np.arange(60.0).reshape(5, 6, 2)
    one, other = Windows(array, 4, 1), Windows(list(array), 4, 1)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[2], b[2])


def test_the_order_is_that_of_the_seed():
    one, same, other = (Windows(recordings(), 3, 2, seed=s) for s in (3, 3, 4))
    assert all_begun(one.epoch(1)) == all_begun(same.epoch(1))
    assert all_begun(one.epoch(1)) != all_begun(other.epoch(1))
    assert data_fingerprint(one) == data_fingerprint(same) != data_fingerprint(other)


def test_batches_are_taken_by_index():
    data = Windows(recordings(), 3, 2, 4, dtype=np.float64)
    assert begun(data[-1]) == begun(data[len(data) - 1])
    assert len(data[-1][0][0]) == data.count % 4
    assert [begun(b) for b in data[1:]] == [begun(data[k]) for k in (1, 2, 3, 4)]
    assert data[0][0].dtype == np.float64
    refuses(IndexError, ["index", "0 to 4", "5"], lambda: data[5])
    refuses(TypeError, ["index", "1.0"], lambda: data[1.0])


def with_nan():
    frames = np.ones((9, 2))
    frames[4, 1] = np.nan
    return frames


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ([], ValueError, ["recordings", "got none"]),
        (None, TypeError, ["recordings", "None"]),
        (iter([np.ones((9, 2))]), TypeError, ["recordings", "list_iterator"]),
        ([np.ones(9)], TypeError, ["recordings[0]", "(9,)"]),
        ([np.full((9, 2), "a")], TypeError, ["recordings[0]", "<U1"]),
        ([np.ones((9, 0))], ValueError, ["recordings[0]", "(L, 1)", "(9, 0)"]),
        (
            [np.ones((9, 2)), np.ones((9, 3))],
            ValueError,
            ["recordings[1]", "(L, 2)", "(9, 3)"],
        ),
        (
            [np.ones((9, 2)), with_nan()],
            ValueError,
            ["recordings[1]", "finite", "nan", "frame 4, value 1"],
        ),
        ([np.full((9, 2), 1e300)], ValueError, ["recordings[0]", "float32", "inf"]),
        ([np.ones((4, 2))], ValueError, ["recordings", "at least 5", "longest has 4"]),
    ],
)
def test_bad_recordings_are_named(bad, error, words):
    refuses(error, words, Windows, bad, 3, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"given": 0}, ValueError, ["given", ">= 1"]),
        ({"ahead": 0}, ValueError, ["ahead", ">= 1"]),
        ({"ahead": 1.5}, TypeError, ["ahead", "1.5"]),
        ({"batch_size": 0}, ValueError, ["batch_size"]),
        ({"stride": 0}, ValueError, ["stride"]),
        ({"shuffle": 1}, TypeError, ["shuffle"]),
        ({"seed": -1}, ValueError, ["seed"]),
        ({"dtype": np.int32}, TypeError, ["dtype", "int32"]),
    ],
)
def test_bad_arguments_are_named(arguments, error, words):
    good = {"recordings": recordings(), "given": 3, "ahead": 2}
    refuses(error, words, lambda: Windows(**{**good, **arguments}))
