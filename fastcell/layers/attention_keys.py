"""Data of attention calls: keys of a memory, saved values, sums of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np


class Keys:
    """A memory prepared for attention; made by `Attention.keys`.

    Attributes
    ----------
    rows : ndarray, shape (B, S, M)
        The memory, batch first, and 0 past the lengths.
    projected : ndarray, shape (B, S, A)
        The rows as the score reads them; `rows` itself for "dot".
    lengths : ndarray of int64, shape (B,), or None
        Number of rows of each sequence; None for all.
    version : int
        Version of the parameters at the time of `projected`.
    """

    __slots__ = ("lengths", "projected", "rows", "saved", "version")

    def __init__(
        self,
        rows: np.ndarray,
        projected: np.ndarray,
        lengths: Any,
        saved: Any,
        version: int = 0,
    ) -> None:
        self.rows = rows
        self.projected = projected
        self.lengths = lengths
        self.saved = saved
        self.version = version

    def select(self, sequences: Any) -> Keys:
        """Return the keys of some sequences, by index, for inference."""
        rows = self.rows[sequences]
        shared = self.projected is self.rows
        return Keys(
            rows,
            rows if shared else self.projected[sequences],
            None if self.lengths is None else self.lengths[sequences],
            None,
            self.version,
        )

    def clear_past(self, rows: np.ndarray) -> None:
        """Set the elements of a (B, S, n) past the lengths to 0."""
        if self.lengths is not None:
            rows[np.arange(rows.shape[1]) >= self.lengths[:, np.newaxis]] = 0


class AttentionSaved:
    """The values of one call of `Attention.forward` for backward, batch first.

    The layer owns all arrays; `versions` are those of the parameters.
    """

    __slots__ = ("keys", "projected", "query", "shape", "versions", "weights")

    def __init__(
        self,
        query: np.ndarray,
        projected: np.ndarray,
        weights: np.ndarray,
        keys: Keys,
        shape: tuple[int, ...],
        versions: list[int],
    ) -> None:
        self.query = query
        self.projected = projected
        self.weights = weights
        self.keys = keys
        self.shape = shape
        self.versions = versions


class GradientSums:
    """Running sums of gradients over calls with the same keys."""

    __slots__ = ("dprojected", "drows", "grads", "keys")

    def __init__(
        self,
        keys: Keys,
        drows: np.ndarray,
        dprojected: np.ndarray,
        grads: dict[str, np.ndarray],
    ) -> None:
        self.keys = keys
        self.drows = drows
        self.dprojected = dprojected
        self.grads = grads
