"""The engine of fastcell itself, by its public API and with default settings."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fastcell
from fastcell import _core
from fastcell._judge.cases import Case
from fastcell._judge.engines import OURS, Arrays, BaseEngine, Run, state_names


class Engine(BaseEngine):
    """See :class:`fastcell._judge.engines.BaseEngine`."""

    label = OURS

    def has(self, cell: str) -> bool:
        """Return True: cases only have cells of the registry."""
        return True

    def versions(self) -> dict[str, str]:
        """The version of fastcell."""
        return {"fastcell": fastcell.__version__}

    def instruction_set(self) -> str:
        """The selected instruction set."""
        return _core.isa()

    def set_num_threads(self, n: int) -> None:
        """Set the number of threads of all calls."""
        fastcell.set_num_threads(n)

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Forward by a call of the layer."""
        return [inference(self.label, case, layer_of(case, weights), x)]

    def train(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        """Training by the layer's forward and backward."""
        return [training(self.label, layer_of(case, weights), x, dy)]

    def step(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Steps by a session."""
        session = layer_of(case, weights).session()
        return [
            Run(
                self.label,
                partial(session.step, x),
                # A copy, because a session may return the same array in each step.
                lambda y: {"y": np.array(y).reshape(-1)},
            )
        ]


def inference(label: str, case: Case, layer: Any, x: np.ndarray) -> Run:
    """Return the run of a forward call."""

    def read(result: Any) -> Arrays:
        y, state = result
        states = state if len(case.entry.states) > 1 else (state,)
        arrays = {"y": y}
        for name, value in zip(state_names(case.cell), states, strict=True):
            arrays[name] = value[0]
        return arrays

    return Run(label, partial(layer, x), read)


def training(
    label: str, layer: Any, x: np.ndarray, dy: np.ndarray, **given: Any
) -> Run:
    """Return the run of a forward and a backward call; `given` is for forward."""

    def call() -> Any:
        y, _, saved = layer.forward(x, **given)
        return y, layer.backward(dy, saved)

    def read(result: Any) -> Arrays:
        y, (dx, _, grads) = result
        return {"y": y, "dx": dx, **grads}

    return Run(label, call, read)


def layer_of(case: Case, weights: Arrays) -> Any:
    """Return the layer of a case, with these weights."""
    layer = case.entry.layer(case.I, case.H)
    layer.load_state_dict(weights)
    return layer
