"""Interfaces that sessions require of a model's parts, as Protocols."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from fastcell.layers.running import Running
from fastcell.layers.sequential import SequentialSession


class Encoder(Protocol):
    """The embedding and the recurrent layers of a model."""

    dtype: np.dtype[Any]

    def checked_step(self, x: Any, rows: int) -> np.ndarray: ...

    def session(self, batch_size: int) -> SequentialSession: ...


class Readout(Protocol):
    """The readout: from outputs of the recurrent layers to vectors that are scored."""

    def running(self, rows: int) -> Running | None: ...


class Expectation(Protocol):
    """The head of a frame model: from its outputs to frames."""

    def mean(self, outputs: np.ndarray) -> np.ndarray: ...

    def sample(
        self, outputs: np.ndarray, temperature: float, random: np.random.Generator
    ) -> np.ndarray: ...
