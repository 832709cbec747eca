"""The cells as operators: for torch.compile, torch.export and torch.jit.trace.

``fastcell::lstm``, ``gru``, ``rnn_tanh`` and ``rnn_relu``, and a backward of each, with
shapes for tracing and autograd. They are functions of their tensors alone: `saved`, a
tensor of bytes, is what backward needs. Outside of tracing the modules do without them.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from fastcell.layers.batches import Layout, flags_of, lengths_of
from fastcell.threads import get_num_threads
from fastcell.torch.call import Call, gradients, kept_again, run
from fastcell.torch.weights import CLASSES, OnTensors, layer_of, numpy_of

_INPUTS = (
    "Tensor x, Tensor? h0, Tensor? c0, Tensor[] weights, Tensor? lengths, "
    "Tensor? mask, Tensor? reset, Tensor? dropout, int[] sizes, bool batch_first"
)
# y, h, c, saved; what there is none of is empty.
_FORWARD = f"({_INPUTS}, bool keep) -> (Tensor, Tensor, Tensor, Tensor)"
_BACKWARD = (
    f"(Tensor? dy, Tensor? dh, Tensor? dc, {_INPUTS}, Tensor saved, bool[] needed) "
    "-> Tensor[]"
)


def is_needed_for(x: Any) -> bool:
    """Whether a call is traced, or x of another kind than tensors that have numbers."""
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return True
    if torch._C._len_torch_dispatch_stack():  # a mode counts operators, say
        return True
    plain = type(x) is Tensor or type(x) is torch.nn.Parameter
    return x.is_meta if plain else isinstance(x, Tensor)


def call(
    mode: str,
    tensors: Sequence[Tensor | None],
    weights: list[Tensor],
    extras: Sequence[Any],
    sizes: tuple[Any, ...],
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, h and c by the operator of a mode; c is empty where there is none.

    Parameters
    ----------
    tensors : (x, h0, c0)
    extras : (lengths, mask, reset, dropout)
    sizes, batch_first
        As for `fastcell.torch.weights.layer_of`, and as of the module.
    """
    # A trace is checked without autograd, and must be the same then.
    is_tracing: Any = torch.jit.is_tracing  # type: ignore[attr-defined]
    keep = (torch.is_grad_enabled() or is_tracing()) and any(
        t is not None and t.requires_grad and not t.is_meta
        for t in (*tensors, *weights)
    )
    forward = getattr(torch.ops.fastcell, mode.lower()).default
    numbers = [int(size) for size in sizes]
    flags = [t if t is None else torch.as_tensor(t) for t in extras]
    y, h, c, _ = forward(*tensors, weights, *flags, numbers, batch_first, keep)
    return y, h, c


#: By mode, sizes and first weight: the layer of some weights, which keeps them packed.
_held: dict[tuple[Any, ...], tuple[weakref.ref[Tensor], OnTensors]] = {}


def _layer_on(mode: str, sizes: Sequence[int], weights: list[Tensor]) -> OnTensors:
    key = (mode, *sizes, id(weights[0]))
    if key not in _held or _held[key][0]() is not weights[0]:
        layer = layer_of(mode, _flags(sizes), weights[0].dtype == torch.float64)
        _held[key] = weakref.ref(weights[0], lambda _: _held.pop(key, None)), layer
    return _held[key][1]


def _flags(sizes: Sequence[int]) -> tuple[Any, ...]:
    input_size, hidden_size, num_layers, bias, bidirectional, proj_size = sizes
    return (
        input_size,
        hidden_size,
        num_layers,
        bool(bias),
        bool(bidirectional),
        proj_size,
    )


def _call_of(
    mode: str,
    x: Tensor,
    weights: list[Tensor],
    lengths: Tensor | None,
    mask: Tensor | None,
    reset: Tensor | None,
    dropout: Tensor | None,
    sizes: Sequence[int],
    batch_first: bool,
) -> Call:
    layout = Layout(batch_first, x.dim() == 2)
    T, B = layout.to_core(x).shape[:2]
    return Call(
        _layer_on(mode, sizes, weights),
        layout,
        T,
        B,
        None,
        lengths_of(numpy_of(lengths), T, B),
        flags_of("mask", numpy_of(mask), layout, T, B),
        flags_of("reset", numpy_of(reset), layout, T, B),
        None if dropout is None else dropout.contiguous(),
    )


def _kept_bytes(mode: str, x: Tensor, sizes: Sequence[int], batch_first: bool) -> Any:
    """Return a size for a graph to leave open, or what it is without one."""
    try:
        return torch.library.get_ctx().new_dynamic_size()
    except DynamicOutputShapeException:  # shapes alone are asked for
        layer = layer_of(mode, _flags(sizes), x.dtype == torch.float64)
        T, B = Layout(batch_first, x.dim() == 2).to_core(x).shape[:2]
        return layer._stack.describe(T, B, get_num_threads(), 1)["saved_bytes"]


