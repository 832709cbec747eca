"""Readout of models that score each step: all steps within the lengths, as rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.layers.pooling import existing_steps
from fastcell.module import Module
from fastcell.parameters import Parameters


class EachStep(Module):
    """Select the steps within the lengths of all sequences, as rows.

    It has the interface of `fastcell.layers.Pooling` and no parameters.
    """

    def __init__(self) -> None:
        self._parameters = Parameters({})

    def __call__(self, h: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Return the N steps (N, D) of h (T, B, D), ordered by step, then by row."""
        return self.forward(h, lengths)[0]

    def forward(
        self, h: np.ndarray, lengths: np.ndarray | None
    ) -> tuple[np.ndarray, Any]:
        """Return what a call returns, and values for `backward`."""
        if lengths is None:
            return h.reshape(-1, h.shape[2]), (h.shape, None)
        exists = existing_steps(lengths, len(h))
        return h[exists], (h.shape, exists)

    def backward(
        self, dr: np.ndarray, saved: Any
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the gradient of h, zero past the lengths, and an empty dict."""
        shape, exists = saved
        if exists is None:
            return dr.reshape(shape), {}
        dh = np.zeros(shape, dr.dtype)
        dh[exists] = dr
        return dh, {}

    @staticmethod
    def selected(values: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Return the N steps within the lengths, (N, ...), of values (T, B, ...)."""
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
        """Return the N steps (N, ...) as (T, B, ...), with `fill` past the lengths."""
        whole_shape = (*shape, *values.shape[1:])
        if lengths is None:
            return values.reshape(whole_shape)
        whole = np.full(whole_shape, fill, values.dtype)
        whole[existing_steps(lengths, shape[0])] = values
        return whole

    def running(self, rows: int) -> None:
        """Return None: a stream needs no running value."""
        return None
