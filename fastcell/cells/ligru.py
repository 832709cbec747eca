r"""Light GRU (Ravanelli et al. 2018, arXiv:1803.10225), without batch normalization.

.. math::
    z &= \sigma(a_z), \quad n = \mathrm{relu}(a_n), \quad
        a = W x_t + b_{ih} + R h_{t-1} + b_{hh} \\
    h_t &= z h_{t-1} + (1 - z) n
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from fastcell.cells.one_cell import OneCellLayer, OneCellStep
from fastcell.cells.registry import Cell, State, linear, sigmoid
from fastcell.named_classes import in_files


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    z, n = np.split(linear(x, w, "ih") + linear(h, w, "hh"), 2, axis=-1)
    z = sigmoid(z)
    return (z * h + (1 - z) * np.maximum(n, 0),)


@in_files
class LiGRU(OneCellLayer[np.ndarray]):
    r"""A stack of light GRU layers.

    .. math::
        z &= \sigma(a_z), \quad n = \mathrm{relu}(a_n) \\
        h_t &= z h_{t-1} + (1 - z) n

    with :math:`a = W x_t + b_{ih} + R h_{t-1} + b_{hh}`; gate order z n. Ravanelli,
    Brakel, Omologo and Bengio 2018, arXiv:1803.10225: a GRU without a reset gate, and
    with relu. Their layers normalize W x over the batch, which keeps relu's outputs
    small; this one does not. Normalize x, or the outputs between layers, if they grow.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.LiGRU(3, 4, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    _core_cell = "ligru"
    _keeping_gates: ClassVar = {"z": 1}


class LiGRUCell(OneCellStep[np.ndarray]):
    """One step of a `LiGRU`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.LiGRUCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    _layer_class = LiGRU


CELLS = (Cell("ligru", LiGRU, LiGRUCell, step),)
