"""The readout of models that score each step: the steps that exist, as rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.layers.pooling import existing_steps
from fastcell.module import Module
from fastcell.parameters import Parameters


class EachStep(Module):
    """All steps of all sequences as rows: a readout for models that score each step.

    It is used as `fastcell.layers.Pooling` is, and has no parameters.
    """

    def __init__(self) -> None:
        self._parameters = Parameters({})

    def __call__(self, h: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Return the N steps (N, D) of h (T, B, D): step by step, row by row."""
        return self.forward(h, lengths)[0]

    def forward(
        self, h: np.ndarray, lengths: np.ndarray | None
    ) -> tuple[np.ndarray, Any]:
        """Return what a call returns, and what `backward` needs."""
        if lengths is None:
            return h.reshape(-1, h.shape[2]), (h.shape, None)
        exists = existing_steps(lengths, len(h))
        return h[exists], (h.shape, exists)

    def backward(
        self, dr: np.ndarray, saved: Any
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the gradient of h, zeros past the lengths, and none of parameters."""
        shape, exists = saved
        if exists is None:
            return dr.reshape(shape), {}
        dh = np.zeros(shape, dr.dtype)
        dh[exists] = dr
        return dh, {}

    @staticmethod
    def selected(values: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Return the N steps that there are (N, ...), of values (T, B, ...)."""
        if lengths is None:
            return values.reshape(-1, *values.shape[2:])
        there: np.ndarray = values[existing_steps(lengths, len(values))]
        return there

    @staticmethod
    def laid_out(
        values: np.ndarray,
        shape: tuple[int, ...],
        lengths: np.ndarray | None,
        fill: Any = 0,
    ) -> np.ndarray:
        """Return the N steps (N, ...) in the shape (T, B), and `fill` past the ends."""
        whole_shape = (*shape, *values.shape[1:])
        if lengths is None:
            return values.reshape(whole_shape)
        whole = np.full(whole_shape, fill, values.dtype)
        whole[existing_steps(lengths, shape[0])] = values
        return whole

    def running(self, rows: int) -> None:
        """Return None: of a stream, each step is read alone."""
        return None
