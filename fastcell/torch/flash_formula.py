"""FlashRNN's functions in PyTorch's operators: slow, but differentiable any number of
times, and with all options.

Letters of axes as in that package: B rows, T steps, S states, G gates, H heads, D units
of a head, P those of the step before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fastcell.cells.slstm import LARGEST_FORGET


class Options(NamedTuple):
    """What a configuration changes of a function.

    Attributes
    ----------
    clip : float or None
        Bound of the gradient that h_t gets from step t + 1.
    cut : bool
        Whether h_t gets none through R.
    """

    clip: float | None = None
    cut: bool = False


class _Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, bound: float) -> Tensor:
        ctx.bound = bound
        return h.view_as(h)

    @staticmethod
    def backward(ctx: Any, *dh: Tensor) -> tuple[Tensor, None]:
        return dh[0].clamp(-ctx.bound, ctx.bound), None


def by_formula(
    cell: str,
    Wx: Tensor,
    states: Tensor,
    R: Tensor,
    b: Tensor,
    options: Options = Options(),  # noqa: B008  (a tuple)
) -> tuple[Tensor, Tensor]:
    """Return all states (S, T, B, H, D), and the last ones (S, B, H, D).

    Wx (T, B, G, H, D), states (S, B, H, D), R (G, H, D, P), b (G, H, D).
    """
    now = states.unbind(0)
    found = []
    for t, x in enumerate(Wx.unbind(0)):
        if t and options.clip is not None:
            clipped: Any = _Clip.apply
            now = (clipped(now[0], options.clip), *now[1:])
        h = now[0].detach() if options.cut else now[0]
        product = torch.einsum("bhp,ghdp->bghd", h, R)
        now = _STEPS[cell](x, product, b, now)
        found.append(torch.stack(now))
    last = torch.stack(now)
    return torch.stack(found, 1) if found else last.unsqueeze(1)[:, :0], last


def _slstm(
    cell: str, x: Tensor, product: Tensor, b: Tensor, now: Any
) -> tuple[Tensor, ...]:
    _, c, n, m = now
    i, f, z, o = (x + product + b).unbind(1)
    if cell == "slstm_clamped":
        f = f.clamp(max=LARGEST_FORGET)
    l = logsigmoid(f) + m  # noqa: E741  (the letter of slstm.c)
    m = torch.where(n == 0, i, torch.maximum(i, l))
    i, f = (i - m).exp(), (l - m).clamp(max=0).exp()
    c = f * c + i * z.tanh()
    n = f * n + i
    if cell == "slstm":
        n = torch.where(n >= 1, n, torch.ones_like(n))
    return o.sigmoid() * (c / n), c, n, m


def _lstm(x: Tensor, product: Tensor, b: Tensor, now: Any) -> tuple[Tensor, ...]:
    i, f, z, o = (x + product + b).unbind(1)
    c = f.sigmoid() * now[1] + i.sigmoid() * z.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(x: Tensor, product: Tensor, b: Tensor, now: Any) -> tuple[Tensor, ...]:
    xr, xz, xn = x.unbind(1)
    hg, hr, hz = (product + b[:3]).unbind(1)
    z = (xz + hz).sigmoid()
    n = (xn + b[3] + (xr + hr).sigmoid() * hg).tanh()
    return (z * now[0] + (1 - z) * n,)


def _elman(x: Tensor, product: Tensor, b: Tensor, now: Any) -> tuple[Tensor, ...]:
    return ((x + product + b).squeeze(1).tanh(),)


#: By the core's names of the cells.
_STEPS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "slstm": partial(_slstm, "slstm"),
    "slstm_plain": partial(_slstm, "slstm_plain"),
    "slstm_clamped": partial(_slstm, "slstm_clamped"),
    "lstm": _lstm,
    "gru": _gru,
    "rnn_tanh": _elman,
}
