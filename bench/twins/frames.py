"""The twin of `FrameModel`, with each of its heads."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from twins.base import Twin, detached, recurrent, tensors


class FrameTwin(Twin):
    """`FrameModel`: recurrent layers, dropout, a dense layer, a distribution."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        encoder = model.encoder
        self.rnn = recurrent(encoder.children()["rnn"])
        self.decoder = torch.nn.Linear(encoder.output_size, model.task.outputs)
        self.dropout = torch.nn.Dropout(encoder.dropout)
        self.head, self.residual = model.head, model.residual
        self.frame_size = model.frame_size
        if self.head == "mixture":
            self.mixtures = model.task.mixtures
            self.correlated = model.task.correlated
            self.min_scale = model.task.min_scale

    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Return the mean loss of the frames within the lengths, and the state."""
        x, lengths, y = tensors(batch)
        h, state = self.rnn.layers(x, lengths, state)
        if self.residual:
            y = y - x[..., : self.frame_size]
        if lengths is None:
            h, y, state = h.flatten(0, 1), y.flatten(0, 1), detached(state)
        else:
            exists = torch.arange(len(x))[:, None] < lengths
            h, y, state = h[exists], y[exists], None
        outputs = self.decoder(self.dropout(h))
        return getattr(self, self.head)(outputs, y), state

    def values(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error."""
        return functional.mse_loss(outputs, y)

    def bernoulli(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean over frames of the summed binary cross-entropy."""
        total = functional.binary_cross_entropy_with_logits(outputs, y, reduction="sum")
        return total / len(y)

    def mixture(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean negative log-likelihood of a mixture of Gaussians."""
        M, G = self.mixtures, self.frame_size
        logits, means, logs, rho = outputs.split(
            [M, M * G, M * G, M * self.correlated], dim=1
        )
        scales = logs.exp().view(-1, M, G) + self.min_scale
        z = (y[:, None] - means.view(-1, M, G)) / scales
        joint = functional.log_softmax(logits, 1) - scales.log().sum(-1)
        if self.correlated:
            rho = rho.tanh()
            rest = 1 - rho**2
            q = (z**2).sum(-1) - 2 * rho * z.prod(-1)
            joint = joint - q / (2 * rest) - rest.log() / 2
        else:
            joint = joint - (z**2).sum(-1) / 2
        joint = joint - G / 2 * math.log(2 * math.pi)
        return -torch.logsumexp(joint, 1).mean()
