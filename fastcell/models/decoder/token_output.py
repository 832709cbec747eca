"""Output layer of decoders: token scores and their cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.layers import Dropout, Linear
from fastcell.models.heads.softmax import softmax_assess, softmax_loss
from fastcell.models.parts.common import IGNORED, part_seeds
from fastcell.module import Module


class TokenOutput(Linear):
    """Dropout and a dense layer to one score for each token of a vocabulary.

    Scores are computed only for targets that count, in blocks
    (`fastcell.models.heads.softmax`), so padding takes no memory and a large vocabulary
    little.

    Parameters
    ----------
    features, vocab_size : int
        Sizes of a vector and of its scores.
    dropout : float
        Probability of dropping an element of a vector, in training.
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
        """Return the dropout layer: it has a generator, but no parameters."""
        return {} if self._dropout is None else {"dropout": self._dropout}

    def loss(self, vectors: np.ndarray, labels: np.ndarray) -> tuple[float, Any]:
        """Return the mean cross-entropy, and values for `loss_backward`.

        Parameters
        ----------
        vectors : ndarray, shape (..., features)
        labels : ndarray of int, shape (...)
            Tokens, or `IGNORED`.
        """
        counted = labels != IGNORED
        rows, dropped = np.ascontiguousarray(vectors[counted]), None
        if self._dropout is not None:
            rows, dropped = self._dropout.forward(rows)
        loss, drows, grads = softmax_loss(self, rows, labels[counted])
        if dropped is not None and self._dropout is not None:
            drows, _ = self._dropout.backward(drows, dropped)
        return loss, (counted, drows, grads)

    def loss_backward(self, saved: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the gradients of the vectors, 0 if ignored, and of the parameters."""
        counted, drows, grads = saved
        dvectors = np.zeros((*counted.shape, drows.shape[-1]), drows.dtype)
        dvectors[counted] = drows
        return dvectors, grads

    def assess(self, vectors: np.ndarray, labels: np.ndarray) -> tuple[float, int, int]:
        """Return the mean cross-entropy, and the numbers of hits and of targets."""
        counted = labels != IGNORED
        return softmax_assess(self, vectors[counted], labels[counted])
