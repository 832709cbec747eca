"""FLOP counts of the operators, for `torch.utils.flop_counter`.

As in PyTorch, each multiply-add of a matrix product counts as two operations, all else
as none. The functions take shapes in place of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from fastcell import _core

Shape = Sequence[int]

#: What the matrices of a pass multiply, in their order: x ("I"), h ("P/K") or, of a
#: projection, which not all cells have, "H".
_READ = [
    axes[1]
    for axes in _core.describe_cell("lstm_projected")["parameters"].values()
    if len(axes) == 2
]


def of_forward(
    x: Shape, h0: Any, c0: Any, weights: Sequence[Shape], *_: Any, **__: Any
) -> int:
    """Return the operations of the forward operator of a cell."""
    return sum(2 * prod(x[:-1]) * prod(w) for w in weights if len(w) == 2)


def of_backward(
    dy: Any,
    dh: Any,
    dc: Any,
    x: Shape,
    h0: Any,
    c0: Any,
    weights: Sequence[Shape],
    *others: Any,
    **__: Any,
) -> int:
    """Return the operations of the backward operator.

    Each matrix has one product for its own gradient and one for that of its input, if
    needed. Without a gradient of h0, the latter leaves out the first step.
    """
    sizes, batch_first, _, needed = others[-4:]
    passes = sizes[2] * (1 + sizes[4])  # layers and directions
    pairs = prod(x[:-1])  # of step and row
    rows = 1 if len(x) == 2 else x[0 if batch_first else 1]
    found = 0
    for i, weight in enumerate(weights):
        if len(weight) != 2:
            continue
        which, place = divmod(i, len(weights) // passes)
        inputs = pairs
        read = _READ[sum(len(w) == 2 for w in weights[i - place : i])]
        if read == "I" and which <= sizes[4] and not needed[0]:
            inputs = 0  # the first layer's input is x
        elif read == "P/K" and not needed[1]:
            inputs = pairs - rows
        found += 2 * prod(weight) * (inputs + pairs * needed[3 + i])
    return found
