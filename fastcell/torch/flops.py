"""What the operators compute, for `torch.utils.flop_counter`.

As PyTorch counts: two operations for each multiply-add of a matrix product, none for
the rest. The functions are given shapes in place of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from fastcell import _core

Shape = Sequence[int]

#: What the matrices of a pass multiply, in their order: x ("I"), h ("P") or, of a
#: projection, which not all cells have, "H".
_READ = [
    axes[1]
    for axes in _core.describe_cell("lstm_projected")["parameters"].values()
    if len(axes) == 2
]


def of_forward(
    x: Shape, h0: Any, c0: Any, weights: Sequence[Shape], *_: Any, **__: Any
) -> int:
    """Return the operations of ``fastcell::lstm`` or one of its like."""
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
    """Return those of its backward.

    A matrix has a product for its own gradient and one for that of what it multiplied,
    as far as somebody needs them: nobody that of the zeros before the first step.
    """
    sizes, batch_first, _, needed = others[-4:]
    passes = sizes[2] * (1 + sizes[4])  # layers and directions
    pairs = prod(x[:-1])  # of a step and a row
    rows = 1 if len(x) == 2 else x[0 if batch_first else 1]
    found = 0
    for i, weight in enumerate(weights):
        if len(weight) != 2:
            continue
        which, place = divmod(i, len(weights) // passes)
        inputs = pairs
        read = _READ[sum(len(w) == 2 for w in weights[i - place : i])]
        if read == "I" and which <= sizes[4] and not needed[0]:
            inputs = 0  # those of the first layer are x
        elif read == "P" and not needed[1]:
            inputs = pairs - rows
        found += 2 * prod(weight) * (inputs + pairs * needed[3 + i])
    return found
