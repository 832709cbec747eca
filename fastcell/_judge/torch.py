"""PyTorch in eager mode with default settings: nn.LSTM, nn.GRU, nn.RNN, their cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fastcell._judge.cases import Case
from fastcell._judge.engines import Arrays, BaseEngine, Run, state_names

NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


class Engine(BaseEngine):
    """See :class:`fastcell._judge.engines.BaseEngine`."""

    label = "PyTorch"

    #: The module with LSTM, LSTMCell and the other classes.
    modules: Any = torch.nn

    def versions(self) -> dict[str, str]:
        """The version of PyTorch."""
        return {"torch": str(torch.__version__)}

    def instruction_set(self) -> str:
        """The set of its own kernels; oneDNN chooses its own."""
        return str(torch.backends.cpu.get_cpu_capability())

    def set_num_threads(self, n: int) -> None:
        """Set the number of threads within an operator."""
        torch.set_num_threads(n)

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Forward by the layer, in inference mode."""
        layer = self.layer_of(case, weights)
        x_torch = torch.from_numpy(x)

        def read(result: Any) -> Arrays:
            y, state = result
            states = state if case.cell == "lstm" else (state,)
            arrays = {"y": y.numpy()}
            for name, value in zip(state_names(case.cell), states, strict=True):
                arrays[name] = value[0].numpy()
            return arrays

        return [Run(self.label, lambda: layer(x_torch), read, torch.inference_mode)]

    def train(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        """Training by the layer and autograd."""
        layer = self.layer_of(case, weights)
        return [training(self.label, layer, x, dy, lambda x: layer(x)[0])]

    def step(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Steps by the cell, and by the layer with T = 1, in inference mode."""
        ways = {
            "cell": self._cell_step(case, weights, x),
            "layer": self._layer_step(case, weights, x),
        }
        return [
            Run(
                f"{self.label} {way}",
                call,
                lambda y: {"y": y.numpy().reshape(-1)},
                torch.inference_mode,
            )
            for way, call in ways.items()
        ]

    def layer_of(self, case: Case, weights: Arrays) -> Any:
        """Return the layer of a case, with these weights."""
        layer = getattr(self.modules, NAMES[case.cell])(case.I, case.H)
        layer.load_state_dict(tensors(weights))
        return layer

    def _cell_step(
        self, case: Case, weights: Arrays, x: np.ndarray
    ) -> Callable[[], Any]:
        cell = getattr(self.modules, f"{NAMES[case.cell]}Cell")(case.I, case.H)
        given = tensors(weights)
        cell.load_state_dict({k.removesuffix("_l0"): v for k, v in given.items()})
        x_torch = torch.from_numpy(x)
        h = torch.zeros(1, case.H)
        c = torch.zeros(1, case.H)

        def lstm() -> Any:
            nonlocal h, c
            h, c = cell(x_torch, (h, c))
            return h

        def other() -> Any:
            nonlocal h
            h = cell(x_torch, h)
            return h

        return lstm if case.cell == "lstm" else other

    def _layer_step(
        self, case: Case, weights: Arrays, x: np.ndarray
    ) -> Callable[[], Any]:
        layer = self.layer_of(case, weights)
        x_torch = torch.from_numpy(x[None])
        zero = torch.zeros(1, 1, case.H)
        state: Any = (zero, zero) if case.cell == "lstm" else zero

        def call() -> Any:
            nonlocal state
            y, state = layer(x_torch, state)
            return y

        return call


def training(
    label: str,
    layer: Any,
    x: np.ndarray,
    dy: np.ndarray,
    outputs: Callable[[Any], Any],
    dtype: Any = torch.float32,
) -> Run:
    """Return a run: forward by `outputs`, then gradients of x and `layer`'s weights."""
    x_torch = torch.from_numpy(x).to(dtype).requires_grad_()
    names, parameters = zip(*layer.named_parameters(), strict=True)
    with torch.no_grad():
        # Outputs under autocast have its dtype, and so has their gradient.
        dy_torch = torch.from_numpy(dy).to(outputs(x_torch).dtype)

    def call() -> Any:
        y = outputs(x_torch)
        # Returned gradients, unlike accumulated ones, need no zero_grad.
        return y, torch.autograd.grad(y, (x_torch, *parameters), dy_torch)

    def read(result: Any) -> Arrays:
        y, grads = result
        arrays = {"y": y.detach().float().numpy()}
        for name, grad in zip(("dx", *names), grads, strict=True):
            arrays[name] = grad.float().numpy()
        return arrays

    return Run(label, call, read)


def tensors(arrays: Arrays) -> dict[str, Any]:
    """Return the arrays as tensors that share their memory."""
    return {name: torch.from_numpy(value) for name, value in arrays.items()}
