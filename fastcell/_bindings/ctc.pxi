# The loss of connectionist temporal classification (CTC).

def ctc_loss(
    logits, lengths, labels, label_lengths, long long blank, bint zero_infinity, scale,
    loss, dlogits, int threads,
):
    """logits (T, B, V), labels (B, L) -> loss (B,) float64 and dlogits, unless None.

    lengths (B,) or None, labels, label_lengths (B,) are int64; scale (B,) float64.
    """
    cdef fc_ctc c
    cdef size_t size
    cdef Arrays arrays = Arrays(logits)
    c.dtype = arrays.dtype
    c.steps, c.rows, c.n = logits.shape
    c.most_labels = labels.shape[1]
    c.logits = arrays.read(logits)
    c.lengths = <const int64_t *> arrays.contiguous(lengths, 0, 8, c.rows)
    c.labels = <const int64_t *> arrays.contiguous(labels, 0, 8, c.rows * c.most_labels)
    c.label_lengths = <const int64_t *> arrays.contiguous(label_lengths, 0, 8, c.rows)
    c.blank = blank
    c.zero_infinity = zero_infinity
    c.scale = <const double *> arrays.contiguous(scale, 0, 8, c.rows)
    cdef double *lp = <double *> arrays.contiguous(loss, 1, 8, c.rows)
    cdef void *dp = arrays.written(dlogits)
    check(fc_ctc_scratch_size(&c, threads, &size))
    scratch = take_scratch(size)
    cdef void *sp = arrays.get(scratch, 1, 1).buf
    heed_signals()
    with nogil:
        check(fc_ctc_loss(&c, lp, dp, sp, threads))
    give_scratch(scratch)
