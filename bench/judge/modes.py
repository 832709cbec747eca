"""The modes of compare.py, each with its unit, verb, cases and tolerance.

Modes that ``fastcell bench`` also has are in `fastcell._judge.modes`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from fastcell._judge import modes
from fastcell._judge.modes import THREE_PASSES, verb
from judge import language_model, ragged, shapes


@dataclass(frozen=True, kw_only=True)
class Mode(modes.Mode):
    """A mode with a function from the command line to its cases."""

    cases: Callable[[argparse.Namespace], Iterable[Any]]


def work(mode: str, case: Any) -> float | None:
    """Return the work of one call in the mode's unit; None if the figure is a time."""
    return float(case.tokens) if mode == "demo" else MODES[mode].work(case)


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


def _shared(name: str, cases: Callable[[argparse.Namespace], Iterable[Any]]) -> Mode:
    """A mode of ``fastcell bench``, with the cases of compare.py."""
    mode = modes.MODES[name]
    given = {field.name: getattr(mode, field.name) for field in fields(mode)}
    return Mode(**given, cases=cases)


#: In the order of the tables. The demo compares losses after updates by Adam, which
#: divides small gradients by themselves. In float32 a wrong gate order, a lost bias or
#: a missing step gives more than 1e-2. README.md has the errors of bfloat16 and int8.
MODES = {
    "forward": _shared("forward", _grid),
    "train": _shared("train", _grid),
    "step": _shared("step", _single_steps),
    "ragged": Mode(
        "Training on sequences of different length (existing steps counted)",
        "GFLOP/s",
        verb("ragged", "input", "dy"),
        tolerance=1e-5,
        passes=THREE_PASSES,
        cases=_ragged,
    ),
    "bf16": Mode(
        "Training with bfloat16 products",
        "GFLOP/s",
        verb("train_bf16", "input", "dy"),
        tolerance=1e-1,
        passes=THREE_PASSES,
        cases=_batches,
    ),
    "int8": Mode(
        "Forward with int8 weights, batch 1",
        "GFLOP/s",
        verb("forward_int8", "input"),
        tolerance=1e-1,
        cases=_wide_streams,
    ),
    "demo": Mode(
        "Training character models",
        "tokens/s",
        verb("language_model", "batches"),
        tolerance=1e-4,
        passes=None,
        compared_calls=4,
        cases=_models,
    ),
}
