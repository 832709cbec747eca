r"""GRU (Cho et al. 2014, arXiv:1406.1078), with the reset after or before the product.

.. math::
    r, z &= \sigma(x_r + h_r), \sigma(x_z + h_z), \quad
        x = W x_t + b_{ih}, \quad h = R h_{t-1} + b_{hh} \\
    n &= \tanh(x_n + r h_n) \quad \text{or, before: }
        \tanh(x_n + R_n (r h_{t-1}) + b_{hn}) \\
    h_t &= (1 - z) n + z h_{t-1}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

import numpy as np

from fastcell._checks.numbers import flag
from fastcell.cells.activations import Choice, Kind
from fastcell.cells.registry import Cell, State, linear, sigmoid
from fastcell.cells.single import RecurrentCell
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.named_classes import in_files


def reset_after_step(x: np.ndarray, state: State, w: Mapping[str, np.ndarray]) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    xr, xz, xn = np.split(linear(x, w, "ih"), 3, axis=-1)
    hr, hz, hn = np.split(linear(h, w, "hh"), 3, axis=-1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = np.tanh(xn + r * hn)
    return ((1 - z) * n + z * h,)


def reset_before_step(
    x: np.ndarray, state: State, w: Mapping[str, np.ndarray]
) -> State:
    """Return h_t by the formula, in NumPy."""
    (h,) = state
    xr, xz, xn = np.split(linear(x, w, "ih"), 3, axis=-1)
    hr, hz, _ = np.split(linear(h, w, "hh"), 3, axis=-1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = np.tanh(xn + np.split(linear(r * h, w, "hh"), 3, axis=-1)[2])
    return ((1 - z) * n + z * h,)


ACTIVATIONS = ("sigmoid", "tanh")  # of the gates, of n


def _core_cell(reset_after: bool, layer_norm: bool, choice: Choice) -> str:
    """Return the name of the cell of the core that has what is chosen."""
    if layer_norm and not reset_after:
        raise ValueError(
            "layer_norm must not be combined with reset_after=False; got "
            "layer_norm=True, reset_after=False"
        )
    if layer_norm and not choice.is_usual:
        given = ", ".join(f"{name}={v!r}" for name, v in choice.config().items())
        raise ValueError(
            "layer_norm must not be combined with activations or a clip; got "
            f"layer_norm=True, {given}"
        )
    if layer_norm:
        return "gru_layer_norm"
    core_cell = "gru" if reset_after else "gru_reset_before"
    return core_cell if choice.is_usual else f"{core_cell}_with_options"


@in_files
class GRU(Recurrent[np.ndarray]):
    r"""A stack of gated recurrent unit layers.

    .. math::
        r, z &= \sigma(x_r + h_r), \sigma(x_z + h_z) \\
        n &= \tanh(x_n + r h_n) \\
        h_t &= (1 - z) n + z h_{t-1}

    with :math:`x = W x_t + b_{ih}` and :math:`h = R h_{t-1} + b_{hh}`; gate order
    r z n. Cho et al. 2014, arXiv:1406.1078. With ``reset_after=False`` the reset gate
    acts before the product, as printed there: n = tanh(x_n + R_n (r h_{t-1}) + b_hn).
    Arguments, parameter names and defaults are those of ``torch.nn.GRU``.

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
    reset_after : bool, default True
        Whether the reset gate acts after the recurrent product (PyTorch, cuDNN; Keras'
        reset_after=True, ONNX' linear_before_reset=1) or before it.
    layer_norm : bool, default False
        Whether W x and R h are normalized over the units (Ba, Kiros and Hinton 2016,
        arXiv:1607.06450), with the reset gate after the product: as printed there, over
        the 2 H values of r and z, and apart from them over the H values of n. haste's
        LayerNormGRU differs: its norms are over all 3 H values. The gains weight_ln_ih
        and weight_ln_hh (3 H) begin with 1; b_ih and b_hh are added behind the
        normalization. Not with reset_after=False or num_heads.
    activations : tuple of two, default ("sigmoid", "tanh")
        f of the gates r and z, g of n: kinds as of `LSTM`. Others than the default, and
        gate_clip, are not with layer_norm.
    gate_clip : float, optional
        Bounds what f and g are applied to, as ONNX' clip.
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
    >>> layer = fastcell.GRU(3, 4, seed=0)
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
        reset_after: bool = True,
        layer_norm: bool = False,
        activations: Sequence[Kind] | None = None,
        gate_clip: float | None = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._choice = Choice.of(ACTIVATIONS, activations, gate_clip)
        self.activations = self._choice.activations
        self.gate_clip = self._choice.gate_clip
        self._core_options = self._choice.core_options
        self.reset_after = flag("reset_after", reset_after)
        self.layer_norm = flag("layer_norm", layer_norm)
        super().__init__(
            _core_cell(self.reset_after, self.layer_norm, self._choice),
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
        chosen = {"layer_norm": self.layer_norm} if self.layer_norm else {}
        return {
            **super().config(),
            "reset_after": self.reset_after,
            **chosen,
            **self._choice.config(),
        }


class GRUCell(RecurrentCell[np.ndarray]):
    """One step of a `GRU`, as ``torch.nn.GRUCell``.

    To step through a stream, a session is four times as fast: `GRU.session`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> cell = fastcell.GRUCell(3, 4, seed=0)
    >>> cell(np.zeros((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        layer_norm: bool = False,
        activations: Sequence[Kind] | None = None,
        gate_clip: float | None = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        init: str = "uniform",
        forget_bias: float | None = None,
        chrono_steps: int | None = None,
    ) -> None:
        super().__init__(
            GRU(
                input_size,
                hidden_size,
                1,
                bias,
                reset_after=reset_after,
                layer_norm=layer_norm,
                activations=activations,
                gate_clip=gate_clip,
                dtype=dtype,
                seed=seed,
                init=init,
                forget_bias=forget_bias,
                chrono_steps=chrono_steps,
            )
        )


CELLS = (
    Cell("gru", GRU, GRUCell, reset_after_step),
    Cell("gru_reset_before", GRU, GRUCell, reset_before_step, {"reset_after": False}),
)
