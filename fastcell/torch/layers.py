"""RNN, LSTM and GRU with the interface of `torch.nn`.

They are subclasses of ``torch.nn.RNNBase``, so constructor, names, initialization,
printing and argument checks are PyTorch's own. They are not subclasses of
``torch.nn.LSTM``, ``GRU`` and ``RNN``, which ``torch.compile`` refuses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pad_packed_sequence,
)

from fastcell.layers.batches import Layout, flags_of, lengths_of
from fastcell.torch import op
from fastcell.torch.call import Call, called
from fastcell.torch.quick import quickly
from fastcell.torch.streaming import Streamed
from fastcell.torch.weights import (
    OnTensors,
    check_on_cpu,
    layer_for,
    numpy_of,
    refuse_script,
)

_disable_dynamo: Any = torch._disable_dynamo  # type: ignore[attr-defined]
_NO_PROJECTION = "proj_size argument is only supported for LSTM, not RNN or GRU"


class Layers(torch.nn.RNNBase, Streamed):
    """Base class of the three modules."""

    #: The module of torch.nn that is replaced, named in errors.
    _peer: type[torch.nn.RNNBase]
    _layer: OnTensors | None = None

    # Subclasses call RNNBase.__init__ by name: classes of `accelerate` also inherit
    # from torch.nn's class.

    def forward(
        self,
        input: Any,
        hx: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
    ) -> Any:
        """Run the layers, as in ``torch.nn``.

        Parameters
        ----------
        input : Tensor or PackedSequence
            (T, B, I), or (B, T, I) if batch_first, or (T, I); T may be 0.
        hx : Tensor or tuple of two, optional
            The initial state, h or (h, c). Default: zeros.
        lengths : Tensor or array of int, shape (B,), optional
            Steps of each sequence, 0 to T, in any order; an alternative to packing.
            Outputs past them are 0, and the final state is that of each sequence's last
            step.
        mask : Tensor or array of bool, shape (T, B), or (B, T) if batch_first, optional
            Steps where it is False are skipped: the state is unchanged.
        reset : Tensor or array of bool, shaped as mask, optional
            Where True, the state is set to zero before the step, in the reverse
            direction after it: a new episode. See `fastcell.LSTM.forward`.

        Returns
        -------
        output : Tensor or PackedSequence
        hn : Tensor or tuple of two

        Raises
        ------
        RuntimeError, ValueError
            As from ``torch.nn``, and if a tensor is not on the CPU.
        TypeError
            If lengths are not integers, or mask or reset not bool.
        """
        flags = (lengths, mask, reset)
        plain = lengths is None and mask is None and reset is None
        plain = plain and not (self.training and self.dropout)
        if plain and not torch.compiler.is_dynamo_compiling():
            layer = self._layer
            if layer is not None and layer.quick is not None:
                held = self._parameters
                out = layer.quick.infer(held, input, hx, self.batch_first, False)
                if out is not None:
                    return out
        if op.is_needed_for(input):
            return self._traced(input, hx, flags)
        layer = self._layer or self._layer_for(self._weights())
        if plain and not torch.is_autocast_enabled("cpu"):
            out = quickly(layer, self._parameters, input, hx, self.batch_first, False)
            if out is not None:
                return out[0], out[1:] if self.mode == "LSTM" else out[1]
        weights = self._weights()
        if isinstance(input, PackedSequence):
            return self._of_packed(input, hx, weights, flags)
        if not self._takes(input, hx, weights):
            return self._refused(input, hx)
        layout = Layout(self.batch_first, input.dim() == 2)
        T, B = layout.to_core(input).shape[:2]
        call = Call(self._layer_for(weights), layout, T, B)
        if lengths is not None:
            call.lengths = lengths_of(numpy_of(lengths), T, B)
        call.mask = flags_of("mask", numpy_of(mask), layout, T, B)
        call.reset = flags_of("reset", numpy_of(reset), layout, T, B)
        return self._called(call, input, hx, weights)

    # ------------------------------------------------------------------ the call

    def _called(
        self, call: Call, x: Tensor, hx: Any, weights: list[Tensor]
    ) -> tuple[Tensor, Any]:
        x, h0, c0 = tensors_of(x, hx)
        call.dropout = self._dropout_factors(call, x)
        y, *state = called(call, x, h0, c0, *weights)
        return y, tuple(state) if self.mode == "LSTM" else state[0]

    def _dropout_factors(self, call: Call, x: Tensor) -> Tensor | None:
        """Return the factors of dropout, drawn as in torch.nn."""
        if not (self.training and self.dropout and self.num_layers > 1):
            return None
        T, B, p = call.steps, call.rows, self.dropout
        width = call.layer._directions * call.layer.output_size
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        factors = torch.zeros(self.num_layers - 1, T * B, width, dtype=dtype)
        for k in range(self.num_layers - 1):
            drawn = factors[k] if call.flat is None else factors[k, : len(x)].clone()
            if p < 1:
                drawn.bernoulli_(1 - p).div_(1 - p)
            if call.flat is not None:
                factors[k].zero_().index_copy_(0, call.flat, drawn)
        return factors.view(-1, T, B, width)

    def _of_packed(
        self, packed: PackedSequence, hx: Any, weights: list[Tensor], flags: Any
    ) -> Any:
        _check_left_out(flags)
        x, sizes, order, back = packed
        if order is not None and hx is not None:
            hx = self.permute_hidden(hx, order)
        if not self._takes_packed(x, sizes, hx, weights):
            return self._refused(packed, hx)
        T, B = len(sizes), int(sizes[0])
        there = torch.arange(B) < sizes.unsqueeze(1)
        call = Call(self._layer_for(weights), Layout(False, False), T, B)
        call.flat = there.view(-1).nonzero().squeeze(1)
        call.lengths = numpy_of(there.sum(0))
        y, hn = self._called(call, x, hx, weights)
        if back is not None:
            hn = self.permute_hidden(hn, back)
        return PackedSequence(y, sizes, order, back), hn

    def _traced(self, input: Any, hx: Any, flags: Any) -> tuple[Any, Any]:
        """Return the results by an operator, for torch.compile and torch.export."""
        if isinstance(input, PackedSequence):
            if torch.compiler.is_dynamo_compiling():
                out: tuple[Any, Any] = _outside(self, input, hx, flags)
                return out
            return self._traced_packed(input, hx, flags)
        weights = [getattr(self, name) for name in self._flat_weights_names]
        check_on_cpu(type(self).__name__, input, weights[0])
        input, h0, c0 = tensors_of(input, hx)
        dropout = None
        if self.training and self.dropout and self.num_layers > 1:
            first = 1 if self.batch_first and input.dim() == 3 else 0
            T = input.shape[first]
            B = input.shape[1 - first] if input.dim() == 3 else 1
            width = weights[1].shape[1] * (2 if self.bidirectional else 1)
            ones = torch.ones(self.num_layers - 1, T, B, width, dtype=input.dtype)
            dropout = torch.nn.functional.dropout(ones, self.dropout)
        y, h, c = op.call(
            self.mode,
            (input, h0, c0),
            weights,
            (*flags, dropout),
            self._sizes(),
            self.batch_first,
        )
        return y, (h, c) if self.mode == "LSTM" else h

    def _traced_packed(
        self, packed: PackedSequence, hx: Any, flags: Any
    ) -> tuple[PackedSequence, Any]:
        _check_left_out(flags)
        x, sizes, order, back = packed
        if order is not None and hx is not None:
            hx = self.permute_hidden(hx, order)
        padded, lengths = pad_packed_sequence(
            PackedSequence(x, sizes), batch_first=self.batch_first
        )
        y, hn = self._traced(padded, hx, (lengths, None, None))
        y = pack_padded_sequence(y, lengths, batch_first=self.batch_first)
        if back is not None:
            hn = self.permute_hidden(hn, back)
        return PackedSequence(y.data, sizes, order, back), hn

    # ------------------------------------------------------------------- weights

    def _weights(self) -> list[Tensor]:
        """Return the current weights; parametrizations and hooks may make new ones."""
        held: dict[str, Any] = self._parameters
        try:
            return [held[name] for name in self._flat_weights_names]
        except KeyError:
            return [getattr(self, name) for name in self._flat_weights_names]

    def _sizes(self) -> tuple[Any, ...]:
        return (
            self.input_size,
            self.hidden_size,
            self.num_layers,
            self.bias,
            self.bidirectional,
            self.proj_size,
        )

    def _layer_for(self, weights: list[Tensor]) -> OnTensors:
        names = tuple(self._flat_weights_names)
        return layer_for(self, self.mode, self._sizes(), names, weights[0])

    def flatten_parameters(self) -> None:
        """Read all weights again at the next call.

        This is needed only after a write through ``weight.data`` that changes a few
        values of a tensor larger than 4 KiB. Writes that PyTorch counts, such as an
        optimizer's step or `load_state_dict`, are always seen.
        """
        if self._layer is not None:
            self._layer._parameters.unbind()

    def _update_flat_weights(self) -> None:
        """Do nothing: the weights are read at each call."""

    __prepare_scriptable__ = refuse_script  # called by torch.jit.script

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        state.pop("_layer", None)
        return state

    def _replicate_for_data_parallel(self) -> Any:
        base: Any = super()
        replica = base._replicate_for_data_parallel()
        replica.__dict__.pop("_layer", None)
        return replica

    # -------------------------------------------------------------------- checks

    def _takes(self, x: Any, hx: Any, weights: list[Tensor]) -> bool:
        check_on_cpu(type(self).__name__, x, weights[0])
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            return False
        B: tuple[int, ...] = ()
        if x.dim() == 3:
            B = (x.shape[0] if self.batch_first else x.shape[1],)
        return self._dtypes_fit(x, weights) and self._states_fit(x, hx, B)

    def _takes_packed(
        self, x: Tensor, sizes: Tensor, hx: Any, weights: list[Tensor]
    ) -> bool:
        check_on_cpu(type(self).__name__, x, weights[0])
        return (
            x.dim() == 2
            and x.shape[1] == self.input_size
            and self._dtypes_fit(x, weights)
            and self._states_fit(x, hx, (int(sizes[0]),))
        )

    def _dtypes_fit(self, x: Tensor, weights: list[Tensor]) -> bool:
        return x.is_floating_point() and (
            all(weight.dtype == x.dtype for weight in weights)
            or torch.is_autocast_enabled("cpu")
        )

    def _states_fit(self, x: Tensor, hx: Any, B: tuple[int, ...]) -> bool:
        if hx is None:
            return True
        two = self.mode == "LSTM"
        states = hx if two else (hx,)
        if not isinstance(states, (tuple, list)) or len(states) != 1 + two:
            return False
        passes = self.num_layers * (2 if self.bidirectional else 1)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)
        return all(
            state.shape == (passes, *B, width)
            and (state.dtype == x.dtype or torch.is_autocast_enabled("cpu"))
            for state, width in zip(states, widths, strict=False)
        )

    def _refused(self, input: Any, hx: Any) -> Any:
        """Let torch.nn raise its error, or compute the call if it accepts it."""
        self._flat_weights = [*self._weights()]
        return self._peer.forward(self, input, hx)


def _check_left_out(flags: Any) -> None:
    if any(flag is not None for flag in flags):
        raise ValueError(
            "lengths, mask and reset must be left out with a PackedSequence"
        )


# torch.compiler.disable, without importing all of Dynamo.
@_disable_dynamo  # type: ignore[untyped-decorator]
def _outside(module: Layers, packed: PackedSequence, hx: Any, flags: Any) -> Any:
    """Compute a packed sequence outside of Dynamo's graphs."""
    return module._of_packed(packed, hx, module._weights(), flags)