def _define(mode: str) -> None:
    name = f"fastcell::{mode.lower()}"
    two = mode == "LSTM"

    def forward(
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        weights: list[Tensor],
        lengths: Tensor | None,
        mask: Tensor | None,
        reset: Tensor | None,
        dropout: Tensor | None,
        sizes: Sequence[int],
        batch_first: bool,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        extras = (lengths, mask, reset, dropout)
        made = _call_of(mode, x, weights, *extras, sizes, batch_first)
        y, h, *c = run(made, (x, h0, c0, *weights), keep=keep, fresh=True)
        saved = x.new_empty(0, dtype=torch.uint8)
        if made.kept is not None:
            saved = torch.from_numpy(made.kept.memory)
        return y, h, c[0] if c else x.new_empty(0), saved

    def shapes(
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        weights: list[Tensor],
        lengths: Tensor | None,
        mask: Tensor | None,
        reset: Tensor | None,
        dropout: Tensor | None,
        sizes: Sequence[int],
        batch_first: bool,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        _, hidden, layers, _, bidirectional, proj = sizes
        directions, out = 1 + bidirectional, proj or hidden
        rows = () if x.dim() == 2 else (x.shape[0 if batch_first else 1],)
        y = x.new_empty(*x.shape[:-1], directions * out)
        h = x.new_empty(layers * directions, *rows, out)
        c = x.new_empty(layers * directions, *rows, hidden) if two else x.new_empty(0)
        size = _kept_bytes(mode, x, sizes, batch_first) if keep else 0
        return y, h, c, x.new_empty(size, dtype=torch.uint8)

    def backward(
        dy: Tensor | None,
        dh: Tensor | None,
        dc: Tensor | None,
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        weights: list[Tensor],
        lengths: Tensor | None,
        mask: Tensor | None,
        reset: Tensor | None,
        dropout: Tensor | None,
        sizes: Sequence[int],
        batch_first: bool,
        saved: Tensor,
        needed: Sequence[bool],
    ) -> list[Tensor]:
        extras = (lengths, mask, reset, dropout)
        made = _call_of(mode, x, weights, *extras, sizes, batch_first)
        made.layer._parameters.bind(weights)
        kept = kept_again(made, (x, h0, c0), saved)
        found = gradients(made, kept, x, (dy, dh, dc), tuple(needed))
        pairs = zip(found, (x, h0, c0, *weights), strict=True)
        return [
            x.new_empty(0) if g is None or t is None else g.to(t.dtype)
            for g, t in pairs
        ]

    def backward_shapes(
        dy: Tensor | None,
        dh: Tensor | None,
        dc: Tensor | None,
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        weights: list[Tensor],
        lengths: Tensor | None,
        mask: Tensor | None,
        reset: Tensor | None,
        dropout: Tensor | None,
        sizes: Sequence[int],
        batch_first: bool,
        saved: Tensor,
        needed: Sequence[bool],
    ) -> list[Tensor]:
        pairs = zip((x, h0, c0, *weights), needed, strict=True)
        return [
            t.new_empty(t.shape) if need and t is not None else x.new_empty(0)
            for t, need in pairs
        ]

    made = torch.library.custom_op(name, forward, mutates_args=(), schema=_FORWARD)
    made.register_fake(shapes)
    back = torch.library.custom_op(
        f"{name}_backward", backward, mutates_args=(), schema=_BACKWARD
    )
    back.register_fake(backward_shapes)

    def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, h0, c0, weights, *extras, sizes, batch_first, _ = inputs
        ctx.save_for_backward(x, h0, c0, *extras, output[3], *weights)
        ctx.sizes, ctx.batch_first = sizes, batch_first
        ctx.set_materialize_grads(False)

    def differentiate(ctx: Any, *dout: Tensor | None) -> tuple[Any, ...]:
        x, h0, c0, *rest = ctx.saved_tensors
        extras, saved, weights = rest[:4], rest[4], rest[5:]
        needed = [
            *ctx.needs_input_grad[:3],
            *(w.requires_grad for w in weights),
        ]
        dy, dh, dc, _ = dout
        dx, dh0, dc0, *dweights = back(
            dy,
            dh,
            dc if two else None,
            x,
            h0,
            c0,
            weights,
            *extras,
            ctx.sizes,
            ctx.batch_first,
            saved,
            needed,
        )
        given = [
            g if need else None
            for g, need in zip((dx, dh0, dc0, *dweights), needed, strict=True)
        ]
        return (*given[:3], given[3:], *(None,) * 7)

    made.register_autograd(differentiate, setup_context=setup)


for _mode in CLASSES:
    _define(_mode)
