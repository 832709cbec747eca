"""Pooling: one vector per sequence from the vectors of its steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import check_shape, real_array
from fastcell._checks.names import one_of
from fastcell._checks.numbers import flag, integer, seed_of
from fastcell.layers.activation import Activation
from fastcell.layers.batches import lengths_of
from fastcell.layers.linear import Linear
from fastcell.layers.running import Running, RunningLast, RunningMax, RunningMean
from fastcell.layers.saved import Watched, check_saved
from fastcell.layers.sequential import Sequential
from fastcell.module import Module, check_dtype
from fastcell.named_classes import in_files
from fastcell.parameters import Parameters

KINDS = ("last", "mean", "max", "attention")

_RUNNING = {"last": RunningLast, "mean": RunningMean, "max": RunningMax}


class Pooled(NamedTuple):
    """The values of one call for backward: kind, shapes, and the kind's own."""

    kind: tuple[str, bool]  # and whether bidirectional
    shape: tuple[int, ...]
    counts: np.ndarray
    kept: Any


@in_files
class Pooling(Module):
    r"""Reduce the outputs of a recurrent layer to one vector for each sequence.

    With the steps :math:`h_0 \dots h_{n-1}` that a sequence has,

    .. math::
        \text{last:} \quad & y = h_{n-1} \\
        \text{mean:} \quad & y = \frac{1}{n} \sum_t h_t \\
        \text{max:} \quad & y = \max_t h_t \text{, for each feature} \\
        \text{attention:} \quad & y = \sum_t a_t h_t, \quad
            a = \mathrm{softmax}_t(v^T \tanh(W h_t + b))

    For a bidirectional layer, "last" takes the final output of each direction: the
    forward half of the last step, the reverse half of the first. The maximum over time
    is that of Collobert et al. (2011, arXiv:1103.0398), the attention that of Yang et
    al. (2016, doi:10.18653/v1/N16-1174).

    The result of a sequence without steps is zero. Each result depends, bit for bit, on
    the steps of its own sequence only.

    Parameters
    ----------
    input_size : int
        Features D of a step.
    kind : {"last", "mean", "max", "attention"}, default "last"
        The reduction.
    bidirectional : bool, default False
        Whether the second half of the features comes from the reverse direction; for
        "last".
    attention_size : int, optional
        Features A of the hidden layer of "attention", W (A, D); default: D.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial values of "attention".

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.layers import Pooling
    >>> h = np.array([[[1.0, 6.0]], [[3.0, 4.0]], [[0.0, 0.0]]], np.float32)
    >>> Pooling(2, "mean")(h, [2])
    array([[2., 5.]], dtype=float32)
    >>> Pooling(2, "last", bidirectional=True)(h, [2])
    array([[3., 6.]], dtype=float32)
    """

    def __init__(
        self,
        input_size: int,
        kind: str = "last",
        bidirectional: bool = False,
        attention_size: int | None = None,
        *,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        self.input_size = integer("input_size", input_size, minimum=1)
        self.kind = one_of("kind", kind, KINDS)
        self.bidirectional = flag("bidirectional", bidirectional)
        if self.bidirectional and self.input_size % 2:
            raise ValueError(
                "input_size must be even, half of it from each direction; "
                f"got {input_size}"
            )
        self.attention_size = attention_size
        self.dtype = check_dtype(dtype)
        self.seed = seed_of(seed)
        if kind != "attention":
            if attention_size is not None:
                raise ValueError(
                    f"attention_size must be left out with kind {kind!r}; "
                    f"got {attention_size!r}"
                )
            self._parameters = Parameters({})
            return
        size = self.input_size
        if attention_size is not None:
            size = integer("attention_size", attention_size, minimum=1)
        seeds = np.random.SeedSequence(self.seed).generate_state(2).tolist()
        hidden = Linear(self.input_size, size, dtype=self.dtype, seed=seeds[0])
        score = Linear(size, 1, bias=False, dtype=self.dtype, seed=seeds[1])
        self._parts = {"hidden": hidden, "score": score}
        self._scores = Sequential([hidden, Activation("tanh"), score])

    def children(self) -> dict[str, Module]:
        """Return the two dense layers of "attention"; none for other kinds."""
        return dict(self._parts) if self.kind == "attention" else {}

    def __call__(self, h: Any, lengths: Any = None) -> np.ndarray:
        """Return one vector for each sequence.

        Parameters
        ----------
        h : array, shape (T, B, D)
            The steps. Steps past the lengths are not read.
        lengths : array of int, shape (B,), optional
            Steps of each sequence, 0 to T; default: T.

        Returns
        -------
        ndarray, shape (B, D)

        Raises
        ------
        TypeError
            If the dtype is not the layer's.
        ValueError
            If a shape is wrong, or a length out of range.
        """
        return self.forward(h, lengths)[0]

    def forward(self, h: Any, lengths: Any = None) -> tuple[np.ndarray, Pooled]:
        """Return the result of a call, and what `backward` needs.

        "attention" keeps h without a copy: it must not be written to before `backward`,
        which compares a sample of 127 of its elements. The lengths are copied.
        Parameters and errors are those of a call.
        """
        h = real_array("h", h, self.dtype)
        if h.ndim != 3 or h.shape[2] != self.input_size:
            raise ValueError(
                f"h must have the shape (T, B, {self.input_size}); got {h.shape}"
            )
        T, B, _ = h.shape
        counts = lengths_of(lengths, T, B)
        if counts is None:
            counts = np.full(B, T, np.int64)
        if self.kind == "last":
            y, kept = self._last(h, counts), None
        elif self.kind == "attention":
            y, kept = self._attend(h, counts)
        else:
            y, kept = self._reduce(h, counts)
        return y, Pooled((self.kind, self.bidirectional), h.shape, counts, kept)

    def backward(
        self, dy: Any, saved: Pooled
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the gradient of h, zeros past the lengths, and of the parameters.

        Raises
        ------
        ValueError
            If a parameter or h has changed since forward, the shape of dy is wrong, or
            `saved` is another layer's; for "attention" also if `saved` was used before.
        TypeError
            If the dtype of dy is wrong, or `saved` is not from `forward`.
        """
        check_saved(saved, Pooled)
        kind, (T, B, D), counts, kept = saved
        if kind != (self.kind, self.bidirectional) or self.input_size != D:
            raise ValueError("saved was made by another layer's forward")
        dy = check_shape("dy", real_array("dy", dy, self.dtype), (B, D))
        if self.kind == "attention":
            return self._attend_backward(dy, *kept)
        if self.kind in ("mean", "max"):
            where = kept if self.kind == "max" else None
            if self.kind == "mean":
                dy = dy / kept
            dh = np.empty((T, B, D), self.dtype)
            _core.spread_steps(np.ascontiguousarray(dy), counts, where, dh)
            return dh, {}
        dh = np.zeros((T, B, D), self.dtype)
        rows = np.flatnonzero(counts)
        half = D // 2 if self.bidirectional else D
        dh[counts[rows] - 1, rows, :half] = dy[rows, :half]
        dh[:1, rows, half:] = dy[rows, half:]
        return dh, {}

    def running(self, rows: int) -> Running:
        """Return a pool for streams, updated step by step.

        Raises
        ------
        ValueError
            If the kind needs the whole sequence.
        """
        if self.kind == "attention" or self.bidirectional:
            what = "both directions" if self.bidirectional else "attention"
            raise ValueError(
                "pooling must be last, mean or max of one direction to follow a "
                f"stream; got that of {what}"
            )
        return _RUNNING[self.kind](rows, self.input_size, self.dtype)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {
            "input_size": self.input_size,
            "kind": self.kind,
            "bidirectional": self.bidirectional,
            "attention_size": self.attention_size,
            "dtype": self.dtype.name,
            "seed": self.seed,
        }

    # -------------------------------------------------------------------- the kinds

    def _last(self, h: np.ndarray, counts: np.ndarray) -> np.ndarray:
        y = np.zeros(h.shape[1:], self.dtype)
        rows = np.flatnonzero(counts)
        half = h.shape[2] // 2 if self.bidirectional else h.shape[2]
        y[rows, :half] = h[counts[rows] - 1, rows, :half]
        if self.bidirectional and len(rows):
            y[rows, half:] = h[0, rows, half:]
        return y

    def _reduce(
        self, h: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and its divisors (B, 1); or the maximum and its steps.

        The operations are those of `fastcell.layers.running`, in the same order.
        """
        h = np.ascontiguousarray(h)
        y = np.empty(h.shape[1:], self.dtype)
        if self.kind == "max":
            where = np.empty(y.shape, np.int32)
            _core.max_steps(h, counts, y, where)
            return y, where
        _core.sum_steps(h, counts, y)
        n: np.ndarray = np.maximum(counts, 1).astype(self.dtype)[:, np.newaxis]
        y /= n
        return y, n

    def _attend(self, h: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, Any]:
        exists = existing_steps(counts, len(h))
        if not exists.all():
            h = np.where(exists[..., np.newaxis], h, self.dtype.type(0))
        scores, saved = self._scores.forward(h)
        weights = _softmax_over_steps(scores[..., 0], exists)
        y = np.zeros(h.shape[1:], self.dtype)
        for h_t, a_t in zip(h, weights, strict=True):
            y += a_t[:, np.newaxis] * h_t
        return y, (Watched("h", h), weights, saved)

    def _attend_backward(
        self, dy: np.ndarray, h: Watched, weights: np.ndarray, saved: Any
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        dweights = np.einsum("tbd,bd->tb", h.unchanged(), dy)
        dscores = weights * (dweights - (weights * dweights).sum(axis=0))
        dh, grads = self._scores.backward(dscores[..., np.newaxis], saved)
        dh += weights[..., np.newaxis] * dy
        names = {"0": "hidden", "2": "score"}  # their numbers in the Sequential
        named = {}
        for key, grad in grads.items():
            place, _, name = key.partition(".")
            named[f"{names[place]}.{name}"] = grad
        return dh, named


def existing_steps(lengths: np.ndarray, T: int) -> np.ndarray:
    """Return a mask (T, B) of the steps of sequences of these lengths."""
    return np.arange(T)[:, np.newaxis] < lengths


def _softmax_over_steps(scores: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """Return the softmax over the steps that exist, (T, B); 0 for the others."""
    dtype = scores.dtype.type
    scores = np.where(exists, scores, dtype(-np.inf))
    largest = scores.max(axis=0, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        e = np.where(exists, np.exp(scores - largest), dtype(0))
    # Step by step: the result of a pairwise sum would depend on T and B.
    total = np.zeros(e.shape[1], e.dtype)
    for e_t in e:
        total += e_t
    weights: np.ndarray = e / np.where(total == 0, dtype(1), total)
    return weights
