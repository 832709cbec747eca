"""Quick answers about arrays that need no other check."""

from __future__ import annotations

import numpy as np
import pytest

from fastcell._arrays import all_finite, check_ids, in_range


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
