r"""RNN: one gate, tanh or relu (Elman, Cognitive Science 14, 1990).

.. math:: h_t = f(W x_t + b_{ih} + R h_{t-1} + b_{hh})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from fastcell._checks.names import one_of
from fastcell.cells.activations import Choice, Kind
from fastcell.cells.registry import Cell, State, linear
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.named_classes import in_files

_NONLINEARITIES = ("tanh", "relu")


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
    activations : tuple of one, optional
        f again, as other cells have it: a kind as of `LSTM`, for which nonlinearity
        keeps its default. By default f is the nonlinearity.
    gate_clip : float, optional
        Bounds what f is applied to, as ONNX' clip.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Of the initial weights and of dropout.
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
        activations: Sequence[Kind] | None = None,
        gate_clip: float | None = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        one_of("nonlinearity", nonlinearity, _NONLINEARITIES)
        choice = Choice.of((nonlinearity,), activations, gate_clip)
        if activations is not None and nonlinearity != "tanh":
            raise ValueError(
                'nonlinearity must be "tanh", its default, with activations; got '
                f"{nonlinearity!r}"
            )
        if choice.activations[0] in _NONLINEARITIES:  # by its own argument
            nonlinearity = str(choice.activations[0])
            choice = choice._replace(usual=(nonlinearity,))
        self.nonlinearity = nonlinearity
        self.activations, self.gate_clip = choice.activations, choice.gate_clip
        self._choice = choice
        self._core_options = choice.core_options
        super().__init__(
            f"rnn_{nonlinearity}" if choice.is_usual else "rnn_with_options",
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
        return {
            **super().config(),
            "nonlinearity": self.nonlinearity,
            **self._choice.config(),
        }


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
        activations: Sequence[Kind] | None = None,
        gate_clip: float | None = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        init: str = "uniform",
    ) -> None:
        super().__init__(
            RNN(
                input_size,
                hidden_size,
                1,
                nonlinearity,
                bias,
                activations=activations,
                gate_clip=gate_clip,
                dtype=dtype,
                seed=seed,
                init=init,
            )
        )


CELLS = (
    Cell("rnn_tanh", RNN, RNNCell, tanh_step, {"nonlinearity": "tanh"}),
    Cell("rnn_relu", RNN, RNNCell, relu_step, {"nonlinearity": "relu"}),
)