def tensors_of(x: Tensor, hx: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return x, h0 and c0, cast as autocast requires."""
    h0, c0 = hx if isinstance(hx, (tuple, list)) else (hx, None)
    if not torch.is_autocast_enabled("cpu"):
        return x, h0, c0
    dtype = torch.get_autocast_dtype("cpu")
    h0, c0 = (s if s is None else s.to(dtype) for s in (h0, c0))
    return x.to(dtype), h0, c0


class RNN(Layers):
    """``torch.nn.RNN`` by fastcell: same arguments, results and state dict.

    See `Layers.forward` for additional arguments.

    Examples
    --------
    >>> import torch
    >>> import fastcell.torch
    >>> rnn = fastcell.torch.RNN(10, 20, nonlinearity="relu")
    >>> y, h = rnn(torch.zeros(5, 3, 10))
    >>> y.shape
    torch.Size([5, 3, 20])
    """

    _peer = torch.nn.RNN
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if "proj_size" in kwargs:
            raise ValueError(_NO_PROJECTION)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(  # in torch.nn's words
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        mode = f"RNN_{nonlinearity.upper()}"
        self.nonlinearity = nonlinearity
        sizes = (input_size, hidden_size, num_layers)
        torch.nn.RNNBase.__init__(self, mode, *sizes, *args, **kwargs)


class LSTM(Layers):
    """``torch.nn.LSTM`` by fastcell: same arguments, results and state dict.

    See `Layers.forward` for additional arguments.

    Examples
    --------
    >>> import torch
    >>> import fastcell.torch
    >>> lstm = fastcell.torch.LSTM(10, 20, batch_first=True)
    >>> y, (h, c) = lstm(torch.zeros(3, 5, 10), lengths=[5, 0, 2])
    >>> y.shape
    torch.Size([3, 5, 20])
    """

    _peer = torch.nn.LSTM
    get_expected_cell_size = torch.nn.LSTM.get_expected_cell_size
    # torch.nn's own, which take two states.
    check_forward_args = torch.nn.LSTM.check_forward_args  # type: ignore[assignment]
    permute_hidden = torch.nn.LSTM.permute_hidden  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        torch.nn.RNNBase.__init__(self, "LSTM", *args, **kwargs)


class GRU(Layers):
    """``torch.nn.GRU`` by fastcell: same arguments, results and state dict.

    See `Layers.forward` for additional arguments.

    Examples
    --------
    >>> import torch
    >>> import fastcell.torch
    >>> gru = fastcell.torch.GRU(10, 20, num_layers=2)
    >>> y, h = gru(torch.zeros(5, 3, 10))
    >>> h.shape
    torch.Size([2, 3, 20])
    """

    _peer = torch.nn.GRU

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError(_NO_PROJECTION)
        torch.nn.RNNBase.__init__(self, "GRU", *args, **kwargs)
