"""Bases of the layers and single steps of a cell without arguments of its own."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import numpy as np

from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.layers.states import StateT


class OneCellLayer(Recurrent[StateT]):
    """A stack of layers of one cell of the core, whose name a subclass gives."""

    _core_cell: str

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
        """Make a stack of layers, with random weights.

        Parameters
        ----------
        input_size, hidden_size : int
            I and H.
        num_layers : int, default 1
            L: each layer reads the outputs of the one below.
        bias : bool, default True
            Whether there is b_ih and, of a cell with R, b_hh.
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
            Of the initial weights, uniform in +-1/sqrt(H) by default, and of dropout.
        **options
            Arguments of all layers, such as zoneout, init and merge: see
            `fastcell.layers.options.Options`.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong type or out of range.
        """
        super().__init__(
            self._core_cell,
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


class OneCellStep(RecurrentCell[StateT]):
    """One step of a `OneCellLayer`, whose class a subclass gives.

    To step through a stream, a session is faster: see `Recurrent.session`.
    """

    _layer_class: ClassVar[type[OneCellLayer[Any]]]

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
        """Make a cell, with random weights; arguments are those of its layer."""
        layer = self._layer_class(
            input_size,
            hidden_size,
            bias=bias,
            dtype=dtype,
            seed=seed,
            init=init,
            forget_bias=forget_bias,
            chrono_steps=chrono_steps,
        )
        super().__init__(layer)
