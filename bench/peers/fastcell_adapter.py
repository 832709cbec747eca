"""fastcell's adapter: the verbs of compare.py in addition to `fastcell._judge.own`."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from judge.language_model import LanguageModelCase
from judge.ragged import RaggedCase

import fastcell
from fastcell._judge import own
from fastcell._judge.cases import Case
from fastcell._judge.own import inference, layer_of, training
from peers import Arrays, BaseEngine, NotYet, Run


class Engine(own.Engine, BaseEngine):
    """See :class:`peers.BaseEngine`."""

    def forward_int8(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        layer = _converted(layer_of(case, weights), "quantize", "int8")
        return [
            inference(self.label, case, layer, x),
            inference(f"{self.label} fp32", case, layer_of(case, weights), x),
        ]

    def train_bf16(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        layer = _converted(layer_of(case, weights), "to", "bf16")
        return [training(self.label, layer, x, dy)]

    def ragged(
        self, case: RaggedCase, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        lengths = np.array(case.lengths)
        return [training(self.label, layer_of(case, weights), x, dy, lengths=lengths)]

    def language_model(
        self,
        case: LanguageModelCase,
        weights: Arrays,
        batches: list[tuple[np.ndarray, np.ndarray]],
    ) -> list[Run]:
        from fastcell.models import LanguageModel
        from fastcell.optim import Adam, clip_grad_norm

        model = LanguageModel(
            case.vocab_size, case.embedding_dim, case.hidden_size, case.num_layers
        )
        # The same layers in the same order, under the names of fastcell's own model.
        model.load_state_dict(
            dict(zip(model.state_dict(), weights.values(), strict=True))
        )
        optimizer = Adam(model.params, lr=case.lr)
        stream = cycle(batches)
        state = None

        def call() -> float:
            nonlocal state
            loss, saved = model.loss(next(stream), state)
            state = saved.state
            grads = model.backward(saved)
            clip_grad_norm(grads, case.clip_norm)
            optimizer.step(grads)
            return loss

        return [Run(self.label, call, lambda loss: {"loss": np.array([loss])})]


def _converted(layer: Any, method: str, name: str) -> Any:
    """Return the layer after ``layer.<method>(name)``, in place or a new one."""
    if not hasattr(layer, method):
        raise NotYet(f"fastcell {fastcell.__version__}: layers have no {method}()")
    converted = getattr(layer, method)(name)
    return layer if converted is None else converted
