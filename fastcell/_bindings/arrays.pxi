# Functions of whole arrays: cross-entropy, pooling, dropout, checks, elementary functions.

cdef class Arrays(Views):
    """The arrays of one call, all of the dtype and size of the first one."""

    cdef fc_dtype dtype
    cdef Py_ssize_t itemsize, size

    def __init__(self, first):
        self.itemsize = first.dtype.itemsize
        self.dtype = FC_F64 if self.itemsize == 8 else FC_F32
        self.size = first.size

    cdef const void *read(self, array) except? NULL:
        return self.contiguous(array, 0, self.itemsize, self.size)

    cdef void *written(self, array) except? NULL:
        return self.contiguous(array, 1, self.itemsize, self.size)


def cross_entropy(
    logits, targets, long long ignore_index, double smoothing, double scale, loss,
    dlogits, int threads,
):
    """logits (N, V), targets (N,) int64 -> loss (N,) float64 and dlogits (N, V)."""
    cdef fc_softmax_loss problem
    cdef Py_ssize_t rows = logits.shape[0]
    cdef Arrays arrays = Arrays(logits)
    problem.dtype = arrays.dtype
    problem.rows = rows
    problem.n = logits.shape[1]
    problem.logits = arrays.read(logits)
    problem.targets = <const int64_t *> arrays.contiguous(targets, 0, 8, rows)
    problem.ignore_index = ignore_index
    problem.smoothing = smoothing
    problem.scale = scale
    cdef double *lp = <double *> arrays.contiguous(loss, 1, 8, rows)
    cdef void *dp = arrays.written(dlogits)
    heed_signals()
    with nogil:
        check(fc_cross_entropy(&problem, lp, dp, threads))


def sum_steps(h, lengths, y):
    """h (T, B, D), lengths (B,) int64 or None -> y (B, D), the sum over the steps."""
    cdef Py_ssize_t steps = h.shape[0], rows = h.shape[1], n = h.shape[2]
    cdef Arrays arrays = Arrays(h)
    cdef const void *hp = arrays.read(h)
    cdef const int64_t *lp = <const int64_t *> arrays.contiguous(lengths, 0, 8, rows)
    cdef void *yp = arrays.contiguous(y, 1, arrays.itemsize, rows * n)
    with nogil:
        check(fc_sum_steps(arrays.dtype, steps, rows, n, lp, hp, yp))


def max_steps(h, lengths, y, where):
    """As `sum_steps`, the maximum, and where (B, D) int32, the step of the maximum."""
    cdef Py_ssize_t steps = h.shape[0], rows = h.shape[1], n = h.shape[2]
    cdef Arrays arrays = Arrays(h)
    cdef const void *hp = arrays.read(h)
    cdef const int64_t *lp = <const int64_t *> arrays.contiguous(lengths, 0, 8, rows)
    cdef void *yp = arrays.contiguous(y, 1, arrays.itemsize, rows * n)
    cdef int32_t *wp = <int32_t *> arrays.contiguous(where, 1, 4, rows * n)
    with nogil:
        check(fc_max_steps(arrays.dtype, steps, rows, n, lp, hp, yp, wp))


def spread_steps(dy, lengths, where, dh):
    """dy (B, D) -> dh (T, B, D): dy in all steps of a row, or in that of `where`."""
    cdef Py_ssize_t steps = dh.shape[0], rows = dh.shape[1], n = dh.shape[2]
    cdef Arrays arrays = Arrays(dh)
    cdef void *hp = arrays.written(dh)
    cdef const int64_t *lp = <const int64_t *> arrays.contiguous(lengths, 0, 8, rows)
    cdef const int32_t *wp = <const int32_t *> arrays.contiguous(where, 0, 4, rows * n)
    cdef const void *yp = arrays.contiguous(dy, 0, arrays.itemsize, rows * n)
    with nogil:
        check(fc_spread_steps(arrays.dtype, steps, rows, n, lp, wp, yp, hp))


def add_rows(ids, x, table):
    """table[ids[i]] += x[i]: ids (N,) int64, x (N, D), table (V, D)."""
    cdef Py_ssize_t count = table.shape[0], n = table.shape[1], rows = ids.size
    cdef Arrays arrays = Arrays(table)
    cdef void *tp = arrays.written(table)
    cdef const int64_t *ip = <const int64_t *> arrays.contiguous(ids, 0, 8, rows)
    cdef const void *xp = arrays.contiguous(x, 0, arrays.itemsize, rows * n)
    with nogil:
        check(fc_add_rows(arrays.dtype, rows, n, ip, xp, count, tp))


def dropout(double p, uint64_t key, x, y, int threads):
    """y = x with a share p of the elements dropped, chosen by `key`; x None: all ones."""
    cdef Arrays arrays = Arrays(y)
    cdef void *yp = arrays.written(y)
    cdef const void *xp = arrays.read(x)
    with nogil:
        check(fc_dropout(arrays.dtype, arrays.size, p, key, xp, yp, threads))


