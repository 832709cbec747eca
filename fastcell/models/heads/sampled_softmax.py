"""Sampled softmax: a loss whose normalizer is estimated from some of the tokens."""

from __future__ import annotations

import numpy as np

from fastcell.layers import Linear
from fastcell.losses.classes import cross_entropy_in_place
from fastcell.models.heads.softmax import blocks
from fastcell.models.parts.common import IGNORED
from fastcell.module import Module
from fastcell.parameters import Parameters


class SampledSoftmax(Module):
    r"""Softmax cross-entropy with the normalizer estimated by importance sampling.

    A row has scores :math:`s_v` and the label :math:`y`. All rows of a batch share K
    tokens drawn from a proposal :math:`Q`, token :math:`v` being drawn :math:`m_v`
    times:

    .. math::
        \hat Z = \frac{1}{K + 1} \left( \frac{e^{s_y}}{Q(y)}
                 + \sum_v m_v \frac{e^{s_v}}{Q(v)} \right), \qquad
        loss = \log \hat Z - s_y

    (importance sampling, Bengio and Senecal 2008, doi:10.1109/TNN.2007.912312; tokens
    shared by a batch, Jean et al. 2015, arXiv:1412.2007). The expectation of each term
    of the sum is the true normalizer. For any K, the scores that minimize the expected
    loss are those of the true distribution (Ma and Collins 2018, arXiv:1809.01812); for
    this, a label that is also drawn counts twice. A small K makes gradients noisy.
    `softmax_assess` returns the true loss.

    The proposal is log-uniform, close to Zipf's law if a token's id is its rank by
    frequency, as in `fastcell.data.WordVocabulary`:

    .. math:: Q(v) = \log\frac{v + 2}{v + 1} / \log(V + 1)

    Parameters
    ----------
    vocab_size : int
        V.
    count : int
        K.
    seed : int, optional
        Seed of the draws.
    """

    def __init__(self, vocab_size: int, count: int, *, seed: int | None) -> None:
        self.vocab_size = vocab_size
        self.count = count
        self._parameters = Parameters({})
        self._random: np.random.Generator = np.random.default_rng(seed)

    def log_proposal(self, tokens: np.ndarray) -> np.ndarray:
        """Return log Q of tokens."""
        q: np.ndarray = np.log(
            np.log1p(1 / (tokens + 1.0)) / np.log(self.vocab_size + 1)
        )
        return q

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw tokens for a batch; return the distinct ones and their counts.

        Examples
        --------
        >>> tokens, times = SampledSoftmax(1000, 4, seed=0).draw()
        >>> tokens.tolist(), times.tolist()
        ([0, 5, 80], [2, 1, 1])
        """
        drawn = np.exp(self._random.random(self.count) * np.log(self.vocab_size + 1))
        ids = np.minimum(drawn.astype(np.int64) - 1, self.vocab_size - 1)
        return np.unique(ids, return_counts=True)

    def loss(
        self, layer: Linear, vectors: np.ndarray, labels: np.ndarray
    ) -> tuple[float, np.ndarray, dict[str, np.ndarray]]:
        """Return the estimated mean loss and its gradients, as `softmax_loss`.

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
            Gradients of the layer: zero except for the tokens drawn and the labels.
        """
        counted = labels != IGNORED
        rows, wanted = np.ascontiguousarray(vectors[counted]), labels[counted]
        tokens, times = self.draw()
        drawn = layer.outputs(tokens)
        parameters = layer.params.arrays()
        weight, bias = parameters["weight"], parameters["bias"]
        of_drawn = (np.log(times) - self.log_proposal(tokens)).astype(rows.dtype)
        of_label = -self.log_proposal(wanted)
        scale = 1.0 / max(len(rows), 1)
        drows, losses = np.empty_like(rows), np.empty(len(rows))
        dlabels = np.empty(len(rows), rows.dtype)
        drawn_grads = drawn.zero_gradients()
        for block in blocks(len(rows), len(tokens) + 1):
            x, labels_here = rows[block], wanted[block]
            own = weight[labels_here]
            scores = np.empty((len(x), len(tokens) + 1), rows.dtype)
            scores[:, 0] = np.einsum("ni,ni->n", x, own) + bias[labels_here]
            scores[:, 0] += of_label[block]
            scores[:, 1:] = drawn(x) + of_drawn
            first = np.zeros(len(x), np.int64)
            losses[block] = cross_entropy_in_place(scores, first, scale)
            drawn.add_backward(scores[:, 1:], x, drows[block], drawn_grads)
            dlabels[block] = scores[:, 0]
            drows[block] += scores[:, :1] * own
        losses += of_label - np.log(self.count + 1)

        grads = layer.zero_gradients()
        grads["weight"][tokens] = drawn_grads["weight"]
        grads["bias"][tokens] = drawn_grads["bias"]
        _add_by_label(grads, wanted, rows, dlabels)
        dvectors = np.zeros(vectors.shape, rows.dtype)
        dvectors[counted] = drows
        return float(losses.sum()) * scale, dvectors, grads


def _add_by_label(
    grads: dict[str, np.ndarray], labels: np.ndarray, x: np.ndarray, dy: np.ndarray
) -> None:
    """Add the gradient of each row's label score, in the order of rows."""
    if not len(labels):
        return
    order = np.argsort(labels, kind="stable")
    found, first = np.unique(labels[order], return_index=True)
    for name, terms in (("weight", x * dy[:, np.newaxis]), ("bias", dy)):
        grads[name][found] += np.add.reduceat(terms[order], first, axis=0)
