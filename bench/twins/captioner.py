"""The twin of `Captioner`."""

from __future__ import annotations

from typing import Any

import torch

from twins.base import tensors
from twins.seq2seq import DecoderTwin, TokenTwin, shifted


class CaptionerTwin(TokenTwin):
    """The initial state from a vector, and words by a recurrent layer."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        parts = model.children()
        image = parts["image"]
        self.image = torch.nn.Linear(image.in_features, image.out_features)
        self.decoder = DecoderTwin(parts["decoder"])

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean cross-entropy of the captions' words."""
        captions, lengths, images = tensors(batch)
        inputs, counted, wanted = shifted(captions, lengths)
        steps = None if lengths is None else lengths - 1
        vectors = self.decoder(inputs, self.first(images), steps)
        if lengths is None:
            vectors, wanted = vectors.flatten(0, 1), wanted.flatten()
        return self.token_loss(vectors[counted], wanted), None

    def first(self, images: torch.Tensor) -> Any:
        """Return the initial state of the recurrent layer: h, or (h, c)."""
        rnn = self.decoder.rnn
        rows = torch.tanh(self.image(images)).view(len(images), -1, rnn.hidden_size)
        state = rows.transpose(0, 1).contiguous()
        if isinstance(rnn, torch.nn.LSTM):
            return state[: rnn.num_layers], state[rnn.num_layers :]
        return state
