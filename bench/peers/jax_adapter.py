"""JAX's adapter: the verbs of compare.py in addition to `fastcell._judge.jax`."""

from __future__ import annotations

import numpy as np
from judge.ragged import RaggedCase

from fastcell._judge import jax
from peers import Arrays, BaseEngine, Run, padded


class Engine(jax.Engine, BaseEngine):
    """See :class:`peers.BaseEngine`."""

    def ragged(
        self, case: RaggedCase, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        return padded(self.train(case, weights, x, dy), case)
