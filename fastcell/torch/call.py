"""One call of a recurrent layer on tensors, with and without autograd.

`Call` holds the arguments of a call other than tensors. `run` computes the outputs and
saves values for backward; `gradients` consumes them; `Recurrence` is both as a function
of PyTorch's autograd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastcell import _core
from fastcell._checks.arrays import rows_of
from fastcell.layers.batches import Layout
from fastcell.threads import get_num_threads
from fastcell.torch.formula import Formula, by_formula
from fastcell.torch.weights import OnTensors, array_of, may_have_tangents

#: Whether a gradient is batched by vmap.
_is_many: Any = torch._C._functorch.is_legacy_batchedtensor

#: x, h0 and c0 precede the weights.
BEFORE_WEIGHTS = 3


class StepLayout(Layout):
    """Layout of a single cell: no time axis, and no layer axis in the state."""

    def to_core(self, array: Any) -> Any:
        return array[np.newaxis, np.newaxis] if self.unbatched else array[np.newaxis]

    def to_caller(self, array: Any) -> Any:
        return array[0, 0] if self.unbatched else array[0]

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        _, B, n = shape
        return (n,) if self.unbatched else (B, n)

    state_to_core, state_to_caller, state_shape = to_core, to_caller, shape


@dataclass(slots=True)
class Call:
    """Arguments of a call other than tensors.

    Attributes
    ----------
    layer : Recurrent
        The layer, to which the weights are bound when it runs.
    layout : Layout
        Memory layout of x, y and the states.
    flat : Tensor of int64, shape (N,), or None
        For packed sequences: indices in (T B) of the rows of x (N, I) and y (N, P).
    steps, rows : int
        T and B.
    lengths, mask, reset : ndarray or None
        In the form that the core takes.
    dropout : Tensor, shape (L - 1, T, B, D P), or None
        Factors of the outputs between layers.
    version : int
        Version of the weights, once bound.
    kept : Kept or None
        Saved values for backward, once `run` has set them.
    """

    layer: OnTensors
    layout: Layout
    steps: int
    rows: int
    flat: Tensor | None = None
    lengths: np.ndarray | None = None
    mask: np.ndarray | None = None
    reset: np.ndarray | None = None
    dropout: Tensor | None = None
    version: int = 0
    kept: Kept | None = None

    def batch_of(self, x: Tensor, h0: Tensor | None, c0: Tensor | None) -> _core.Batch:
        """Return the call in the form that the core takes."""
        return _core.Batch(
            self.steps,
            self.rows,
            _rows_in(self, x),
            None,
            self.lengths,
            self.mask,
            self.reset,
            _state_in(self, h0),
            _state_in(self, c0),
            None if self.dropout is None else self.dropout.numpy(),
            get_num_threads(),
        )


class Kept(NamedTuple):
    """Values that `run` saves for backward."""

    batch: _core.Batch
    memory: Any


def run(call: Call, tensors: Sequence[Any], spare: Any = None) -> tuple[Tensor, ...]:
    """Return y and the final states for x, h0, c0 and the weights.

    With `spare`, which provides memory, ``call.kept`` is set for `gradients`.
    """
    layer, layout = call.layer, call.layout
    x, h0, c0, *weights = tensors
    layer._parameters.bind(weights)
    T, B = call.steps, call.rows
    width = layer._directions * layer.output_size
    batch = call.batch_of(x, h0, c0)
    call.version, packed = layer._packed(False)
    if layer.quick is not None and layer.is_dtype_of(weights):
        layer.quick.keep(packed)
    memory = None
    if spare is not None:
        memory = spare.take(layer._stack.saved_size(batch))
        call.kept = Kept(batch, memory)
    wide = layer.torch_dtype
    shape = (T, B, width)
    y = torch.empty(layout.shape(shape) if call.flat is None else shape, dtype=wide)
    passes = layer.num_layers * layer._directions
    h = torch.empty(layout.state_shape((passes, B, layer.output_size)), dtype=wide)
    c = None
    if len(layer.states) == 2:
        shape = (passes, B, layer.hidden_size)
        c = torch.empty(layout.state_shape(shape), dtype=wide)
    layer._stack.forward(
        packed,
        batch,
        y.numpy() if call.flat is not None else layout.to_core(y.numpy()),
        layout.state_to_core(h.numpy()),
        None if c is None else layout.state_to_core(c.numpy()),
        memory,
    )
    if call.flat is not None:
        y = y.view(T * B, width).index_select(0, call.flat)
    out = (y, h) if c is None else (y, h, c)
    return out if x.dtype == wide else tuple(part.to(x.dtype) for part in out)


def gradients(
    call: Call,
    kept: Kept,
    x: Tensor,
    dout: Sequence[Tensor | None],
    needed: tuple[bool, ...],
) -> list[Any]:
    """Return the gradients of x, h0, c0 and the weights, if needed.

    Their dtype is that of the layer; autograd casts them to narrower ones.
    """
    layer, layout = call.layer, call.layout
    dy, dh, dc = dout
    T, B = call.steps, call.rows
    _, packed = layer._packed(True)
    wide = layer.torch_dtype
    dx = None
    if needed[0]:
        shape = x.shape if call.flat is None else (T, B, x.shape[1])
        dx = torch.empty(shape, dtype=wide)
    passes = layer.num_layers * layer._directions
    sizes = (layer.output_size, layer.hidden_size)
    dstates = [
        torch.empty(layout.state_shape((passes, B, n)), dtype=wide) if need else None
        for need, n in zip(needed[1:BEFORE_WEIGHTS], sizes, strict=True)
    ]
    dh0, dc0 = (d if d is None else layout.state_to_core(d.numpy()) for d in dstates)
    dx_core = None if dx is None else dx.numpy()
    if dx_core is not None and call.flat is None:
        dx_core = layout.to_core(dx_core)
    of_weights = dict(zip(layer._shapes, needed[BEFORE_WEIGHTS:], strict=True))
    by_pass, dweights = None, dict.fromkeys(of_weights)
    if any(of_weights.values()):
        # The core computes the gradient of a bias only along with that of its matrix.
        dweights |= {
            name: torch.zeros(shape, dtype=wide)
            for name, shape in layer._shapes.items()
            if of_weights[name] or of_weights.get(name.replace("weight", "bias"))
        }
        arrays: dict[str, Any] = {
            name: d if d is None else d.numpy() for name, d in dweights.items()
        }
        by_pass = layer._by_pass(arrays)
    layer._stack.backward(
        packed,
        None,
        kept.batch,
        None if dy is None else _rows_in(call, dy),
        _state_in(call, dh),
        _state_in(call, dc),
        dx_core,
        dh0,
        dc0,
        by_pass,
        kept.memory,
    )
    if dx is not None and call.flat is not None:
        dx = dx.view(T * B, -1).index_select(0, call.flat)
    found = (d if of_weights[name] else None for name, d in dweights.items())
    return [dx, *dstates, *found]


class Recurrence(torch.autograd.Function):
    """`run` and `gradients` for autograd; gradients of gradients by the formula."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.call = call
        out = run(call, tensors, call.layer._spare)
        memory = None
        if are_hooks_asked() and call.kept is not None:
            memory = torch.from_numpy(call.kept.memory)
            call.kept = None
        ctx.save_for_backward(*tensors, memory)
        return out

    @staticmethod
    def backward(ctx: Any, *dout: Tensor | None) -> tuple[Tensor | None, ...]:
        call, (*tensors, memory) = ctx.call, ctx.saved_tensors
        if memory is not None and not torch.is_grad_enabled():
            call.kept = kept_again(call, tensors, memory)
        needed = ctx.needs_input_grad[1:]
        return None, *gradients_of(call, tensors, dout, needed)


