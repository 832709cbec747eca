"""Token encoder: an embedding and a recurrent layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.cells import Cell
from fastcell.layers import Dropout, Embedding, Sequential
from fastcell.models.parts.common import part_seeds
from fastcell.module import Module


class TokenEncoder(Module):
    """An embedding, optional dropout, and a recurrent layer.

    Without dropout the recurrent layer directly follows the embedding and takes the
    gather path.

    Parameters
    ----------
    vocab_size, embedding_dim, hidden_size, num_layers, dropout, bidirectional
        As for the models, which check them.
    cell : Cell
        Cell of the recurrent layer.
    extra : int
        Features concatenated to the embedded token, as in input feeding; the caller
        then calls the layers one by one.

    Attributes
    ----------
    embedding, rnn
        The layers.
    dropout : Dropout or None
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_size: int,
        num_layers: int,
        cell: Cell,
        dropout: float,
        bidirectional: bool = False,
        extra: int = 0,
        *,
        dtype: np.dtype,
        seed: int | None,
    ) -> None:
        seeds = part_seeds(seed, 3)
        self.embedding = Embedding(
            vocab_size, embedding_dim, dtype=dtype, seed=seeds[0]
        )
        self.rnn = cell.layer(
            embedding_dim + extra,
            hidden_size,
            num_layers=num_layers,
            dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=bidirectional,
            dtype=dtype,
            seed=seeds[1],
        )
        self.dropout = Dropout(dropout, seed=seeds[2]) if dropout else None
        named = {"embedding": self.embedding, "rnn": self.rnn}
        if self.dropout is not None:
            named = {
                "embedding": self.embedding,
                "embedding_dropout": self.dropout,
                "rnn": self.rnn,
            }
        self._named: dict[str, Module] = named
        self._network = Sequential(named)

    def children(self) -> dict[str, Module]:
        """Return the layers by name."""
        return dict(self._named)

    def __call__(
        self, ids: np.ndarray, state: Any = None, lengths: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Return the outputs and the final state of ids (T, B), for inference."""
        result: tuple[np.ndarray, Any] = self._network(ids, state, lengths=lengths)
        return result

    def forward(
        self, ids: np.ndarray, state: Any = None, lengths: Any = None
    ) -> tuple[np.ndarray, Any, Any]:
        """Return the outputs, the final state and `saved`, for training."""
        return self._network.forward(ids, state, lengths=lengths)

    def backward(
        self, dy: np.ndarray | None, saved: Any, dstate: Any = None
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """Return the gradients of the initial state and of the parameters."""
        _, dstate, grads = self._network.backward(dy, saved, dstate)
        return dstate, grads
