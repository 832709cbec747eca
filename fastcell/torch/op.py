"""Operators of the cells, for torch.compile, torch.export and torch.jit.trace.

``fastcell::lstm``, ``gru``, ``rnn_tanh`` and ``rnn_relu``, each with a backward, shapes
for tracing, and autograd. They are functions of their tensors alone; values for
backward are in `saved`, a tensor of bytes. Modules use them only while tracing.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException
from torch.utils.flop_counter import register_flop_formula

from fastcell import _core
from fastcell.layers.batches import Layout, flags_of, lengths_of
from fastcell.threads import get_num_threads
from fastcell.torch import flops
from fastcell.torch.call import (
    BEFORE_WEIGHTS,
    Call,
    Kept,
    aligned_copy,
    gradients,
    run,
)
from fastcell.torch.weights import CLASSES, OnTensors, layer_of, numpy_of

_INPUTS = (
    "Tensor x, Tensor? h0, Tensor? c0, Tensor[] weights, Tensor? lengths, "
    "Tensor? mask, Tensor? reset, Tensor? dropout, int[] sizes, bool batch_first"
)
# y, h, c, saved; absent ones are empty.
_FORWARD = f"({_INPUTS}, bool keep) -> (Tensor, Tensor, Tensor, Tensor)"
_BACKWARD = (
    f"(Tensor? dy, Tensor? dh, Tensor? dc, {_INPUTS}, Tensor saved, bool[] needed) "
    "-> Tensor[]"
)

# The operators exist as long as this object.
_LIBRARY: Any = torch.library.Library("fastcell", "DEF")  # type: ignore[no-untyped-call]


class Inputs(NamedTuple):
    """Inputs of both operators of a mode, as in their schemas."""

    x: Tensor
    h0: Tensor | None
    c0: Tensor | None
    weights: list[Tensor]
    lengths: Tensor | None
    mask: Tensor | None
    reset: Tensor | None
    dropout: Tensor | None
    sizes: Sequence[int]
    batch_first: bool

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors that have gradients."""
        return self.x, self.h0, self.c0, *self.weights


def is_needed_for(x: Any) -> bool:
    """Return whether a call is traced, or x is not a plain tensor with data."""
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return True
    if torch._C._len_torch_dispatch_stack():  # a mode, such as a FLOP counter
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
    """Return y, h and c by the operator of a mode; c is empty if there is none.

    Parameters
    ----------
    tensors : (x, h0, c0)
    extras : (lengths, mask, reset, dropout)
    sizes, batch_first
        As for `fastcell.torch.weights.layer_of`, and as in the module.
    """
    # A trace is checked without autograd, and must then be the same.
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


class _Zeros:
    """Zeroed memory for saved values, so that all bytes depend only on the inputs."""

    @staticmethod
    def take(size: int) -> Any:
        return _core.aligned_empty(size, True)


#: Layers with packed weights, by mode, sizes and first weight.
_held: dict[tuple[Any, ...], tuple[weakref.ref[Tensor], OnTensors]] = {}


def _layer_on(mode: str, sizes: Sequence[int], weights: list[Tensor]) -> OnTensors:
    key = (mode, *sizes, id(weights[0]))
    if key not in _held or _held[key][0]() is not weights[0]:
        names = tuple(map(str, range(len(weights))))
        double = weights[0].dtype == torch.float64
        layer = layer_of(mode, _flags(sizes), double, names)
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


def _call_of(layer: OnTensors, inputs: Inputs) -> Call:
    """Return a call with all options."""
    x, dropout = inputs.x, inputs.dropout
    layout = Layout(inputs.batch_first, x.dim() == 2)
    T, B = layout.to_core(x).shape[:2]
    return Call(
        layer,
        layout,
        T,
        B,
        None,
        lengths_of(numpy_of(inputs.lengths), T, B),
        flags_of("mask", numpy_of(inputs.mask), layout, T, B),
        flags_of("reset", numpy_of(inputs.reset), layout, T, B),
        None if dropout is None else dropout.contiguous(),
    )


def _quick_call_of(layer: OnTensors, inputs: Inputs) -> _core.QuickCall | None:
    """Return a quick call, or None if an input is not plain."""
    if inputs[4:8] != (None,) * 4:  # lengths, mask, reset, dropout
        return None
    calls = layer.quick_calls_on(dict(zip(layer.names, inputs.weights, strict=True)))
    if calls is None:
        return None
    two = inputs.c0 is not None
    hx = (inputs.h0, inputs.c0) if two else inputs.h0
    return calls.begin(inputs.x, hx, inputs.batch_first, False, get_num_threads())