def are_hooks_asked() -> bool:
    """Return whether saved-tensor hooks are active, as in activation checkpointing.

    They also receive the memory of `run` as a tensor, which is most of what is saved.
    """
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def kept_again(call: Call, tensors: Sequence[Any], memory: Tensor) -> Kept:
    """Return the values for `gradients`, from memory that was saved as a tensor."""
    copy = aligned_copy(memory)  # the tensor may be used again
    return Kept(call.batch_of(*tensors[:BEFORE_WEIGHTS]), copy)


def aligned_copy(memory: Tensor) -> Any:
    """Return the bytes of a tensor, in memory aligned for the core."""
    copy = _core.aligned_empty(len(memory))
    copy[:] = memory.numpy()
    return copy


def gradients_of(
    call: Call,
    tensors: Sequence[Any],
    dout: tuple[Tensor | None, ...],
    needed: tuple[bool, ...],
) -> list[Any]:
    """Return the gradients of x, h0, c0 and the weights, if needed.

    This includes differentiable gradients, if autograd is on, batched ones, and a
    second backward, after ``retain_graph=True``.
    """
    if all(d is None for d in dout):
        return [None] * len(needed)
    dout = (*dout, None)[:BEFORE_WEIGHTS]
    if is_for_formula(dout):
        return _differentiable(call, tensors, dout, needed)
    x, _, _, *weights = tensors
    if call.version != call.layer._parameters.version():  # rebound since
        call.layer._parameters.bind(weights)
    if call.kept is None:  # consumed
        run(call, tensors, call.layer._spare)
    kept: Any = call.kept
    call.kept = None
    found = gradients(call, kept, x, dout, needed)
    call.layer._spare.give(kept.memory)
    return found


