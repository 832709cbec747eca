"""PyTorch, eager, as users get it: nn.LSTM, nn.GRU, nn.RNN and their cells."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from types import ModuleType
from typing import Any

import numpy as np
import torch
from language_model import LanguageModelCase
from ragged import RaggedCase
from shapes import Case
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from peers import Arrays, BaseEngine, Run, padded, state_names

NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


class Engine(BaseEngine):
    """See :class:`peers.BaseEngine`."""

    label = "PyTorch"

    #: Where LSTM, LSTMCell and their like are.
    modules: ModuleType = torch.nn

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def instruction_set(self) -> str:
        return torch.backends.cpu.get_cpu_capability()

    def set_num_threads(self, n: int) -> None:
        torch.set_num_threads(n)

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        layer = self._layer(case, weights)
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
        layer = self._layer(case, weights)
        return [_training(self.label, layer, x, dy, lambda x: layer(x)[0])]

    def ragged(
        self, case: RaggedCase, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        layer = self._layer(case, weights)
        lengths = torch.tensor(case.lengths)

        def packed(x: torch.Tensor) -> torch.Tensor:
            sequence = pack_padded_sequence(x, lengths, enforce_sorted=False)
            return pad_packed_sequence(layer(sequence)[0], total_length=case.T)[0]

        return [
            *padded(self.train(case, weights, x, dy), case),
            _training(f"{self.label} packed", layer, x, dy, packed),
        ]

    def train_bf16(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        """In bfloat16 throughout, by autocast, and in float32 as `train`."""
        half = self._layer(case, weights).bfloat16()
        mixed = self._layer(case, weights)

        def autocast(x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return mixed(x)[0]

        return [
            _training(
                f"{self.label} bf16", half, x, dy, lambda x: half(x)[0], torch.bfloat16
            ),
            _training(f"{self.label} autocast", mixed, x, dy, autocast),
            *self.train(case, weights, x, dy),
        ]

    def step(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        return [
            Run(
                f"{self.label} cell",
                self._cell_step(case, weights, x),
                lambda y: {"y": y.numpy().reshape(-1)},
                torch.inference_mode,
            ),
            Run(
                f"{self.label} layer",
                self._layer_step(case, weights, x),
                lambda y: {"y": y.numpy().reshape(-1)},
                torch.inference_mode,
            ),
        ]

    def language_model(
        self,
        case: LanguageModelCase,
        weights: Arrays,
        batches: list[tuple[np.ndarray, np.ndarray]],
    ) -> list[Run]:
        return [
            Run(
                f"{self.label}{suffix}",
                _language_model_step(case, weights, batches, fused, self.modules),
                lambda loss: {"loss": np.array([loss])},
            )
            for suffix, fused in (("", None), (", fused Adam", True))
        ]

    def _layer(self, case: Case, weights: Arrays) -> torch.nn.Module:
        layer = getattr(self.modules, NAMES[case.cell])(case.I, case.H)
        layer.load_state_dict(_tensors(weights))
        return layer

    def _cell_step(
        self, case: Case, weights: Arrays, x: np.ndarray
    ) -> Callable[[], Any]:
        cell = getattr(self.modules, f"{NAMES[case.cell]}Cell")(case.I, case.H)
        cell.load_state_dict(
            {
                name.removesuffix("_l0"): value
                for name, value in _tensors(weights).items()
            }
        )
        x_torch = torch.from_numpy(x)
        h = torch.zeros(1, case.H)
        c = torch.zeros(1, case.H)

        def lstm() -> torch.Tensor:
            nonlocal h, c
            h, c = cell(x_torch, (h, c))
            return h

        def other() -> torch.Tensor:
            nonlocal h
            h = cell(x_torch, h)
            return h

        return lstm if case.cell == "lstm" else other

    def _layer_step(
        self, case: Case, weights: Arrays, x: np.ndarray
    ) -> Callable[[], Any]:
        layer = self._layer(case, weights)
        x_torch = torch.from_numpy(x[None])
        zero = torch.zeros(1, 1, case.H)
        state = (zero, zero) if case.cell == "lstm" else zero

        def call() -> torch.Tensor:
            nonlocal state
            y, state = layer(x_torch, state)
            return y

        return call


def _training(
    label: str,
    layer: torch.nn.Module,
    x: np.ndarray,
    dy: np.ndarray,
    outputs: Callable[[torch.Tensor], torch.Tensor],
    dtype: torch.dtype = torch.float32,
) -> Run:
    """Forward by `outputs`, then the gradients of x and of all weights of `layer`."""
    x_torch = torch.from_numpy(x).to(dtype).requires_grad_()
    names, parameters = zip(*layer.named_parameters(), strict=True)
    with torch.no_grad():
        # Autocast's outputs are of its own type, and so is their gradient.
        dy_torch = torch.from_numpy(dy).to(outputs(x_torch).dtype)

    def call() -> Any:
        y = outputs(x_torch)
        # Returns the gradients instead of accumulating them: no zero_grad to pay.
        return y, torch.autograd.grad(y, (x_torch, *parameters), dy_torch)

    def read(result: Any) -> Arrays:
        y, grads = result
        arrays = {"y": y.detach().float().numpy()}
        for name, grad in zip(("dx", *names), grads, strict=True):
            arrays[name] = grad.float().numpy()
        return arrays

    return Run(label, call, read)


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


class _LanguageModel(torch.nn.Module):
    def __init__(self, case: LanguageModelCase, modules: ModuleType) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(case.vocab_size, case.embedding_dim)
        self.lstm = modules.LSTM(case.embedding_dim, case.hidden_size, case.num_layers)
        self.linear = torch.nn.Linear(case.hidden_size, case.vocab_size)

    def forward(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        y, state = self.lstm(self.embedding(ids), state)
        return self.linear(y), state


def _language_model_step(
    case: LanguageModelCase,
    weights: Arrays,
    batches: list[tuple[np.ndarray, np.ndarray]],
    fused: bool | None,
    modules: ModuleType,
) -> Callable[[], float]:
    model = _LanguageModel(case, modules)
    model.load_state_dict(_tensors(weights))
    optimizer = torch.optim.Adam(model.parameters(), lr=case.lr, fused=fused)
    stream = cycle([(torch.from_numpy(i), torch.from_numpy(t)) for i, t in batches])
    state = None

    def call() -> float:
        nonlocal state
        inputs, targets = next(stream)
        logits, (h, c) = model(inputs, state)
        state = h.detach(), c.detach()
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), case.clip_norm)
        optimizer.step()
        return loss.item()

    return call