def _forward(mode: str, *given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs, keep = Inputs(*given[:-1]), given[-1]
    spare = _Zeros if keep else None
    layer = _layer_on(mode, inputs.sizes, inputs.weights)
    quick = _quick_call_of(layer, inputs)
    if quick is not None:
        y, h, *c = quick.forward(spare)
        memory = quick.saved
    else:
        call = _call_of(layer, inputs)
        y, h, *c = run(call, inputs.tensors, spare)
        memory = None if call.kept is None else call.kept.memory
    none = inputs.x.new_empty(0)
    saved = none.byte() if memory is None else torch.from_numpy(memory)
    return y, h, c[0] if c else none, saved


def _shapes(mode: str, *given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs, keep = Inputs(*given[:-1]), given[-1]
    x, batch_first = inputs.x, inputs.batch_first
    _, hidden, layers, _, bidirectional, proj = inputs.sizes
    passes, out = layers * (1 + bidirectional), proj or hidden
    rows = () if x.dim() == 2 else (x.shape[0 if batch_first else 1],)
    y = x.new_empty(*x.shape[:-1], (1 + bidirectional) * out)
    h = x.new_empty(passes, *rows, out)
    c = x.new_empty(passes, *rows, hidden) if mode == "LSTM" else x.new_empty(0)
    size = _kept_bytes(mode, inputs) if keep else 0
    return y, h, c, x.new_empty(size, dtype=torch.uint8)


def _kept_bytes(mode: str, inputs: Inputs) -> Any:
    """Return the number of saved bytes: symbolic in a graph, else the actual one."""
    try:
        return torch.library.get_ctx().new_dynamic_size()
    except DynamicOutputShapeException:  # only shapes are computed
        x = inputs.x
        layer = layer_of(mode, _flags(inputs.sizes), x.dtype == torch.float64)
        T, B = Layout(inputs.batch_first, x.dim() == 2).to_core(x).shape[:2]
        return layer._stack.describe(T, B, get_num_threads(), 1)["saved_bytes"]


def _backward(mode: str, *given: Any) -> list[Tensor]:
    dout, inputs, (saved, needed) = given[:3], Inputs(*given[3:-2]), given[-2:]
    found: Any
    try:
        found = _gradients(mode, inputs, dout, _bytes_of(saved), tuple(needed))
    except _core.UsedUpError:  # after retain_graph=True
        again = _forward(mode, *inputs, True)[3]
        found = _gradients(mode, inputs, dout, again.numpy(), tuple(needed))
    none = inputs.x.new_empty(0)
    return [
        none if g is None or t is None else g.to(t.dtype)
        for g, t in zip(found, inputs.tensors, strict=True)
    ]


def _bytes_of(saved: Tensor) -> Any:
    """Return the memory that forward saved; it records itself that it was consumed."""
    is_aligned = saved.data_ptr() % 64 == 0  # false for some copies
    return saved.numpy() if is_aligned else aligned_copy(saved)


def _gradients(
    mode: str,
    inputs: Inputs,
    dout: Sequence[Any],
    memory: Any,
    needed: tuple[bool, ...],
) -> list[Any]:
    layer = _layer_on(mode, inputs.sizes, inputs.weights)
    quick = _quick_call_of(layer, inputs)
    if quick is not None:
        quick.saved = memory
        contiguous = tuple(d if d is None else d.contiguous() for d in dout)
        packed = layer._packed(True)[1]
        return quick.backward(packed, inputs.x, contiguous, needed, None)
    layer._parameters.bind(inputs.weights)
    call = _call_of(layer, inputs)
    kept = Kept(call.batch_of(inputs.x, inputs.h0, inputs.c0), memory)
    return gradients(call, kept, inputs.x, dout, needed)


def _backward_shapes(mode: str, *given: Any) -> list[Tensor]:
    inputs, needed = Inputs(*given[3:-2]), given[-1]
    none = inputs.x.new_empty(0)
    return [
        t.new_empty(t.shape) if need and t is not None else none.new_empty(0)
        for t, need in zip(inputs.tensors, needed, strict=True)
    ]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, h0, c0, weights, *extras, sizes, batch_first, _ = inputs
    ctx.save_for_backward(x, h0, c0, *extras, output[3], *weights)
    ctx.sizes, ctx.batch_first = sizes, batch_first
    ctx.set_materialize_grads(False)


def _differentiate(mode: str, ctx: Any, *dout: Tensor | None) -> tuple[Any, ...]:
    x, h0, c0, lengths, mask, reset, dropout, saved, *weights = ctx.saved_tensors
    needed = [*ctx.needs_input_grad[:BEFORE_WEIGHTS]]
    needed += [w.requires_grad for w in weights]
    flags = (lengths, mask, reset, dropout)
    inputs = Inputs(x, h0, c0, weights, *flags, ctx.sizes, ctx.batch_first)
    dy, dh, dc, _ = dout
    operator = getattr(torch.ops.fastcell, f"{mode.lower()}_backward").default
    found = operator(dy, dh, dc if mode == "LSTM" else None, *inputs, saved, needed)
    given = [g if need else None for g, need in zip(found, needed, strict=True)]
    return *given[:BEFORE_WEIGHTS], given[BEFORE_WEIGHTS:], *(None,) * 7


def _define(mode: str) -> None:
    backward = f"{mode.lower()}_backward"
    for name, schema, compute, shapes, operations in (
        (mode.lower(), _FORWARD, _forward, _shapes, flops.of_forward),
        (backward, _BACKWARD, _backward, _backward_shapes, flops.of_backward),
    ):
        tags = (torch.Tag.pt2_compliant_tag,)
        _LIBRARY.define(name + schema, tags=tags)
        _LIBRARY.impl(name, partial(compute, mode), "CPU")
        torch.library.register_fake(
            f"fastcell::{name}", partial(shapes, mode), lib=_LIBRARY
        )
        register_flop_formula(getattr(torch.ops.fastcell, name))(operations)
    torch.library.register_autograd(
        f"fastcell::{mode.lower()}",
        partial(_differentiate, mode),
        setup_context=_setup,
        lib=_LIBRARY,
    )


for _mode in CLASSES:
    _define(_mode)
