"""Ragged sequences in batches: contents, order, and errors."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from refusals import refuses

from fastcell.data import Sequences


def ragged(count=23, width=3, seed=0, longest=9):
    """Sequences whose values tell which sequence, step and feature they are."""
    lengths = np.random.default_rng(seed).integers(1, longest + 1, count)
    return [
        100.0 * i + 10.0 * np.arange(n)[:, np.newaxis] + np.arange(width)
        for i, n in enumerate(lengths)
    ]


def members(epoch):
    return [epoch.indices(k).tolist() for k in range(len(epoch))]


# -------------------------------------------------------------------- what a batch is


def test_a_batch_holds_its_sequences_padded_with_zeros():
    sequences = ragged()
    data = Sequences(sequences, batch_size=4)
    for k, (x, lengths, y) in enumerate(data):
        assert x.dtype == np.float32
        assert lengths.dtype == np.int64
        assert y is None
        assert x.shape == (lengths.max(), len(lengths), 3)
        for row, i in enumerate(data.epoch(0).indices(k)):
            assert lengths[row] == len(sequences[i])
            np.testing.assert_array_equal(x[: lengths[row], row], sequences[i])
            assert not x[lengths[row] :, row].any()


def test_ids_are_padded_with_zeros_too():
    sequences = [np.array([7, 8]), [5], [1, 2, 3]]
    x, lengths, _ = Sequences(sequences, batch_size=3, shuffle=False, bucket=False)[0]
    assert x.dtype == np.int32
    np.testing.assert_array_equal(x, [[7, 5, 1], [8, 0, 2], [0, 0, 3]])
    np.testing.assert_array_equal(lengths, [2, 1, 3])


@pytest.mark.parametrize(
    ("targets", "dtype", "kind"),
    [
        (list(range(23)), np.int64, "class"),
        (np.arange(23, dtype=np.uint8), np.int64, "class"),
        ([0.5 * i for i in range(23)], np.float32, "value"),
        ([[i, 0.5] for i in range(23)], np.float32, "vector"),
        (np.arange(46.0).reshape(23, 2), np.float32, "vector"),
    ],
)
def test_targets_of_sequences_stay_with_them(targets, dtype, kind):
    data = Sequences(ragged(), targets, batch_size=5)
    for k, (_, _, y) in enumerate(data.epoch(3)):
        assert y.dtype == dtype
        expected = np.asarray(targets)[data.epoch(3).indices(k)]
        np.testing.assert_array_equal(y, expected)
    assert data._targets.kind == kind


def test_numbers_of_which_one_is_real_are_values():
    y = Sequences([[1], [2]], [1, 2.5], batch_size=2, shuffle=False)[0][2]
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [1, 2.5])


def test_tags_are_ignored_past_the_ends():
    sequences = ragged()
    tags = [np.arange(len(s)) + 10 * i for i, s in enumerate(sequences)]
    data = Sequences(sequences, tags, batch_size=4)
    for k, (x, lengths, y) in enumerate(data):
        assert y.dtype == np.int64
        assert y.shape == x.shape[:2]
        for row, i in enumerate(data.epoch(0).indices(k)):
            np.testing.assert_array_equal(y[: lengths[row], row], tags[i])
            assert (y[lengths[row] :, row] == -100).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool])
def test_frames_are_zeros_past_the_ends(dtype):
    sequences = ragged()
    frames = [(s[:, :2] % 3 + i % 2).astype(dtype) for i, s in enumerate(sequences)]
    data = Sequences(sequences, frames, batch_size=4)
    assert data._targets.kind == "frames"
    for k, (x, lengths, y) in enumerate(data.epoch(2)):
        assert y.dtype == np.float32
        assert y.shape == (*x.shape[:2], 2)
        for row, i in enumerate(data.epoch(2).indices(k)):
            np.testing.assert_array_equal(y[: lengths[row], row], frames[i])
            assert not y[lengths[row] :, row].any()


def test_dtype_is_that_of_features_and_values():
    x, _, y = Sequences(ragged(), np.arange(23) / 3, dtype="float64")[0]
    assert x.dtype == y.dtype == np.float64


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float64, bool])
def test_features_of_any_number_become_reals(dtype):
    sequences = [np.ones((2, 3), dtype), np.zeros((1, 3), dtype)]
    x = Sequences(sequences, batch_size=2, shuffle=False)[0][0]
    assert x.dtype == np.float32
    assert x.sum() == 6


# --------------------------------------------------------------- the order of batches


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("bucket", [False, True])
@pytest.mark.parametrize("count", [1, 4, 5, 23, 200])
def test_every_epoch_has_each_sequence_once_in_as_many_batches(shuffle, bucket, count):
    data = Sequences(ragged(count), batch_size=5, shuffle=shuffle, bucket=bucket)
    assert len(data) == -(-count // 5)
    for n in range(4):
        batches = members(data.epoch(n))
        assert len(batches) == len(data)
        assert sorted(map(len, batches)) == sorted(
            min(5, count - start) for start in range(0, count, 5)
        )
        assert sorted(chain(*batches)) == list(range(count))


def test_order_depends_on_seed_and_epoch_alone():
    one, other = Sequences(ragged(), batch_size=4), Sequences(ragged(), batch_size=4)
    later = members(other.epoch(7))
    for n in range(8):
        expected = members(one.epoch(n))
        assert (members(other.epoch(n)) == expected) and (
            (later == expected) == (n == 7)
        )
    different = Sequences(ragged(), batch_size=4, seed=1)
    assert members(different.epoch(0)) != members(one.epoch(0))


def test_an_epoch_stays_as_it_is_when_another_is_asked_for():
    data = Sequences(ragged(), batch_size=4)
    first = data.epoch(0)
    before = members(first)
    data.epoch(1)
    assert members(first) == before


def test_the_sequence_of_batches_is_epoch_0():
    data = Sequences(ragged(), range(23), batch_size=4)
    data.epoch(5)
    for one, other in zip(data, data.epoch(0), strict=True):
        for mine, its in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, its)
    np.testing.assert_array_equal(data[-1][2], data[len(data) - 1][2])
    assert [y.tolist() for _, _, y in data[1:3]] == [
        data[1][2].tolist(),
        data[2][2].tolist(),
    ]


def test_unshuffled_sequences_come_in_their_order():
    data = Sequences(ragged(), batch_size=4, shuffle=False, bucket=False)
    assert list(chain(*members(data.epoch(0)))) == list(range(23))
    assert members(data.epoch(1)) == members(data.epoch(0))


def padding(data, epoch):
    """Return the share of the steps of all batches that are padding."""
    steps = sum(x.shape[0] * x.shape[1] for x, _, _ in epoch)
    return 1 - data.lengths.sum() / steps


def test_buckets_leave_little_padding():
    sequences = [[0] * n for n in np.random.default_rng(1).integers(1, 101, 1000)]
    plain = Sequences(sequences, batch_size=10, bucket=False)
    bucketed = Sequences(sequences, batch_size=10)
    assert padding(plain, plain.epoch(0)) > 0.4
    assert padding(bucketed, bucketed.epoch(0)) < 0.05


def test_buckets_are_shuffled_and_mixed_anew_in_each_epoch():
    data = Sequences([[0] * n for n in range(1, 201)], batch_size=5)  # no two alike
    first = data.epoch(0)
    longest = np.array([x.shape[0] for x, _, _ in first])
    # Four buckets, each from short to long, would fall three times.
    assert (np.diff(longest) < 0).sum() > 10
    again = {frozenset(batch) for batch in members(data.epoch(1))}
    kept = sum(frozenset(batch) in again for batch in members(first))
    assert kept < len(data) / 4


def test_indices_are_the_callers_own():
    epoch = Sequences(ragged(), batch_size=4).epoch(0)
    before = members(epoch)
    epoch.indices(0)[:] = 0
    assert members(epoch) == before


# ------------------------------------------------------------- where sequences are


class Reader:
    """Sequences that are read when asked for, and remembers which were."""

    def __init__(self, sequences):
        self.sequences, self.read = sequences, []

    def __len__(self):
        return len(self.sequences)

    def __getitem__(self, i):
        assert type(i) is int
        self.read.append(i)
        return self.sequences[i]


def test_sequences_are_read_when_their_batch_is_asked_for():
    reader = Reader(ragged())
    lengths = [len(s) for s in reader.sequences]
    data = Sequences(reader, batch_size=4, lengths=lengths)
    assert set(reader.read) <= {0}
    reader.read.clear()
    _ = data.epoch(2)[3]
    assert reader.read == data.epoch(2).indices(3).tolist()


def test_batches_do_not_depend_on_where_sequences_are(tmp_path):
    array = np.random.default_rng(0).normal(size=(11, 5, 2)).astype(np.float32)
    path = tmp_path / "sequences"
    array.tofile(path)
    on_disk = np.memmap(path, np.float32, "r", shape=array.shape)
    for other in (list(array), Reader(array), on_disk, array.tolist()):
        for mine, its in zip(
            Sequences(other, batch_size=3), Sequences(array, batch_size=3), strict=True
        ):
            np.testing.assert_array_equal(mine[0], its[0])


def test_a_batch_is_the_callers_own():
    sequences = ragged(4)
    data = Sequences(sequences, batch_size=4)
    before = data[0][0].copy()
    x, lengths, _ = data[0]
    x[...] = -1
    lengths[...] = -1
    np.testing.assert_array_equal(data[0][0], before)
    assert (sequences[0] >= 0).all()


# -------------------------------------------------------------------------- refused


def with_nan(where=1):
    sequences = ragged(3)
    sequences[where][0, 2] = np.nan
    return sequences


@pytest.mark.parametrize(
    ("sequences", "error", "words"),
    [
        ([], ValueError, ["sequences", "got none"]),
        (iter([[1]]), TypeError, ["sequences", "list_iterator"]),
        ([[1], []], ValueError, ["sequences[1]", "at least one step"]),
        ([[1.0, 2.0]], TypeError, ["sequences[0]", "(2,)", "float64"]),
        ([np.zeros((2, 3, 4))], TypeError, ["sequences[0]", "(2, 3, 4)"]),
        (["words"], TypeError, ["sequences[0]"]),
        ([np.ones((2, 3)), np.ones((2, 4))], ValueError, ["[1]", "(T, 3)", "(2, 4)"]),
        ([np.ones((2, 3)), [1, 2]], ValueError, ["sequences[1]", "(T, 3)", "(2,)"]),
        ([[1, 2], np.ones((2, 3))], ValueError, ["sequences[1]", "ids (T,)", "(2, 3)"]),
        ([[1], [2, -3]], ValueError, ["sequences[1]", "got -3"]),
        ([[1], [2**31]], ValueError, ["sequences[1]", str(2**31)]),
        (with_nan(), ValueError, ["sequences[1]", "nan at step 0, feature 2"]),
        ([np.full((1, 1), 1e300)], ValueError, ["sequences[0]", "inf", "float32"]),
        ([np.ones((1, 2), complex)], TypeError, ["sequences[0]", "complex128"]),
    ],
)
def test_bad_sequences_are_named(sequences, error, words):
    refuses(error, words, Sequences, sequences)


@pytest.mark.parametrize(
    ("targets", "error", "words"),
    [
        ([0, 1], ValueError, ["targets", "3", "got 2"]),
        (iter([0, 1, 2]), TypeError, ["targets", "list_iterator"]),
        (["a", "b", "c"], TypeError, ["targets[0]", "class (integer)"]),
        ([0, 1, "c"], TypeError, ["targets[2]"]),
        ([0.5, np.nan, 1], ValueError, ["targets[1]", "nan"]),
        ([0, [1, 2], 0], ValueError, ["targets[1]", "number", "(2,)"]),
        ([[0.5, 1], [1.5], [2, 2]], ValueError, ["targets[1]", "2 values", "(1,)"]),
        ([[0.5], [1.5], [np.inf]], ValueError, ["targets[2]", "inf"]),
        ([[0], [1, 2], [3, 4]], ValueError, ["targets[2]", "3 steps", "got 2"]),
        ([[0], [1, 2], [3, 4, 0.5]], ValueError, ["targets[2]", "integers"]),
        ([[0], [], [3, 4, 5]], ValueError, ["targets[1]", "2 steps", "got 0"]),
        (np.zeros((3, 2, 2)), ValueError, ["targets[0]", "(1, 2)", "(2, 2)"]),
        (np.zeros((3, 1, 2, 2)), TypeError, ["targets[0]", "(1, 2, 2)"]),
        (
            [np.zeros((1, 2)), np.zeros((2, 1)), np.zeros((3, 2))],
            ValueError,
            ["targets[1]", "(2, 2), a frame for each step", "(2, 1)"],
        ),
        (
            [np.zeros((1, 2)), [0, 1], np.zeros((3, 2))],
            ValueError,
            ["targets[1]", "(2, 2)", "(2,)"],
        ),
        (
            [np.zeros((1, 1)), np.zeros((2, 1)), np.full((3, 1), np.nan)],
            ValueError,
            ["targets[2]", "finite", "nan"],
        ),
    ],
)
def test_bad_targets_are_named(targets, error, words):
    sequences = [np.ones((n, 2)) for n in (1, 2, 3)]
    refuses(error, words, Sequences, sequences, targets)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"batch_size": 0}, ValueError),
        ({"batch_size": 2.0}, TypeError),
        ({"seed": -1}, ValueError),
        ({"seed": None}, TypeError),
        ({"shuffle": 1}, TypeError),
        ({"bucket": None}, TypeError),
        ({"check_finite": 0}, TypeError),
        ({"dtype": np.int32}, TypeError),
        ({"lengths": [1, 2]}, ValueError),
        ({"lengths": [1.0, 2.0, 3.0]}, ValueError),
        ({"lengths": [1, 0, 3]}, ValueError),
    ],
)
def test_bad_arguments_are_named(arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        Sequences(ragged(3), **arguments)


def test_a_batch_of_other_lengths_than_told_is_refused():
    data = Sequences([[1], [2, 3]], batch_size=2, lengths=[1, 3])
    refuses(ValueError, ["sequences[1]", "3 steps", "got 2"], data.__getitem__, 0)


def test_what_was_not_read_is_checked_with_its_batch():
    sequences = with_nan()
    lengths = [len(s) for s in sequences]
    data = Sequences(sequences, batch_size=1, shuffle=False, lengths=lengths)
    bad = next(k for k in range(3) if data.epoch(0).indices(k) == 1)
    refuses(ValueError, ["sequences[1]", "finite"], data.__getitem__, bad)


def test_an_id_that_is_too_large_does_not_wrap():
    data = Sequences([[1], [2**32 + 1]], batch_size=2, lengths=[1, 1])
    refuses(ValueError, ["sequences[1]", str(2**32 + 1)], data.__getitem__, 0)


def test_features_that_are_not_finite_pass_if_wanted():
    x = Sequences(with_nan(), batch_size=3, check_finite=False)[0][0]
    assert np.isnan(x).sum() == 1


@pytest.mark.parametrize("index", [6, -7])
def test_batches_that_are_not_there(index):
    data = Sequences(ragged(), batch_size=4)
    refuses(IndexError, ["0 to 5", str(index)], data.__getitem__, index)
    refuses(TypeError, ["index"], data.__getitem__, 1.0)
    refuses(ValueError, ["n must be"], data.epoch, -1)
