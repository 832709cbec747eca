"""What all tests share: instruction sets and thread counts, put back afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

import fastcell
from fastcell import _core

# Programs that the tests start in this folder import the installed fastcell, as the
# tests do, and not the sources beside them, which may not be compiled.
os.environ["PYTHONSAFEPATH"] = "1"


@pytest.fixture(params=_core.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test under every instruction set that this machine has."""
    before = _core.isa()
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Let the test set the number of threads."""
    before = fastcell.get_num_threads()
    yield fastcell.set_num_threads
    fastcell.set_num_threads(before)


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program in a Python of its own, with variables of its environment."""

    def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=60,  # seconds, on a busy machine
            env={**os.environ, **variables},
        )

    return run
