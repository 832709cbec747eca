"""The twin of `Seq2Seq`: encoder, bridge, attention, decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from twins.base import Twin, recurrent, tensors


class ReaderTwin(torch.nn.Module):
    """Of `models.parts.token_encoder.TokenEncoder`."""

    def __init__(self, reader: Any) -> None:
        super().__init__()
        embedding, dropout = reader.embedding, reader.dropout
        self.embedding = torch.nn.Embedding(
            embedding.num_embeddings, embedding.embedding_dim
        )
        self.dropout = torch.nn.Dropout(0.0 if dropout is None else dropout.p)
        self.rnn = recurrent(reader.rnn)

    def embedded(self, ids: torch.Tensor) -> torch.Tensor:
        """Return what the recurrent layers read."""
        return self.dropout(self.embedding(ids))


class AttentionTwin(torch.nn.Module):
    """Of `fastcell.Attention`, batch first."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.kind = attention.kind
        for name, part in attention.children().items():
            self.add_module(
                name,
                torch.nn.Linear(part.in_features, part.out_features, bias=part.bias),
            )

    def keys(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the score reads of a memory (B, S, M)."""
        return rows if self.kind == "dot" else self.memory(rows)

    def forward(
        self,
        queries: torch.Tensor,
        rows: torch.Tensor,
        keys: torch.Tensor,
        past: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the contexts (B, T, M) of queries (B, T, Q)."""
        if self.kind == "additive":
            pairs = torch.tanh(self.query(queries)[:, :, None] + keys[:, None])
            scores = self.score(pairs).squeeze(-1)
        else:
            scores = torch.bmm(queries, keys.transpose(1, 2))
        if past is not None:
            scores = scores.masked_fill(past[:, None], -torch.inf)
        return torch.bmm(torch.softmax(scores, dim=-1), rows)


class DecoderTwin(ReaderTwin):
    """Of `models.attentive_decoder.AttentiveDecoder`."""

    def __init__(self, decoder: Any) -> None:
        super().__init__(decoder.reader)
        self.input_feeding = decoder.input_feeding
        if decoder.attention is not None:
            self.attention = AttentionTwin(decoder.attention)
            combine = decoder.combine
            self.combine = torch.nn.Linear(combine.in_features, combine.out_features)

    def forward(
        self,
        ids: torch.Tensor,
        state: Any,
        steps: torch.Tensor | None,
        memory: Any = None,
        lengths: Any = None,
    ) -> torch.Tensor:
        """Return a vector for each next token, (T, B, A), of which `steps` (B,) count.

        The memory (S, B, M) has the lengths (B,).
        """
        x = self.embedded(ids)
        if not hasattr(self, "attention"):
            return self.rnn.layers(x, steps, state)[0]
        rows, past = memory.transpose(0, 1).contiguous(), None
        if lengths is not None:
            past = torch.arange(len(memory)) >= lengths[:, None]
        keys = self.attention.keys(rows)
        if not self.input_feeding:
            h = self.rnn.layers(x, steps, state)[0]
            context = self.attention(h.transpose(0, 1), rows, keys, past)
            return self.combined(context.transpose(0, 1), h)
        vectors = [x.new_zeros(x.shape[1], self.combine.out_features)]
        for step in x:
            read = torch.cat((step, vectors[-1]), dim=-1)
            h, state = self.rnn(read[None], state)
            context = self.attention(h.transpose(0, 1), rows, keys, past)
            vectors.append(self.combined(context[:, 0], h[0]))
        return torch.stack(vectors[1:])

    def combined(self, context: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """Return what the scores are made of."""
        return torch.tanh(self.combine(torch.cat((context, h), dim=-1)))


class BridgeTwin(torch.nn.Module):
    """Of `models.bridge.Bridge`."""

    def __init__(self, bridge: Any, encoder: torch.nn.RNNBase) -> None:
        super().__init__()
        self.layers, self.directions = (
            encoder.num_layers,
            2 if encoder.bidirectional else 1,
        )
        for name, dense in bridge.children().items():
            self.add_module(
                name, torch.nn.Linear(dense.in_features, dense.out_features)
            )

    def forward(self, state: Any) -> Any:
        """Return the decoder's first state."""
        if not self._modules:
            return state
        if not isinstance(state, tuple):
            return self._part("h", state)
        return tuple(self._part(n, s) for n, s in zip("hc", state, strict=True))

    def _part(self, name: str, state: torch.Tensor) -> torch.Tensor:
        _, B, H = state.shape
        wide = state.view(self.layers, self.directions, B, H).transpose(1, 2)
        wide = wide.reshape(self.layers, B, -1)
        dense = (self._modules[f"{name}_l{k}"] for k in range(self.layers))
        return torch.stack(
            [torch.tanh(layer(x)) for layer, x in zip(dense, wide, strict=True)]
        )


class TokenTwin(Twin):
    """What a model with a decoder ends with: the scores of the next tokens."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        output = model.children()["output"]
        self.output = torch.nn.Linear(output.in_features, output.out_features)
        self.dropout = torch.nn.Dropout(model.dropout)

    def token_loss(self, vectors: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of the tokens (N,) after vectors (N, A)."""
        return functional.cross_entropy(self.output(self.dropout(vectors)), wanted)


def shifted(
    target: torch.Tensor, lengths: torch.Tensor | None
) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Return what a decoder reads, which of its steps count, and what they have to say.

    Past the lengths it reads token 0; without lengths all steps count.
    """
    if lengths is None:
        return target[:-1], slice(None), target[1:]
    there = torch.arange(len(target))[:, None] < lengths
    counted = there[1:]
    return target.masked_fill(~there, 0)[:-1], counted, target[1:][counted]


class Seq2SeqTwin(TokenTwin):
    """Of `Seq2Seq`."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        parts = model.children()
        self.encoder = ReaderTwin(parts["encoder"])
        self.decoder = DecoderTwin(parts["decoder"])
        self.bridge = BridgeTwin(parts["bridge"], self.encoder.rnn)

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean cross-entropy of the target's tokens."""
        source, lengths, target, target_lengths = tensors(batch)
        inputs, counted, wanted = shifted(target, target_lengths)
        x = self.encoder.embedded(source)
        memory, final = self.encoder.rnn.layers(x, lengths, final="state")
        steps = None if target_lengths is None else target_lengths - 1
        vectors = self.decoder(inputs, self.bridge(final), steps, memory, lengths)
        if target_lengths is None:
            vectors, wanted = vectors.flatten(0, 1), wanted.flatten()
        return self.token_loss(vectors[counted], wanted), None
