"""A few of the random calls of fuzz.py, which runs many by hand."""

from __future__ import annotations

import fuzz
import pytest

import fastcell
from fastcell import _core


@pytest.fixture
def settings():
    isa, threads = _core.isa(), fastcell.get_num_threads()
    yield
    _core.select_isa(isa)
    fastcell.set_num_threads(threads)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_calls_give_what_the_formulas_say(settings, first):
    calls = sum(fuzz.run_case(seed) for seed in range(first, first + 20))
    assert calls >= 100
