"""What a decoder carries from step to step, for rows that come and go."""

from __future__ import annotations

from typing import Any

import numpy as np


class DecodingState:
    """The state of rows, several of them for one sequence in a beam search.

    Rows of a sequence stand side by side, the same number for each: they share its
    keys, and no weights or memories are copied when hypotheses fork.

    Attributes
    ----------
    state
        The recurrent layer's, with N rows.
    keys : Keys or None
        The memories of the sequences.
    feed : ndarray, shape (N, A), or None
        The last vectors, with input feeding.
    """

    __slots__ = ("feed", "keys", "state")

    def __init__(self, state: Any, keys: Any, feed: np.ndarray | None) -> None:
        self.state = state
        self.keys = keys
        self.feed = feed

    def select(
        self, rows: np.ndarray, sequences: np.ndarray | None = None
    ) -> DecodingState:
        """Return the state of some rows, in this order and as often as they are named.

        Parameters
        ----------
        rows : ndarray of int
            Which rows; as many for each sequence that is left.
        sequences : ndarray of int, optional
            Which sequences they belong to; all in their order by default.
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
