"""Softmax cross-entropy over a large vocabulary, computed in blocks of rows.

The scores of T steps of B streams over V tokens are T B V numbers, and so is their
gradient: for a large V, more than all other memory of training. The loss therefore
computes the scores of a block of rows, overwrites them with their gradient, and
multiplies that into the gradients of rows and weights before the next block. The values
saved for `backward` have the size of the rows and the weights.

The order of all sums is fixed, so results are reproducible to the bit. If all rows fit
into one block, they have the bits of `losses.cross_entropy` and `Linear.backward`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastcell.layers import Linear
from fastcell.losses.classes import cross_entropy_in_place
from fastcell.models.parts.common import IGNORED

# Size of a block: 16 MiB of float32, but at least this many rows. Larger blocks are not
# faster. With fewer rows, the passes over the weights and their gradient, one for each
# block, take noticeable time (figures in bench/README.md).
MOST_SCORES = 1 << 22
LEAST_ROWS = 64


def blocks(rows: int, scores: int) -> Iterator[slice]:
    """Yield the blocks of rows whose scores are computed together.

    Parameters
    ----------
    rows : int
    scores : int
        Number of scores of a row.
    """
    step = max(LEAST_ROWS, MOST_SCORES // scores)
    return (slice(start, start + step) for start in range(0, rows, step))


def softmax_loss(
    layer: Linear, vectors: np.ndarray, labels: np.ndarray
) -> tuple[float, np.ndarray, dict[str, np.ndarray]]:
    """Return the mean cross-entropy of the scores of vectors, and its gradients.

    Parameters
    ----------
    layer : Linear
        Dense layer from a vector to a score for each token.
    vectors : ndarray, shape (..., features)
    labels : ndarray of int, shape (...)
        Tokens, or `IGNORED`.

    Returns
    -------
    loss : float
        In nats; 0.0 if no label counts.
    dvectors : ndarray, shape (..., features)
    grads : dict of str to ndarray
        Gradients of the layer.
    """
    rows = np.ascontiguousarray(vectors.reshape(-1, layer.in_features))
    wanted = labels.reshape(-1)
    scale = 1.0 / max(int(np.count_nonzero(wanted != IGNORED)), 1)
    drows, losses = np.empty_like(rows), np.empty(len(rows))
    grads = layer.zero_gradients()
    for block in blocks(len(rows), layer.out_features):
        scores = layer(rows[block])
        losses[block] = cross_entropy_in_place(scores, wanted[block], scale)
        layer.add_backward(scores, rows[block], drows[block], grads)
    return float(losses.sum()) * scale, drows.reshape(vectors.shape), grads


def softmax_assess(
    layer: Linear, vectors: np.ndarray, labels: np.ndarray
) -> tuple[float, int, int]:
    """Return the mean cross-entropy, and the numbers of hits and of labels that count.

    Parameters are those of `softmax_loss`.
    """
    rows = np.ascontiguousarray(vectors.reshape(-1, layer.in_features))
    wanted = labels.reshape(-1)
    counted = int(np.count_nonzero(wanted != IGNORED))
    scale, right = 1.0 / max(counted, 1), 0
    losses = np.empty(len(rows))
    for block in blocks(len(rows), layer.out_features):
        scores = layer(rows[block])
        right += int(np.count_nonzero(scores.argmax(axis=-1) == wanted[block]))
        losses[block] = cross_entropy_in_place(scores, wanted[block], scale)
    return float(losses.sum()) * scale, right, counted
