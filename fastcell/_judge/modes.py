"""The modes in which a layer is timed, each with its unit, verb and tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastcell._judge.engines import BaseEngine, Run

THREE_PASSES = 3  # training costs three times the products of inference

Prepare = Callable[[BaseEngine, Any], list[Run]]


@dataclass(frozen=True)
class Mode:
    """One way of using a layer.

    Attributes
    ----------
    title, unit : str
        Texts of the tables. More is better in GFLOP/s and tokens/s, less in us.
    prepare : callable
        A function of an engine and a case that returns the engine's runs.
    tolerance : float
        Largest difference of two engines, as a share of the array's largest value.
    passes : int or None
        The work of one call as a multiple of the products of inference; None if it is
        not counted.
    compared_calls : int
        Number of calls whose outputs are compared: several if a state is carried.
    """

    title: str
    unit: str
    prepare: Prepare
    tolerance: float
    passes: int | None = 1
    compared_calls: int = 1

    def work(self, case: Any) -> float | None:
        """Return the work of one call in GFLOP; None if the figure is its time."""
        return None if self.passes is None else case.flop * 1e-9 * self.passes


def verb(name: str, *arrays: str) -> Prepare:
    """Return a `prepare` that calls a verb with a case, its weights and some arrays.

    An engine without the cell has no runs.
    """

    def prepare(engine: BaseEngine, case: Any) -> list[Run]:
        cell = getattr(case, "cell", None)  # a model has none
        if cell is not None and not engine.has(cell):
            return []
        given = (getattr(case, array)() for array in arrays)
        runs: list[Run] = getattr(engine, name)(case, case.weights(), *given)
        return runs

    return prepare


#: By the name of the verb, in the order of the tables. Tolerances: in float32 all
#: engines differ by at most 1.8e-6 forward and 6e-7 in four steps; PyTorch's gradients
#: differ by at most 1.7e-6 from its own in float64. A wrong gate order, a lost bias or
#: a missing step gives more than 1e-2.
MODES = {
    "forward": Mode("Forward", "GFLOP/s", verb("forward", "input"), tolerance=5e-6),
    "train": Mode(
        "Training (forward + backward)",
        "GFLOP/s",
        verb("train", "input", "dy"),
        tolerance=1e-5,
        passes=THREE_PASSES,
    ),
    "step": Mode(
        "Single step, batch 1, from Python",
        "us",
        verb("step", "input_of_a_step"),
        tolerance=5e-6,
        passes=None,
        compared_calls=4,
    ),
}
