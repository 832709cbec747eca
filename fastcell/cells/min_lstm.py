r"""minLSTM: its gates follow from x alone (Feng et al. 2024, arXiv:2410.01201).

.. math::
    f, i &= \sigma(a_f), \sigma(a_i), \quad n = g(a_n), \quad a = W x_t + b_{ih} \\
    h_t &= \frac{f}{f + i} h_{t-1} + \frac{i}{f + i} n
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import numpy as np

from fastcell._checks.numbers import flag
from fastcell.cells.min_gru import positive_candidate
from fastcell.cells.registry import Cell, State, linear, sigmoid
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.named_classes import in_files


def kept_share(a_f: np.ndarray, a_i: np.ndarray) -> np.ndarray:
    """Return f / (f + i), also where both are 0 in this precision."""
    log_f, log_i = -np.logaddexp(0, -a_f), -np.logaddexp(0, -a_i)
    difference = log_f - log_i
    difference[a_f == a_i] = 0
    return sigmoid(difference)


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    a_f, a_i, n = np.split(linear(x, w, "ih"), 3, axis=-1)
    s = kept_share(a_f, a_i)
    return (s * h + (1 - s) * n,)


def positive_step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t of the positive form by the formula, in NumPy."""
    (h,) = state
    a_f, a_i, n = np.split(linear(x, w, "ih"), 3, axis=-1)
    s = kept_share(a_f, a_i)
    return (s * h + (1 - s) * positive_candidate(n),)


@in_files
class MinLSTM(Recurrent[np.ndarray]):
    r"""A stack of minLSTM layers, whose gates follow from x alone.

    .. math::
        f, i &= \sigma(a_f), \sigma(a_i), \quad n = g(a_n), \quad
            a = W x_t + b_{ih} \\
        h_t &= \frac{f}{f + i} h_{t-1} + \frac{i}{f + i} n

    There are no recurrent weights, and h is the only state; gate order f i n; g is the
    identity, or see `positive`. Feng et al. 2024, arXiv:2410.01201.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int, default 1
        L: each layer reads the outputs of the one below.
    bias : bool, default True
        Whether there is b_ih.
    batch_first : bool, default False
        Whether x is (B, T, I) rather than (T, B, I).
    dropout : float, default 0.0
        Probability, in training, of dropping an output between layers.
    bidirectional : bool, default False
        Whether a second pass runs from the last step to the first; y then has 2 H
        features.
    positive : bool, default False
        Whether n is positive: a + 1/2 where a >= 0, else sigmoid(a). The authors use
        this form to compute in log space.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Of the initial weights, uniform in +-1/sqrt(H), and of dropout.
    go_backwards, merge, zero_length, init, forget_bias, chrono_steps
        As those of `fastcell.LSTM`.
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
    >>> layer = fastcell.MinLSTM(3, 4, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    _keeping_gates: ClassVar = {"f": 1, "i": -1}

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
        positive: bool = False,
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.positive = flag("positive", positive)
        super().__init__(
            "min_lstm_positive" if positive else "min_lstm",
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
        return {**super().config(), "positive": self.positive}


class MinLSTMCell(RecurrentCell[np.ndarray]):
    """One step of a `MinLSTM`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.MinLSTMCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        positive: bool = False,
        dtype: Any = np.float32,
        seed: int | None = None,
        init: str = "uniform",
        forget_bias: float | None = None,
        chrono_steps: int | None = None,
    ) -> None:
        super().__init__(
            MinLSTM(
                input_size,
                hidden_size,
                1,
                bias,
                positive=positive,
                dtype=dtype,
                seed=seed,
                init=init,
                forget_bias=forget_bias,
                chrono_steps=chrono_steps,
            )
        )


CELLS = (
    Cell("min_lstm", MinLSTM, MinLSTMCell, step),
    Cell("min_lstm_positive", MinLSTM, MinLSTMCell, positive_step, {"positive": True}),
)
