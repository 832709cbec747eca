"""Attention: a weighted mean of the rows of a memory for each query."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import check_shape, real_array
from fastcell._checks.names import one_of
from fastcell._checks.numbers import integer, seed_of
from fastcell.layers.attention_keys import AttentionSaved, GradientSums, Keys
from fastcell.layers.batches import lengths_of
from fastcell.layers.linear import Linear
from fastcell.layers.saved import check_saved, check_version
from fastcell.module import Module, check_dtype
from fastcell.named_classes import in_files
from fastcell.threads import get_num_threads

KINDS = ("additive", "dot", "general")


@in_files
class Attention(Module):
    r"""Attention over a memory: scores, their softmax, and the weighted mean of rows.

    With a query :math:`q` (Q features) and the rows :math:`m_s` (M features) of the
    memory of the same sequence,

    .. math::
        a_s &= \mathrm{softmax}_s(\mathrm{score}(q, m_s)), \qquad
        c = \sum_s a_s m_s \\
        \mathrm{score}(q, m) &= v^T \tanh(W q + U m + b)
            && \text{additive, Bahdanau et al. 2015, arXiv:1409.0473} \\
        \mathrm{score}(q, m) &= q^T m
            && \text{dot, Luong et al. 2015, arXiv:1508.04025} \\
        \mathrm{score}(q, m) &= q^T W m && \text{general, the same}

    The terms of the memory alone, U m + b or W m, are computed once: by `keys` for
    calls of one step at a time, or within a call of many steps.

    Parameters
    ----------
    query_size, memory_size : int
        Q and M; the same for "dot".
    kind : {"additive", "dot", "general"}
        The score.
    attention_size : int, optional
        Features A of the additive score; default: Q. Only for this kind.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial values, which are those of `Linear`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Notes
    -----
    Parameters: "query.weight" (A, Q), "memory.weight" (A, M), "memory.bias" (A,) and
    "score.weight" (1, A) of "additive"; "memory.weight" (Q, M) of "general"; none of
    "dot".

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.Attention(3, 4, "general", seed=0)
    >>> memory = np.ones((5, 2, 4), np.float32)  # (S, B, M)
    >>> context, weights = layer(np.ones((7, 2, 3), np.float32), memory, [5, 2])
    >>> context.shape, weights.shape
    ((7, 2, 4), (7, 2, 5))
    >>> weights[0].round(3)
    array([[0.2, 0.2, 0.2, 0.2, 0.2],
           [0.5, 0.5, 0. , 0. , 0. ]], dtype=float32)
    """

    def __init__(
        self,
        query_size: int,
        memory_size: int,
        kind: str = "additive",
        attention_size: int | None = None,
        *,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        self.query_size = integer("query_size", query_size, minimum=1)
        self.memory_size = integer("memory_size", memory_size, minimum=1)
        self.kind = one_of("kind", kind, KINDS)
        self.attention_size = attention_size
        if attention_size is not None:
            if kind != "additive":
                raise ValueError(
                    f"attention_size must be left out with kind {kind!r}; "
                    f"got {attention_size!r}"
                )
            self.attention_size = integer("attention_size", attention_size, minimum=1)
        if kind == "dot" and self.query_size != self.memory_size:
            raise ValueError(
                f"memory_size must be query_size, {query_size}, with kind 'dot'; "
                f"got {memory_size}"
            )
        self.dtype = check_dtype(dtype)
        self.seed = seed_of(seed)
        self._parts = self._build()

    def _build(self) -> dict[str, Linear]:
        seeds: list[int | None] = [None] * 3
        if self.seed is not None:
            seeds = np.random.SeedSequence(self.seed).generate_state(3).tolist()
        Q, M, A = self.query_size, self.memory_size, self.attention_size
        A = self.query_size if A is None else A
        shapes = {
            "dot": {},
            "general": {"memory": (M, Q, False)},
            "additive": {
                "query": (Q, A, False),
                "memory": (M, A, True),
                "score": (A, 1, False),
            },
        }[self.kind]
        return {
            name: Linear(*shape, dtype=self.dtype, seed=seed)
            for (name, shape), seed in zip(shapes.items(), seeds, strict=False)
        }

    def children(self) -> dict[str, Module]:
        """Return the dense layers by name; none for "dot"."""
        return dict(self._parts)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {
            "query_size": self.query_size,
            "memory_size": self.memory_size,
            "kind": self.kind,
            "attention_size": self.attention_size,
            "dtype": self.dtype.name,
            "seed": self.seed,
        }

    # ------------------------------------------------------------------- calls

    def keys(self, memory: Any, memory_lengths: Any = None) -> Keys:
        """Return the keys of a memory, for several calls; the memory is copied.

        Parameters
        ----------
        memory : array, shape (S, B, M)
        memory_lengths : array of int, shape (B,), optional
            Rows of each sequence's memory, 0 to S. Rows past them have no weight and
            any content. A memory without rows gives a context of zeros.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is wrong, or a length is out of range.
        """
        memory = real_array("memory", memory, self.dtype)
        if memory.ndim != 3 or memory.shape[-1] != self.memory_size:
            raise ValueError(
                f"memory must have the shape (S, B, {self.memory_size}); "
                f"got {memory.shape}"
            )
        S, B, _ = memory.shape
        lengths = lengths_of(memory_lengths, S, B, "memory_lengths")
        # Batch first, for the products of each sequence; a copy even if B is 1.
        rows = np.array(memory.swapaxes(0, 1), order="C")
        if lengths is not None and (lengths == S).all():
            lengths = None
        keys = Keys(rows, rows, lengths, None)
        keys.clear_past(rows)
        if "memory" in self._parts:
            keys.version = self._keys_version()
            keys.projected, keys.saved = self._parts["memory"].forward(rows)
        return keys

    def __call__(
        self, query: Any, memory: Any, memory_lengths: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the context and the weights; see `forward`."""
        keys = self._keys(memory, memory_lengths)
        query, shape = self._query(query, keys)
        context, weights, _ = self._attend(query, keys)
        return _to_caller(context, shape), _to_caller(weights, shape)

    def forward(
        self, query: Any, memory: Any, memory_lengths: Any = None
    ) -> tuple[np.ndarray, np.ndarray, AttentionSaved]:
        """Attend to a memory, for training. All arguments are copied.

        Parameters
        ----------
        query : array, shape (T, B, Q) or (B, Q)
        memory : array, shape (S, B, M), or Keys
            The rows, or what `keys` returned for them.
        memory_lengths : array of int, shape (B,), optional
            As for `keys`; not with `Keys`, which have them.

        Returns
        -------
        context : ndarray, shape (T, B, M) or (B, M)
        weights : ndarray, shape (T, B, S) or (B, S)
            At least 0; they sum to 1 over S.
        saved : AttentionSaved
            What `backward` needs.

        Raises
        ------
        TypeError
            If a dtype is not the layer's.
        ValueError
            If a shape is not as said above.
        """
        keys = self._keys(memory, memory_lengths)
        query, shape = self._query(query, keys, copies=True)
        versions = self._versions()
        context, weights, projected = self._attend(query, keys)
        saved = AttentionSaved(query, projected, weights, keys, shape, versions)
        given = _to_caller(weights, shape)
        return _to_caller(context, shape), _own(given, weights), saved

    def backward(
        self, dcontext: Any, saved: AttentionSaved, dweights: Any = None
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Return the gradients of the query, the memory and the parameters.

        Parameters
        ----------
        dcontext : array, shape as the context
        saved : AttentionSaved
            From `forward`.
        dweights : array, shape as the weights, optional
            Gradient of the weights, if a loss depends on them.

        Returns
        -------
        dquery : ndarray, shape as the query
        dmemory : ndarray, shape (S, B, M)
            0 past the lengths.
        grads : dict of str to ndarray
            Keyed like `state_dict()`.

        Raises
        ------
        ValueError
            If a parameter has changed since forward, or a shape is wrong.
        TypeError
            If a dtype is wrong, or `saved` is not from `forward`.
        """
        check_saved(saved, AttentionSaved)
        sums = self.gradient_sums(saved.keys)
        dquery = self.backward_step(dcontext, saved, sums, dweights)
        dmemory, grads = self.finish(sums)
        return dquery, dmemory, grads

    # ----------------------------- backward of several calls that share their keys

    def gradient_sums(self, keys: Keys) -> GradientSums:
        """Return zero sums for `backward_step` to add to."""
        grads = {
            f"{name}.{key}": np.zeros_like(array)
            for name, part in self._parts.items()
            for key, array in part.params.arrays().items()
        }
        shared = keys.projected is keys.rows
        drows = np.zeros_like(keys.rows)
        return GradientSums(
            keys, drows, drows if shared else np.zeros_like(keys.projected), grads
        )

    def backward_step(
        self,
        dcontext: Any,
        saved: AttentionSaved,
        sums: GradientSums,
        dweights: Any = None,
    ) -> np.ndarray:
        """Return the gradient of a call's query, and add the others to `sums`."""
        check_version(saved.versions, self._versions())
        weights, rows = saved.weights, sums.keys.rows
        S = weights.shape[-1]
        dcontext = self._gradient("dcontext", dcontext, saved, rows.shape[-1])
        dw = np.matmul(dcontext, rows.swapaxes(1, 2))
        if dweights is not None:
            dw += self._gradient("dweights", dweights, saved, S)
        sums.drows += np.matmul(weights.swapaxes(1, 2), dcontext)
        lengths, threads = sums.keys.lengths, get_num_threads()
        _core.attention_weights_backward(weights, dw, lengths, threads)
        projected = sums.keys.projected
        if self.kind == "additive":
            dprojected = np.empty_like(saved.projected)
            _core.additive_scores_backward(
                dw,
                saved.projected,
                projected,
                self._v(),
                lengths,
                dprojected,
                sums.dprojected,
                sums.grads["score.weight"][0],
                threads,
            )
            dquery = np.empty_like(saved.query)
            self._parts["query"].add_backward(
                dprojected, saved.query, dquery, {"weight": sums.grads["query.weight"]}
            )
        else:
            dquery = np.matmul(dw, projected)
            sums.dprojected += np.matmul(dw.swapaxes(1, 2), saved.query)
        return _to_caller(dquery, saved.shape)

    def finish(self, sums: GradientSums) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the gradients of the memory and the parameters."""
        drows, keys = sums.drows, sums.keys
        if "memory" in self._parts:
            through, grads = self._parts["memory"].backward(sums.dprojected, keys.saved)
            drows += through
            for name, grad in grads.items():
                sums.grads[f"memory.{name}"] += grad
        keys.clear_past(drows)  # the rows past the lengths were zeros in the products
        return np.ascontiguousarray(drows.swapaxes(0, 1)), sums.grads

    # ------------------------------------------------------------- preparation

    def _keys(self, memory: Any, memory_lengths: Any) -> Keys:
        if not isinstance(memory, Keys):
            return self.keys(memory, memory_lengths)
        if memory_lengths is not None:
            raise ValueError("memory_lengths must be left out with Keys: they know it")
        if "memory" in self._parts and memory.version != self._keys_version():
            raise ValueError(
                "memory must be Keys of the parameters as they are; got Keys from "
                "before a change of memory.weight: call keys again"
            )
        return memory

    def _keys_version(self) -> int:
        return self._parts["memory"]._parameters.version()

    def _versions(self) -> list[int]:
        return [part._parameters.version() for part in self._parts.values()]

    def _query(
        self, query: Any, keys: Keys, copies: bool = False
    ) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the query, contiguous and batch first, and the caller's shape."""
        query = real_array("query", query, self.dtype)
        B, Q = len(keys.rows), self.query_size
        if query.ndim not in (2, 3) or query.shape[-2:] != (B, Q):
            raise ValueError(
                f"query must have the shape (T, {B}, {Q}) or ({B}, {Q}); "
                f"got {query.shape}"
            )
        rows = _batch_first(query)
        return _own(rows, query) if copies else rows, query.shape[:-1]

    def _gradient(
        self, name: str, value: Any, saved: AttentionSaved, width: int
    ) -> np.ndarray:
        array = real_array(name, value, self.dtype)
        return _batch_first(check_shape(name, array, (*saved.shape, width)))

    def _attend(
        self, query: np.ndarray, keys: Keys
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return context and weights, batch first, and the projected query."""
        lengths, threads = keys.lengths, get_num_threads()
        if self.kind == "additive":
            projected = self._parts["query"](query)
            shape = (*query.shape[:2], keys.rows.shape[1])
            weights = np.empty(shape, self.dtype)
            _core.additive_scores(
                projected, keys.projected, self._v(), lengths, weights, threads
            )
        else:
            projected = query
            weights = np.matmul(query, keys.projected.swapaxes(1, 2))
        _core.attention_weights(weights, lengths, threads)
        return np.matmul(weights, keys.rows), weights, projected

    def _v(self) -> np.ndarray:
        v: np.ndarray = self._parts["score"]._parameters.arrays()["weight"][0]
        return v


def _batch_first(array: np.ndarray) -> np.ndarray:
    """Return (T, B, n) or (B, n) as a contiguous (B, T, n)."""
    if array.ndim == 2:
        array = array[np.newaxis]
    return np.ascontiguousarray(array.swapaxes(0, 1))


def _own(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return `array`, or a copy if it is a view of `other`."""
    return array.copy() if np.may_share_memory(array, other) else array


def _to_caller(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return (B, T, n) as the caller's (T, B, n) or (B, n)."""
    if len(shape) == 1:
        return array[:, 0]
    return np.ascontiguousarray(array.swapaxes(0, 1))
