r"""Light GRU (Ravanelli et al. 2018, arXiv:1803.10225), without batch normalization.

.. math::
    z &= \sigma(a_z), \quad n = \mathrm{relu}(a_n), \quad
        a = W x_t + b_{ih} + R h_{t-1} + b_{hh} \\
    h_t &= z h_{t-1} + (1 - z) n
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
    z, n = np.split(linear(x, w, "ih") + linear(h, w, "hh"), 2, axis=-1)
    z = sigmoid(z)
    return (z * h + (1 - z) * np.maximum(n, 0),)


@in_files
class LiGRU(Recurrent[np.ndarray]):
    r"""A stack of light GRU layers.

    .. math::
        z &= \sigma(a_z), \quad n = \mathrm{relu}(a_n) \\
        h_t &= z h_{t-1} + (1 - z) n

    with :math:`a = W x_t + b_{ih} + R h_{t-1} + b_{hh}`; gate order z n. Ravanelli,
    Brakel, Omologo and Bengio 2018, arXiv:1803.10225: a GRU without a reset gate, and
    with relu. Their layers normalize W x over the batch, which keeps relu's outputs
    small; this one does not. Normalize x, or the outputs between layers, if they grow.

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
    >>> layer = fastcell.LiGRU(3, 4, seed=0)
    >>> y, h = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    _keeping_gates: ClassVar = {"z": 1}

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
            "ligru",
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


class LiGRUCell(RecurrentCell[np.ndarray]):
    """One step of a `LiGRU`: what `GRUCell` is to `GRU`.

    To step through a stream, a session is faster: `LiGRU.session`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.LiGRUCell(3, 4, seed=0)
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
            LiGRU(
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


CELLS = (Cell("ligru", LiGRU, LiGRUCell, step),)
