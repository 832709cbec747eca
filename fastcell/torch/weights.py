"""fastcell layers on the memory of PyTorch's tensors.

A layer reads the weights in the tensors' own memory. It packs them once for each
version: an optimizer's step, `load_state_dict` or an in-place write makes a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

import fastcell
from fastcell import _core
from fastcell.layers.recurrent import Recurrent
from fastcell.parameters import Parameters


def may_have_tangents() -> bool:
    """Return whether PyTorch's forward mode is on."""
    return forward_ad._current_level >= 0


def _exchange() -> _core.Exchange | None:
    """Return PyTorch's exchange table for tensors, or None before version 2.10."""
    capsule = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return None
    watchers = (  # active modes of PyTorch that must see each operation
        torch.is_grad_enabled,
        torch._C._is_tracing,
        torch._C._is_any_autocast_enabled,
        torch._C._len_torch_dispatch_stack,
        torch._C._functorch.maybe_current_level,
        may_have_tangents,
    )
    try:
        return _core.Exchange(capsule, Tensor, torch.nn.Parameter, watchers)
    except ValueError:  # of another version
        return None


EXCHANGE = _exchange()


class TensorParameters(Parameters):
    """Parameters on the memory of tensors that others own.

    Parameters
    ----------
    shapes : dict of str to tuple of int
        Shapes by name, in the order of the tensors.
    dtype : dtype
        float32 or float64; narrower tensors are widened to it.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]], dtype: np.dtype) -> None:
        super().__init__({})
        self._shapes = shapes
        self._dtype = dtype
        self.marks = _core.TensorMarks(EXCHANGE)

    def bind(self, tensors: list[Tensor]) -> None:
        """Bind these tensors; only those that have changed are read again.

        Writes that PyTorch does not count, through ``tensor.data`` or by another
        process, are detected by comparing values: all of a tensor of up to 4 KiB, eight
        of a larger one.

        Raises
        ------
        RuntimeError
            If a tensor's shape differs from the layer's.
        """
        if not self.marks.update(tensors):
            return
        arrays = self._arrays  # never replaced, as groups refer to it
        for (name, shape), tensor in zip(self._shapes.items(), tensors, strict=True):
            if tuple(tensor.shape) != shape:
                self.unbind()
                raise RuntimeError(
                    f"{name} must have the shape {shape}; got {tuple(tensor.shape)}"
                )
            arrays[name] = array_of(tensor, self._dtype)
        self.changed()

    def unbind(self) -> None:
        """Read all tensors again at the next call."""
        self.marks.forget()


def array_of(tensor: Tensor, dtype: np.dtype) -> np.ndarray:
    """Return a tensor as an array, on its own memory if dtype and layout allow."""
    array: np.ndarray = wide(tensor.detach()).numpy()
    return np.ascontiguousarray(array, dtype)


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor as float32 if its dtype is narrower."""
    if tensor.dtype in (torch.bfloat16, torch.float16):
        return tensor.float()
    return tensor


class OnTensors(Recurrent[Any]):
    """A layer whose parameters are bound later, by `TensorParameters.bind`.

    Attributes
    ----------
    names : tuple of str
        Names of the weights in the module.
    quick : QuickCalls or None
        The fast path for plain tensors, if PyTorch has an exchange table.
    """

    _parameters: TensorParameters
    names: tuple[str, ...] = ()
    quick: _core.QuickCalls | None = None

    def quicken(self, names: tuple[str, ...]) -> None:
        """Enable the fast path, for a module whose weights have these names."""
        self.names = names
        if EXCHANGE is not None:
            marks = self._parameters.marks
            self.quick = _core.QuickCalls(EXCHANGE, self._stack, marks, names)

    def quick_calls_on(self, held: dict[str, Any]) -> _core.QuickCalls | None:
        """Return `quick` with the current weights, or None if it cannot take them."""
        if self.quick is None or self.quick.hold(held):
            return self.quick
        if not all(name in held for name in self.names):  # parametrized
            return None
        weights = [held[name] for name in self.names]
        if not self.is_dtype_of(weights):
            return None
        self.renew(weights)
        return self.quick

    def renew(self, tensors: Sequence[Tensor]) -> None:
        """Bind these weights, for the fast path too if they have the layer's dtype."""
        self._parameters.bind(list(tensors))
        if self.quick is not None and self.is_dtype_of(tensors):
            self.quick.keep(self._packed(False)[1])

    @property
    def torch_dtype(self) -> torch.dtype:
        """PyTorch's dtype of the computation."""
        return torch.float64 if self.dtype == np.float64 else torch.float32

    def is_dtype_of(self, tensors: Sequence[Tensor]) -> bool:
        """Return whether the layer computes in the dtype of all tensors."""
        return all(tensor.dtype is self.torch_dtype for tensor in tensors)

    def _new_parameters(self) -> TensorParameters:
        return TensorParameters(self._shapes, self.dtype)


