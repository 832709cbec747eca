"""Registry entries of cells, and functions shared by their NumPy steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell import _core

if TYPE_CHECKING:
    from fastcell.cells.single import RecurrentCell
    from fastcell.layers.recurrent import Recurrent

State = tuple[np.ndarray, ...]
Step = Callable[[np.ndarray, State, Mapping[str, np.ndarray]], State]


@dataclass(frozen=True)
class Cell:
    """One cell of the C core, described for Python.

    Attributes
    ----------
    name : str
        Its name in the C registry.
    layer_class, cell_class : type
        The classes of the layer and of the single step.
    step : callable
        ``step(x, state, weights) -> state``: the formula, in NumPy; x (B, I), state
        (h,) or (h, c), weights without the layer's suffix. The oracle of the tests.
    options : mapping
        Constructor arguments that select this cell of its class.
    proj_size : callable, optional
        For a cell with a projection, a function of the hidden size to its proj_size.
    admissible : callable, optional
        From arrays of any numbers to a state that the cell can have, of the same
        shapes. Default: any numbers are a state.
    """

    name: str
    layer_class: type[Recurrent[Any]]
    cell_class: type[RecurrentCell[Any]]
    step: Step
    options: Mapping[str, Any] = field(default_factory=dict)
    proj_size: Callable[[int], int] | None = None
    admissible: Callable[[State], State] | None = None

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states, h first."""
        return _core.describe_cell(self.name)["states"]

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the gates, in the order of the weight rows."""
        return _core.describe_cell(self.name)["gates"]

    def layer(
        self, input_size: int, hidden_size: int, **arguments: Any
    ) -> Recurrent[Any]:
        """Construct a layer of this cell."""
        chosen = dict(self.options)
        if self.proj_size:
            chosen["proj_size"] = self.proj_size(hidden_size)
        make: Callable[..., Recurrent[Any]] = self.layer_class
        return make(input_size, hidden_size, **{**chosen, **arguments})


def linear(x: np.ndarray, weights: Mapping[str, np.ndarray], which: str) -> np.ndarray:
    """Return x W^T + b of "ih" or "hh"; a missing bias is zero.

    An R with heads has the columns of one: each head of h has its block.
    """
    weight = weights[f"weight_{which}"]
    size = weight.shape[1]
    if which == "hh" and 0 < size < x.shape[-1]:
        heads = x.shape[-1] // size
        blocks = weight.reshape(-1, heads, size, size)  # gate, head, unit, column
        product = np.einsum("bkc,gkuc->bgku", x.reshape(-1, heads, size), blocks)
        product = product.reshape(len(x), -1)
    else:
        product = x @ weight.T
    total: np.ndarray = product + weights.get(f"bias_{which}", 0)
    return total


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))
