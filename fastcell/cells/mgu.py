r"""Minimal gated unit (Zhou et al. 2016, arXiv:1603.09420).

.. math::
    f &= \sigma(x_f + h_f), \quad
        x = W x_t + b_{ih}, \quad h = R h_{t-1} + b_{hh} \\
    n &= \tanh(x_n + R_n (f h_{t-1}) + b_{hn}) \\
    h_t &= (1 - f) h_{t-1} + f n
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import numpy as np

from fastcell.cells.registry import Cell, State, linear, sigmoid
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.named_classes import in_files


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    xf, xn = np.split(linear(x, w, "ih"), 2, axis=-1)
    f = sigmoid(xf + np.split(linear(h, w, "hh"), 2, axis=-1)[0])
    n = np.tanh(xn + np.split(linear(f * h, w, "hh"), 2, axis=-1)[1])
    return ((1 - f) * h + f * n,)


@in_files
class MGU(Recurrent[np.ndarray]):
    r"""A stack of minimal gated unit layers.

    .. math::
        f &= \sigma(x_f + h_f) \\
        n &= \tanh(x_n + R_n (f h_{t-1}) + b_{hn}) \\
        h_t &= (1 - f) h_{t-1} + f n

    with :math:`x = W x_t + b_{ih}` and :math:`h = R h_{t-1} + b_{hh}`; gate order f n.
    Zhou, Wu, Zhang and Zhou 2016, arXiv:1603.09420: a GRU whose one gate resets and
    updates, with two thirds of its weights.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int, default 1
        L: each layer reads the outputs of the one below.
    bias : bool, default True
        Whether there are b_ih and b_hh.
    batch_first : bool, default False
        Whether x is (B, T, I) rather than (T, B, I).
    dropout : float, default 0.0
        Probability, in training, of dropping an output between layers.
    bidirectional : bool, default False
        Whether a second pass runs from the last step to the first; y then has 2 H
        features.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Of the initial weights, uniform in +-1/sqrt(H), and of dropout.
    **options
        Arguments of all layers, such as zoneout, init and merge: see
        `fastcell.layers.options.Options`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.MGU(3, 4, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    _keeping_gates: ClassVar = {"f": -1}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            "mgu",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            dtype,
            seed,
            **options,
        )


class MGUCell(RecurrentCell[np.ndarray]):
    """One step of an `MGU`: what `GRUCell` is to `GRU`.

    To step through a stream, a session is faster: `MGU.session`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.MGUCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        seed: int | None = None,
        init: str = "uniform",
        forget_bias: float | None = None,
        chrono_steps: int | None = None,
    ) -> None:
        super().__init__(
            MGU(
                input_size,
                hidden_size,
                1,
                bias,
                dtype=dtype,
                seed=seed,
                init=init,
                forget_bias=forget_bias,
                chrono_steps=chrono_steps,
            )
        )


CELLS = (Cell("mgu", MGU, MGUCell, step),)
