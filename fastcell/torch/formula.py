"""The cells in PyTorch's operators: slow, but differentiable any number of times.

They compute gradients of gradients. The formulas, and the order of gates and weights,
are those of torch.nn's documentation; masks, resets and lengths are as in
`fastcell.LSTM.forward`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from fastcell.layers.batches import Layout


class Formula(NamedTuple):
    """Arguments of `by_formula`: see `fastcell.torch.call.Call`."""

    cell: str
    layers: int
    bidirectional: bool
    bias: bool
    hidden_size: int
    output_size: int
    layout: Layout
    steps: int
    rows: int
    flat: Tensor | None
    lengths: Tensor | None
    mask: Tensor | None
    reset: Tensor | None
    dropout: Tensor | None


def by_formula(
    f: Formula, x: Tensor, h0: Tensor | None, c0: Tensor | None, *weights: Tensor
) -> tuple[Tensor, ...]:
    """Return y, h and, for an LSTM, c, in the caller's layout."""
    x, h0, c0 = _for_core(f, x, h0, c0)
    directions = 2 if f.bidirectional else 1
    per_pass = len(weights) // (f.layers * directions)
    live, inside = _live(f)
    finals: list[tuple[Tensor, ...]] = []
    for k in range(f.layers):
        if k and f.dropout is not None:
            x = x * f.dropout[k - 1]
        outputs = []
        for d in range(directions):
            n = k * directions + d
            w = weights[n * per_pass : (n + 1) * per_pass]
            state = _initial(f, x, h0, c0, n)
            y, state = _one_pass(f, x, state, w, live, inside, reverse=d == 1)
            outputs.append(y)
            finals.append(state)
        x = torch.cat(outputs, -1) if directions == 2 else outputs[0]
    states = (torch.stack(parts) for parts in zip(*finals, strict=True))
    return _for_caller(f, x), *map(f.layout.state_to_caller, states)


def _one_pass(
    f: Formula,
    x: Tensor,
    state: tuple[Tensor, ...],
    weights: tuple[Tensor, ...],
    live: Tensor | None,
    inside: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    y: list[Tensor] = [x.new_zeros(0)] * f.steps
    for t in reversed(range(f.steps)) if reverse else range(f.steps):
        border = t + 1 if reverse else t
        if f.reset is not None and border < f.steps:
            stays = ~f.reset[border].bool().unsqueeze(-1)
            if inside is not None:
                stays = stays | ~inside[border].unsqueeze(-1)
            state = tuple(part * stays for part in state)
        new = _step(f, x[t], state, weights)
        if live is not None:
            moves = live[t].unsqueeze(-1)
            pairs = zip(new, state, strict=True)
            new = tuple(torch.where(moves, n, o) for n, o in pairs)
        state = new
        y[t] = state[0]
        if inside is not None:
            y[t] = torch.where(inside[t].unsqueeze(-1), y[t], y[t].new_zeros(()))
    if not y:
        return x.new_zeros(0, f.rows, state[0].shape[-1]), state
    return torch.stack(y), state


def _step(
    f: Formula, x: Tensor, state: tuple[Tensor, ...], weights: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    w_ih, w_hh, *rest = weights
    b_ih, b_hh = rest[:2] if f.bias else (None, None)
    a, b = linear(x, w_ih, b_ih), linear(state[0], w_hh, b_hh)
    if f.cell.startswith("lstm"):
        i, f_, g, o = (a + b).chunk(4, -1)
        c = f_.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (linear(h, rest[-1]) if len(rest) % 2 else h), c
    if f.cell == "gru":
        xr, xz, xn = a.chunk(3, -1)
        hr, hz, hn = b.chunk(3, -1)
        z = (xz + hz).sigmoid()
        n = (xn + (xr + hr).sigmoid() * hn).tanh()
        return ((1 - z) * n + z * state[0],)
    return ((a + b).tanh() if f.cell == "rnn_tanh" else (a + b).relu(),)


def _live(f: Formula) -> tuple[Tensor | None, Tensor | None]:
    """Return masks of steps that update the state, and of those within the lengths."""
    inside = None
    if f.lengths is not None:
        inside = torch.arange(f.steps).unsqueeze(-1) < f.lengths
    live = inside
    if f.mask is not None:
        live = f.mask.bool() if inside is None else f.mask.bool() & inside
    return live, inside


def _initial(
    f: Formula, x: Tensor, h0: Tensor | None, c0: Tensor | None, n: int
) -> tuple[Tensor, ...]:
    h = x.new_zeros(f.rows, f.output_size) if h0 is None else h0[n]
    if not f.cell.startswith("lstm"):
        return (h,)
    return h, x.new_zeros(f.rows, f.hidden_size) if c0 is None else c0[n]


def _for_core(
    f: Formula, x: Tensor, h0: Tensor | None, c0: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return x (T, B, I) and the states (L D, B, n)."""
    if f.flat is None:
        x = f.layout.to_core(x)
    else:
        padded = x.new_zeros(f.steps * f.rows, x.shape[1])
        x = padded.index_copy(0, f.flat, x).view(f.steps, f.rows, -1)
    to_core = f.layout.state_to_core
    h0, c0 = (s if s is None else to_core(s) for s in (h0, c0))
    return x, h0, c0


def _for_caller(f: Formula, y: Tensor) -> Tensor:
    if f.flat is None:
        caller: Tensor = f.layout.to_caller(y)
        return caller
    return y.reshape(f.steps * f.rows, y.shape[-1]).index_select(0, f.flat)
