"""Fixtures of all tests: settings that are restored afterwards, programs, files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_model import FakeModel

# Whether work is shared would depend on the machine and on what else it does: here
# threads cost nothing, so that calls have them from fixed sizes on. Programs that tests
# start inherit it.
os.environ["FASTCELL_THREAD_COSTS"] = "0,0,0,0"

import fastcell
from fastcell import _core, cli
from fastcell.named_classes import CLASSES

pytest.register_assert_rewrite("examples_run", "last_step", "refusals", "trainers")

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
def costs() -> Iterator[Callable[..., None]]:
    """Set what threads cost: ns of a barrier, a hand-over, a wake-up; FLOP/ns."""
    yield lambda *costs: _core.set_thread_costs(costs)
    _core.set_thread_costs((0, 0, 0, 0))


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


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; return its exit code, stdout and stderr."""

    def run(*arguments: Any) -> tuple[int, str, str]:
        threads = fastcell.get_num_threads()
        try:
            code = cli.main([str(argument) for argument in arguments])
        finally:
            fastcell.set_num_threads(threads)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def run_python_with_peak(run_python: Callable[..., Any]) -> Callable[..., Any]:
    """Do what `run_python` does; ``peak()`` is the program's own peak memory in MiB.

    ``ru_maxrss`` is not: a new program takes it over from the one that started it.
    """
    if not os.path.exists("/proc/self/status"):
        pytest.skip("peak memory is read from /proc")
    peak = r"""
import re
def peak():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) / 1024
"""
    return lambda program, **variables: run_python(peak + program, **variables)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a file may be written."""
    return tmp_path / "file.safetensors"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """Return a model of a class that files may name."""
    monkeypatch.setitem(CLASSES, "FakeModel", FakeModel)
    model = FakeModel(3, note="žluť")
    model.weight[...] = np.arange(6).reshape(3, 2)
    return model
