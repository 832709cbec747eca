"""Feedback: recurrent layers that read their own predictions, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.layers import Dropout, Linear
from fastcell.layers.recurrent import Recurrent
from fastcell.models.parts.common import prefixed
from fastcell.module import Module


class Feedback(Module):
    r"""The part of a forecaster that makes the frames to come.

    Each step reads the frame predicted by the step before, in training as well, and the
    gradient flows back through it (Martinez et al. 2017, arXiv:1705.02445,
    section 3.3: sampling-based loss).

    Parameters
    ----------
    rnn : Recurrent
        The recurrent layers.
    dropout : Dropout
        Dropout before the decoder.
    decoder : Linear
        From the units to a frame.
    residual : bool
        Whether the decoder predicts the difference to the frame before.
    """

    def __init__(
        self, rnn: Recurrent[Any], dropout: Dropout, decoder: Linear, residual: bool
    ) -> None:
        self.rnn = rnn
        self.dropout = dropout
        self.decoder = decoder
        self.residual = residual

    def children(self) -> dict[str, Module]:
        """Return the layers by name."""
        return {"rnn": self.rnn, "dropout": self.dropout, "decoder": self.decoder}

    def next_frame(self, h: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return the frame (B, I) after `frame`, from the units (B, H), for inference.

        The result is contiguous.
        """
        change = self.decoder(h)
        return np.add(frame, change, out=change) if self.residual else change

    def forward(
        self, frame: np.ndarray, state: Any, horizon: int
    ) -> tuple[np.ndarray, Any]:
        """Return the frames to come, for training.

        Parameters
        ----------
        frame : ndarray, shape (B, I)
            The last frame that the recurrent layers have read.
        state
            The recurrent state after it.
        horizon : int
            Frames K, at least 1.

        Returns
        -------
        frames : ndarray, shape (K, B, I)
        saved
            Values for `backward`.
        """
        frames = np.empty((horizon, *frame.shape), frame.dtype)
        first = state
        h = top_of(state)
        steps: list[tuple[Any, Any, Any]] = []
        for k in range(horizon):
            read = dropped = None
            if k:
                y, state, read = self.rnn.forward(frames[k - 1 : k], state)
                h = y[0]
            if self.dropout.p:
                h, dropped = self.dropout.forward(h)
            change, made = self.decoder.forward(h)
            if self.residual:
                frame = np.add(frame, change, out=frames[k])
            else:
                frames[k] = change
            steps.append((read, dropped, made))
        return frames, (first, steps)

    def backward(
        self, dframes: np.ndarray, saved: Any
    ) -> tuple[Any, dict[str, np.ndarray] | None, dict[str, np.ndarray]]:
        """Return the gradients of the initial state and of the layers' parameters.

        Those of the recurrent layers are None for a horizon of 1, which depends on the
        state alone. `saved` is consumed.
        """
        first, steps = saved
        fed: Any = 0
        dstate = rnn = decoder = None
        while True:
            read, dropped, made = steps.pop()
            dframe = dframes[len(steps)] + fed
            dh, decoder = self.decoder.backward(dframe, made, add_to=decoder)
            if dropped is not None:
                dh, _ = self.dropout.backward(dh, dropped)
            if read is None:
                break
            dx, dstate, rnn = self.rnn.backward(
                dh[np.newaxis], read, dstate, add_to=rnn
            )
            fed = dx[0] + dframe if self.residual else dx[0]
        if dstate is None:
            dstate = (
                tuple(np.zeros_like(part) for part in first)
                if isinstance(first, tuple)
                else np.zeros_like(first)
            )
        top_of(dstate)[...] += dh
        return dstate, rnn, prefixed("decoder", decoder)


def top_of(state: Any) -> np.ndarray:
    """Return the last layer's output at the last step, (B, P), from the state."""
    top: np.ndarray = (state[0] if isinstance(state, tuple) else state)[-1]
    return top