def is_transformed() -> bool:
    """Return whether torch.func or forward mode is active.

    Tensors may then be batched or have tangents, which only PyTorch's own operators
    support.
    """
    return torch._C._functorch.maybe_current_level() is not None or may_have_tangents()


def is_for_formula(dout: Sequence[Tensor | None]) -> bool:
    """Return whether only PyTorch's operators can compute the gradients."""
    return (
        torch.is_grad_enabled()  # create_graph=True
        or is_transformed()
        # is_grads_batched=True, and jacobian(vectorize=True)
        or any(d is not None and _is_many(d) for d in dout)
    )


def called(call: Call, *tensors: Tensor | None) -> tuple[Tensor, ...]:
    """Return y and the final states, recorded by autograd if it is on.

    `tensors` are x, h0, c0 and the weights.
    """
    if is_transformed():
        return _run_by_formula(call, tensors)
    if not torch.is_grad_enabled() or not any(
        t is not None and t.requires_grad for t in tensors
    ):
        return run(call, tensors)
    apply: Any = Recurrence.apply
    out: tuple[Tensor, ...] = apply(call, *tensors)
    return out


def _differentiable(
    call: Call,
    tensors: Sequence[Any],
    dout: tuple[Tensor | None, ...],
    needed: tuple[bool, ...],
) -> list[Any]:
    """Return PyTorch's gradients of the formula, which are differentiable."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        out = _run_by_formula(call, tensors)
        pairs = [(o, d) for o, d in zip(out, dout, strict=False) if d is not None]
        wanted = [t for t, need in zip(tensors, needed, strict=True) if need]
        found = iter(
            torch.autograd.grad(
                [o for o, _ in pairs],
                wanted,
                [d for _, d in pairs],
                create_graph=again,
                allow_unused=True,
            )
        )
    return [next(found) if need else None for need in needed]


def _run_by_formula(call: Call, tensors: Sequence[Any]) -> tuple[Tensor, ...]:
    """Return the results of `run` by PyTorch's operators, rounded once at the end."""
    dtype, wide = tensors[0].dtype, call.layer.torch_dtype
    with torch.autocast("cpu", enabled=False):
        widened: list[Any] = [t if t is None else t.to(wide) for t in tensors]
        out = by_formula(formula_of(call), *widened)
    return tuple(part.to(dtype) for part in out)


def formula_of(call: Call) -> Formula:
    """Return the arguments of `by_formula` for a call."""
    layer = call.layer
    lengths, mask, reset = (
        None if array is None else torch.from_numpy(array)
        for array in (call.lengths, call.mask, call.reset)
    )
    return Formula(
        cell=layer._core_cell,
        layers=layer.num_layers,
        bidirectional=layer.bidirectional,
        bias=layer.bias,
        hidden_size=layer.hidden_size,
        output_size=layer.output_size,
        layout=call.layout,
        steps=call.steps,
        rows=call.rows,
        flat=call.flat,
        lengths=lengths,
        mask=mask,
        reset=reset,
        dropout=call.dropout,
    )


def _rows_in(call: Call, x: Tensor) -> np.ndarray:
    """Return x or dy as (T, B, n), in the layer's dtype."""
    x = x.detach().to(call.layer.torch_dtype)
    if call.flat is not None:
        padded = x.new_zeros(call.steps * call.rows, x.shape[1])
        padded.index_copy_(0, call.flat, x)
        return padded.view(call.steps, call.rows, -1).numpy()
    return rows_of(call.layout.to_core(x.numpy()))


def _state_in(call: Call, state: Tensor | None) -> np.ndarray | None:
    if state is None:
        return None
    array = call.layout.state_to_core(array_of(state, call.layer.dtype))
    return np.ascontiguousarray(array)
