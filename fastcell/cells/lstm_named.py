"""Forms of the LSTM that have names of their own: PeepholeLSTM, CoupledLSTM."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import numpy as np

from fastcell.cells.lstm import LSTM
from fastcell.layers.options import Options
from fastcell.named_classes import in_files


class _Implied(LSTM):
    """An `LSTM` of which one argument follows from the class."""

    _implied: ClassVar[str]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        config = super().config()
        del config[self._implied]
        return config


@in_files
class PeepholeLSTM(_Implied):
    """An `LSTM` with ``peephole=True``, under a name of its own.

    Its gates see the cell state: Gers, Schraudolph and Schmidhuber, JMLR 3, 2002.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers, bias, batch_first, dropout, bidirectional, proj_size
        As of `LSTM`.
    coupled_input_forget : bool, default False
        As of `LSTM`: both make the CIFG of Greff et al. 2017.
    dtype, seed
        As of `LSTM`.
    **options
        Arguments of all layers, such as zoneout, init and merge: see
        `fastcell.layers.options.Options`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import fastcell
    >>> layer = fastcell.PeepholeLSTM(3, 4, seed=0)
    >>> isinstance(layer, fastcell.LSTM), layer.peephole
    (True, True)
    """

    _implied = "peephole"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        coupled_input_forget: bool = False,
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            peephole=True,
            coupled_input_forget=coupled_input_forget,
            dtype=dtype,
            seed=seed,
            **options,
        )


@in_files
class CoupledLSTM(_Implied):
    """An `LSTM` with ``coupled_input_forget=True``, under a name of its own.

    Its input gate is 1 - f: Greff et al. 2017, arXiv:1503.04069, there CIFG.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers, bias, batch_first, dropout, bidirectional, proj_size
        As of `LSTM`.
    peephole : bool, default False
        As of `LSTM`: both make the CIFG of Greff et al. 2017.
    dtype, seed
        As of `LSTM`.
    **options
        Arguments of all layers, such as zoneout, init and merge: see
        `fastcell.layers.options.Options`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import fastcell
    >>> layer = fastcell.CoupledLSTM(3, 4, seed=0)
    >>> isinstance(layer, fastcell.LSTM), layer.coupled_input_forget
    (True, True)
    """

    _implied = "coupled_input_forget"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        peephole: bool = False,
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            coupled_input_forget=True,
            peephole=peephole,
            dtype=dtype,
            seed=seed,
            **options,
        )