class _RNN(OnTensors, fastcell.RNN):
    pass


class _LSTM(OnTensors, fastcell.LSTM):
    pass


class _GRU(OnTensors, fastcell.GRU):
    pass


#: Layers by torch's names of the modes.
CLASSES: dict[str, tuple[type[OnTensors], dict[str, Any]]] = {
    "RNN_TANH": (_RNN, {"nonlinearity": "tanh"}),
    "RNN_RELU": (_RNN, {"nonlinearity": "relu"}),
    "LSTM": (_LSTM, {}),
    "GRU": (_GRU, {}),
}


def layer_of(
    mode: str, sizes: tuple[Any, ...], double: bool, names: tuple[str, ...] = ()
) -> OnTensors:
    """Return a layer without weights.

    Parameters
    ----------
    mode : str
        "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
    sizes : tuple
        (input_size, hidden_size, num_layers, bias, bidirectional, proj_size).
    double : bool
        Whether the layer computes in float64.
    names : tuple of str, optional
        Names of the weights in the module, for the fast path.
    """
    input_size, hidden_size, num_layers, bias, bidirectional, proj_size = sizes
    kind, options = CLASSES[mode]
    make = cast("Callable[..., OnTensors]", kind)
    if proj_size:
        options = {**options, "proj_size": proj_size}
    layer = make(
        input_size,
        hidden_size,
        num_layers,
        bias=bias,
        bidirectional=bidirectional,
        dtype=np.float64 if double else np.float32,
        seed=0,
        **options,
    )
    if names:
        layer.quicken(names)
    return layer


def layer_for(
    module: Any,
    mode: str,
    sizes: tuple[Any, ...],
    names: tuple[str, ...],
    weight: Tensor,
) -> OnTensors:
    """Return a module's ``_layer``, created again if the dtype has changed.

    The other arguments are those of `layer_of`; `weight` is one of the module's.
    """
    double = weight.dtype == torch.float64
    layer: OnTensors | None = module._layer
    if layer is None or (layer.dtype == np.float64) != double:
        layer = layer_of(mode, sizes, double, names)
        module.__dict__["_layer"] = layer  # bypasses torch.nn's __setattr__
    return layer


def numpy_of(value: Any) -> Any:
    """Return a tensor of lengths or flags as an array, anything else unchanged."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def refuse_script(module: Any) -> Any:
    """Raise, as a module cannot be scripted.

    Raises
    ------
    RuntimeError
        Always.
    """
    raise RuntimeError(
        f"torch.jit.script cannot take fastcell.torch.{type(module).__name__}: use "
        "torch.jit.trace, or call fastcell.torch.restore(model) before"
    )


def check_on_cpu(module: str, *tensors: Any) -> None:
    """Raise if one is not a tensor on the CPU.

    Raises
    ------
    TypeError
        If one is not a tensor.
    RuntimeError
        If one is on another device.
    """
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"input must be a tensor; got {type(tensor).__name__}")
        if tensor.device.type not in ("cpu", "meta"):
            raise RuntimeError(
                f"fastcell.torch.{module} computes on the CPU; got a tensor on "
                f"{tensor.device}: move model and input by .cpu(), or call "
                "fastcell.torch.restore(model) to compute there"
            )
