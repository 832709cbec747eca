"""Decoder with optional attention: from tokens to a vector for each next token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell.layers import Attention, Linear
from fastcell.models.parts.common import part_seeds, prefixed
from fastcell.models.parts.token_encoder import TokenEncoder
from fastcell.models.search.decoding_state import DecodingState
from fastcell.module import Module

if TYPE_CHECKING:
    from fastcell.layers.attention_keys import Keys


class AttentiveDecoder(Module):
    r"""A recurrent layer over the previous tokens, with attention over a memory.

    Luong et al. 2015 (arXiv:1508.04025): with the embedded token :math:`e_t`,

    .. math::
        h_t &= \mathrm{cell}(e_t, h_{t-1}) \\
        c_t &= \mathrm{attention}(h_t, memory) \\
        a_t &= \tanh(W_c [c_t ; h_t] + b_c)

    The context enters after the recurrence, so a known sequence takes one call of the
    recurrent layer and one of the attention. With input feeding the cell reads
    :math:`[e_t ; a_{t-1}]`, so steps run one by one (their section 3.3). Without
    attention :math:`a_t = h_t`.

    Parameters
    ----------
    reader : TokenEncoder
        Embedding and recurrent layer. With `input_feeding` its `extra` features are the
        output size of the recurrent layer.
    memory_size : int
        Features of a row of the memory, with attention.
    attention : str or None
        Kind of attention, as for `fastcell.Attention`.
    input_feeding : bool
    """

    combine: Linear  # only with attention

    def __init__(
        self,
        reader: TokenEncoder,
        memory_size: int = 0,
        attention: str | None = None,
        input_feeding: bool = False,
        *,
        seed: int | None = None,
    ) -> None:
        self.reader = reader
        self.input_feeding = input_feeding
        self.output_size = reader.rnn.output_size
        self.attention: Attention | None = None
        if attention is not None:
            size, dtype = self.output_size, reader.rnn.dtype
            seeds = part_seeds(seed, 2)
            self.attention = Attention(
                size, memory_size, attention, dtype=dtype, seed=seeds[0]
            )
            self.combine = Linear(memory_size + size, size, dtype=dtype, seed=seeds[1])

    def children(self) -> dict[str, Module]:
        """Return the layers by name."""
        named = self.reader.children()
        if self.attention is not None:
            named |= {"attention": self.attention, "combine": self.combine}
        return named

    # ------------------------------------------------------------ known sequences

    def __call__(
        self,
        ids: np.ndarray,
        state: Any,
        memory: np.ndarray | None = None,
        memory_lengths: np.ndarray | None = None,
        lengths: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a_t and the attention's weights, for inference; see `forward`."""
        if self.input_feeding and self.attention is not None:
            keys = self.attention.keys(memory, memory_lengths)
            return _feeding_forward(self, ids, state, keys, training=False)[:2]
        h, _ = self.reader(ids, state, lengths)
        if self.attention is None:
            return h, None
        context, weights = self.attention(h, memory, memory_lengths)
        return self.combined(context, h), weights

    def forward(
        self,
        ids: np.ndarray,
        state: Any,
        memory: np.ndarray | None = None,
        memory_lengths: np.ndarray | None = None,
        lengths: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None, Any]:
        """Return a_t for all steps of known tokens, for training.

        Parameters
        ----------
        ids : ndarray of int, shape (T, B)
        state
            The recurrent layer's initial state.
        memory : ndarray, shape (S, B, M), optional
        memory_lengths : ndarray of int, shape (B,), optional
        lengths : ndarray of int, shape (B,), optional
            Steps of each sequence; results past them are undefined.

        Returns
        -------
        vectors : ndarray, shape (T, B, A)
        weights : ndarray, shape (T, B, S), or None without attention
        saved
            Values for `backward`.
        """
        if self.input_feeding and self.attention is not None:
            keys = self.attention.keys(memory, memory_lengths)
            return _feeding_forward(self, ids, state, keys, training=True)
        h, _, read = self.reader.forward(ids, state, lengths)
        if self.attention is None:
            return h, None, (read,)
        context, weights, attended = self.attention.forward(h, memory, memory_lengths)
        joined, kept = self.combine.forward(np.concatenate((context, h), axis=-1))
        vectors = np.tanh(joined, out=joined)
        return vectors, weights, (read, attended, vectors, kept)

    def backward(
        self, dvectors: np.ndarray, saved: Any
    ) -> tuple[np.ndarray | None, Any, dict[str, np.ndarray]]:
        """Return the gradients of the memory, the initial state and the parameters.

        `dvectors` must be 0 past the lengths.
        """
        if self.input_feeding:
            return _feeding_backward(self, dvectors, saved)
        if self.attention is None:
            dstate, grads = self.reader.backward(dvectors, *saved)
            return None, dstate, grads
        read, attended, vectors, kept = saved
        djoined, combine_grads = self.combine.backward(
            dvectors * (1 - vectors * vectors), kept
        )
        M = self.attention.memory_size
        dh, dmemory, attention_grads = self.attention.backward(
            djoined[..., :M], attended
        )
        dh += djoined[..., M:]
        dstate, grads = self.reader.backward(dh, read)
        grads |= prefixed("attention", attention_grads)
        grads |= prefixed("combine", combine_grads)
        return dmemory, dstate, grads

    # ---------------------------------------------------------------- step by step

    def start(
        self,
        state: Any,
        memory: np.ndarray | None = None,
        memory_lengths: np.ndarray | None = None,
    ) -> DecodingState:
        """Return the state before the first token, with one row for each sequence."""
        first = state[0] if isinstance(state, tuple) else state
        feed = keys = None
        if self.attention is not None:
            keys = self.attention.keys(memory, memory_lengths)
        if self.input_feeding:
            feed = np.zeros((first.shape[1], self.output_size), first.dtype)
        return DecodingState(state, keys, feed)

    def step(
        self, tokens: np.ndarray, before: DecodingState
    ) -> tuple[np.ndarray, DecodingState]:
        """Return a_t (N, A) for one more token of each row, and the state after it."""
        if before.feed is not None:
            x = np.concatenate((self.reader.embedding(tokens), before.feed), axis=-1)
            y, state = self.reader.rnn(x[np.newaxis], before.state)
        else:
            y, state = self.reader(tokens[np.newaxis], before.state)
        vectors = h = y[0]
        if self.attention is not None:
            # Rows of one sequence attend to the same memory, as its steps do.
            sequences = len(before.keys.rows)
            queries = h.reshape(sequences, -1, h.shape[-1]).swapaxes(0, 1)
            context, _ = self.attention(queries, before.keys)
            context = context.swapaxes(0, 1).reshape(len(h), -1)
            vectors = self.combined(context, h)
        feed = vectors if self.input_feeding else None
        return vectors, DecodingState(state, before.keys, feed)

    def combined(self, context: np.ndarray, h: np.ndarray) -> np.ndarray:
        """Return a_t, for inference."""
        joined = self.combine(np.concatenate((context, h), axis=-1))
        vectors: np.ndarray = np.tanh(joined, out=joined)
        return vectors


