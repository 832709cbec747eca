"""What the sessions need of the parts of a model, so that they import none of them."""

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
    """From the outputs of the recurrent layers to the vectors that are scored."""

    def running(self, rows: int) -> Running | None: ...


class Expectation(Protocol):
    """A head of a model of frames: from its outputs to frames."""

    def mean(self, outputs: np.ndarray) -> np.ndarray: ...

    def sample(
        self, outputs: np.ndarray, temperature: float, random: np.random.Generator
    ) -> np.ndarray: ...
