"""The gather path: rows and an index, passed by an embedding to a recurrent layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class IndexedRows:
    """A sequence of rows of a small table.

    A recurrent layer multiplies each row with its input weights once, however often it
    occurs, and in backward sums the gate gradients per row before the product.

    Attributes
    ----------
    rows : ndarray, shape (U, I)
        The rows that occur.
    index : ndarray of int32, shape (T, B)
        The index into `rows` of each step.
    """

    rows: np.ndarray
    index: np.ndarray
