"""The twin of `Forecaster`, which continues a sequence of frames."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from twins.base import Twin, recurrent, tensors


class ForecasterTwin(Twin):
    """The twin of `Forecaster`: reads all given frames, then its outputs one by one."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.rnn = recurrent(model.children()["rnn"])
        self.dropout = torch.nn.Dropout(model.encoder.dropout)
        self.decoder = torch.nn.Linear(model.encoder.output_size, model.frame_size)
        self.residual = model.residual
        self.error = {"mse": functional.mse_loss, "mae": functional.l1_loss}[
            model.task.error
        ]

    def frames(
        self, x: torch.Tensor, lengths: torch.Tensor | None, horizon: int
    ) -> torch.Tensor:
        """Return the frames that follow, (K, B, I)."""
        _, state = self.rnn.layers(x, lengths, final="state")
        h = (state[0] if isinstance(state, tuple) else state)[-1]
        ends = -1 if lengths is None else lengths - 1
        frame = x[ends, torch.arange(x.shape[1])]
        made = []
        for k in range(horizon):
            if k:
                y, state = self.rnn(frame[None], state)
                h = y[0]
            change = self.decoder(self.dropout(h))
            frame = frame + change if self.residual else change
            made.append(frame)
        return torch.stack(made)

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, None]:
        """Return the mean error of a value of the frames that follow."""
        x, lengths, y = tensors(batch)
        made = self.frames(x, lengths, len(y))
        return self.error(made, y.reshape(made.shape)), None
