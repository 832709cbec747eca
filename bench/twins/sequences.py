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


class AttentionPool(torch.nn.Module):
    """The mean of the steps, weighted by what each of them scores."""

    def __init__(self, input_size: int, attention_size: int) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(input_size, attention_size)
        self.score = torch.nn.Linear(attention_size, 1, bias=False)

    def forward(self, y: torch.Tensor, past: torch.Tensor | None) -> torch.Tensor:
        """Return (B, D) of steps (T, B, D), without those that are past the ends."""
        scores = self.score(torch.tanh(self.hidden(y)))
        if past is not None:
            scores = scores.masked_fill(past, -torch.inf)
        return (scores.softmax(0) * y).sum(0)


class PooledTwin(SequenceTwin):
    """One vector read out of a sequence."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.kind = model.pooling
        if self.kind == "attention":
            hidden = model.children()["pooling"].children()["hidden"]
            self.pooling = AttentionPool(hidden.in_features, hidden.out_features)

    def scores(self, x: Any, lengths: Any) -> torch.Tensor:
        """Return the scores of a batch, (B, K)."""
        y, final = self.encode(x, lengths)
        read = final if self.kind == "last" else self.pooled(y, lengths)
        return self.decoder(self.dropout(read))

    def pooled(self, y: torch.Tensor, lengths: Any) -> torch.Tensor:
        """Return the mean, the maximum, or what attention makes of the steps."""
        if self.kind == "mean":
            if lengths is None:
                return y.mean(0)
            return y.sum(0) / tensor(lengths).clamp(min=1)[:, None]
        past = None
        if lengths is not None:
            past = (torch.arange(len(y))[:, None] >= tensor(lengths))[..., None]
        if self.kind == "attention":
            return self.pooling(y, past)
        return (y if past is None else y.masked_fill(past, -torch.inf)).max(0).values


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
