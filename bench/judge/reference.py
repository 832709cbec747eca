"""The states of a case by the NumPy steps of the registry."""

from __future__ import annotations

import numpy as np

from fastcell._judge.agreement import Disagreement, largest_difference
from fastcell._judge.cases import Case
from fastcell._judge.engines import OURS, Arrays, Run

#: Rows that are compared; no row's outputs depend on another.
ROWS = 2


def states(case: Case, weights: Arrays, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return h and the other states before and after each step, (T + 1, B, H) each."""
    given = {name.removesuffix("_l0"): array for name, array in weights.items()}
    names = case.entry.states
    widths = [case.width] + [case.H] * (len(names) - 1)
    steps = [tuple(np.zeros((x.shape[1], width), x.dtype) for width in widths)]
    for x_t in x:
        steps.append(case.entry.step(x_t, steps[-1], given))
    return tuple(np.array(values) for values in zip(*steps, strict=True))


def compare_with_steps(case: Case, run: Run, tolerance: float) -> float:
    """Return the largest difference of `run`'s y from that of the steps.

    Raises
    ------
    fastcell._judge.agreement.Disagreement
        If it is above `tolerance`.
    """
    y = run.read(run.call())["y"][:, :ROWS]
    expected = states(case, case.weights(), case.input()[:, :ROWS])[0][1:]
    difference, _ = largest_difference({"y": y}, {"y": expected})
    if not difference <= tolerance:
        raise Disagreement(
            f"{OURS} and the formula differ by {difference:.1e}, "
            f"allowed are {tolerance:.0e}"
        )
    return difference
