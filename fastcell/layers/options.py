"""The keyword arguments that all recurrent layers take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict


class Options(TypedDict, total=False):
    r"""Keyword arguments of every recurrent layer, whatever its cell.

    num_heads : int, default 1
        K, which divides H: the units are K heads, and a unit reads h of its own head
        alone. weight_hh is then (G H, H / K), R's blocks along the diagonal. For cells
        with one product with h_{t-1}, not with layer normalization. FlashRNN: Pöppel,
        Beck and Hochreiter 2024, arXiv:2412.07752.
    zero_output_for_mask : bool, default False
        Whether y is 0 where a step is masked, rather than the h that stays.
    go_backwards : bool, default False
        Whether all layers read each sequence from its last step to its first, as Keras'
        layers do: y is in the order of reading, y[0] is that of the last step. Not with
        bidirectional.
    merge : {"concat", "sum", "mul", "ave"}, default "concat"
        What y has of both directions: their outputs side by side, or their sum, product
        or mean, as Keras' Bidirectional. The last three need num_layers=1.
    zero_length : {"keep", "zero"}, default "keep"
        Whether a sequence without steps has its initial state as the final one, or
        zeros.
    zoneout : float or (float, float), default 0.0
        In training the probability, in [0, 1), that a unit keeps its state of the step
        before; in inference the share of it that every unit keeps. Of h, and of the
        other states together; a number is both. Krueger et al. 2017, arXiv:1606.01305.
    recurrent_dropout : float, default 0.0
        In training the probability, in [0, 1), that the products with R read 0 in place
        of a unit of h_{t-1}; the others are divided by 1 - p. A sequence has the same
        mask in all steps. Gal and Ghahramani 2016, arXiv:1512.05287.
    weight_drop : float, default 0.0
        In training the probability, in [0, 1), that an element of R is 0 during the
        call; the others are divided by 1 - p. Merity, Keskar and Socher 2018,
        arXiv:1708.02182 (DropConnect of the recurrent weights).
    update_dropout : float, default 0.0
        In training the probability, in [0, 1), that a unit's candidate (g of an LSTM, n
        of a GRU, z of an sLSTM) is 0 in a step, so that the state only decays; the
        others are divided by 1 - p. Each step has another mask. Not for cells without a
        candidate: RNN, IndRNN. Semeniuta, Severyn and Barth 2016, arXiv:1603.05118
        (recurrent dropout without memory loss).
    recurrent_grad_clip : float, optional
        Bounds what h_{t-1} gets of a gradient from step t, through R or not, to
        [-clip, clip], element by element, before dy of step t-1 is added. The gradients
        of the final state and of the initial one are not bounded. FlashRNN's
        gradient_recurrent_clipval.
    init : {"uniform", "orthogonal", "glorot", "keras", "chrono"}, default "uniform"
        How the parameters begin: see `fastcell.layers.starts.Start`.
    forget_bias : float, optional
        Initial bias of the gate that keeps the state, as the sum b_ih + b_hh: b_hh is 0
        there. For LSTMs (f) and GRUs (z).
    chrono_steps : int, optional
        T_max of init="chrono", at least 2: the longest dependency, in steps.
    """

    num_heads: int
    zero_output_for_mask: bool
    go_backwards: bool
    merge: str
    zero_length: str
    zoneout: float | tuple[float, float]
    recurrent_dropout: float
    weight_drop: float
    update_dropout: float
    recurrent_grad_clip: float | None
    init: str
    forget_bias: float | None
    chrono_steps: int | None


def check_options(layer: str, options: Mapping[str, object]) -> None:
    """Raise TypeError if a layer is given an argument that is not one of all layers."""
    for name in options:
        if name not in Options.__annotations__:
            raise TypeError(
                f"{layer} takes no argument {name!r}; of all layers it takes "
                f"{', '.join(Options.__annotations__)}"
            )
