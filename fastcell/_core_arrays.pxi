# Functions of whole arrays: losses, optimizers, elementary functions.

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


def adam(
    list ps, list gs, list ms, list vs, list v_maxs, double beta1, double beta2,
    double eps, double rate, double root_correction, double decay, double shrink,
    int threads,
):
    """One step of Adam on lists of flat arrays of one dtype, in place.

    AMSGrad with `v_maxs`; else None.
    """
    cdef Py_ssize_t i, count = len(ps)
    cdef Arrays arrays
    cdef fc_dtype dtype = FC_F32
    cdef fc_adam_rule rule
    cdef list held = []
    if not len(gs) == len(ms) == len(vs) == count or (
        v_maxs is not None and len(v_maxs) != count
    ):
        raise ValueError("arrays: expected lists of one length")
    if not count:
        return
    memory = bytearray(count * sizeof(fc_adam_parameter))
    cdef fc_adam_parameter *parameters = <fc_adam_parameter *> <char *> memory
    for i in range(count):
        arrays = Arrays(ps[i])
        held.append(arrays)
        if i == 0:
            dtype = arrays.dtype
        elif arrays.dtype != dtype:
            raise ValueError("arrays: expected one dtype")
        parameters[i].n = arrays.size
        parameters[i].p = arrays.written(ps[i])
        parameters[i].g = arrays.read(gs[i])
        parameters[i].m = arrays.written(ms[i])
        parameters[i].v = arrays.written(vs[i])
        parameters[i].v_max = arrays.written(None if v_maxs is None else v_maxs[i])
    rule.beta1 = beta1
    rule.beta2 = beta2
    rule.eps = eps
    rule.rate = rate
    rule.root_correction = root_correction
    rule.decay = decay
    rule.shrink = shrink
    rule.v_max = NULL
    with nogil:
        check(fc_adam_all(dtype, &rule, count, parameters, threads))


def sums_of_squares(list xs):
    """Return the sum of x * x in double, of each of some contiguous arrays."""
    cdef Arrays arrays
    cdef double total
    cdef const void *xp
    cdef list sums = []
    for x in xs:
        arrays = Arrays(x)
        xp = arrays.read(x)
        with nogil:
            check(fc_sum_of_squares(arrays.dtype, arrays.size, xp, &total))
        sums.append(total)
    return sums


def scale(list xs, double factor):
    """x *= factor, of each of some contiguous arrays."""
    cdef Arrays arrays
    cdef void *xp
    for x in xs:
        arrays = Arrays(x)
        xp = arrays.written(x)
        with nogil:
            check(fc_scale(arrays.dtype, arrays.size, factor, xp))


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
