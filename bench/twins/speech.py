"""The twin of `SpeechRecognizer`."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from twins.base import Twin, recurrent, tensors


class SpeechTwin(Twin):
    """Recurrent layers over frames, scores of labels and a blank, the CTC loss."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        parts = model.children()
        decoder = parts["decoder"]
        self.rnn = recurrent(parts["rnn"])
        self.dropout = torch.nn.Dropout(model.dropout)
        self.decoder = torch.nn.Linear(decoder.in_features, decoder.out_features)

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean over rows of the loss per label."""
        x, lengths, labels, label_lengths = tensors(batch)
        h, _ = self.rnn.layers(x, lengths)
        scores = functional.log_softmax(self.decoder(self.dropout(h)), dim=-1)
        rows = len(labels)
        return functional.ctc_loss(
            scores,
            labels,
            _all(lengths, rows, len(x)),
            _all(label_lengths, rows, labels.shape[1]),
        ), None


def _all(lengths: Any, rows: int, most: int) -> torch.Tensor:
    """Return the lengths, the same for all rows if there are none."""
    return torch.full((rows,), most) if lengths is None else lengths
