"""PyTorch's adapter: the verbs of compare.py in addition to `fastcell._judge.torch`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch
from judge.language_model import LanguageModelCase
from judge.ragged import RaggedCase
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fastcell._judge import torch as judge_torch
from fastcell._judge.cases import Case
from fastcell._judge.torch import training
from peers import Arrays, BaseEngine, Run, padded


class Engine(judge_torch.Engine, BaseEngine):
    """See :class:`peers.BaseEngine`."""

    def ragged(
        self, case: RaggedCase, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        layer = self.layer_of(case, weights)
        lengths = torch.tensor(case.lengths)

        def packed(x: torch.Tensor) -> torch.Tensor:
            sequence = pack_padded_sequence(x, lengths, enforce_sorted=False)
            return pad_packed_sequence(layer(sequence)[0], total_length=case.T)[0]

        return [
            *padded(self.train(case, weights, x, dy), case),
            training(f"{self.label} packed", layer, x, dy, packed),
        ]

    def train_bf16(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        """In bfloat16 throughout, by autocast, and in float32 as `train`."""
        half = self.layer_of(case, weights).bfloat16()
        mixed = self.layer_of(case, weights)

        def autocast(x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return mixed(x)[0]

        return [
            training(
                f"{self.label} bf16", half, x, dy, lambda x: half(x)[0], torch.bfloat16
            ),
            training(f"{self.label} autocast", mixed, x, dy, autocast),
            *self.train(case, weights, x, dy),
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


class _LanguageModel(torch.nn.Module):
    def __init__(self, case: LanguageModelCase, modules: Any) -> None:
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
    modules: Any,
) -> Callable[[], float]:
    model = _LanguageModel(case, modules)
    model.load_state_dict(judge_torch.tensors(weights))
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
