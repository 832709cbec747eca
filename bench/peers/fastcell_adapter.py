"""fastcell itself, by its public names and as its users get it."""

from __future__ import annotations

from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from language_model import LanguageModelCase
from ragged import RaggedCase
from shapes import Case

import fastcell
from peers import Arrays, BaseEngine, NotYet, Run, state_names


class Engine(BaseEngine):
    """See :class:`peers.BaseEngine`."""

    label = "fastcell"

    def has(self, cell: str) -> bool:
        return True  # as cases are of the registry

    def versions(self) -> dict[str, str]:
        return {"fastcell": fastcell.__version__}

    def instruction_set(self) -> str:
        return fastcell._core.cpu_info()["isa"]

    def set_num_threads(self, n: int) -> None:
        fastcell.set_num_threads(n)

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        return [_inference(self.label, case, _layer(case, weights), x)]

    def forward_int8(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        layer = _converted(_layer(case, weights), "quantize", "int8")
        return [
            _inference(self.label, case, layer, x),
            _inference(f"{self.label} fp32", case, _layer(case, weights), x),
        ]

    def train(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        return [_training(self.label, _layer(case, weights), x, dy)]

    def train_bf16(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        layer = _converted(_layer(case, weights), "to", "bf16")
        return [_training(self.label, layer, x, dy)]

    def ragged(
        self, case: RaggedCase, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        lengths = np.array(case.lengths)
        return [_training(self.label, _layer(case, weights), x, dy, lengths=lengths)]

    def step(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        session = _layer(case, weights).session()
        return [
            Run(
                self.label,
                partial(session.step, x),
                # A copy: the session may hand out the same array at every step.
                lambda y: {"y": np.array(y).reshape(-1)},
            )
        ]

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


def _inference(label: str, case: Case, layer: Any, x: np.ndarray) -> Run:
    def read(result: Any) -> Arrays:
        y, state = result
        states = state if len(case.entry.states) > 1 else (state,)
        arrays = {"y": y}
        for name, value in zip(state_names(case.cell), states, strict=True):
            arrays[name] = value[0]
        return arrays

    return Run(label, partial(layer, x), read)


def _training(
    label: str, layer: Any, x: np.ndarray, dy: np.ndarray, **given: Any
) -> Run:
    def call() -> Any:
        y, _, saved = layer.forward(x, **given)
        return y, layer.backward(dy, saved)

    def read(result: Any) -> Arrays:
        y, (dx, _, grads) = result
        return {"y": y, "dx": dx, **grads}

    return Run(label, call, read)


def _converted(layer: Any, method: str, name: str) -> Any:
    """The layer after ``layer.<method>(name)``, whether in place or as a new one."""
    if not hasattr(layer, method):
        raise NotYet(f"fastcell {fastcell.__version__}: layers have no {method}()")
    converted = getattr(layer, method)(name)
    return layer if converted is None else converted


def _layer(case: Case, weights: Arrays) -> Any:
    layer = case.entry.layer(case.I, case.H)
    layer.load_state_dict(weights)
    return layer
