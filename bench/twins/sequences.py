"""Twins of `SequenceClassifier`, `SequenceRegressor` and `SequenceTagger`."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from twins.base import Twin, recurrent, tensors


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

    def encode(
        self, x: torch.Tensor, lengths: torch.Tensor | None, final: str = ""
    ) -> tuple[torch.Tensor, Any]:
        """Return the outputs of all steps, and the part of the last state in use."""
        if hasattr(self, "embedding"):
            x = self.dropout(self.embedding(x))
        return self.rnn.layers(x, lengths, final=final)


class AttentionPool(torch.nn.Module):
    """The mean of the steps, weighted by the softmax of their scores."""

    def __init__(self, input_size: int, attention_size: int) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(input_size, attention_size)
        self.score = torch.nn.Linear(attention_size, 1, bias=False)

    def forward(self, y: torch.Tensor, past: torch.Tensor | None) -> torch.Tensor:
        """Return (B, D) of steps (T, B, D), without steps past the ends."""
        scores = self.score(torch.tanh(self.hidden(y)))
        if past is not None:
            scores = scores.masked_fill(past, -torch.inf)
        return (scores.softmax(0) * y).sum(0)


class PooledTwin(SequenceTwin):
    """A sequence reduced to one vector, and its scores."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.kind = model.pooling
        if self.kind == "attention":
            hidden = model.children()["pooling"].children()["hidden"]
            self.pooling = AttentionPool(hidden.in_features, hidden.out_features)

    def scores(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Return the scores of a batch, (B, K)."""
        if self.kind == "last":
            read = self.last(x, lengths)
        else:
            read = self.pooled(self.encode(x, lengths)[0], lengths)
        return self.decoder(self.dropout(read))

    def last(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Return the last output of each direction, side by side."""
        _, state = self.encode(x, lengths, final="h")
        h = state[0] if isinstance(state, tuple) else state
        directions = 2 if self.rnn.bidirectional else 1
        return torch.cat(list(h[-directions:]), dim=-1)

    def pooled(self, y: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Return the mean, the maximum, or the attention pooling of the steps."""
        past = None
        if lengths is not None:
            past = (torch.arange(len(y))[:, None] >= lengths)[..., None]
        if self.kind == "mean":
            if past is None:
                return y.mean(0)
            return y.masked_fill(past, 0).sum(0) / lengths.clamp(min=1)[:, None]
        if self.kind == "attention":
            return self.pooling(y, past)
        return (y if past is None else y.masked_fill(past, -torch.inf)).max(0).values


class ClassifierTwin(PooledTwin):
    """The twin of `SequenceClassifier`."""

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean cross-entropy."""
        x, lengths, y = tensors(batch)
        return functional.cross_entropy(self.scores(x, lengths), y), None


class RegressorTwin(PooledTwin):
    """The twin of `SequenceRegressor`."""

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean squared error."""
        x, lengths, y = tensors(batch)
        values = self.scores(x, lengths)
        return functional.mse_loss(values, y.reshape(values.shape)), None


class TaggerTwin(SequenceTwin):
    """The twin of `SequenceTagger`."""

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean cross-entropy over the steps that count."""
        x, lengths, y = tensors(batch)
        h, _ = self.encode(x, lengths)
        scores = self.decoder(self.dropout(h))
        return functional.cross_entropy(
            scores.flatten(0, 1), y.flatten(), ignore_index=-100
        ), None
