"""`flashrnn`: the function of the package of that name, on the CPU.

Letters of axes as in that package: B rows, T steps, S states, G gates, H heads, D units
of a head, P those of the step before.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastcell import _core
from fastcell._checks.names import one_of
from fastcell._checks.numbers import real
from fastcell.layers.regularizers import LEAST_CLIP
from fastcell.layers.saved import SpareMemory
from fastcell.threads import get_num_threads
from fastcell.torch.call import is_for_formula, is_transformed
from fastcell.torch.flash_formula import Options, by_formula
from fastcell.torch.weights import EXCHANGE

_disable_dynamo: Any = torch._disable_dynamo  # type: ignore[attr-defined]


class Function(NamedTuple):
    """One of FlashRNN's functions.

    Attributes
    ----------
    cell : str
        The cell of the core.
    states, x_gates, r_gates, biases : int
        S, and G of Wx, of R and of b.
    order : tuple of int
        The gate of R and of b of each gate of the core's recurrent product.
    x_bias : tuple of int or None
        The gate of b that is added to each gate of Wx; None: none is.
    """

    cell: str
    states: int
    x_gates: int
    r_gates: int
    biases: int
    order: tuple[int, ...]
    x_bias: tuple[int | None, ...]


FUNCTIONS = {
    "slstm": Function("slstm", 4, 4, 4, 4, (0, 1, 2, 3), (None,) * 4),
    "lstm": Function("lstm", 2, 4, 4, 4, (0, 1, 2, 3), (None,) * 4),
    "gru": Function("gru", 1, 3, 3, 4, (1, 2, 0), (None, None, 3)),
    "elman": Function("rnn_tanh", 1, 1, 1, 1, (0,), (None,)),
}
#: The sLSTM of other packages.
XLSTM = FUNCTIONS["slstm"]._replace(cell="slstm_plain")
TIREX = FUNCTIONS["slstm"]._replace(cell="slstm_clamped")
_BACKENDS = ("vanilla", "vanilla_fwbw", "cuda", "cuda_fused", "triton_fused")
_NARROW = (torch.bfloat16, torch.float16)
_DTYPES = (torch.float32, torch.float64, *_NARROW)


class Axes(NamedTuple):
    """The order of each tensor's axes, in the letters above."""

    input_shape: str = "BTGHD"
    output_shape: str = "SBTHD"
    recurrent_shape: str = "GHDP"
    bias_shape: str = "GHD"


class Sizes(NamedTuple):
    """What determines the core's memory and the packed weights."""

    cell: str
    heads: int
    units: int  # of a head
    double: bool
    clip: float = 0.0  # of gradients in the recurrence; 0: none


class Weights:
    """R and b of one pair of tensors, packed once for each version of them."""

    def __init__(self, function: Function, sizes: Sizes, axes: Axes) -> None:
        self.function = function
        self.sizes = sizes
        self.axes = axes
        self.width = sizes.heads * sizes.units
        self.dtype = torch.float64 if sizes.double else torch.float32
        self.spare = SpareMemory()
        precision = "float64" if sizes.double else "float32"
        self.stack = _core.Stack(
            sizes.cell,
            precision,
            0,
            self.width,
            0,
            1,
            1,
            sizes.heads,
            (0.0, 0.0, 0.0),
            (0.0, 0.0, (), 0.0, sizes.clip) if sizes.clip else None,
        )
        self._marks = _core.TensorMarks(EXCHANGE)
        self._arrays: tuple[Any, ...] = ()
        self._packs: dict[bool, tuple[str, Any]] = {}

    def update(self, R: Tensor, b: Tensor) -> None:
        """Read the tensors again if they have changed."""
        if not self._marks.update([R, b]):
            return
        of, order = self.function, list(self.function.order)
        r = permuted(R.detach(), self.axes.recurrent_shape, "GHDP").to(self.dtype)
        bias = permuted(b.detach(), self.axes.bias_shape, "GHD").to(self.dtype)
        none = bias.new_zeros(bias.shape[1:])
        x_bias = torch.stack([none if g is None else bias[g] for g in of.x_bias])
        rows = of.x_gates * self.width
        self._arrays = (
            np.empty((rows, 0), r.numpy().dtype),  # Wx is given
            r[order].reshape(rows, -1).contiguous().numpy(),
            x_bias.reshape(rows).numpy(),
            bias[order].reshape(rows).contiguous().numpy(),
        )
        self._packs.clear()

    def packed(self, backward: bool) -> Any:
        """Return the weights in the form that the products read."""
        isa, packed = self._packs.get(backward, ("", None))
        if isa != _core.isa():
            packed = self.stack.pack(backward, [self._arrays], get_num_threads())
            self._packs[backward] = _core.isa(), packed
        return packed


