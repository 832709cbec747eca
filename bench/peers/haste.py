"""haste's LSTMs with layer normalization and zoneout on the CPU: its PyTorch code.

github.com/lmnt-com/haste, frameworks/pytorch. Its compiled part is for GPUs; without
one its layers run a loop of PyTorch's operations. That loop is timed as it is and by
``torch.jit.script``, for which haste has a comment at the function.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from judge import zoneout

from fastcell._judge.cases import Case
from peers import Arrays, BaseEngine, NotInstalled, Run

#: Module, class and function with the loop, by our cell.
_LAYERS = {
    "lstm": ("lstm", "LSTM", "LSTMScript"),
    "lstm_layer_norm": ("layer_norm_lstm", "LayerNormLSTM", "LayerNormLSTMScript"),
}


class Engine(BaseEngine):
    """See :class:`peers.BaseEngine`."""

    label = "haste"
    cells = tuple(_LAYERS)

    def __init__(self, source: Path) -> None:
        folder = source / "frameworks" / "pytorch"
        if not (folder / "layer_norm_lstm.py").exists():
            raise NotInstalled(f"haste: no file {folder / 'layer_norm_lstm.py'}")
        # Of the GPU; imported, and not called.
        sys.modules.setdefault("haste_pytorch_lib", ModuleType("haste_pytorch_lib"))
        self._eager = _package("haste_eager", folder)
        self._scripted = _package("haste_scripted", folder)
        for module, _, loop in _LAYERS.values():
            found = importlib.import_module(f"{self._scripted}.{module}")
            setattr(found, loop, torch.jit.script(getattr(found, loop)))

    def versions(self) -> dict[str, str]:
        return {"torch": str(torch.__version__)}

    def set_num_threads(self, n: int) -> None:
        torch.set_num_threads(n)

    def train(
        self,
        case: Case,
        weights: Arrays,
        x: np.ndarray,
        dy: np.ndarray,
        keep: np.ndarray | None = None,
    ) -> list[Run]:
        """See :class:`peers.BaseEngine`; `keep`: where units keep h, default random."""
        ways = {"eager": self._eager, "TorchScript": self._scripted}
        return [
            _training(f"{self.label} {way}", package, case, weights, x, dy, keep)
            for way, package in ways.items()
        ]


def _package(name: str, folder: Path) -> str:
    """Make the folder a package of this name, without its __init__.py."""
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    return name


def _training(
    label: str,
    package: str,
    case: Case,
    weights: Arrays,
    x: np.ndarray,
    dy: np.ndarray,
    keep: np.ndarray | None,
) -> Run:
    module, name, _ = _LAYERS[case.cell]
    make = getattr(importlib.import_module(f"{package}.{module}"), name)
    layer = make(case.I, case.H, zoneout=zoneout.rate(case))
    parameters = _parameters(weights)
    with torch.no_grad():
        for key, parameter in layer.named_parameters():
            parameter.copy_(torch.from_numpy(parameters[key]))
    if keep is not None:
        mask = torch.from_numpy((~keep).astype(np.float32))
        layer._get_zoneout_mask = lambda _: mask
    names, of_layer = zip(*layer.named_parameters(), strict=True)
    x_torch = torch.from_numpy(x).requires_grad_()
    dy_torch = torch.from_numpy(dy)

    def call() -> Any:
        y, _ = layer(x_torch)
        return y, torch.autograd.grad(y, (x_torch, *of_layer), dy_torch)

    def read(result: Any) -> Arrays:
        y, (dx, *grads) = result
        given = {n: g.numpy() for n, g in zip(names, grads, strict=True)}
        return {"y": y.detach().numpy(), "dx": dx.numpy(), **_gradients(given)}

    return Run(label, call, read)


def _parameters(weights: Arrays) -> Arrays:
    """Return haste's parameters; its gates are i g f o, and its biases one."""
    w = {name.removesuffix("_l0"): array for name, array in weights.items()}
    found = {
        "kernel": _other_order(w["weight_ih"]).T,
        "recurrent_kernel": _other_order(w["weight_hh"]).T,
        "bias": _other_order(w["bias_ih"] + w["bias_hh"]),
    }
    if "weight_ln_ih" in w:
        gains = [_other_order(w[name]) for name in ("weight_ln_ih", "weight_ln_hh")]
        found["gamma"] = np.stack(gains)
        found |= {"gamma_h": w["weight_ln_c"], "beta_h": w["bias_ln_c"]}
    return found


def _gradients(given: Arrays) -> Arrays:
    """Return the gradients of our parameters from those of haste's."""
    bias = _other_order(given["bias"])
    found = {
        "weight_ih": _other_order(given["kernel"].T),
        "weight_hh": _other_order(given["recurrent_kernel"].T),
        "bias_ih": bias,
        "bias_hh": bias,
    }
    if "gamma" in given:
        found["weight_ln_ih"], found["weight_ln_hh"] = map(_other_order, given["gamma"])
        found |= {"weight_ln_c": given["gamma_h"], "bias_ln_c": given["beta_h"]}
    return {f"{name}_l0": array for name, array in found.items()}


def _other_order(array: np.ndarray) -> np.ndarray:
    """Return i g f o from i f g o along the first axis, and the reverse."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, g, f, o])
