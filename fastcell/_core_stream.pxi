# Stacks of recurrent layers one step at a time.

from fastcell.threads import get_num_threads

cdef enum:
    # FLOP of a streaming step above which the GIL is released: below, releasing it
    # costs more than it could give to others.
    GIL_FLOP = 1000 * 1000
    # Below which threads are not even asked for.
    SHARED_FLOP = 130 * 1000


cdef class Stream:
    """The states of `rows` streams of one stack, stepped together."""

    cdef Stack owner
    cdef readonly object packed, memory
    cdef readonly Py_ssize_t rows
    cdef const void *weights
    cdef void *state
    cdef bint long_step
    cdef object most_threads  # a function, or None where a step is never shared
    cdef const char *isa  # that the memory is laid out for
    cdef object dtype

    def __init__(self, Stack owner, packed, Py_ssize_t rows):
        cdef size_t size
        self.owner = owner
        self.rows = rows
        self.isa = isa_now
        self.packed = packed
        check(fc_stream_size(&owner.stack, rows, &size))
        self.adopt(packed, aligned_empty(size, zeroed=True))
        self.dtype = np.float64 if owner.itemsize == 8 else np.float32
        cdef double flop = (
            8.0 * rows * owner.stack.layers * owner.stack.hidden_size
            * (owner.stack.hidden_size + owner.stack.input_size)
        )
        self.long_step = flop > GIL_FLOP
        self.most_threads = get_num_threads if flop > SHARED_FLOP else None

    cdef adopt(self, packed, memory):
        cdef size_t size
        cdef Views views = Views()
        check(fc_pack_size(&self.owner.stack, FC_PACK_FORWARD, &size))
        self.weights = views.contiguous(packed, 0, 1, size)
        check(fc_stream_size(&self.owner.stack, self.rows, &size))
        self.state = views.contiguous(memory, 1, 1, size)
        self.packed = packed  # both are kept alive, and never resized
        self.memory = memory

    cdef inline int check_isa(self) except -1:
        if self.isa is not isa_now:
            raise_other_isa("session", self.isa)
        return 0

    def step(self, x, out=None):
        """x (B, I), or (I,) for one stream -> y (B, P), or (P,)."""
        cdef Stack owner = self.owner
        cdef Py_buffer xv, yv
        cdef Py_ssize_t width = owner.stack.input_size
        cdef bint flat
        cdef int threads = 1
        self.check_isa()
        PyObject_GetBuffer(x, &xv, PyBUF_STRIDES | PyBUF_FORMAT)
        try:
            flat = xv.ndim == 1 and self.rows == 1
            if not self.fits(&xv, flat, width):
                raise_step("x", x, self.rows, width, self.dtype)
            if out is None:
                if flat:
                    out = np.empty(owner.out(), self.dtype)
                else:
                    out = np.empty((self.rows, owner.out()), self.dtype)
            PyObject_GetBuffer(out, &yv, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE)
            try:
                if not self.fits(&yv, flat, owner.out()):
                    raise_step("out", out, self.rows, owner.out(), self.dtype)
                if self.most_threads is not None:
                    threads = self.most_threads()
                if self.long_step:
                    with nogil:
                        self.advance(xv.buf, yv.buf, threads)
                else:
                    self.advance(xv.buf, yv.buf, threads)
            finally:
                PyBuffer_Release(&yv)
        finally:
            PyBuffer_Release(&xv)
        return out

    cdef inline int advance(self, const void *x, void *y, int threads) except -1 nogil:
        if threads == 1:
            return check(
                fc_stream_step(
                    &self.owner.stack, self.weights, self.rows, x, y, self.state
                )
            )
        return check(
            fc_stream_step_some(
                &self.owner.stack, self.weights, self.rows, NULL, self.rows, x, y,
                self.state, threads,
            )
        )

    cdef bint fits(self, Py_buffer *view, bint flat, Py_ssize_t width):
        """Is it (rows, width), or (width,), contiguous, of the layer's dtype?"""
        cdef Py_ssize_t itemsize = self.owner.itemsize
        cdef int last = view.ndim - 1
        if view.itemsize != itemsize or view.format is NULL:
            return False
        if view.format[0] != (c"d" if itemsize == 8 else c"f") or view.format[1] != 0:
            return False
        if view.ndim != (1 if flat else 2) or view.shape[last] != width:
            return False
        if width > 1 and view.strides[last] != itemsize:
            return False
        if flat:
            return True
        return view.shape[0] == self.rows and (
            self.rows <= 1 or view.strides[0] == width * itemsize
        )

    def get(self, h, c):
        """Copy the states into h (L, B, P) and c (L, B, H), or None."""
        cdef Views views = Views()
        cdef Py_ssize_t n = self.owner.stack.layers * self.rows
        self.check_isa()
        cdef void *hp = views.contiguous(h, 1, self.owner.itemsize, n * self.owner.out())
        cdef void *cp = views.contiguous(
            c, 1, self.owner.itemsize, n * self.owner.stack.hidden_size
        )
        check(fc_stream_get(&self.owner.stack, self.rows, self.state, hp, cp))

    def set(self, h, c):
        """Set the states from h (L, B, P) and c (L, B, H); None is zero."""
        cdef Views views = Views()
        cdef Py_ssize_t n = self.owner.stack.layers * self.rows
        self.check_isa()
        cdef void *hp = views.contiguous(h, 0, self.owner.itemsize, n * self.owner.out())
        cdef void *cp = views.contiguous(
            c, 0, self.owner.itemsize, n * self.owner.stack.hidden_size
        )
        check(fc_stream_set(&self.owner.stack, self.rows, self.state, hp, cp))

    def step_some(self, which, x, y, int threads):
        """Step the streams `which` (n,), int64: x (n, I) -> y (n, P), contiguous."""
        cdef Views views = Views()
        cdef Stack owner = self.owner
        cdef Py_ssize_t n = len(which)
        self.check_isa()
        cdef const int64_t *ids = <const int64_t *> views.contiguous(which, 0, 8, n)
        cdef const void *xp = views.contiguous(
            x, 0, owner.itemsize, n * owner.stack.input_size
        )
        cdef void *yp = views.contiguous(y, 1, owner.itemsize, n * owner.out())
        with nogil:
            check(
                fc_stream_step_some(
                    &owner.stack, self.weights, self.rows, ids, n, xp, yp, self.state,
                    threads,
                )
            )

    def get_some(self, which, h, c):
        """Copy the states of the streams `which` (n,) into h (L, n, P) and c, or None."""
        cdef Views views = Views()
        cdef Stack owner = self.owner
        cdef Py_ssize_t count = len(which), n = owner.stack.layers * count
        self.check_isa()
        cdef const int64_t *ids = <const int64_t *> views.contiguous(which, 0, 8, count)
        cdef void *hp = views.contiguous(h, 1, owner.itemsize, n * owner.out())
        cdef void *cp = views.contiguous(
            c, 1, owner.itemsize, n * owner.stack.hidden_size
        )
        check(
            fc_stream_get_some(
                &owner.stack, self.rows, self.state, ids, count, hp, cp
            )
        )

    def set_some(self, which, h, c):
        """Set the states of the streams `which` from h (L, n, P) and c; None is zero."""
        cdef Views views = Views()
        cdef Stack owner = self.owner
        cdef Py_ssize_t count = len(which), n = owner.stack.layers * count
        self.check_isa()
        cdef const int64_t *ids = <const int64_t *> views.contiguous(which, 0, 8, count)
        cdef void *hp = views.contiguous(h, 0, owner.itemsize, n * owner.out())
        cdef void *cp = views.contiguous(
            c, 0, owner.itemsize, n * owner.stack.hidden_size
        )
        check(
            fc_stream_set_some(
                &owner.stack, self.rows, self.state, ids, count, hp, cp
            )
        )

    def fork_from(self, Stream other):
        """Begin as a copy of another stream, with its packed weights."""
        other.check_isa()
        Stream.__init__(self, other.owner, other.packed, other.rows)
        check(fc_stream_copy(&self.owner.stack, self.rows, other.state, self.state))


cdef raise_step(str name, array, Py_ssize_t rows, Py_ssize_t width, dtype):
    got = np.asarray(array)
    shape = f"({width},) or (1, {width})" if rows == 1 else f"({rows}, {width})"
    raise ValueError(
        f"{name}: expected a contiguous {np.dtype(dtype).name} array of shape {shape}, "
        f"got {got.dtype} {got.shape}"
    )