class Kept(NamedTuple):
    """Values that `run` saves for `gradients`."""

    batch: Any
    memory: Any


def run(
    weights: Weights,
    x: Tensor,
    states: Tensor | None,
    all_states: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Kept | None]:
    """Return states after each step, the last ones, and what backward needs.

    x (T, B, G H D) with contiguous rows, states (S, B, H D) or None for zeros. The
    first result is (S, B, T, H D), or (1, B, T, H D), h alone, without `all_states`.
    """
    of, (T, B, _), W = weights.function, x.shape, weights.width
    found = x.new_empty(of.states if all_states else 1, B, T, W)
    h, c = x.new_empty(1, B, W), x.new_empty(1, B, of.states - 1, W)
    h0 = c0 = None
    if states is not None:
        h0 = states[:1].contiguous().numpy()
        c0 = states[1:].transpose(0, 1).contiguous().unsqueeze(0).numpy()
    several = of.states > 1
    batch = _core.Batch(
        T,
        B,
        x.new_empty(T, B, 0).numpy(),
        None,
        None,
        None,
        None,
        h0,
        c0 if several else None,
        None,
        get_num_threads(),
    )
    batch.added = x.numpy()
    memory = None
    if keep:
        memory = weights.spare.take(weights.stack.saved_size(batch))
    cs = found[1:].transpose(1, 2).numpy() if all_states and several else None
    weights.stack.forward(
        weights.packed(False),
        batch,
        found[0].transpose(0, 1).numpy(),
        h.numpy(),
        c.numpy() if several else None,
        memory,
        cs,
    )
    last = torch.cat([h, c[0].transpose(0, 1)]) if several else h
    return found, last, None if memory is None else Kept(batch, memory)


