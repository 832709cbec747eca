"""Bases of minGRU and minLSTM: the argument `positive`, and the formula it chooses."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import numpy as np

from fastcell._checks.numbers import flag
from fastcell.cells.registry import sigmoid
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent


def positive_candidate(a: np.ndarray) -> np.ndarray:
    """Return g(a) of the positive form: a + 1/2 where a >= 0, else sigmoid(a)."""
    return np.where(a >= 0, a + 0.5, sigmoid(a))


class PositiveLayer(Recurrent[np.ndarray]):
    """A stack of layers of one of two cells: minGRU or minLSTM, and its positive form.

    A subclass gives the names that the core has for both.
    """

    _core_cells: ClassVar[tuple[str, str]]

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
        """Make a stack of layers, with random weights.

        Parameters
        ----------
        input_size, hidden_size : int
            I and H.
        positive : bool, default False
            Whether n is positive: a + 1/2 where a >= 0, else sigmoid(a). The authors
            use this form to compute in log space.
        num_layers, bias, batch_first, dropout, bidirectional, dtype, seed, **options
            As of `fastcell.MGU`.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong type or out of range.
        """
        self.positive = flag("positive", positive)
        super().__init__(
            self._core_cells[self.positive],
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


class PositiveStep(RecurrentCell[np.ndarray]):
    """One step of a `PositiveLayer`, whose class a subclass gives."""

    _layer_class: ClassVar[type[PositiveLayer]]

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
        """Make a cell, with random weights; arguments are those of its layer."""
        super().__init__(
            self._layer_class(
                input_size,
                hidden_size,
                bias=bias,
                positive=positive,
                dtype=dtype,
                seed=seed,
                init=init,
                forget_bias=forget_bias,
                chrono_steps=chrono_steps,
            )
        )
