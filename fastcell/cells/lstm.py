r"""LSTM (Hochreiter and Schmidhuber 1997; Gers et al. 2000), also with a projection.

.. math::
    i, f, o &= \sigma(a_i), \sigma(a_f), \sigma(a_o), \quad g = \tanh(a_g), \quad
        a = W x_t + b_{ih} + R h_{t-1} + b_{hh} \\
    c_t &= f c_{t-1} + i g \\
    h_t &= o \tanh(c_t), \quad \text{projected: } h_t = W_{hr} (o \tanh(c_t))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

import numpy as np

from fastcell._checks.numbers import flag, integer
from fastcell.cells.activations import Choice, Kind
from fastcell.cells.registry import Cell, State, linear, sigmoid
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.layers.states import LSTMState
from fastcell.named_classes import in_files


def step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t and c_t by the formula, in NumPy."""
    h, c = state
    i, f, g, o = np.split(linear(x, w, "ih") + linear(h, w, "hh"), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return projected(sigmoid(o) * np.tanh(c), w), c


def projected(m: np.ndarray, w: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return W_hr m; m, if there is no projection."""
    return m @ w["weight_hr"].T if "weight_hr" in w else m


ACTIVATIONS = ("sigmoid", "tanh", "tanh")  # of the gates, of g, of c_t


def _core_cell(
    proj_size: int,
    peephole: bool,
    coupled_input_forget: bool,
    layer_norm: bool,
    choice: Choice,
) -> str:
    """Return the name of the cell of the core that has what is chosen."""
    chosen = {
        "_peephole": peephole,
        "_coupled": coupled_input_forget,
        "_projected": proj_size > 0,
    }
    suffix = "".join(name for name, is_chosen in chosen.items() if is_chosen)
    if layer_norm and suffix:
        raise ValueError(
            "layer_norm must not be combined with proj_size, peephole or "
            f"coupled_input_forget; got layer_norm=True, proj_size={proj_size}, "
            f"peephole={peephole}, coupled_input_forget={coupled_input_forget}"
        )
    core_cell = "lstm_layer_norm" if layer_norm else f"lstm{suffix}"
    if choice.is_usual:
        return core_cell
    given = ", ".join(f"{name}={value!r}" for name, value in choice.config().items())
    if layer_norm:
        raise ValueError(
            "layer_norm must not be combined with activations or clips; got "
            f"layer_norm=True, {given}"
        )
    if proj_size and (peephole or coupled_input_forget):
        raise ValueError(
            "activations and clips must not be combined with proj_size and one of "
            "peephole and coupled_input_forget; got "
            f"proj_size={proj_size}, peephole={peephole}, "
            f"coupled_input_forget={coupled_input_forget}, {given}"
        )
    return f"{core_cell}_with_options"


@in_files
class LSTM(Recurrent[LSTMState]):
    r"""A stack of long short-term memory layers.

    .. math::
        i, f, o &= \sigma(a_i), \sigma(a_f), \sigma(a_o), \quad g = \tanh(a_g) \\
        c_t &= f c_{t-1} + i g \\
        h_t &= o \tanh(c_t)

    with :math:`a = W x_t + b_{ih} + R h_{t-1} + b_{hh}`; gate order i f g o. Hochreiter
    and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; Gers, Schmidhuber and Cummins
    2000, doi:10.1162/089976600300015015. Arguments, parameter names and defaults are
    those of ``torch.nn.LSTM``.

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
        Whether a second pass runs from the last step to the first; y then has twice
        the features.
    proj_size : int, default 0
        P: if not 0, h is projected to P < H features by weight_hr (Sak et al. 2014,
        arXiv:1402.1128).
    peephole : bool, default False
        Whether gates see the cell state: i and f that of the step before, o that of
        its own step, each unit its own times a weight. The parameter weight_ch (3 H)
        holds those of i, f and o. Gers, Schraudolph and Schmidhuber, JMLR 3, 2002.
    coupled_input_forget : bool, default False
        Whether the input gate is 1 - f: three gates f g o, and weights of 3 H rows.
        With peepholes, weight_ch (2 H) holds those of f and o. Greff et al. 2017,
        arXiv:1503.04069, where it is CIFG and the forget gate is 1 - i.
    layer_norm : bool, default False
        Whether W x, R h and, before the output's tanh, c are normalized over the units
        (Ba, Kiros and Hinton 2016, arXiv:1607.06450). The gains weight_ln_ih and
        weight_ln_hh (4 H) and weight_ln_c (H) begin with 1, bias_ln_c (H) with 0;
        b_ih and b_hh are added behind the normalization. Not with proj_size,
        peephole or coupled_input_forget, which combine freely.
    activations : tuple of three, default ("sigmoid", "tanh", "tanh")
        f of the gates i, f and o, g of the candidate, h of c_t: names of
        `fastcell.cells.activations.ACTIVATIONS`, ONNX' eleven and "identity". A kind
        with parameters is a tuple: ("leaky_relu", alpha), ("thresholded_relu", alpha),
        ("elu", alpha), ("affine", alpha, beta), ("scaled_tanh", alpha, beta),
        ("hard_sigmoid", alpha, beta). Others than the default, and clips, are not with
        layer_norm, nor with proj_size and one of peephole and coupled_input_forget.
    cell_clip : float, optional
        Bounds c_t to [-cell_clip, cell_clip], as the state and before h reads it: Sak
        et al. 2014, arXiv:1402.1128; TensorFlow's cell_clip. No gradient passes c_t
        where the bound holds.
    gate_clip : float, optional
        Bounds what f, g and h are applied to, as ONNX' clip; the state c_t stays.
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
    >>> layer = fastcell.LSTM(3, 4, bidirectional=True, seed=0)
    >>> y, (h, c) = layer(np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 8), (2, 2, 4))
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
        proj_size: int = 0,
        *,
        peephole: bool = False,
        coupled_input_forget: bool = False,
        layer_norm: bool = False,
        activations: Sequence[Kind] | None = None,
        cell_clip: float | None = None,
        gate_clip: float | None = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        proj_size = integer("proj_size", proj_size, minimum=0)
        self._choice = Choice.of(ACTIVATIONS, activations, gate_clip, cell_clip)
        self.activations = self._choice.activations
        self.cell_clip = self._choice.cell_clip
        self.gate_clip = self._choice.gate_clip
        self._core_options = self._choice.core_options
        self.peephole = flag("peephole", peephole)
        self.coupled_input_forget = flag("coupled_input_forget", coupled_input_forget)
        self.layer_norm = flag("layer_norm", layer_norm)
        super().__init__(
            _core_cell(
                proj_size,
                self.peephole,
                self.coupled_input_forget,
                self.layer_norm,
                self._choice,
            ),
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            dtype,
            seed,
            **options,
        )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        variants = {
            "peephole": self.peephole,
            "coupled_input_forget": self.coupled_input_forget,
            "layer_norm": self.layer_norm,
        }
        return {
            **super().config(),
            "proj_size": self.proj_size,
            **{name: True for name, chosen in variants.items() if chosen},
            **self._choice.config(),
        }


class LSTMCell(RecurrentCell[LSTMState]):
    """One step of an `LSTM`, as ``torch.nn.LSTMCell``.

    To step through a stream, a session is four times as fast: `LSTM.session`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.LSTMCell(3, 4, seed=0)
    >>> h, c = cell(np.zeros((2, 3), np.float32))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        peephole: bool = False,
        coupled_input_forget: bool = False,
        layer_norm: bool = False,
        activations: Sequence[Kind] | None = None,
        cell_clip: float | None = None,
        gate_clip: float | None = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        init: str = "uniform",
        forget_bias: float | None = None,
        chrono_steps: int | None = None,
    ) -> None:
        super().__init__(
            LSTM(
                input_size,
                hidden_size,
                1,
                bias,
                peephole=peephole,
                coupled_input_forget=coupled_input_forget,
                layer_norm=layer_norm,
                activations=activations,
                cell_clip=cell_clip,
                gate_clip=gate_clip,
                dtype=dtype,
                seed=seed,
                init=init,
                forget_bias=forget_bias,
                chrono_steps=chrono_steps,
            )
        )


def half(hidden_size: int) -> int:
    """Return the proj_size that cells with a projection have in tests and benches."""
    return max(1, hidden_size // 2)


CELLS = (
    Cell("lstm", LSTM, LSTMCell, step),
    Cell("lstm_projected", LSTM, LSTMCell, step, proj_size=half),
)
