r"""RNN: one gate, tanh or relu (Elman, Cognitive Science 14, 1990).

.. math:: h_t = f(W x_t + b_{ih} + R h_{t-1} + b_{hh})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell._checks.names import one_of
from fastcell.cells.registry import Cell, State, linear
from fastcell.cells.single import RecurrentCell
from fastcell.layers.recurrent import Recurrent
from fastcell.named_classes import in_files


def tanh_step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    return (np.tanh(linear(x, w, "ih") + linear(h, w, "hh")),)


def relu_step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    return (np.maximum(linear(x, w, "ih") + linear(h, w, "hh"), 0),)


@in_files
class RNN(Recurrent[np.ndarray]):
    r"""A stack of plain recurrent layers.

    .. math:: h_t = f(W x_t + b_{ih} + R h_{t-1} + b_{hh})

    Elman, Cognitive Science 14 (1990), doi:10.1207/s15516709cog1402_1. Arguments,
    parameter names and defaults are those of ``torch.nn.RNN``.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int, default 1
        L: each layer reads the outputs of the one below.
    nonlinearity : {"tanh", "relu"}, default "tanh"
        f.
    bias : bool, default True
        Whether there are b_ih and b_hh.
    batch_first : bool, default False
        Whether x is (B, T, I) rather than (T, B, I).
    dropout : float, default 0.0
        Probability, in training, of dropping an output between layers.
    bidirectional : bool, default False
        Whether a second pass runs from the last step to the first; y then has 2 H
        features.
    num_heads : int, default 1
        K, which divides H: the units are K heads, and a unit reads h of its own head
        alone. weight_hh is then (G H, H / K), R's blocks along the diagonal. FlashRNN:
        Pöppel, Beck and Hochreiter 2024, arXiv:2412.07752.
    zero_output_for_mask : bool, default False
        Whether y is 0 where a step is masked, rather than the h that stays.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Of the initial weights, uniform in +-1/sqrt(H), and of dropout.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.RNN(3, 4, nonlinearity="relu", seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        num_heads: int = 1,
        zero_output_for_mask: bool = False,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        self.nonlinearity = one_of("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            f"rnn_{nonlinearity}",
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
            zero_output_for_mask,
            num_heads,
        )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {**super().config(), "nonlinearity": self.nonlinearity}


class RNNCell(RecurrentCell[np.ndarray]):
    """One step of an `RNN`, as ``torch.nn.RNNCell``.

    To step through a stream, a session is four times as fast: `RNN.session`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.RNNCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            RNN(input_size, hidden_size, 1, nonlinearity, bias, dtype=dtype, seed=seed)
        )


CELLS = (
    Cell("rnn_tanh", RNN, RNNCell, tanh_step, {"nonlinearity": "tanh"}),
    Cell("rnn_relu", RNN, RNNCell, relu_step, {"nonlinearity": "relu"}),
)
