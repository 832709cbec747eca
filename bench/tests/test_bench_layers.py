"""Benchmarks of all cells over the grid, for the history of fastcell.

Results are checked before the timing. Every cell of the registry is included. Run with
``--benchmark-autosave`` and ``--benchmark-compare``; compare.py compares with peers.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import numpy_steps as oracle
import pytest
from judge import shapes

import fastcell
from fastcell.cells import REGISTRY

pytestmark = pytest.mark.benchmark(
    max_time=0.5, min_rounds=3, warmup=True, warmup_iterations=2, disable_gc=True
)

over_cells = pytest.mark.parametrize("cell", sorted(REGISTRY))
over_grid = pytest.mark.parametrize(
    "shape", shapes.GRID, ids=["x".join(map(str, shape)) for shape in shapes.GRID]
)


@over_grid
@over_cells
def test_forward(benchmark: Any, threads: int, cell: str, shape: tuple) -> None:
    layer, x, flop = _problem(cell, shape)
    y, _ = layer(x)
    oracle.assert_outputs(REGISTRY[cell], layer.state_dict(), x, y)
    _describe(benchmark, f"forward {shape}", threads, flop)
    benchmark(layer, x)


@over_grid
@over_cells
def test_training(benchmark: Any, threads: int, cell: str, shape: tuple) -> None:
    layer, x, flop = _problem(cell, shape)
    oracle.assert_gradients(REGISTRY[cell], layer, x)
    dy = np.ones_like(layer(x)[0])

    def forward_and_backward() -> None:
        _, _, saved = layer.forward(x)
        layer.backward(dy, saved)

    _describe(benchmark, f"training {shape}", threads, 3 * flop)
    benchmark(forward_and_backward)


@pytest.mark.parametrize("size", shapes.STEP_SIZES)
@over_cells
def test_step(benchmark: Any, threads: int, cell: str, size: int) -> None:
    layer, x, flop = _problem(cell, (oracle.STEPS, 1, size, size))
    session = layer.session()
    y = np.stack([np.array(session.step(x_t)) for x_t in x])
    oracle.assert_outputs(REGISTRY[cell], layer.state_dict(), x, y)
    _describe(benchmark, f"step {size}", threads, flop / oracle.STEPS)
    benchmark(partial(session.step, x[0]))


def _problem(cell: str, shape: tuple) -> tuple[Any, np.ndarray, float]:
    """Return a layer, its input, and the FLOP of its products in one forward pass."""
    T, B, I, H = shape  # noqa: E741
    layer = REGISTRY[cell].layer(I, H, seed=0)
    x = np.random.default_rng(1).standard_normal((T, B, I), dtype=np.float32)
    weights = sum(w.size for w in layer.state_dict().values() if w.ndim == 2)
    return layer, x, 2.0 * T * B * weights


def _describe(benchmark: Any, group: str, threads: int, flop: float) -> None:
    """Set the benchmark's group, and record the conditions of the measurement."""
    benchmark.group = group
    benchmark.extra_info.update(
        threads=threads, flop=flop, instruction_set=fastcell._core.cpu_info()["isa"]
    )
    # The check has used NumPy's BLAS, whose idle threads spin for a while.
    time.sleep(0.1)
