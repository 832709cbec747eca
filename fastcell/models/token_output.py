"""The scores of tokens and their cross-entropy, a part of the rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastcell.layers import Dropout, Linear
from fastcell.losses import cross_entropy
from fastcell.models.parts import IGNORED, part_seeds
from fastcell.module import Module

MOST_SCORES = 1 << 23  # at a time: 32 MiB of float32


class TokenOutput(Linear):
    """Dropout and a dense layer to one score for each token of a vocabulary.

    Scores are made only for the targets that count, and the loss and its gradient for
    some millions of scores at a time, so that neither padding nor a large vocabulary
    takes memory.

    Parameters
    ----------
    features, vocab_size : int
        Sizes of a vector and of its scores.
    dropout : float
        On the vectors, in training.
    """

    def __init__(
        self,
        features: int,
        vocab_size: int,
        dropout: float,
        *,
        dtype: np.dtype,
        seed: int | None,
    ) -> None:
        seeds = part_seeds(seed, 2)
        super().__init__(features, vocab_size, dtype=dtype, seed=seeds[0])
        self._dropout = Dropout(dropout, seed=seeds[1]) if dropout else None

    def children(self) -> dict[str, Module]:
        """Return the dropout, which has no parameters, for its generator."""
        return {} if self._dropout is None else {"dropout": self._dropout}

    def loss(self, vectors: np.ndarray, labels: np.ndarray) -> tuple[float, Any]:
        """Return the mean cross-entropy, and its gradients for `loss_backward`.

        Parameters
        ----------
        vectors : ndarray, shape (..., features)
        labels : ndarray of int, shape (...)
            Tokens, or `IGNORED`.
        """
        counted = labels != IGNORED
        rows, wanted = np.ascontiguousarray(vectors[counted]), labels[counted]
        dropped = None
        if self._dropout is not None:
            rows, dropped = self._dropout.forward(rows)
        total = 0.0
        drows = np.zeros_like(rows)
        sums = {n: np.zeros_like(a) for n, a in self._parameters.arrays().items()}
        for part in self._parts(len(rows)):
            scores, kept = self.forward(rows[part])
            value, dscores = cross_entropy(scores, wanted[part], reduction="sum")
            total += value
            dscores /= len(rows)
            drows[part], grads = self.backward(dscores, kept)
            for name, grad in grads.items():
                sums[name] += grad
        if dropped is not None:
            drows, _ = self._dropout.backward(drows, dropped)
        return total / max(len(rows), 1), (counted, drows, sums)

    def loss_backward(self, saved: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the gradients of the vectors, 0 where ignored, and of parameters."""
        counted, drows, grads = saved
        dvectors = np.zeros((*counted.shape, drows.shape[-1]), drows.dtype)
        dvectors[counted] = drows
        return dvectors, grads

    def assess(self, vectors: np.ndarray, labels: np.ndarray) -> tuple[float, int, int]:
        """Return the mean cross-entropy, the right answers and the targets counted."""
        counted = labels != IGNORED
        rows, wanted = np.ascontiguousarray(vectors[counted]), labels[counted]
        total, right = 0.0, 0
        for part in self._parts(len(rows)):
            scores = self(rows[part])
            total += cross_entropy(scores, wanted[part], reduction="sum")[0]
            right += int(np.count_nonzero(scores.argmax(axis=-1) == wanted[part]))
        return total / max(len(rows), 1), right, len(rows)

    def _parts(self, count: int) -> Iterator[slice]:
        step = max(1, MOST_SCORES // self.out_features)
        return (slice(i, i + step) for i in range(0, count, step))
