"""xLSTM modules of other packages, computed by fastcell: subclasses of their classes.

The classes are recognised by name: no package is imported. Parameters, state dicts and
results' shapes are the package's own. The sLSTM is computed in float32, or in float64
for tensors of it. The mLSTM and the dense layers have no gradients here: a call that
autograd records is the package's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastcell.torch import served
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
    members : dict of str to callable or property
        What the subclass replaces.
    why_not : callable
        From a module to the reason why it cannot be served, or "".
    """

    members: dict[str, Any]
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


def _package_of(module: Any) -> Any:
    """Return the package's class of a served module."""
    return type(module).__bases__[-1]


def _linear(module: Any, x: Tensor) -> Tensor:
    if served.can_serve(x, module.weight, module.bias):
        return served.linear(x, module.weight, module.bias)
    y: Tensor = torch.nn.Linear.forward(module, x)
    return y


def _headwise(module: Any, x: Tensor) -> Tensor:
    weight, bias = module.weight, getattr(module, "bias", None)
    wide = min(weight.shape[1:]) >= _LEAST_OF_A_HEAD
    if wide and served.can_serve(x, weight, bias):
        return served.linear(x, weight, bias)
    y: Tensor = _package_of(module).forward(module, x)
    return y


#: Numbers of a head for which a product of its own pays.
_LEAST_OF_A_HEAD = 64


def _norm_of_heads(module: Any, x: Tensor) -> Tensor:
    kind = x.dtype
    if module.force_float32_reductions:
        x = x.float()
    x = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=module.eps)
    y: Tensor = module._apply_weight_bias(x.to(kind).flatten(2))
    return y


def _mlstm_backend(
    module: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    i: Tensor,
    f: Tensor,
    c_initial: Tensor | None = None,
    n_initial: Tensor | None = None,
    m_initial: Tensor | None = None,
    return_last_states: bool | None = None,
    mode: str | None = None,
) -> Any:
    inputs, state = (q, k, v, i, f), (c_initial, n_initial, m_initial)
    config = module.config
    kind = config.mode if mode is None else mode
    known = "train" in kind or "inference" in kind
    several = sum(part is not None for part in state)
    if not known or several in (1, 2) or not served.can_serve(*inputs, *state):
        return _package_of(module).forward(
            module, *inputs, *state, return_last_states, mode
        )
    wanted = return_last_states
    if "train" not in kind:
        wanted = True
    elif wanted is None:
        wanted = config.return_last_states
    if not wanted and not several:
        return served.mlstm_outputs(inputs, eps=config.eps)
    y, after = served.mlstm(inputs, state, eps=config.eps)
    return (y, after) if wanted else y


#: The default of xlstm's functions, which its cells do not change.
_CELL_EPS = 1e-6


def _cell_whole(module: Any) -> Callable[..., Tensor]:
    """Return the function of an mLSTM cell of xlstm over a sequence."""
    package = module.__dict__["backend_fn"]

    def call(**given: Any) -> Tensor:
        q, k, v = given["queries"], given["keys"], given["values"]
        i, f = given["igate_preact"].squeeze(-1), given["fgate_preact"].squeeze(-1)
        if served.can_serve(q, k, v, i, f):
            return served.mlstm_outputs((q, k, v, i, f), eps=_CELL_EPS)
        y: Tensor = package(**given)
        return y

    return call


def _cell_step(module: Any) -> Callable[..., Any]:
    """Return the function of an mLSTM cell of xlstm for one step."""
    package = module.__dict__["backend_fn_step"]

    def call(**given: Any) -> Any:
        if not served.can_serve(*given.values()):
            return package(**given)
        q, k, v = given["q"], given["k"], given["v"]
        i, f = given["igate_preact"].squeeze(-1), given["fgate_preact"].squeeze(-1)
        c, n, m = given["c_state"], given["n_state"], given["m_state"]
        # The package's state has keys that are scaled.
        y, (c, n, m) = served.mlstm(
            (q, k * q.shape[-1] ** -0.5, v, i, f),
            (c, n.squeeze(-1), m.squeeze(-1)),
            scale=1.0,
            eps=_CELL_EPS,
        )
        return y, (c, n.unsqueeze(-1), m.unsqueeze(-1))

    return call