def fill_rows(x, list sequences, lengths):
    """x[t, b] = sequences[b][t]: x (T, B, ...), sequences (T_b, ...), lengths (B,) int64.

    Returns False, with x filled in part, if a sequence is not C-contiguous, of the dtype
    of x, and as long as its entry of lengths.
    """
    cdef Py_ssize_t T = x.shape[0], B = x.shape[1], b, t, axis
    cdef size_t width, stride
    cdef Views views = Views()
    cdef Py_buffer *to = views.get(x, 1, x.dtype.itemsize)
    cdef const int64_t *n = <const int64_t *> views.contiguous(lengths, 0, 8, B)
    cdef Py_buffer one
    cdef char *row
    cdef const char *step
    cdef bint fits
    if not PyBuffer_IsContiguous(to, b"C") or len(sequences) != B:
        return False
    if T == 0 or B == 0:
        return True
    stride = to.len // T
    width = stride // B
    for b in range(B):
        sequence = sequences[b]
        if type(sequence) is not ndarray or sequence.dtype is not x.dtype:
            return False
        PyObject_GetBuffer(sequence, &one, PyBUF_STRIDES | PyBUF_FORMAT)
        fits = (
            one.ndim == to.ndim - 1
            and one.shape[0] == n[b]
            and n[b] <= T
            and PyBuffer_IsContiguous(&one, b"C")
        )
        for axis in range(1, one.ndim):
            fits = fits and one.shape[axis] == to.shape[axis + 1]
        if fits:
            row = <char *> to.buf + b * width
            step = <const char *> one.buf
            for t in range(n[b]):
                memcpy(row + t * stride, step + t * width, width)
        PyBuffer_Release(&one)
        if not fits:
            return False
    return True


def in_range(values, Py_ssize_t least, Py_ssize_t most):
    """Return whether it is a C-contiguous int64 array of values from `least` to `most`."""
    cdef Views views
    cdef Py_buffer *view
    cdef const int64_t *v
    cdef Py_ssize_t i
    if type(values) is not ndarray or values.dtype is not int64:
        return False
    views = Views()
    view = views.get(values, 0, 8)
    if not PyBuffer_IsContiguous(view, b"C"):
        return False
    v = <const int64_t *> view.buf
    for i in range(view.len // 8):
        if v[i] < least or v[i] > most:
            return False
    return True


# The size of the sample of larger arrays. A prime, so that it covers all columns of a
# matrix; copying other data over an array changes nearly all of the sample.
cdef enum:
    MOST_SAMPLED = 127


def fingerprint(x):
    """Return a hash of the bits of an array of 4 or 8 bytes an item, or of a sample.

    The sample is 127 numbers, spread evenly.  x may have any strides.
    """
    cdef Views views = Views()
    cdef Py_buffer *view = views.get(x, 0, x.dtype.itemsize)
    cdef size_t size = 1, count, k, i, extent
    cdef bint contiguous = PyBuffer_IsContiguous(view, b"C")
    cdef const char *at
    cdef uint64_t bits, found = 0
    cdef int axis
    for axis in range(view.ndim):
        size *= <size_t> view.shape[axis]
    count = size if size < MOST_SAMPLED else MOST_SAMPLED
    for k in range(count):
        i = k if count == size else k * size // MOST_SAMPLED
        if contiguous:
            at = <const char *> view.buf + i * <size_t> view.itemsize
        else:
            at = <const char *> view.buf
            for axis in range(view.ndim - 1, -1, -1):
                extent = <size_t> view.shape[axis]
                at += <Py_ssize_t> (i % extent) * view.strides[axis]
                i //= extent
        if view.itemsize == 8:
            memcpy(&bits, at, 8)
        else:
            bits = 0
            memcpy(&bits, at, 4)
        # Without the rotation, two changes of the highest bit would cancel each other.
        found ^= bits
        found = ((found << 27) | (found >> 37)) * <uint64_t> 0x9E3779B97F4A7C15
    return found


def are_finite(x):
    """Return whether it is a C-contiguous array of float32 or float64, all finite.

    The sum of squares is tested: the result is also False if that overflows.
    """
    cdef fc_parameter array
    cdef double total = 0
    if type(x) is not ndarray or x.dtype.char not in "fd":
        return False
    cdef Views views = Views()
    cdef Py_buffer *view = views.get(x, 0, x.dtype.itemsize)
    if not PyBuffer_IsContiguous(view, b"C"):
        return False
    memset(&array, 0, sizeof(array))
    array.n = view.len // view.itemsize
    array.p = view.buf
    with nogil:
        check(
            fc_sum_of_squares(
                FC_F64 if view.itemsize == 8 else FC_F32, 1, &array, &total, 1
            )
        )
    return total - total == 0


ctypedef fc_status (*elementary_function)(
    fc_dtype, Py_ssize_t, const void *, void *
) noexcept nogil


def elementary(str function, x):
    """Return exp, sigmoid or tanh of a float32 or float64 array, by the cells' kernels."""
    cdef elementary_function f
    if function == "exp":
        f = fc_exp
    elif function == "sigmoid":
        f = fc_sigmoid
    elif function == "tanh":
        f = fc_tanh
    else:
        raise ValueError(f"function must be exp, sigmoid or tanh; got {function!r}")
    x = np.ascontiguousarray(x)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be float32 or float64; got {x.dtype}")
    y = np.empty_like(x)
    cdef Arrays arrays = Arrays(x)
    cdef const void *xp = arrays.read(x)
    cdef void *yp = arrays.written(y)
    with nogil:
        check(f(arrays.dtype, arrays.size, xp, yp))
    return y
