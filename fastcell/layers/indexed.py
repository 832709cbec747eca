"""The gather path: what an embedding hands to a recurrent layer instead of vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class IndexedRows:
    """A sequence of rows of a small table.

    A recurrent layer multiplies each row with its input weights once, however often
    the sequence holds it, and in backward sums the gate gradients per row before it
    multiplies.

    Attributes
    ----------
    rows : ndarray, shape (U, I)
        The rows that occur.
    index : ndarray of int32, shape (T, B)
        Which row stands at each step.
    """

    rows: np.ndarray
    index: np.ndarray