# Input feeding (Luong et al. 2015, section 3.3): each step reads the vector of the step
# before, so steps run one by one, each over the whole batch.


def _feeding_forward(
    decoder: AttentiveDecoder,
    ids: np.ndarray,
    state: Any,
    keys: Keys,
    training: bool,
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return vectors (T, B, A), weights (T, B, S), and values for backward.

    Without `training` there is no dropout and no step's values are saved.
    """
    reader, attention, combine = decoder.reader, decoder.attention, decoder.combine
    assert attention is not None
    embedded, kept_ids = reader.embedding.forward(ids)
    dropped = None
    if training and reader.dropout is not None:
        embedded, dropped = reader.dropout.forward(embedded)
    T, B, E = embedded.shape
    A = decoder.output_size
    vectors = np.empty((T, B, A), embedded.dtype)
    weights = np.empty((T, B, keys.rows.shape[1]), embedded.dtype)
    x = np.empty((T, B, E + A), embedded.dtype)  # kept until backward
    x[..., :E] = embedded
    x[:1, :, E:] = 0
    steps = []
    for t in range(T):
        if training:
            y, state, read = reader.rnn.forward(x[t : t + 1], state)
            context, weights[t], attended = attention.forward(y[0], keys)
            joined, kept = combine.forward(np.concatenate((context, y[0]), axis=-1))
            np.tanh(joined, out=vectors[t])
            steps.append((read, attended, kept))
        else:
            y, state = reader.rnn(x[t : t + 1], state)
            context, weights[t] = attention(y[0], keys)
            vectors[t] = decoder.combined(context, y[0])
        x[t + 1 : t + 2, :, E:] = vectors[t]
    return vectors, weights, (kept_ids, dropped, keys, vectors, steps)


def _feeding_backward(
    decoder: AttentiveDecoder, dvectors: np.ndarray, saved: Any
) -> tuple[np.ndarray, Any, dict[str, np.ndarray]]:
    """Return the gradients of the memory, the initial state and the parameters."""
    reader, attention, combine = decoder.reader, decoder.attention, decoder.combine
    assert attention is not None
    kept_ids, dropped, keys, vectors, steps = saved
    E, M = reader.embedding.embedding_dim, attention.memory_size
    sums = attention.gradient_sums(keys)
    parts: tuple[Module, ...] = (reader.rnn, combine)
    rnn_grads, combine_grads = (
        {name: np.zeros_like(array) for name, array in part.params.arrays().items()}
        for part in parts
    )
    dembedded = np.empty((*kept_ids.ids.shape, E), dvectors.dtype)
    dfeed: Any = 0
    dstate = None
    while steps:
        read, attended, kept = steps.pop()
        t = len(steps)
        vector = vectors[t]
        dvector = (dvectors[t] + dfeed) * (1 - vector * vector)
        djoined, _ = combine.backward(dvector, kept, add_to=combine_grads)
        dh = attention.backward_step(djoined[:, :M], attended, sums)
        dh += djoined[:, M:]
        dx, dstate, _ = reader.rnn.backward(
            dh[np.newaxis], read, dstate, add_to=rnn_grads
        )
        dembedded[t] = dx[0, :, :E]
        dfeed = dx[0, :, E:]
    if dropped is not None and reader.dropout is not None:
        dembedded, _ = reader.dropout.backward(dembedded, dropped)
    _, embedding_grads = reader.embedding.backward(dembedded, kept_ids)
    dmemory, attention_grads = attention.finish(sums)
    return (
        dmemory,
        dstate,
        {
            **prefixed("rnn", rnn_grads),
            **prefixed("combine", combine_grads),
            **prefixed("embedding", embedding_grads),
            **prefixed("attention", attention_grads),
        },
    )
