"""`accelerate` and `restore`: switch the recurrent modules of a model to fastcell.

A module keeps its identity and gets another class: parameters, hooks, names and
references are unchanged. `restore` sets the original class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.utils import parametrize

from fastcell.torch import cells, layers, xlstm

Recurrent = (torch.nn.RNNBase, torch.nn.RNNCellBase)


# Also subclasses of torch.nn's classes, for programs that test isinstance(m, nn.LSTM).
class RNN(layers.RNN, torch.nn.RNN):
    pass


class LSTM(layers.LSTM, torch.nn.LSTM):
    pass


class GRU(layers.GRU, torch.nn.GRU):
    pass


class RNNCell(cells.RNNCell, torch.nn.RNNCell):
    pass


class LSTMCell(cells.LSTMCell, torch.nn.LSTMCell):
    pass


class GRUCell(cells.GRUCell, torch.nn.GRUCell):
    pass


_SUBCLASSES: dict[type, type] = {
    c._peer: c for c in (RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell)
}
_PLAIN: dict[type, type] = {peer: c.__bases__[0] for peer, c in _SUBCLASSES.items()}


@dataclass
class Report:
    """Result of `accelerate`; as a context manager it calls `restore` at the end.

    Attributes
    ----------
    swapped : dict of str to str
        From a module's name in the model ("" for the model itself) to its description.
    skipped : dict of str to str
        Recurrent modules left unchanged, with the reason.
    """

    swapped: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    _model: torch.nn.Module | None = field(default=None, repr=False)
    _changed: set[str] = field(default_factory=set, repr=False)

    def __str__(self) -> str:
        lines = [f"{name or '(model)'}: {what}" for name, what in self.swapped.items()]
        lines += [
            f"{name or '(model)'}: left, {why}" for name, why in self.skipped.items()
        ]
        return "\n".join(lines) or "no recurrent modules"

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *error: object) -> None:
        if self._model is not None:
            _restore(self._model, self._changed)


def accelerate(
    model: torch.nn.Module, *, fullgraph: bool = False, verbose: bool = False
) -> Report:
    """Let fastcell compute the recurrent modules of a model, in place.

    Parameters
    ----------
    model : torch.nn.Module
        Its RNN, LSTM, GRU, RNNCell, LSTMCell and GRUCell modules, at any depth, get the
        class of `fastcell.torch`. Parameters remain the same objects, so optimizers,
        tied weights, hooks and state dicts stay valid. Subclasses with their own code
        are left unchanged. Modules of TiRex (tirex-ts, backend "torch"), TiRex-2 and
        xlstm get a subclass: the sLSTM and, without gradients, the mLSTM and the dense
        layers.
    fullgraph : bool, default False
        Whether ``torch.compile(model, fullgraph=True)`` must accept the model. It
        refuses subclasses of ``torch.nn.LSTM``, ``GRU`` and ``RNN``, so with True
        ``isinstance(module, torch.nn.LSTM)`` is False.
    verbose : bool, default False
        Whether to print the report.

    Returns
    -------
    Report
        What was swapped, and what was not and why. ``with accelerate(model): ...``
        restores the model at the end.

    Raises
    ------
    TypeError
        If `model` is not a ``torch.nn.Module``.

    Examples
    --------
    >>> import torch
    >>> import fastcell.torch
    >>> model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.GRU(4, 8))
    >>> print(fastcell.torch.accelerate(model))
    1: GRU(4, 8)
    >>> fastcell.torch.restore(model)
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    classes = _PLAIN if fullgraph else _SUBCLASSES
    report = Report(_model=model)
    for name, module in _recurrent(model):
        why = _why_not(module)
        if why:
            report.skipped[name] = why
            continue
        if not isinstance(module, Recurrent):
            if not isinstance(module, xlstm.Served):
                module.__class__ = xlstm.subclass_of(type(module))
                report._changed.add(name)
            report.swapped[name] = type(module).__name__
            continue
        if not isinstance(module, (layers.Layers, cells.Cell)):
            _give_class(module, classes[_kind(module)])
            report._changed.add(name)
        report.swapped[name] = repr(module)
    if verbose:
        print(report)
    return report


def restore(model: torch.nn.Module) -> None:
    """Undo `accelerate`: all modules get back the class that they had.

    Modules of `fastcell.torch` become those of ``torch.nn``.

    Raises
    ------
    TypeError
        If `model` is not a ``torch.nn.Module``.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    _restore(model, None)


def _restore(model: torch.nn.Module, names: Any) -> None:
    for name, module in _recurrent(model):
        if names is not None and name not in names:
            continue
        if isinstance(module, xlstm.Served):
            module.__class__ = type(module).__bases__[-1]
        if isinstance(module, (layers.Layers, cells.Cell)):
            module.__dict__.pop("_layer", None)
            _give_class(module, module._peer)
            if isinstance(module, torch.nn.RNNBase):
                module._init_flat_weights()


def _recurrent(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    foreign = dict(xlstm.modules_of(model))
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, Recurrent) or name in foreign:
            yield name, module


def _kind(module: torch.nn.Module) -> type:
    """Return a module's class, without the subclass of a parametrization."""
    if parametrize.is_parametrized(module):
        return type(module).__bases__[0]
    return type(module)


def _give_class(module: torch.nn.Module, cls: type) -> None:
    if parametrize.is_parametrized(module):
        made = type(module)
        cls = type(f"Parametrized{cls.__name__}", (cls,), dict(made.__dict__))
    module.__class__ = cls


def _why_not(module: torch.nn.Module) -> str:
    """Return why fastcell cannot compute a module, or ""."""
    if isinstance(module, (layers.Layers, cells.Cell, xlstm.Served)):
        return ""
    if not isinstance(module, Recurrent):
        why = xlstm.why_not(module)
        if why:
            return why
    elif _kind(module) not in _SUBCLASSES:
        kind = _kind(module)
        return f"{kind.__module__}.{kind.__qualname__} is a class of its own"
    if "forward" in module.__dict__:
        return "its forward was replaced"
    for parameter in module.parameters():
        if parameter.device.type not in ("cpu", "meta"):
            return f"it is on {parameter.device}"
        if not parameter.is_floating_point():
            return f"its weights are {parameter.dtype}"
    return ""
