r"""sLSTM, the scalar-memory cell of xLSTM (Beck et al. 2024, arXiv:2405.04517).

.. math::
    m_t &= \max(a_i, \log f + m_{t-1}), \text{ or } a_i \text{ where } n_{t-1} = 0,
        \quad a = W x_t + b_{ih} + R h_{t-1} + b_{hh} \\
    i' &= \exp(a_i - m_t), \quad f' = \exp(\log f + m_{t-1} - m_t) \\
    c_t &= f' c_{t-1} + i' \tanh(a_z) \\
    n_t &= f' n_{t-1} + i' \\
    h_t &= \sigma(a_o) \, c_t / n_t

The input gate is an exponential. The stabilizer m keeps it finite: c and n are the
paper's values times exp(-m). R is block-diagonal: a head only reads its own units.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Unpack

import numpy as np

from fastcell._checks.names import one_of
from fastcell.cells.registry import Cell, State, linear, sigmoid
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.named_classes import in_files

# (h, c, n, m)
SLSTMState = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

#: Cells of the core, by the argument `form`.
FORMS = {
    "floored": "slstm",
    "plain": "slstm_plain",
    "clamped": "slstm_clamped",
    "exponential": "slstm_exponential",
}

# From here on TiRex' forget gate is constant.
LARGEST_FORGET = 15.0


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """Return log(1 / (1 + exp(-x))), without overflow."""
    value: np.ndarray = -np.logaddexp(0, -x)
    return value


def step(
    x: np.ndarray, state: State, w: Mapping[str, np.ndarray], form: str = "floored"
) -> State:
    """Return h_t, c_t, n_t and m_t by the formula, in NumPy."""
    h, c, n, m = state
    i, f, z, o = np.split(linear(x, w, "ih") + linear(h, w, "hh"), 4, axis=-1)
    if form == "exponential":
        log_f = f + m
    elif form == "clamped":
        log_f = log_sigmoid(np.minimum(f, LARGEST_FORGET)) + m
    else:
        log_f = log_sigmoid(f) + m
    lead, unseen = i - log_f, n == 0
    m = np.where(unseen, i, np.maximum(i, log_f))
    # exp(i - m) and exp(log_f - m), where i and m may be infinite.
    i = np.where(unseen, 1, np.exp(np.minimum(lead, 0)))
    f = np.exp(np.minimum(-lead, 0))
    c = f * c + i * np.tanh(z)
    n = f * n + i
    if form == "floored":
        n = np.maximum(n, 1)
    return sigmoid(o) * (c / n), c, n, m


@in_files
class SLSTM(Recurrent[SLSTMState]):
    r"""A stack of sLSTM layers, the scalar-memory cells of xLSTM.

    .. math::
        l_t &= \log f + m_{t-1}, \quad a = W x_t + b_{ih} + R h_{t-1} + b_{hh} \\
        m_t &= \max(a_i, l_t), \text{ or } a_i \text{ where } n_{t-1} = 0 \\
        i' &= \exp(a_i - m_t), \quad f' = \exp(l_t - m_t) \\
        c_t &= f' c_{t-1} + i' \tanh(a_z) \\
        n_t &= f' n_{t-1} + i' \\
        h_t &= \sigma(a_o) \, c_t / n_t

    Gate order i f z o. Beck et al. 2024, arXiv:2405.04517. The input gate exp(a_i) has
    no bound. The stabilizer m keeps c and n finite for any finite a, and h does not
    depend on it. Where n is 0, a unit has seen nothing yet.

    Calls take and return the states as a tuple (h, c, n, m).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_heads : int, default 1
        R has a block for each head, which only reads the units of that head:
        weight_hh has the shape (4 H, H / num_heads). num_heads divides H.
    form : str, default "floored"
        log f, and whether n_t is at least 1:

        ============= ========================= === =================================
        form          log f                     n   used by
        ============= ========================= === =================================
        "floored"     log sigmoid(a_f)          yes FlashRNN, TiRex-2
        "plain"       log sigmoid(a_f)          no  xlstm; the paper
        "clamped"     log sigmoid(min(a_f, 15)) no  TiRex
        "exponential" a_f                       no  the paper, as the other choice
        ============= ========================= === =================================

        From a state of zeros n is at least 1 in every form, and "floored" and "plain"
        have the same bits.
    num_layers, bias, batch_first, dropout, bidirectional, dtype, seed, **options
        As of `fastcell.MGU`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.SLSTM(3, 8, num_heads=2, seed=0)
    >>> y, (h, c, n, m) = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, n.shape
    ((5, 2, 8), (1, 2, 8))
    """

    _keeping_gates: ClassVar = {"f": 1, "i": -1}

    def __init__(  # type: ignore[misc]  # num_heads has a place, and is an option too
        self,
        input_size: int,
        hidden_size: int,
        num_heads: int = 1,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        form: str = "floored",
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.form = one_of("form", form, FORMS)
        super().__init__(
            FORMS[self.form],
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
            **{**options, "num_heads": num_heads},
        )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {**super().config(), "form": self.form}


class SLSTMCell(RecurrentCell[SLSTMState]):
    """One step of an `SLSTM`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.SLSTMCell(3, 4, seed=0)
    >>> h, c, n, m = cell(np.zeros((2, 3), np.float32))
    >>> h.shape, m.shape
    ((2, 4), (2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_heads: int = 1,
        bias: bool = True,
        *,
        form: str = "floored",
        dtype: Any = np.float32,
        seed: int | None = None,
        init: str = "uniform",
        forget_bias: float | None = None,
        chrono_steps: int | None = None,
    ) -> None:
        super().__init__(
            SLSTM(
                input_size,
                hidden_size,
                num_heads,
                1,
                bias,
                form=form,
                dtype=dtype,
                seed=seed,
                init=init,
                forget_bias=forget_bias,
                chrono_steps=chrono_steps,
            )
        )


def _admissible(state: State) -> State:
    """Return a state with n above 0, from 0.5 on."""
    h, c, n, m = state
    return h, c, np.abs(n) + n.dtype.type(0.5), m


CELLS = tuple(
    Cell(
        name,
        SLSTM,
        SLSTMCell,
        partial(step, form=form),
        {"form": form},
        admissible=_admissible,
    )
    for form, name in FORMS.items()
)
