"""fastcell itself, by its public names and as its users get it."""

from __future__ import annotations

from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from shapes import Case, LanguageModelCase

import fastcell
from peers import Arrays, BaseEngine, Run

LAYERS = {"lstm": fastcell.LSTM, "gru": fastcell.GRU, "rnn": fastcell.RNN}


class Engine(BaseEngine):
    """See :class:`peers.BaseEngine`."""

    label = "fastcell"

    def versions(self) -> dict[str, str]:
        return {"fastcell": fastcell.__version__}

    def instruction_set(self) -> str:
        return fastcell._core.cpu_info()["isa"]

    def set_num_threads(self, n: int) -> None:
        fastcell.set_num_threads(n)

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        def read(result: Any) -> Arrays:
            y, state = result
            if case.cell == "lstm":
                return {"y": y, "h": state[0][0], "c": state[1][0]}
            return {"y": y, "h": state[0]}

        return [Run(self.label, partial(_layer(case, weights), x), read)]

    def train(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        layer = _layer(case, weights)

        def call() -> Any:
            y, _, saved = layer.forward(x)
            return y, layer.backward(dy, saved)

        def read(result: Any) -> Arrays:
            y, (dx, _, grads) = result
            return {"y": y, "dx": dx, **grads}

        return [Run(self.label, call, read)]

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

        model = LanguageModel(case.vocab_size, case.embedding_dim, case.hidden_size)
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


def _layer(case: Case, weights: Arrays) -> Any:
    layer = LAYERS[case.cell](case.I, case.H)
    layer.load_state_dict(weights)
    return layer
