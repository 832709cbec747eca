"""The core's fast checks and fills of arrays."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

from fastcell._checks.arrays import all_finite, as_array, check_ids, fill_rows, in_range


class TestInRange:
    @pytest.mark.parametrize("shape", [(7,), (3, 5), (0,), ()])
    def test_whole_numbers_in_the_range(self, shape):
        values = np.full(shape, 4)
        assert in_range(values, 4, 4)
        assert in_range(values, 0, 9)
        assert in_range(values, 5, 9) == (values.size == 0)
        assert in_range(values, 0, 3) == (values.size == 0)

    @pytest.mark.parametrize("place", [0, 3, 6])
    @pytest.mark.parametrize("wrong", [-1, 10, 2**40, -(2**40)])
    def test_one_outside_is_found_anywhere(self, place, wrong):
        values = np.arange(7)
        values[place] = wrong
        assert not in_range(values, 0, 9)

    def test_other_arrays_have_to_be_checked_otherwise(self):
        for values in (
            [1, 2],
            None,
            np.ones(3),
            np.ones(3, np.int32),
            np.ones(3, np.uint64),
            np.ones(3, ">i8"),
            np.ones(6, np.int64)[::2],
            np.ones((2, 3), np.int64).T,
        ):
            assert not in_range(values, 0, 9)

    def test_ids_of_any_kind_are_checked_alike(self):
        for dtype in (np.int64, np.int32, np.uint8):
            ids = np.array([[0, 2], [1, 4]], dtype)
            assert check_ids("ids", ids, 5) is ids
            with pytest.raises(ValueError, match=r"0 to 3; got 4 at \(1, 1\)"):
                check_ids("ids", ids, 4)


class TestAllFinite:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_one_that_is_not_is_found_anywhere(self, dtype, bad):
        x = np.ones((5, 7, 3), dtype)
        assert all_finite(x)
        for place in (0, 52, 104):
            wrong = x.copy()
            wrong.flat[place] = bad
            assert not all_finite(wrong)
            assert not all_finite(wrong[::-1])

    def test_numbers_whose_squares_are_not_finite_are(self):
        assert all_finite(np.full(9, 1e200))
        assert all_finite(np.full(9, 3e38, np.float32))

    def test_layout_and_size_make_no_difference(self):
        assert all_finite(np.ones((4, 6))[:, ::2])
        assert all_finite(np.ones((0, 3), np.float32))
        assert all_finite(np.ones(3, np.float16))


class TestFillRows:
    @pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
    def test_each_sequence_is_a_column(self, shape, dtype):
        lengths = np.array([3, 0, 5, 1])
        random = np.random.default_rng(0)
        rows = [random.integers(1, 99, (n, *shape)).astype(dtype) for n in lengths]
        x = np.zeros((5, 4, *shape), dtype)
        assert fill_rows(x, rows, lengths)
        for b, row in enumerate(rows):
            np.testing.assert_array_equal(x[: lengths[b], b], row)
            assert not x[lengths[b] :, b].any()

    def test_what_does_not_fit_is_left_to_others(self):
        x = np.zeros((5, 2, 3))
        good, lengths = np.ones((2, 3)), np.array([2, 2])
        assert fill_rows(x, [good, good], lengths)
        for bad in (
            [[1.0, 2.0, 3.0]] * 2,
            np.ones((2, 3), np.float32),
            np.ones((2, 3), ">f8"),
            np.ones((3, 2)).T,
            np.ones((4, 3))[::2],
            np.ones((3, 3)),
            np.ones((2, 4)),
            np.ones(2),
            np.ones((2, 3, 1)),
        ):
            assert not fill_rows(x, [good, bad], lengths)
        assert not fill_rows(x, [good], lengths)
        assert not fill_rows(x, [np.ones((6, 3))] * 2, np.array([6, 6]))
        assert not fill_rows(x, [good, good], np.array([2, -2]))
        assert not fill_rows(x[:, :, ::-1], [good, good], lengths)
        with pytest.raises(ValueError, match="array must have 2 items; got 1"):
            fill_rows(x, [good, good], np.array([2]))


PackedSequence = namedtuple(
    "PackedSequence", "data batch_sizes sorted_indices unsorted_indices"
)


def test_a_packed_sequence_is_no_array_though_its_parts_make_one():
    part = np.zeros(3, np.float32)
    packed = PackedSequence(part, part, part, part)
    assert np.asarray(packed).shape == (4, 3)
    with pytest.raises(
        TypeError, match=r"x must be an array; got PackedSequence.*leng"
    ):
        as_array("x", packed)
