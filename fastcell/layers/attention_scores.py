"""The arithmetic of attention, batch first: scores, weights and their gradients.

B sequences, T queries each, S rows of memory each, A features. All works on whole
batches; the additive score, which needs A values for each pair of a query and a row,
goes query by query, and makes its tanh again in backward in place of keeping B T S A
values.
"""

from __future__ import annotations

import numpy as np


def masked_softmax(scores: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Turn scores into weights over the last axis, in place.

    Parameters
    ----------
    scores : ndarray, shape (B, T, S)
        Overwritten.
    mask : ndarray of bool, shape (B, S), or None
        Rows that are there; without one, the weights of a sequence are all 0.

    Returns
    -------
    ndarray, shape (B, T, S)

    Examples
    --------
    >>> scores = np.array([[[1.0, 1.0, 5.0]]])
    >>> masked_softmax(scores, np.array([[True, True, False]]))
    array([[[0.5, 0.5, 0. ]]])
    """
    if mask is not None:
        np.copyto(scores, -np.inf, where=~mask[:, np.newaxis])
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    np.copyto(largest, 0, where=largest == -np.inf)  # no row at all
    scores -= largest
    weights = np.exp(scores, out=scores)
    total = weights.sum(axis=-1, keepdims=True)
    np.copyto(total, 1, where=total == 0)
    weights /= total
    return weights


def masked_softmax_backward(dweights: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the gradient of the scores, a (da - sum a da); overwrites `dweights`."""
    dweights -= np.einsum("bts,bts->bt", dweights, weights)[..., np.newaxis]
    dweights *= weights
    return dweights


def additive_scores(query: np.ndarray, memory: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return v . tanh(query + memory) of each pair.

    Parameters
    ----------
    query : ndarray, shape (B, T, A)
    memory : ndarray, shape (B, S, A)
    v : ndarray, shape (A,)

    Returns
    -------
    ndarray, shape (B, T, S)
    """
    B, T, _ = query.shape
    scores = np.empty((B, T, memory.shape[1]), query.dtype)
    squashed = np.empty_like(memory)
    for t in range(T):
        np.add(query[:, t, np.newaxis], memory, out=squashed)
        np.tanh(squashed, out=squashed)
        scores[:, t] = squashed @ v
    return scores


def additive_scores_backward(
    dscores: np.ndarray,
    query: np.ndarray,
    memory: np.ndarray,
    v: np.ndarray,
    dmemory: np.ndarray,
    dv: np.ndarray,
) -> np.ndarray:
    """Return the gradient of `query`; add those of `memory` and `v` to the last two.

    With h = tanh(query + memory): dv = sum ds h, dmemory = v sum over t of
    ds (1 - h^2), dquery = v sum over s of the same.
    """
    dquery = np.empty_like(query)
    squashed, by_row = np.empty_like(memory), np.zeros_like(memory)
    for t in range(query.shape[1]):
        ds = dscores[:, t]
        np.add(query[:, t, np.newaxis], memory, out=squashed)
        np.tanh(squashed, out=squashed)
        dv += np.tensordot(ds, squashed, 2)
        np.multiply(squashed, squashed, out=squashed)
        np.subtract(1, squashed, out=squashed)
        squashed *= ds[..., np.newaxis]
        by_row += squashed
        np.sum(squashed, axis=1, out=dquery[:, t])
    dmemory += by_row * v
    dquery *= v
    return dquery
