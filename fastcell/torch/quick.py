"""Fast path of the common call: plain tensors, without lengths, mask and reset.

The memory of tensors is passed to the core without NumPy arrays. All other calls take
the path of `fastcell.torch.call`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastcell import _core
from fastcell.layers.batches import Layout
from fastcell.threads import get_num_threads
from fastcell.torch.call import (
    BEFORE_WEIGHTS,
    Call,
    StepLayout,
    are_hooks_asked,
    gradients_of,
    is_for_formula,
    is_transformed,
)
from fastcell.torch.weights import OnTensors

#: Arguments of `QuickRecurrence` before its tensors.
_LEADING = 3

#: Most numbers of an input that is copied to be contiguous.
_SMALL = 4096


def quickly(
    layer: OnTensors,
    held: dict[str, Any],
    x: Any,
    hx: Any,
    batch_first: bool,
    step: bool,
) -> tuple[Tensor, ...] | None:
    """Return y, h and c, as the module has them; None if the fast path does not apply.

    Parameters
    ----------
    held : dict of str to Tensor
        The module's parameters.
    step : bool
        Whether the module is a cell, which has no y.
    """
    if is_transformed():
        return None
    calls = layer.quick_calls_on(held)
    if calls is None:
        return None
    x = _laid_out(x)
    call = calls.begin(x, hx, batch_first, step, get_num_threads())
    if call is None:
        return None
    if torch.is_grad_enabled():
        tensors = (x, call.h0, call.c0, *[held[name] for name in layer.names])
        for tensor in tensors:
            if tensor is not None and tensor.requires_grad:
                if are_hooks_asked():
                    return None
                apply: Any = QuickRecurrence.apply
                out: tuple[Tensor, ...] = apply(call, layer, batch_first, *tensors)
                return out
    return call.forward(None)


def _laid_out(x: Any) -> Any:
    """Return x, made contiguous if it is small, as for the rows of one step."""
    plain = type(x) is Tensor and x.layout is torch.strided
    if plain and not x.is_contiguous() and x.numel() <= _SMALL:
        return x.contiguous()
    return x


class QuickRecurrence(torch.autograd.Function):
    """A `QuickCall` for autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        call: _core.QuickCall,
        layer: OnTensors,
        batch_first: bool,
        *tensors: Tensor | None,
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.call, ctx.layer, ctx.batch_first = call, layer, batch_first
        ctx.version = layer._parameters.version()
        return call.forward(layer._spare)

    @staticmethod
    def backward(ctx: Any, *dout: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        call, layer = ctx.call, ctx.layer
        needed = ctx.needs_input_grad[_LEADING:]
        if call.is_used_up or is_for_formula(dout):
            dout = (None, *dout) if call.is_step else dout
            others = _as_others(ctx, unbatched=tensors[0].dim() == 1)
            found = gradients_of(others, tensors, dout, needed)
            return None, None, None, *found
        if ctx.version != layer._parameters.version():  # rebound since
            layer.renew(tensors[BEFORE_WEIGHTS:])
        given = tuple(d if d is None else d.contiguous() for d in dout)
        packed = layer._packed(True)[1]
        found = call.backward(packed, tensors[0], given, needed, layer._spare)
        return None, None, None, *found


def _as_others(ctx: Any, unbatched: bool) -> Call:
    """Return the call for the general path."""
    call = ctx.call
    layout = (
        StepLayout(False, unbatched) if call.is_step else Layout(ctx.batch_first, False)
    )
    return Call(ctx.layer, layout, call.steps, call.rows)
