"""sLSTM modules of other packages, computed by fastcell: subclasses of their classes.

The classes are recognised by name: no package is imported. Parameters, state dicts and
results' shapes are the package's own; all is computed in float32, or in float64 for
tensors of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastcell.torch.flash import FUNCTIONS, TIREX, XLSTM, Axes, flash

_disable_dynamo: Any = torch._disable_dynamo  # type: ignore[attr-defined]


class Served:
    """Base of the subclasses, which copies and pickles know by the package's class."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuilt, (type(self).__bases__[-1],), self.__getstate__()


class Foreign(NamedTuple):
    """A class that has a subclass here.

    Attributes
    ----------
    methods : dict of str to callable
        What the subclass replaces.
    why_not : callable
        From a module to the reason why it cannot be served, or "".
    """

    methods: dict[str, Callable[..., Any]]
    why_not: Callable[[Any], str]


@_disable_dynamo  # type: ignore[untyped-decorator]
def _tirex2(
    module: Any,
    Wx: Tensor,
    R: Tensor,
    b: Tensor,
    config: Any,
    states: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    axes = Axes(recurrent_shape=config.recurrent_shape, bias_shape=config.bias_shape)
    found: tuple[Tensor, Tensor] = flash(
        FUNCTIONS["slstm"], Wx, R, b, states, axes, all_states=False
    )
    return found


@_disable_dynamo  # type: ignore[untyped-decorator]
def _tirex(module: Any, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    config = module.config
    heads, units, gates = config.num_heads, config.head_dim, config.num_gates
    B = input.shape[1]
    found, last = flash(
        TIREX,
        input.transpose(0, 1).reshape(B, -1, gates, heads, units),
        module._recurrent_kernel_.view(heads, units, gates, units),
        module._bias_.view(heads, gates, units),
        state.reshape(-1, B, 1, heads, units),
        Axes(recurrent_shape="HPGD", bias_shape="HGD"),
        all_states=False,
        owner=module._recurrent_kernel_,
    )
    return found[0].transpose(0, 1).flatten(2), last.reshape(state.shape)


@_disable_dynamo  # type: ignore[untyped-decorator]
def _xlstm(
    module: Any, input: Tensor, state: Tensor | None = None, lengths: Any = None
) -> tuple[Tensor, Tensor]:
    module._check_input(input)
    x = module._permute_input(input)  # S, B, G N H
    state = module._get_state(x, state)
    config = module.config
    heads, units, gates = config.num_heads, config.head_dim, config.num_gates
    B = x.shape[1]
    found, last = flash(
        XLSTM if config.function == "slstm" else FUNCTIONS["lstm"],
        x.transpose(0, 1).reshape(B, -1, gates, heads, units),
        module._recurrent_kernel_.view(heads, gates, units, units),
        module._bias_.view(gates, heads, units),
        state.reshape(-1, B, 1, heads, units),
        Axes(recurrent_shape="HGDP"),
        all_states=False,
        owner=module._recurrent_kernel_,
    )
    output = module._permute_output(found[0].transpose(0, 1).flatten(2))
    return output.to(input.dtype), last.reshape(state.shape).to(input.dtype)


def _torch_backend(module: Any) -> str:
    backend = module.backend
    return "" if backend == "torch" else f"its backend is {backend}, and not torch"


#: By module and name of the class.
FOREIGN = {
    ("tirex2.model.component.flashrnn_slstm", "sLSTMFlashRNNLayer"): Foreign(
        {"slstm_flashrnn": _tirex2}, lambda module: ""
    ),
    ("tirex.models.slstm.cell", "sLSTMCell"): Foreign(
        {"_impl_torch": _tirex}, _torch_backend
    ),
    ("xlstm.blocks.slstm.cell", "sLSTMCell_vanilla"): Foreign(
        {"forward": _xlstm}, lambda module: ""
    ),
}

_made: dict[type, type] = {}


def key_of(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def is_foreign(module: object) -> bool:
    """Return whether the module is of a class of `FOREIGN`, or of a subclass."""
    return any(key_of(cls) in FOREIGN for cls in type(module).__mro__)


def why_not(module: Any) -> str:
    """Return why a module of another package cannot be served, or ""."""
    key = key_of(type(module))
    if key not in FOREIGN:
        return f"{key[0]}.{key[1]} is a class of its own"
    return FOREIGN[key].why_not(module)


def subclass_of(cls: type) -> type:
    """Return the subclass of a class of `FOREIGN` that fastcell computes."""
    if cls not in _made:
        methods = dict(FOREIGN[key_of(cls)].methods)
        members = {**methods, "__module__": __name__, "__qualname__": cls.__name__}
        _made[cls] = type(cls.__name__, (Served, cls), members)
    return _made[cls]


def _rebuilt(cls: type) -> Any:
    return object.__new__(subclass_of(cls))