def _exponential(module: Any) -> str:
    kernel = module.config.chunkwise_kernel
    return f"its kernel is {kernel}" if "siging" in kernel else ""


def _own_functions(module: Any) -> str:
    names = ("parallel_stabilized_simple", "recurrent_step_stabilized_simple")
    found = (module.backend_fn, module.backend_fn_step)
    same = all(
        getattr(f, "__name__", "") == name for f, name in zip(found, names, strict=True)
    )
    return "" if same else "its functions were replaced"


def _torch_backend(module: Any) -> str:
    backend = module.backend
    return "" if backend == "torch" else f"its backend is {backend}, and not torch"


def _always(module: Any) -> str:
    return ""


HEADWISE = Foreign({"forward": _headwise}, _always)
#: By one operator of PyTorch, with its gradients.
NORM_OF_HEADS = Foreign({"forward": _norm_of_heads}, _always)
#: By module and name of the class.
FOREIGN = {
    ("tirex2.model.component.flashrnn_slstm", "sLSTMFlashRNNLayer"): Foreign(
        {"slstm_flashrnn": _tirex2}, _always
    ),
    ("tirex.models.slstm.cell", "sLSTMCell"): Foreign(
        {"_impl_torch": _tirex}, _torch_backend
    ),
    ("xlstm.blocks.slstm.cell", "sLSTMCell_vanilla"): Foreign(
        {"forward": _xlstm}, _always
    ),
    ("tirex2.model.component.flashrnn_slstm", "LinearHeadwiseExpand"): HEADWISE,
    ("tirex.models.slstm.layer", "LinearHeadwiseExpand"): HEADWISE,
    ("xlstm.components.linear_headwise", "LinearHeadwiseExpand"): HEADWISE,
    ("tirex2.model.component.norm", "MultiHeadLayerNorm"): NORM_OF_HEADS,
    ("xlstm.xlstm_large.components", "MultiHeadLayerNorm"): NORM_OF_HEADS,
    ("mlstm_kernels.torch.backend_module", "mLSTMBackend"): Foreign(
        {"forward": _mlstm_backend}, _exponential
    ),
    ("xlstm.blocks.mlstm.cell", "mLSTMCell"): Foreign(
        {
            "backend_fn": property(_cell_whole),
            "backend_fn_step": property(_cell_step),
        },
        _own_functions,
    ),
}
#: Dense layers, if they are within modules of these packages.
DENSE = Foreign({"forward": _linear}, _always)
PACKAGES = ("tirex", "tirex2", "xlstm")

_made: dict[type, type] = {}


def key_of(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def modules_of(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield the modules that have a subclass here, or that of a superclass, by name."""
    inside: dict[str, bool] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        outer = inside.get(name.rpartition(".")[0], False) if name else False
        inside[name] = outer or any(
            cls.__module__.partition(".")[0] in PACKAGES for cls in type(module).__mro__
        )
        dense = inside[name] and type(module) is torch.nn.Linear
        if dense or is_foreign(module):
            yield name, module


def is_foreign(module: object) -> bool:
    """Return whether the module is served, or of a class of `FOREIGN` or below it."""
    return isinstance(module, Served) or any(
        key_of(cls) in FOREIGN for cls in type(module).__mro__
    )


def _foreign(cls: type) -> Foreign | None:
    return DENSE if cls is torch.nn.Linear else FOREIGN.get(key_of(cls))


def why_not(module: Any) -> str:
    """Return why a module of another package cannot be served, or ""."""
    found = _foreign(type(module))
    if found is None:
        return "{}.{} is a class of its own".format(*key_of(type(module)))
    return found.why_not(module)


def subclass_of(cls: type) -> type:
    """Return the subclass of a package's class that fastcell computes."""
    if cls not in _made:
        found: Any = _foreign(cls)
        members = {
            **found.members,
            "__module__": __name__,
            "__qualname__": cls.__name__,
        }
        _made[cls] = type(cls.__name__, (Served, cls), members)
    return _made[cls]


def _rebuilt(cls: type) -> Any:
    return object.__new__(subclass_of(cls))
