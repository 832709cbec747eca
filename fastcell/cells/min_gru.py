r"""minGRU: a GRU whose gates follow from x alone (Feng et al. 2024, arXiv:2410.01201).

.. math::
    z &= \sigma(a_z), \quad n = g(a_n), \quad a = W x_t + b_{ih} \\
    h_t &= (1 - z) h_{t-1} + z n
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import numpy as np

from fastcell._checks.numbers import flag
from fastcell.cells.registry import Cell, State, linear, sigmoid
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.named_classes import in_files


def positive_candidate(a: np.ndarray) -> np.ndarray:
    """Return g(a) of the positive form: a + 1/2 where a >= 0, else sigmoid(a)."""
    return np.where(a >= 0, a + 0.5, sigmoid(a))


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
class MinGRU(Recurrent[np.ndarray]):
    r"""A stack of minGRU layers, whose gates follow from x alone.

    .. math::
        z &= \sigma(a_z), \quad n = g(a_n), \quad a = W x_t + b_{ih} \\
        h_t &= (1 - z) h_{t-1} + z n

    There are no recurrent weights; gate order z n. g is the identity, or see
    `positive`.
    Feng et al. 2024, arXiv:2410.01201.

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
    >>> layer = fastcell.MinGRU(3, 4, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    _keeping_gates: ClassVar = {"z": -1}

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
            "min_gru_positive" if positive else "min_gru",
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


class MinGRUCell(RecurrentCell[np.ndarray]):
    """One step of a `MinGRU`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.MinGRUCell(3, 4, seed=0)
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
            MinGRU(
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
    Cell("min_gru", MinGRU, MinGRUCell, step),
    Cell("min_gru_positive", MinGRU, MinGRUCell, positive_step, {"positive": True}),
)
