"""RNNCell, LSTMCell and GRUCell with the interface of `torch.nn`.

For many steps a cell's `session` is faster, as it keeps the state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastcell.torch import op
from fastcell.torch.call import Call, StepLayout, called
from fastcell.torch.layers import tensors_of
from fastcell.torch.quick import quickly
from fastcell.torch.streaming import Streamed
from fastcell.torch.weights import OnTensors, check_on_cpu, layer_for, refuse_script

#: Those that `torch.nn.RNNCellBase` gives its parameters.
_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Cell(torch.nn.RNNCellBase, Streamed):
    """Base class of the three modules."""

    #: The module of torch.nn that is replaced, named in errors.
    _peer: type[torch.nn.RNNCellBase]
    _gates: int
    _two = False  # whether there are two states
    _layer: OnTensors | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        # By name: classes of `accelerate` also inherit from torch.nn's class.
        torch.nn.RNNCellBase.__init__(
            self, input_size, hidden_size, bias, self._gates, device, dtype
        )

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Return the next state.

        Parameters
        ----------
        input : Tensor, shape (B, I) or (I,)
        hx : Tensor or tuple of two, optional
            h, or (h, c), each (B, H) or (H,). Default: zeros.

        Returns
        -------
        Tensor or tuple of two

        Raises
        ------
        RuntimeError, ValueError
            As from ``torch.nn``, and if a tensor is not on the CPU.
        """
        if not torch.compiler.is_dynamo_compiling():
            layer = self._layer
            if layer is not None and layer.quick is not None:
                out = layer.quick.infer(self._parameters, input, hx, False, True)
                if out is not None:
                    return out
        if not self.hidden_size:  # torch.nn allows it
            return self._peer.forward(self, input, hx)
        if op.is_needed_for(input):
            return self._traced(input, hx)
        layer = self._layer or self._layer_for(self._weights())
        if not torch.is_autocast_enabled("cpu"):
            out = quickly(layer, self._parameters, input, hx, False, True)
            if out is not None:
                return out if self._two else out[0]
        weights = self._weights()
        if not self._takes(input, hx, weights):
            return self._peer.forward(self, input, hx)
        x, h0, c0 = tensors_of(input, hx)
        layout = StepLayout(False, x.dim() == 1)
        rows = 1 if x.dim() == 1 else len(x)
        call = Call(self._layer_for(weights), layout, 1, rows)
        _, *state = called(call, x, h0, c0, *weights)
        return tuple(state) if self._two else state[0]

    def _weights(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._names()]

    def _names(self) -> tuple[str, ...]:
        return _NAMES if self.bias else _NAMES[:2]

    def _traced(self, input: Tensor, hx: Any) -> Any:
        weights = self._weights()
        check_on_cpu(type(self).__name__, input, weights[0])
        x, h0, c0 = tensors_of(input, hx)
        one = x.dim() == 1
        tensors = [
            t if t is None else t[None, None] if one else t[None] for t in (x, h0, c0)
        ]
        extras = (None, None, None, None)
        _, h, c = op.call(self._mode(), tensors, weights, extras, self._sizes(), False)
        state = [t[0, 0] if one else t[0] for t in ((h, c) if self._two else (h,))]
        return tuple(state) if self._two else state[0]

    def _mode(self) -> str:
        raise NotImplementedError

    def _sizes(self) -> tuple[Any, ...]:
        return self.input_size, self.hidden_size, 1, bool(self.bias), False, 0

    def _layer_for(self, weights: list[Tensor]) -> OnTensors:
        return layer_for(self, self._mode(), self._sizes(), self._names(), weights[0])

    def _takes(self, x: Any, hx: Any, weights: list[Tensor]) -> bool:
        check_on_cpu(type(self).__name__, x, weights[0])
        narrowed = torch.is_autocast_enabled("cpu")
        if not 1 <= x.dim() <= 2 or x.shape[-1] != self.input_size:
            return False
        fit = all(weight.dtype == x.dtype for weight in weights)
        if not fit and not (narrowed and x.is_floating_point()):
            return False
        if hx is None:
            return True
        states = hx if self._two else (hx,)
        shape = (*x.shape[:-1], self.hidden_size)
        return (
            isinstance(states, (tuple, list))
            and len(states) == 1 + self._two
            and all(s.shape == shape for s in states)
            and all(s.dtype == x.dtype or narrowed for s in states)
        )

    __prepare_scriptable__ = refuse_script  # called by torch.jit.script

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_layer"}


class RNNCell(Cell):
    """``torch.nn.RNNCell`` by fastcell: same arguments, results and state dict."""

    _peer = torch.nn.RNNCell
    _gates = 1
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def _mode(self) -> str:
        return f"RNN_{self.nonlinearity.upper()}"

    def _takes(self, x: Any, hx: Any, weights: list[Tensor]) -> bool:
        return self.nonlinearity in ("tanh", "relu") and super()._takes(x, hx, weights)


class LSTMCell(Cell):
    """``torch.nn.LSTMCell`` by fastcell: same arguments, results and state dict."""

    _peer = torch.nn.LSTMCell
    _gates = 4
    _two = True

    def _mode(self) -> str:
        return "LSTM"


class GRUCell(Cell):
    """``torch.nn.GRUCell`` by fastcell: same arguments, results and state dict."""

    _peer = torch.nn.GRUCell
    _gates = 3

    def _mode(self) -> str:
        return "GRU"
