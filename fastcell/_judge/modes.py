"""What can be timed of a layer: for each mode its unit, its verb and its tolerance."""

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
        As the tables print it. GFLOP/s and tokens/s: more is better; us: less is.
    prepare : callable
        From an engine and a case, the runs of that engine.
    tolerance : float
        Largest difference of two engines, as a share of the array's largest value.
    passes : int or None
        How many times the products of inference one call does; None: not counted.
    compared_calls : int
        Calls whose outputs are compared: several where a state is carried.
    """

    title: str
    unit: str
    prepare: Prepare
    tolerance: float
    passes: int | None = 1
    compared_calls: int = 1

    def work(self, case: Any) -> float | None:
        """What one call does, in GFLOP; None where the figure is its time."""
        return None if self.passes is None else case.flop * 1e-9 * self.passes


def verb(name: str, *arrays: str) -> Prepare:
    """Call an engine's verb with the case, its weights and some of its arrays.

    An engine that does not have the cell has no runs.
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
#: engines were at most 1.8e-6 apart forward and 6e-7 in four steps, PyTorch's gradients
#: at most 1.7e-6 from its own in float64. A wrong gate order, a lost bias or a step too
#: few is above 1e-2.
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
