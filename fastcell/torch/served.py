"""Dense layers and the mLSTM on PyTorch's tensors, for calls without gradients.

Calls that autograd records, of other dtypes, or under autocast are left to the package
whose module it is. Compiled graphs have the operators ``fastcell::dense`` and
``fastcell::mlstm``.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

import fastcell
from fastcell import _core
from fastcell.threads import get_num_threads
from fastcell.torch.call import is_transformed
from fastcell.torch.op import is_needed_for
from fastcell.torch.weights import EXCHANGE

_DTYPES = (torch.float32, torch.float64)


def can_serve(*tensors: Tensor | None) -> bool:
    """Return whether fastcell computes a call on these tensors."""
    given = [t for t in tensors if t is not None]
    kind = given[0].dtype
    if kind not in _DTYPES or any(t.dtype != kind for t in given):
        return False
    if torch.is_grad_enabled() and any(t.requires_grad for t in given):
        return False
    if torch.is_autocast_enabled("cpu") or not given[0].numel():
        return False
    return is_plain(*given)


def is_plain(*tensors: Tensor | None) -> bool:
    """Return whether the tensors have numbers in memory, or are being compiled."""
    if torch.compiler.is_compiling():
        return True
    return not is_transformed() and not any(
        t is not None and (is_needed_for(t) or t.device.type != "cpu") for t in tensors
    )


class Packed:
    """The weight and the bias of a dense layer, packed once for each version.

    The weight is (O, I), or with heads (H, O, I): each head has its part of x and of y.
    """

    def __init__(self, weight: Tensor) -> None:
        outputs, inputs = weight.shape[-2:]
        self._dense = _core.Dense(weight.dtype == torch.float64, inputs, outputs)
        self._marks = _core.TensorMarks(EXCHANGE)
        self._packed: tuple[str, list[Any]] = ("", [])

    def update(self, weight: Tensor, bias: Tensor | None) -> list[Any]:
        """Return the packed weights of each head."""
        changed = self._marks.update([weight] if bias is None else [weight, bias])
        isa = _core.isa()
        if changed or self._packed[0] != isa:
            heads = weight.detach().contiguous().view(-1, *weight.shape[-2:]).numpy()
            b: Any = [None] * len(heads)
            if bias is not None:
                b = bias.detach().contiguous().view(len(heads), -1).numpy()
            packed = [self._dense.pack(False, *w) for w in zip(heads, b, strict=True)]
            self._packed = isa, packed
        return self._packed[1]

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return y = x W^T + b over the last axis, of each head."""
        packed = self.update(weight, bias)
        outputs, inputs = weight.shape[-2:]
        shape = x.shape[:-1]
        x = x.detach().reshape(-1, len(packed), inputs)
        y = x.new_empty(len(x), len(packed), outputs)
        if len(packed) == 1:
            self._run(packed[0], x.contiguous(), y)
        else:
            part = y.new_empty(len(x), outputs)
            for head, own in enumerate(packed):
                self._run(own, x[:, head].contiguous(), part)
                y[:, head] = part
        return y.view(*shape, -1)

    def _run(self, packed: Any, x: Tensor, y: Tensor) -> None:
        rows, threads = len(x), get_num_threads()
        self._dense.forward(packed, rows, x.numpy(), y.numpy(), threads)


#: Packed weights, by the weight.
_held: dict[tuple[int, torch.dtype], tuple[weakref.ref[Tensor], Packed]] = {}


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x W^T + b, for tensors that `can_serve` accepts, as `Packed` has it."""
    if torch.compiler.is_compiling():
        y: Tensor = torch.ops.fastcell.dense.default(x, weight, bias)
        return y
    return _linear(x, weight, bias)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    key = id(weight), weight.dtype
    if key not in _held or _held[key][0]() is not weight:
        packed = Packed(weight)
        _held[key] = weakref.ref(weight, lambda _: _held.pop(key, None)), packed
    return _held[key][1](x, weight, bias)


State = tuple[Tensor, Tensor, Tensor]
MLSTMInputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def mlstm(
    inputs: MLSTMInputs,
    state: tuple[Tensor | None, Tensor | None, Tensor | None],
    *,
    scale: float | None = None,
    eps: float,
) -> tuple[Tensor, State]:
    """Return the outputs and the state of `fastcell.mlstm`, or of its step.

    q, k (B, H, T, K), v (B, H, T, N), i and f (B, H, T); the state as it has it.
    """
    factor = inputs[0].shape[-1] ** -0.5 if scale is None else scale
    given = (*inputs, *state, factor, eps, True)
    if torch.compiler.is_compiling():
        y, c, n, m = torch.ops.fastcell.mlstm.default(*given)
    else:
        y, c, n, m = _mlstm(*given)
    return y, (c, n, m)


def mlstm_outputs(inputs: MLSTMInputs, *, eps: float) -> Tensor:
    """Return the outputs of `fastcell.mlstm`."""
    given = (*inputs, None, None, None, inputs[0].shape[-1] ** -0.5, eps, False)
    if torch.compiler.is_compiling():
        y: Tensor = torch.ops.fastcell.mlstm.default(*given)[0]
        return y
    return _mlstm(*given)[0]


def _mlstm(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    i: Tensor,
    f: Tensor,
    c: Tensor | None,
    n: Tensor | None,
    m: Tensor | None,
    scale: float,
    eps: float,
    return_state: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    arrays: Any = [t.detach().numpy() for t in (q, k, v, i, f)]
    state = tuple(t.detach().numpy() for t in (c, n, m) if t is not None)
    options: Any = {"state": state or None, "scale": scale, "eps": eps}
    found: Any
    if not return_state:
        y = fastcell.mlstm(*arrays, **options, return_state=False)
        return torch.from_numpy(y), q.new_empty(0), q.new_empty(0), q.new_empty(0)
    if q.shape[2] == 1:
        row: Any = [array[:, :, 0] for array in arrays[:3]]
        y, found = fastcell.mlstm_step(*row, *arrays[3:], **options)
        y = y[:, :, None]
    else:
        y, found = fastcell.mlstm(*arrays, **options)
    c, n, m = map(torch.from_numpy, found)
    return torch.from_numpy(y), c, n, m


def _linear_shape(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    heads = weight.shape[:-2].numel()
    return x.new_empty(*x.shape[:-1], heads * weight.shape[-2])


def _mlstm_shapes(
    q: Tensor, k: Tensor, v: Tensor, *given: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (B, H, T, K), N = q.shape, v.shape[-1]
    y = q.new_empty(B, H, T, N)
    if not given[-1]:
        return y, q.new_empty(0), q.new_empty(0), q.new_empty(0)
    return y, q.new_empty(B, H, K, N), q.new_empty(B, H, K), q.new_empty(B, H, 1)


# The operators exist as long as this object.
_LIBRARY: Any = torch.library.Library("fastcell", "FRAGMENT")  # type: ignore[no-untyped-call]

for _schema, _compute, _shapes in (
    ("dense(Tensor x, Tensor weight, Tensor? bias) -> Tensor", _linear, _linear_shape),
    (
        "mlstm(Tensor q, Tensor k, Tensor v, Tensor i, Tensor f, Tensor? c, Tensor? n, "
        "Tensor? m, float scale, float eps, bool return_state) "
        "-> (Tensor, Tensor, Tensor, Tensor)",
        _mlstm,
        _mlstm_shapes,
    ),
):
    _name = _schema.partition("(")[0]
    _LIBRARY.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(_name, _compute, "CPU")
    torch.library.register_fake(f"fastcell::{_name}", _shapes, lib=_LIBRARY)
