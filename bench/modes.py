"""What can be timed: for each mode its unit, its verb, its cases and its tolerance."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import language_model
import ragged
import shapes
from peers import BaseEngine, Run

_THREE_PASSES = 3  # training costs three times the products of inference


@dataclass(frozen=True)
class Mode:
    """One way of using a layer.

    Attributes
    ----------
    title, unit : str
        As the tables print them. GFLOP/s and tokens/s: more is better; us: less is.
    prepare : callable
        From an engine and a case, the runs of that engine.
    cases : callable
        From the command line, the cases.
    tolerance : float
        Largest difference of two engines, as a share of the array's largest value.
    passes : int or None
        How many times the products of inference one call does; None: not counted.
    compared_calls : int
        Calls whose outputs are compared: several where a state is carried.
    """

    title: str
    unit: str
    prepare: Callable[[BaseEngine, Any], list[Run]]
    cases: Callable[[argparse.Namespace], Iterable[Any]]
    tolerance: float
    passes: int | None = 1
    compared_calls: int = 1


def work(mode: str, case: Any) -> float | None:
    """What one call does in units of the mode's; None where its time is the figure."""
    if mode == "step":
        return None
    if mode == "demo":
        return float(case.tokens)
    return case.flop * 1e-9 * MODES[mode].passes


def _grid(arguments: argparse.Namespace) -> list[shapes.Case]:
    grid = arguments.shapes or (shapes.QUICK_GRID if arguments.quick else shapes.GRID)
    return shapes.cases(arguments.cells, list(grid))


def _single_steps(arguments: argparse.Namespace) -> list[shapes.Case]:
    sizes = (64,) if arguments.quick else shapes.STEP_SIZES
    grid = [(1, 1, size, size) for size in sizes]
    if arguments.shapes:
        grid = [shape for shape in arguments.shapes if shape[:2] == (1, 1)]
    return shapes.cases(arguments.cells, grid)


def _ragged(arguments: argparse.Namespace) -> list[ragged.RaggedCase]:
    cells = arguments.cells
    grid = ragged.QUICK_GRID if arguments.quick else ragged.GRID
    if arguments.shapes:
        grid = [
            (T, B, H) for T, B, width, H in arguments.shapes if T > 1 and width == H
        ]
    cases = [ragged.uniform_case(cell, *shape) for cell in cells for shape in grid]
    if arguments.lengths:
        for cell in cells:
            found = list(ragged.file_cases(cell, arguments.lengths))
            cases += found[:1] if arguments.quick else found
    return cases


def _models(arguments: argparse.Namespace) -> tuple[language_model.LanguageModelCase]:
    return language_model.MODELS[:1] if arguments.quick else language_model.MODELS


def _batches(arguments: argparse.Namespace) -> list[shapes.Case]:
    return [case for case in _grid(arguments) if case.B >= 8]


def _wide_streams(arguments: argparse.Namespace) -> list[shapes.Case]:
    cases = [case for case in _grid(arguments) if case.B == 1 and case.H >= 256]
    if arguments.quick and not arguments.shapes:
        cases = shapes.cases(arguments.cells, [(100, 1, 256, 256)])
    return cases


def _verb(name: str, *arrays: str) -> Callable[[BaseEngine, Any], list[Run]]:
    """Call an engine's verb with the case, its weights and some of its arrays.

    An engine that does not have the cell has no runs.
    """

    def prepare(engine: BaseEngine, case: Any) -> list[Run]:
        cell = getattr(case, "cell", None)  # a model has none
        if cell is not None and not engine.has(cell):
            return []
        given = (getattr(case, array)() for array in arrays)
        return getattr(engine, name)(case, case.weights(), *given)

    return prepare


#: In the order of the tables. Tolerances: in float32 all engines were at most 1.8e-6
#: apart forward and 6e-7 in four steps, PyTorch's gradients at most 1.7e-6 from its own
#: in float64. The demo compares losses after updates by Adam, which divides small
#: gradients by themselves. A wrong gate order, a lost bias or a step too few is above
#: 1e-2 in float32. Of bfloat16 and int8 README.md says what was seen.
MODES = {
    "forward": Mode(
        "Forward", "GFLOP/s", _verb("forward", "input"), _grid, tolerance=5e-6
    ),
    "train": Mode(
        "Training (forward + backward)",
        "GFLOP/s",
        _verb("train", "input", "dy"),
        _grid,
        tolerance=1e-5,
        passes=_THREE_PASSES,
    ),
    "step": Mode(
        "Single step, batch 1, from Python",
        "us",
        _verb("step", "input_of_a_step"),
        _single_steps,
        tolerance=5e-6,
        compared_calls=4,
    ),
    "ragged": Mode(
        "Training on sequences of different length (existing steps counted)",
        "GFLOP/s",
        _verb("ragged", "input", "dy"),
        _ragged,
        tolerance=1e-5,
        passes=_THREE_PASSES,
    ),
    "bf16": Mode(
        "Training with bfloat16 products",
        "GFLOP/s",
        _verb("train_bf16", "input", "dy"),
        _batches,
        tolerance=1e-1,
        passes=_THREE_PASSES,
    ),
    "int8": Mode(
        "Forward with int8 weights, batch 1",
        "GFLOP/s",
        _verb("forward_int8", "input"),
        _wide_streams,
        tolerance=1e-1,
    ),
    "demo": Mode(
        "Training character models",
        "tokens/s",
        _verb("language_model", "batches"),
        _models,
        tolerance=1e-4,
        passes=None,
        compared_calls=4,
    ),
}
