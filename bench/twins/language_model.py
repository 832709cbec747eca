"""The twin of `LanguageModel`."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from fastcell.module import Module
from twins.base import Twin, detached, recurrent, tensors


class LanguageModelTwin(Twin):
    """`LanguageModel`: embedding, recurrent layers, scores, dropout between them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        if model.sampled_softmax is not None:
            raise ValueError(
                f"sampled_softmax must be None; got {model.sampled_softmax}"
            )
        layer = model.children()["rnn"]
        width = layer.output_size
        self.embedding = torch.nn.Embedding(model.vocab_size, model.embedding_dim)
        self.rnn = recurrent(layer)
        self.decoder = torch.nn.Linear(width, model.vocab_size)
        self.dropout = torch.nn.Dropout(model.dropout)
        if model.tie_weights:
            self.decoder.weight = self.embedding.weight

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Return the mean cross-entropy of the next tokens, and the state after."""
        inputs, *rest, targets = tensors(batch)
        lengths = rest[0] if rest else None
        x = self.dropout(self.embedding(inputs))
        h, state = self.rnn.layers(x, lengths, state)
        scores = self.decoder(self.dropout(h))
        loss = functional.cross_entropy(
            scores.flatten(0, 1), targets.flatten(), ignore_index=-100
        )
        # A batch with lengths has whole sequences, so no state is carried.
        return loss, detached(state) if len(batch) == 2 else None

    def take(self, model: Module) -> None:
        """Copy the weights from the model; a tied one has two names here."""
        weights = {n: torch.from_numpy(a) for n, a in model.state_dict().items()}
        weights.setdefault("decoder.weight", weights["embedding.weight"])
        self.load_state_dict(weights)

    def give(self, model: Module) -> None:
        """Give the weights to the model."""
        named = {n: p.detach().numpy() for n, p in self.named_parameters()}
        model.load_state_dict(named)
