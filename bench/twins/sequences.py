"""Twins of the models from a sequence to a class, to values, to a class a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from twins.base import Twin, over, recurrent, tensor


class SequenceTwin(Twin):
    """Embedding, recurrent layers, a readout, scores."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        encoder = model.encoder
        if encoder.embedding_dim is not None:
            self.embedding = torch.nn.Embedding(
                encoder.input_size, encoder.embedding_dim
            )
        self.rnn = recurrent(encoder.children()["rnn"])
        self.decoder = torch.nn.Linear(encoder.output_size, model.task.outputs)
        self.dropout = torch.nn.Dropout(encoder.dropout)

    def encode(self, x: Any, lengths: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs of all steps, and the last one of each direction."""
        x = tensor(x)
        if hasattr(self, "embedding"):
            x = self.dropout(self.embedding(x))
        y, state = over(self.rnn, x, lengths)
        final = state[0] if isinstance(state, tuple) else state
        directions = 2 if self.rnn.bidirectional else 1
        return y, torch.cat(list(final[-directions:]), dim=-1)


class PooledTwin(SequenceTwin):
    """One vector read out of a sequence."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.pooling = model.pooling
        if self.pooling not in ("last", "mean", "max"):
            raise ValueError(f"pooling must be last, mean or max; got {self.pooling!r}")

    def scores(self, x: Any, lengths: Any) -> torch.Tensor:
        """Return the scores of a batch, (B, K)."""
        y, final = self.encode(x, lengths)
        if self.pooling == "last":
            read = final
        elif lengths is None:
            read = y.mean(0) if self.pooling == "mean" else y.max(0).values
        else:
            n = tensor(lengths)
            if self.pooling == "mean":
                read = y.sum(0) / n.clamp(min=1)[:, None]
            else:
                past = (torch.arange(len(y))[:, None] >= n)[..., None]
                read = y.masked_fill(past, -torch.inf).max(0).values
        return self.decoder(self.dropout(read))


class ClassifierTwin(PooledTwin):
    """Of `SequenceClassifier`."""

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean cross-entropy."""
        x, lengths, y = batch
        return functional.cross_entropy(self.scores(x, lengths), tensor(y)), None


class RegressorTwin(PooledTwin):
    """Of `SequenceRegressor`."""

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean squared error."""
        x, lengths, y = batch
        values = self.scores(x, lengths)
        y = tensor(np.asarray(y, np.float32)).reshape(values.shape)
        return functional.mse_loss(values, y), None


class TaggerTwin(SequenceTwin):
    """Of `SequenceTagger`."""

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean cross-entropy over the steps that count."""
        x, lengths, y = batch
        h, _ = self.encode(x, lengths)
        scores = self.decoder(self.dropout(h))
        return functional.cross_entropy(
            scores.flatten(0, 1), tensor(y).flatten(), ignore_index=-100
        ), None
