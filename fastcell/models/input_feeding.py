"""Input feeding: the decoder reads its own last vector beside each token.

Luong et al. 2015, arXiv:1508.04025, section 3.3. As each step needs the result of the
one before, steps go one by one, each over the whole batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell.models.parts import prefixed

if TYPE_CHECKING:
    from fastcell.layers.attention_keys import Keys
    from fastcell.models.attentive_decoder import AttentiveDecoder
    from fastcell.module import Module


def feeding_forward(
    decoder: AttentiveDecoder,
    ids: np.ndarray,
    state: Any,
    keys: Keys,
    training: bool,
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return vectors (T, B, A), weights (T, B, S), and what backward needs.

    Without `training` nothing is dropped and nothing is kept.
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


def feeding_backward(
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
