# The mLSTM: q, k (B, H, T, K) and v (B, H, T, N), of any strides but for rows of
# consecutive items; gates (B, H, T), of any strides.

cdef int mlstm_rows(
    fc_mlstm_rows *rows, const fc_mlstm *of, Arrays arrays, array, Py_ssize_t width
) except -1:
    cdef Py_buffer *view = arrays.get(array, 0, arrays.itemsize)
    cdef int axis
    if (
        view.ndim != (4 if width else 3)
        or view.shape[0] != of.batch
        or view.shape[1] != of.heads
        or view.shape[2] != of.steps
        or (width and view.shape[3] != width)
        or (width > 1 and view.strides[3] != arrays.itemsize)
    ):
        raise ValueError(
            f"expected ({of.batch}, {of.heads}, {of.steps}) rows of {width or 1} "
            "consecutive items"
        )
    for axis in range(3):
        if view.strides[axis] % arrays.itemsize:
            raise ValueError("strides must be multiples of the item size")
    rows.data = view.buf
    rows.batch = view.strides[0] // arrays.itemsize
    rows.head = view.strides[1] // arrays.itemsize
    rows.step = view.strides[2] // arrays.itemsize
    return 0


def mlstm(inputs, y, before, after, double scale, double eps, bint step, int threads):
    """inputs (q, k, v, i, f) -> y (B, H, T, N) and `after`, the states (c, n, m) or None.

    c (B, H, K, N), n (B, H, K), m (B, H, 1); `before`, the states before, may be None,
    or the arrays of `after`.  `step`: T is 1, and C is read and written once; needs
    `after`.
    """
    cdef fc_mlstm of
    cdef fc_mlstm_io io
    cdef size_t size
    cdef void *sp
    cdef Py_ssize_t heads
    cdef object scratch = None
    q, k, v, i, f = inputs
    cdef Arrays arrays = Arrays(q)
    memset(&io, 0, sizeof(io))
    of.dtype = arrays.dtype
    of.batch, of.heads, of.steps, of.keys = q.shape
    of.values = v.shape[3]
    of.scale = scale
    of.eps = eps
    heads = of.batch * of.heads
    mlstm_rows(&io.q, &of, arrays, q, of.keys)
    mlstm_rows(&io.k, &of, arrays, k, of.keys)
    mlstm_rows(&io.v, &of, arrays, v, of.values)
    mlstm_rows(&io.i, &of, arrays, i, 0)
    mlstm_rows(&io.f, &of, arrays, f, 0)
    cdef Py_ssize_t itemsize = arrays.itemsize, of_c = heads * of.keys * of.values
    io.y = arrays.contiguous(y, 1, itemsize, heads * of.steps * of.values)
    if before is not None:
        c, n, m = before
        io.first_c = arrays.contiguous(c, 0, itemsize, of_c)
        io.first_n = arrays.contiguous(n, 0, itemsize, heads * of.keys)
        io.first_m = arrays.contiguous(m, 0, itemsize, heads)
    if after is not None:
        c, n, m = after
        io.c = arrays.contiguous(c, 1, itemsize, of_c)
        io.n = arrays.contiguous(n, 1, itemsize, heads * of.keys)
        io.m = arrays.contiguous(m, 1, itemsize, heads)
    heed_signals()
    if step:
        with nogil:
            check(fc_mlstm_step(&of, &io, threads))
        return
    check(fc_mlstm_scratch_size(&of, threads, &size))
    scratch = take_scratch(size)
    sp = arrays.get(scratch, 1, 1).buf
    with nogil:
        check(fc_mlstm_forward(&of, &io, sp, threads))
    give_scratch(scratch)