def gradients(
    weights: Weights,
    kept: Kept,
    dy: Tensor | None,
    dlast: Tensor | None,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of x, states, R and b, if needed.

    dy (T, B, H D) is that of h, dlast (S, B, H D) that of the last states.
    """
    of, batch, W = weights.function, kept.batch, weights.width
    T, B, several = batch.steps, batch.rows, of.states > 1
    kind = weights.dtype
    dx = torch.empty(B, T, of.x_gates * W, dtype=kind).transpose(0, 1)
    dh0, dc0 = (
        torch.empty(1, B, W, dtype=kind),
        torch.empty(1, B, of.states - 1, W, dtype=kind),
    )
    dh = dc = None
    if dlast is not None:
        dh = dlast[:1].contiguous().numpy()
        dc = dlast[1:].transpose(0, 1).contiguous().unsqueeze(0).numpy()
    dR = torch.zeros(of.r_gates * W, weights.sizes.units, dtype=kind)
    db = torch.zeros(of.r_gates * W, dtype=kind)
    by_pass: Any = None
    if needs[2] or needs[3]:
        by_pass = [(None, dR.numpy(), None, db.numpy())]
    weights.stack.backward(
        weights.packed(True),
        None,
        batch,
        None if dy is None else dy.numpy(),
        dh,
        dc if several else None,
        None,
        dh0.numpy(),
        dc0.numpy() if several else None,
        by_pass,
        kept.memory,
        dadded=dx.numpy(),
    )
    dstates = torch.cat([dh0, dc0[0].transpose(0, 1)]) if several else dh0
    shape = (of.x_gates, weights.sizes.heads, weights.sizes.units)
    gates = [of.order.index(g) for g in range(of.r_gates)]
    dbias = db.view(shape)[gates]
    if of.biases > of.r_gates:
        added = dx.sum((0, 1)).view(shape)
        dbias = torch.cat([dbias, added[[g is not None for g in of.x_bias]]])
    return (
        dx if needs[0] else None,
        dstates if needs[1] else None,
        permuted(dR.view(*shape, -1)[gates], "GHDP", weights.axes.recurrent_shape),
        permuted(dbias, "GHD", weights.axes.bias_shape),
    )


class Recurrence(torch.autograd.Function):
    """`run` and `gradients` for autograd; gradients of gradients by the formula."""

    @staticmethod
    def forward(
        ctx: Any,
        weights: Weights,
        all_states: bool,
        x: Tensor,
        states: Tensor | None,
        R: Tensor,
        b: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        found, last, ctx.kept = run(weights, x, states, all_states, True)
        ctx.weights = weights
        ctx.save_for_backward(x, states, R, b)
        return found, last

    @staticmethod
    def backward(ctx: Any, *dout: Tensor | None) -> tuple[Any, ...]:
        tensors, weights = ctx.saved_tensors, ctx.weights
        needs = ctx.needs_input_grad[2:]
        dfound, dlast = dout
        if dfound is None and dlast is None:
            return (None,) * 6
        inner = dfound is not None and bool((dfound[1:, :, :-1] != 0).any())
        if inner or is_for_formula(dout):
            found = _by_formula(weights, tensors, dout, needs)
            return None, None, *found
        x, states, R, b = tensors
        weights.update(R, b)
        kept, ctx.kept = ctx.kept, None
        if kept is None:  # consumed: retain_graph=True
            _, _, kept = run(weights, x, states, False, True)
        dy = None
        if dfound is not None:
            dy = dfound[0].transpose(0, 1)
            dy = dy if dy.stride(-1) == 1 else dy.contiguous()
            if len(dfound) > 1 and dfound.shape[2]:
                dlast = torch.zeros_like(dfound[:, :, -1]) if dlast is None else dlast
                dlast = torch.cat([dlast[:1], dlast[1:] + dfound[1:, :, -1]])
        grads = gradients(weights, kept, dy, dlast, needs)
        weights.spare.give(kept.memory)
        wanted: Any = zip(grads, tensors, needs, strict=True)
        return None, None, *(g.to(t.dtype) if need else None for g, t, need in wanted)


def _by_formula(
    weights: Weights, tensors: Any, dout: Any, needs: tuple[bool, ...]
) -> list[Tensor | None]:
    """Return PyTorch's gradients of the formula, which are differentiable."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        x, states, R, b = tensors
        out = formula_of(weights, x, states, R, b)
        found, last = out
        found = found[: len(dout[0])] if dout[0] is not None else found
        pairs = [
            (o, d) for o, d in zip((found, last), dout, strict=True) if d is not None
        ]
        grads = iter(
            torch.autograd.grad(
                [o for o, _ in pairs],
                [t for t, need in zip(tensors, needs, strict=True) if need],
                [d for _, d in pairs],
                create_graph=again,
                allow_unused=True,
            )
        )
    return [next(grads) if need else None for need in needs]


def formula_of(
    weights: Weights,
    x: Tensor,
    states: Tensor | None,
    R: Tensor,
    b: Tensor,
    options: Options | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the results of `run`, all states, by PyTorch's operators."""
    of, sizes, wide = weights.function, weights.sizes, weights.dtype
    T, B, _ = x.shape
    heads = (sizes.heads, sizes.units)
    if states is None:
        states = x.new_zeros(of.states, B, weights.width)
    with torch.autocast("cpu", enabled=False):
        found, last = by_formula(
            of.cell,
            x.reshape(T, B, of.x_gates, *heads),
            states.reshape(of.states, B, *heads),
            permuted(R, weights.axes.recurrent_shape, "GHDP").to(wide),
            permuted(b, weights.axes.bias_shape, "GHD").to(wide),
            options or Options(sizes.clip or None),
        )
    return found.transpose(1, 2).flatten(-2), last.flatten(-2)


def called(
    weights: Weights,
    x: Tensor,
    states: Tensor | None,
    R: Tensor,
    b: Tensor,
    all_states: bool,
) -> tuple[Tensor, Tensor]:
    """Return the results of `run`, recorded by autograd if it is on."""
    if is_transformed():
        found, last = formula_of(weights, x, states, R, b)
        return found if all_states else found[:1], last
    weights.update(R, b)
    if torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (x, states, R, b)
    ):
        apply: Any = Recurrence.apply
        out: tuple[Tensor, Tensor] = apply(weights, all_states, x, states, R, b)
        return out
    return run(weights, x.detach(), states, all_states, False)[:2]


def permuted(tensor: Tensor, axes: str, to: str) -> Tensor:
    """Return a tensor with its axes in another order."""
    return tensor.permute(*map(axes.index, to)) if axes != to else tensor


#: Packed weights, by R and all that they depend on.
_held: dict[tuple[Any, ...], tuple[weakref.ref[Tensor], Weights]] = {}


def weights_of(function: Function, sizes: Sizes, axes: Axes, owner: Tensor) -> Weights:
    """Return what is packed of R, as long as its owner lives: itself, or its base."""
    key = (sizes, axes, id(owner))
    if key not in _held or _held[key][0]() is not owner:
        weights = Weights(function, sizes, axes)
        _held[key] = weakref.ref(owner, lambda _: _held.pop(key, None)), weights
    return _held[key][1]


def flash(
    function: Function,
    Wx: Tensor,
    R: Tensor,
    b: Tensor,
    states: Tensor | None,
    axes: Axes = Axes(),  # noqa: B008  (a tuple)
    *,
    options: Options = Options(),  # noqa: B008
    all_states: bool = True,
    owner: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the results of `flashrnn`, or those of h alone, (1, B, T, H, D).

    `owner` is a parameter of which R is a view.
    """
    _, B, _, heads, units = _check(Wx, R, b, states, function, axes)
    wide = torch.promote_types(torch.promote_types(Wx.dtype, R.dtype), torch.float32)
    by_core = not options.cut and (options.clip is None or options.clip >= LEAST_CLIP)
    clip = options.clip or 0.0 if by_core else 0.0
    sizes = Sizes(function.cell, heads, units, wide == torch.float64, clip)
    weights = weights_of(function, sizes, axes, R if owner is None else owner)
    x = permuted(Wx, axes.input_shape, "TBGHD").to(wide).flatten(2)
    if x.stride(-1) != 1 and x.shape[-1] != 1:
        x = x.contiguous()
    if states is not None:
        states = permuted(states, axes.output_shape, "SBTHD").to(wide)
        states = states.reshape(function.states, B, heads * units)
    if by_core:
        found, last = called(weights, x, states, R, b, all_states)
    else:
        found, last = formula_of(weights, x, states, R, b, options)
    found = found.view(*found.shape[:-1], heads, units).to(Wx.dtype)
    last = last.reshape(function.states, B, 1, heads, units).to(Wx.dtype)
    return (
        permuted(found, "SBTHD", axes.output_shape),
        permuted(last, "SBTHD", axes.output_shape),
    )


@_disable_dynamo  # type: ignore[untyped-decorator]
def flashrnn(
    Wx: Tensor,
    R: Tensor,
    b: Tensor,
    states: Tensor | None = None,
    function: str = "lstm",
    config: Any = None,
    backend: str = "cuda_fused",
    dtype: str = "bfloat16",
) -> tuple[Tensor, Tensor]:
    """Run a recurrent layer of heads over inputs that are multiplied already.

    As ``flashrnn.flashrnn`` (Poeppel, Beck and Hochreiter 2024, arXiv:2412.07752), with
    its shapes, arguments and results, on the CPU. Wx is not multiplied with anything,
    and R has a block for each head: a head only reads its own units.

    Parameters
    ----------
    Wx : Tensor, shape (B, T, G, H, D)
        The input part of each gate: G gates, H heads, D units of a head. Gates: i f z o
        of "slstm" and "lstm", r z n of "gru", one of "elman".
    R : Tensor, shape (G, H, D, D)
        Recurrent weights; the last axis is that of the step before. The gates of "gru"
        are g r z, with n = tanh(Wx_n + b_n + r (R_g h + b_g)).
    b : Tensor, shape (G, H, D)
        Biases; of "gru" g r z n.
    states : Tensor, shape (S, B, 1, H, D), optional
        Initial states: h c n m of "slstm", h c of "lstm", h of the others. Default:
        zeros.
    function : {"slstm", "lstm", "gru", "elman"}, default "lstm"
        The cell; for "slstm" see `fastcell.SLSTM`.
    config : optional
        A ``flashrnn.FlashRNNConfig`` or anything with its attributes. It replaces
        `function`, and gives the order of axes: input_shape, output_shape,
        recurrent_shape and bias_shape. With gradient_recurrent_clipval the gradient
        that an h gets from the next step is clipped, as by recurrent_grad_clip of
        layers. With gradient_recurrent_cut an h gets none through R; this is computed
        by PyTorch's operators, which is slow. forward_clipval is refused. Its dtypes
        are not looked at.
    backend, dtype : str
        For the package's signature; they have no effect. All is computed in float32, or
        in float64 if Wx or R are.

    Returns
    -------
    states : Tensor, shape (S, B, T, H, D)
        All states after each step, h first, of the dtype of Wx.
    last : Tensor, shape (S, B, 1, H, D)
        The last ones.

    Raises
    ------
    TypeError, ValueError
        If an argument is no such tensor, or its shape or dtype does not fit.
    RuntimeError
        If a tensor is on another device.

    Notes
    -----
    Where an initial n of "slstm" is 0, its unit has seen nothing, as in the package's
    CUDA kernels. The package's "vanilla" backend looks at all units at once: it differs
    where some n are 0 and others not, and its gates overflow for large inputs.

    Of the package's backends only those in CUDA clip gradients; those of 1.0.8 also
    clip h_t to gradient_recurrent_clipval, which this function does not.

    Examples
    --------
    >>> import torch
    >>> import fastcell.torch
    >>> Wx = torch.ones(3, 5, 4, 2, 8)
    >>> R, b = torch.zeros(4, 2, 8, 8), torch.zeros(4, 2, 8)
    >>> states, last = fastcell.torch.flashrnn(Wx, R, b, function="slstm")
    >>> states.shape, last.shape
    (torch.Size([4, 3, 5, 2, 8]), torch.Size([4, 3, 1, 2, 8]))
    """
    one_of("backend", backend, _BACKENDS)
    name = one_of("function", getattr(config, "function", function), FUNCTIONS)
    axes, options = _axes_of(config), _options_of(config)
    return flash(FUNCTIONS[name], Wx, R, b, states, axes, options=options)


def _axes_of(config: Any) -> Axes:
    """Return the orders of axes of a configuration."""
    found = []
    for name, usual in zip(Axes._fields, Axes(), strict=True):
        axes = getattr(config, name, usual)
        if not isinstance(axes, str) or sorted(axes) != sorted(usual):
            raise ValueError(
                f"config.{name} must be an order of the axes {usual}; got {axes!r}"
            )
        found.append(axes)
    return Axes(*found)


def _options_of(config: Any) -> Options:
    if getattr(config, "forward_clipval", None) is not None:
        raise ValueError(
            "config.forward_clipval must be None: outputs are not clipped; got "
            f"{config.forward_clipval!r}"
        )
    clip = getattr(config, "gradient_recurrent_clipval", None)
    if clip is not None:
        clip = real("config.gradient_recurrent_clipval", clip, minimum=0)
    return Options(clip, bool(getattr(config, "gradient_recurrent_cut", False)))


def _check(
    Wx: Any, R: Any, b: Any, states: Any, of: Function, axes: Axes
) -> tuple[int, ...]:
    """Check the tensors, and return the shape of Wx as (T, B, G, H, D)."""
    tensors = {"Wx": Wx, "R": R, "b": b, "states": states}
    for name, tensor in tensors.items():
        if tensor is None and name == "states":
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a tensor; got {type(tensor).__name__}")
        if tensor.device.type != "cpu":
            raise RuntimeError(
                f"{name} must be on the CPU, where fastcell.torch.flashrnn computes; "
                f"got a tensor on {tensor.device}"
            )
        if tensor.dtype not in _DTYPES:
            raise TypeError(f"{name} must be of floats; got {tensor.dtype}")
    if Wx.dim() != 5:
        raise ValueError(
            f"Wx must have the axes {axes.input_shape}; got the shape {tuple(Wx.shape)}"
        )
    size = dict(zip(axes.input_shape, Wx.shape, strict=True))
    _check_shape("Wx", Wx, axes.input_shape, {**size, "G": of.x_gates})
    size |= {"P": size["D"], "G": of.r_gates, "S": of.states}
    _check_shape("R", R, axes.recurrent_shape, size)
    _check_shape("b", b, axes.bias_shape, {**size, "G": of.biases})
    if states is not None:
        _check_shape("states", states, axes.output_shape, {**size, "T": 1})
    return tuple(Wx.shape[axes.input_shape.index(letter)] for letter in "TBGHD")


def _check_shape(name: str, tensor: Tensor, axes: str, size: dict[str, int]) -> None:
    wanted = tuple(size[letter] for letter in axes)
    if tuple(tensor.shape) != wanted:
        raise ValueError(
            f"{name} must have the shape {wanted}, the axes {axes}; got "
            f"{tuple(tensor.shape)}"
        )
