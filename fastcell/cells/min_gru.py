r"""minGRU: a GRU whose gates follow from x alone (Feng et al. 2024, arXiv:2410.01201).

.. math::
    z &= \sigma(a_z), \quad n = g(a_n), \quad a = W x_t + b_{ih} \\
    h_t &= (1 - z) h_{t-1} + z n
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from fastcell.cells.positive import PositiveLayer, PositiveStep, positive_candidate
from fastcell.cells.registry import Cell, State, linear, sigmoid
from fastcell.named_classes import in_files


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    a_z, n = np.split(linear(x, w, "ih"), 2, axis=-1)
    z = sigmoid(a_z)
    return ((1 - z) * h + z * n,)


def positive_step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t of the positive form by the formula, in NumPy."""
    (h,) = state
    a_z, n = np.split(linear(x, w, "ih"), 2, axis=-1)
    z = sigmoid(a_z)
    return ((1 - z) * h + z * positive_candidate(n),)


@in_files
class MinGRU(PositiveLayer):
    r"""A stack of minGRU layers, whose gates follow from x alone.

    .. math::
        z &= \sigma(a_z), \quad n = g(a_n), \quad a = W x_t + b_{ih} \\
        h_t &= (1 - z) h_{t-1} + z n

    There are no recurrent weights; gate order z n. g is the identity, or see the
    argument `positive`. Feng et al. 2024, arXiv:2410.01201.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.MinGRU(3, 4, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    _core_cells = ("min_gru", "min_gru_positive")
    _keeping_gates: ClassVar = {"z": -1}


class MinGRUCell(PositiveStep):
    """One step of a `MinGRU`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.MinGRUCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    _layer_class = MinGRU


CELLS = (
    Cell("min_gru", MinGRU, MinGRUCell, step),
    Cell("min_gru_positive", MinGRU, MinGRUCell, positive_step, {"positive": True}),
)
