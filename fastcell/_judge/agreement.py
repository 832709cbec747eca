"""Comparison of the outputs of several engines on the same problem."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from fastcell._judge.engines import Arrays, Run


class Disagreement(Exception):
    """Engines have returned different outputs for the same problem."""


def largest_difference(first: Arrays, second: Arrays) -> tuple[float, str]:
    """Return the largest relative difference of two sets of arrays, and its array.

    It is relative to the largest magnitude of the array: elements near zero are sums
    that cancel and carry the rounding error of their terms. NaN or infinity in either,
    a missing array, or different shapes, count as infinite.
    """
    worst, where = 0.0, ""
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            return np.inf, f"{name} (only in one)"
        a = np.asarray(first[name], np.float64)
        b = np.asarray(second[name], np.float64)
        if a.shape != b.shape:
            return np.inf, f"{name} (shapes {a.shape} and {b.shape})"
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return np.inf, f"{name} (not finite)"
        scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
        difference = np.abs(a - b).max(initial=0.0)
        if difference > worst * scale:
            worst, where = float(difference / scale), name
    return worst, where


def compare_outputs(runs: Sequence[Run], calls: int, tolerance: float) -> float | None:
    """Call all runs and compare the outputs of each pair.

    Returns
    -------
    float or None
        The largest difference; None if there is nothing to compare.

    Raises
    ------
    Disagreement
        If any two differ by more than `tolerance`; names all such pairs.
    """
    outputs = {run.label: _outputs(run, calls) for run in runs}
    found = None
    complaints = []
    for first, second in combinations(outputs, 2):
        difference, where = largest_difference(outputs[first], outputs[second])
        found = difference if found is None else max(found, difference)
        if not difference <= tolerance:
            complaints.append(
                f"{first} and {second} differ by {difference:.1e} in {where}, allowed "
                f"are {tolerance:.0e}"
            )
    if complaints:
        raise Disagreement("; ".join(complaints))
    return found


def _outputs(run: Run, calls: int) -> Arrays:
    outputs: Arrays = {}
    with run.context():
        for k in range(calls):
            for name, value in run.read(run.call()).items():
                outputs[f"{name} of call {k}" if calls > 1 else name] = value
    return outputs
