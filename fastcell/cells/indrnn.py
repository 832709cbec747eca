r"""IndRNN: each unit reads its own h alone (Li et al. 2018, arXiv:1803.04831).

.. math:: h_t = f(W x_t + b_{ih} + u \odot h_{t-1})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from fastcell._checks.names import one_of
from fastcell.cells.registry import Cell, State, linear
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.named_classes import in_files


def tanh_step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    return (np.tanh(linear(x, w, "ih") + w["weight_u"] * h),)


def relu_step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    return (np.maximum(linear(x, w, "ih") + w["weight_u"] * h, 0),)


@in_files
class IndRNN(Recurrent[np.ndarray]):
    r"""A stack of independently recurrent layers.

    .. math:: h_t = f(W x_t + b_{ih} + u \odot h_{t-1})

    A unit reads its own h alone, by one weight of the parameter weight_u (H). Li et
    al., CVPR 2018, arXiv:1803.04831.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    nonlinearity : {"relu", "tanh"}, default "relu"
        f.
    num_layers, bias, batch_first, dropout, bidirectional, dtype, seed, **options
        As of `fastcell.MGU`. u begins in [0, 1).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.IndRNN(3, 4, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

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
        nonlinearity: str = "relu",
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.nonlinearity = one_of("nonlinearity", nonlinearity, ("relu", "tanh"))
        super().__init__(
            f"indrnn_{nonlinearity}",
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

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {**super().config(), "nonlinearity": self.nonlinearity}


class IndRNNCell(RecurrentCell[np.ndarray]):
    """One step of an `IndRNN`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.IndRNNCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        nonlinearity: str = "relu",
        dtype: Any = np.float32,
        seed: int | None = None,
        init: str = "uniform",
    ) -> None:
        super().__init__(
            IndRNN(
                input_size,
                hidden_size,
                1,
                bias,
                nonlinearity=nonlinearity,
                dtype=dtype,
                seed=seed,
                init=init,
            )
        )


CELLS = (
    Cell("indrnn_tanh", IndRNN, IndRNNCell, tanh_step, {"nonlinearity": "tanh"}),
    Cell("indrnn_relu", IndRNN, IndRNNCell, relu_step),
)
