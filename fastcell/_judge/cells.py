"""The cells of ``fastcell bench`` and ``fastcell explain``, from the registry.

A cell in `fastcell.cells.REGISTRY` is measured and explained without a line here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.cells import REGISTRY, Cell


def cells() -> dict[str, Cell]:
    """Return all cells by the names that models accept; "rnn" is the RNN with tanh."""
    return {"rnn": REGISTRY["rnn_tanh"], **REGISTRY}


def default_cells() -> list[str]:
    """Return the first cell of each layer class, those with the most gates first.

    Examples
    --------
    >>> [name for name in default_cells() if name in ("rnn", "gru", "lstm")]
    ['lstm', 'gru', 'rnn']
    """
    firsts: dict[type, str] = {}
    for name, cell in cells().items():
        firsts.setdefault(cell.layer_class, name)
    return sorted(firsts.values(), key=lambda name: -len(cells()[name].gates))


def gate_functions(cell: Cell) -> tuple[float, float]:
    """Return the numbers of sigmoids and tanh of one unit in one step.

    They are counted while the cell's NumPy step runs once.

    Examples
    --------
    >>> gate_functions(REGISTRY["lstm"]), gate_functions(REGISTRY["rnn_relu"])
    ((3.0, 2.0), (0.0, 0.0))
    """
    units = 8
    layer = cell.layer(2, units, seed=0)
    weights = {n.removesuffix("_l0"): array for n, array in layer.state_dict().items()}
    widths = [layer.output_size] + [units] * (len(cell.states) - 1)
    x = np.zeros((1, 2)).view(_Counted)
    x.counts = counts = {"sigmoid": 0, "tanh": 0}
    cell.step(x, tuple(np.zeros((1, width)) for width in widths), weights)
    return counts["sigmoid"] / units, counts["tanh"] / units


class _Counted(np.ndarray):
    """An array that counts the elements passed to tanh and sigmoid.

    `fastcell.cells.registry.sigmoid` is (1 + tanh(x / 2)) / 2: a tanh of a half counts
    as a sigmoid. Results of operations on an array share its `counts`.
    """

    counts: dict[str, int] | None = None
    halved = False

    def __array_finalize__(self, other: Any) -> None:
        self.counts = getattr(other, "counts", None)
        self.halved = getattr(other, "halved", False)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **given: Any
    ) -> Any:
        counts = next(
            a.counts for a in inputs if isinstance(a, _Counted) and a.counts is not None
        )
        if ufunc is np.tanh:
            halved = inputs[0].halved
            counts["sigmoid" if halved else "tanh"] += inputs[0].size
        plain = [a.view(np.ndarray) if isinstance(a, _Counted) else a for a in inputs]
        if "out" in given:  # as in a mean
            given["out"] = tuple(np.asarray(out) for out in given["out"])
        result = getattr(ufunc, method)(*plain, **given)
        counted = np.asarray(result).view(_Counted)
        counted.counts = counts
        counted.halved = ufunc is np.multiply and any(
            isinstance(a, float) and a == 0.5 for a in inputs
        )
        return counted
