"""The state of a decoder between steps, with rows that a search selects."""

from __future__ import annotations

from typing import Any

import numpy as np


class DecodingState:
    """The state of N rows; in a beam search, several rows for each sequence.

    The rows of a sequence are adjacent, and each sequence has as many. They share its
    keys, so nothing of the memory is copied when hypotheses fork.

    Attributes
    ----------
    state
        The recurrent state, with N rows.
    keys : Keys or None
        The memories of the sequences.
    feed : ndarray, shape (N, A), or None
        The vectors of the last step, with input feeding.
    """

    __slots__ = ("feed", "keys", "state")

    def __init__(self, state: Any, keys: Any, feed: np.ndarray | None) -> None:
        self.state = state
        self.keys = keys
        self.feed = feed

    def select(
        self, rows: np.ndarray, sequences: np.ndarray | None = None
    ) -> DecodingState:
        """Return the state of the given rows, in this order, with repetitions.

        Parameters
        ----------
        rows : ndarray of int
            Indices of rows, as many for each sequence left.
        sequences : ndarray of int, optional
            Indices of the sequences left; all by default.
        """
        keys = self.keys
        if keys is not None and sequences is not None:
            keys = keys.select(sequences)
        state = self.state
        state = (
            tuple(part[:, rows] for part in state)
            if isinstance(state, tuple)
            else state[:, rows]
        )
        return DecodingState(
            state, keys, None if self.feed is None else self.feed[rows]
        )
