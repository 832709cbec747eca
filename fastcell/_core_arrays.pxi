# Functions of whole arrays: losses, elementary functions.

cdef class Arrays(Views):
    """Arrays of one call that have the dtype and the size of its first one."""

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
    cdef Py_ssize_t rows = logits.shape[0], n = logits.shape[1]
    cdef Arrays arrays = Arrays(logits)
    cdef const void *xp = arrays.read(logits)
    cdef const int64_t *tp = <const int64_t *> arrays.contiguous(targets, 0, 8, rows)
    cdef double *lp = <double *> arrays.contiguous(loss, 1, 8, rows)
    cdef void *dp = arrays.written(dlogits)
    with nogil:
        check(
            fc_cross_entropy(
                arrays.dtype, rows, n, xp, tp, ignore_index, smoothing, scale, lp, dp,
                threads,
            )
        )


ctypedef fc_status (*elementary_function)(
    fc_dtype, Py_ssize_t, const void *, void *
) noexcept nogil


def elementary(str function, x):
    """Return exp, sigmoid or tanh of a float32 or float64 array, as the cells use them."""
    cdef elementary_function f
    if function == "exp":
        f = fc_exp
    elif function == "sigmoid":
        f = fc_sigmoid
    elif function == "tanh":
        f = fc_tanh
    else:
        raise ValueError(f"function: expected exp, sigmoid or tanh, got {function!r}")
    x = np.ascontiguousarray(x)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x: expected float32 or float64, got {x.dtype}")
    y = np.empty_like(x)
    cdef Arrays arrays = Arrays(x)
    cdef const void *xp = arrays.read(x)
    cdef void *yp = arrays.written(y)
    with nogil:
        check(f(arrays.dtype, arrays.size, xp, yp))
    return y
