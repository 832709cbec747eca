# Attention: scores and weights (B, T, S), batch first; lengths (B,) int64 or None.

cdef int attention_sizes(fc_attention *a, Arrays arrays, scores, lengths) except -1:
    a.dtype = arrays.dtype
    a.batch, a.queries, a.steps = scores.shape
    a.lengths = <const int64_t *> arrays.contiguous(lengths, 0, 8, a.batch)
    return 0


cdef int additive_score(
    fc_additive *score, const fc_attention *a, Arrays arrays, query, memory, v
) except -1:
    score.n = v.shape[0]
    score.query = arrays.contiguous(
        query, 0, arrays.itemsize, a.batch * a.queries * score.n
    )
    score.memory = arrays.contiguous(
        memory, 0, arrays.itemsize, a.batch * a.steps * score.n
    )
    score.v = arrays.contiguous(v, 0, arrays.itemsize, score.n)
    return 0


def additive_scores(query, memory, v, lengths, scores, int threads):
    """query (B, T, A), memory (B, S, A), v (A,) -> scores, v . tanh(query + memory)."""
    cdef fc_attention a
    cdef fc_additive score
    cdef Arrays arrays = Arrays(scores)
    cdef void *sp = arrays.written(scores)
    attention_sizes(&a, arrays, scores, lengths)
    additive_score(&score, &a, arrays, query, memory, v)
    heed_signals()
    with nogil:
        check(fc_additive_scores(&a, &score, sp, threads))


def additive_scores_backward(
    dscores, query, memory, v, lengths, dquery, dmemory, dv, int threads
):
    """Fill dquery; add to dmemory and dv."""
    cdef fc_attention a
    cdef fc_additive score
    cdef size_t size
    cdef Arrays arrays = Arrays(dscores)
    cdef const void *dsp = arrays.read(dscores)
    attention_sizes(&a, arrays, dscores, lengths)
    additive_score(&score, &a, arrays, query, memory, v)
    cdef void *dqp = arrays.contiguous(
        dquery, 1, arrays.itemsize, a.batch * a.queries * score.n
    )
    cdef void *dmp = arrays.contiguous(
        dmemory, 1, arrays.itemsize, a.batch * a.steps * score.n
    )
    cdef void *dvp = arrays.contiguous(dv, 1, arrays.itemsize, score.n)
    check(fc_additive_scratch_size(&a, score.n, &size))
    scratch = take_scratch(size)
    cdef void *scratch_memory = arrays.get(scratch, 1, 1).buf
    heed_signals()
    with nogil:
        check(
            fc_additive_backward(
                &a, &score, dsp, dqp, dmp, dvp, scratch_memory, threads
            )
        )
    give_scratch(scratch)


def attention_weights(scores, lengths, int threads):
    """Turn scores into weights over the last axis, in place; 0 past the lengths."""
    cdef fc_attention a
    cdef Arrays arrays = Arrays(scores)
    cdef void *sp = arrays.written(scores)
    attention_sizes(&a, arrays, scores, lengths)
    heed_signals()
    with nogil:
        check(fc_attention_weights(&a, sp, threads))


def attention_weights_backward(weights, dweights, lengths, int threads):
    """Turn the gradient of weights into that of their scores, in place."""
    cdef fc_attention a
    cdef Arrays arrays = Arrays(weights)
    cdef const void *wp = arrays.read(weights)
    cdef void *dp = arrays.written(dweights)
    attention_sizes(&a, arrays, weights, lengths)
    heed_signals()
    with nogil:
        check(fc_attention_weights_backward(&a, wp, dp, threads))
