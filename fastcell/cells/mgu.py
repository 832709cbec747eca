r"""Minimal gated unit (Zhou et al. 2016, arXiv:1603.09420).

.. math::
    f &= \sigma(x_f + h_f), \quad
        x = W x_t + b_{ih}, \quad h = R h_{t-1} + b_{hh} \\
    n &= \tanh(x_n + R_n (f h_{t-1}) + b_{hn}) \\
    h_t &= (1 - f) h_{t-1} + f n
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
    xf, xn = np.split(linear(x, w, "ih"), 2, axis=-1)
    f = sigmoid(xf + np.split(linear(h, w, "hh"), 2, axis=-1)[0])
    n = np.tanh(xn + np.split(linear(f * h, w, "hh"), 2, axis=-1)[1])
    return ((1 - f) * h + f * n,)


@in_files
class MGU(OneCellLayer[np.ndarray]):
    r"""A stack of minimal gated unit layers.

    .. math::
        f &= \sigma(x_f + h_f) \\
        n &= \tanh(x_n + R_n (f h_{t-1}) + b_{hn}) \\
        h_t &= (1 - f) h_{t-1} + f n

    with :math:`x = W x_t + b_{ih}` and :math:`h = R h_{t-1} + b_{hh}`; gate order f n.
    Zhou, Wu, Zhang and Zhou 2016, arXiv:1603.09420: a GRU whose one gate resets and
    updates, with two thirds of its weights.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.MGU(3, 4, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    _core_cell = "mgu"
    _keeping_gates: ClassVar = {"f": -1}


class MGUCell(OneCellStep[np.ndarray]):
    """One step of an `MGU`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.MGUCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    _layer_class = MGU


CELLS = (Cell("mgu", MGU, MGUCell, step),)
