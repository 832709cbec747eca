# Streams: stacks of recurrent layers, one step at a time.

from fastcell.threads import get_num_threads

cdef enum:
    # FLOP of a streaming step above which the GIL is released. Releasing it costs 60 to
    # 100 ns, a fifth of a step of 32 units, and two threads that step would pass it to
    # and fro; keeping it makes others wait for some ten microseconds, where Python itself
    # makes them wait for 5 ms.
    GIL_FLOP = 1000 * 1000
    # FLOP below which the number of threads is not read.
    SHARED_FLOP = 130 * 1000


cdef class Changes:
    """A count of the changes of some arrays, compared before each step."""

    cdef public long long count


cdef class Stream:
    """The states of `rows` streams of one stack, stepped together.

    After `follow`, a step calls `refresh` of the subclass first if the weights may have
    changed.
    """

    cdef Stack owner
    cdef readonly object packed, memory
    cdef readonly Py_ssize_t rows
    cdef const void *weights
    cdef void *state
    cdef bint long_step
    cdef object most_threads  # a function, or None if steps have one thread
    cdef const char *isa  # the set of the memory's layout
    cdef object dtype
    cdef Changes changes
    cdef dict handed_out
    cdef long long version

    def __cinit__(self, *args, **kwargs):
        self.changes = Changes()
        self.handed_out = {}
        self.version = 0

    def __init__(self, Stack owner not None, packed, Py_ssize_t rows):
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
        self.packed = packed  # references: both stay alive and in place
        self.memory = memory

    cdef inline int check_isa(self) except -1:
        if self.isa is not isa_now:
            if self.isa is not NULL:
                raise_other_isa("session", self.isa)
            self._make_now()
            if self.isa is NULL:
                raise RuntimeError("the session was never made")
        return 0

    def postpone(self, Py_ssize_t rows):
        """Set the number of streams; the subclass's `_make_now` allocates at first use."""
        self.rows = rows

    def follow(self, Changes changes not None, dict handed_out not None, version):
        """Set the version of the weights, and the objects that show a change.

        They may have changed if the count of `changes` is not `version`, or if
        `handed_out` is not empty: then a user holds arrays.
        """
        self.changes = changes
        self.handed_out = handed_out
        self.version = version

    cdef inline bint may_be_outdated(self) noexcept:
        return (
            self.changes.count != self.version or PyDict_Size(self.handed_out) != 0
        )

    def outdated(self):
        """Return whether the weights may have changed since `follow`."""
        return self.may_be_outdated()

    def renew(self, Stack owner not None, packed):
        """Replace the weights by others of the same sizes, in any precision."""
        self.check_isa()
        if owner is self.owner:
            if packed is not self.packed:
                self.adopt(packed, self.memory)
            return
        passes = self.owner.stack.layers
        h = np.empty((passes, self.rows, self.owner.out()), self.dtype)
        c = None
        if self.owner.cell.states > 1:
            c = np.empty((passes, self.rows, self.owner.c_row()), self.dtype)
        self.get(h, c)
        Stream.__init__(self, owner, packed, self.rows)
        self.set(h, c)

    def step(self, x, out=None):
        """x (B, I), or (I,) for one stream -> y (B, P), or (P,)."""
        cdef Stack owner
        cdef Py_buffer xv, yv
        cdef Py_ssize_t width
        cdef bint flat
        self.check_isa()
        if self.may_be_outdated():
            self.refresh()
        owner = self.owner
        width = owner.stack.input_size
        if type(x) is not ndarray:
            x = self._converted(x)
        PyObject_GetBuffer(x, &xv, PyBUF_STRIDES | PyBUF_FORMAT)
        try:
            flat = xv.ndim == 1 and self.rows == 1
            if not self.fits(&xv, flat, width):
                PyBuffer_Release(&xv)
                x = self._converted(x)
                PyObject_GetBuffer(x, &xv, PyBUF_STRIDES | PyBUF_FORMAT)
                flat = xv.ndim == 1
                if not self.fits(&xv, flat, width):
                    raise ValueError("x: expected a step of the streams")
            if out is None:
                if flat:
                    out = np.empty(owner.out(), self.dtype)
                else:
                    out = np.empty((self.rows, owner.out()), self.dtype)
            elif type(out) is not ndarray and not isinstance(out, ndarray):
                self._checked_out(out, flat)
            PyObject_GetBuffer(out, &yv, PyBUF_STRIDES | PyBUF_FORMAT)
            try:
                if yv.readonly or not self.fits(&yv, flat, owner.out()):
                    self._checked_out(out, flat)
                    raise ValueError("out: expected an array for a step's output")
                self.step_at(xv.buf, yv.buf)
            finally:
                PyBuffer_Release(&yv)
        finally:
            PyBuffer_Release(&xv)
        return out

    cdef inline int step_at(self, const void *x, void *y) except -1:
        """Run one step on checked memory, with threads or the GIL by its FLOP."""
        cdef int threads = 1
        if self.most_threads is not None:
            threads = self.most_threads()
        if self.long_step:
            with nogil:
                return self.advance(x, y, threads)
        return self.advance(x, y, threads)

    cdef inline int advance(self, const void *x, void *y, int threads) except -1 nogil:
        cdef fc_selection all_rows
        if threads == 1:
            return check(
                fc_stream_step(
                    &self.owner.stack, self.weights, self.rows, x, y, self.state
                )
            )
        all_rows.which = NULL
        all_rows.count = self.rows
        return check(
            fc_stream_step_some(
                &self.owner.stack, self.weights, self.rows, &all_rows, x, y, self.state,
                threads,
            )
        )

    cdef bint fits(self, Py_buffer *view, bint flat, Py_ssize_t width):
        """Return whether it is (rows, width) or (width,), contiguous, of the dtype."""
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
        """Copy the states into h (L, B, P) and c (L, B, (S-1) H), or None."""
        cdef Views views = Views()
        self.check_isa()
        cdef Py_ssize_t n = self.owner.stack.layers * self.rows
        cdef void *hp = views.contiguous(h, 1, self.owner.itemsize, n * self.owner.out())
        cdef void *cp = views.contiguous(
            c, 1, self.owner.itemsize, n * self.owner.c_row()
        )
        check(fc_stream_get(&self.owner.stack, self.rows, self.state, hp, cp))

    def set(self, h, c):
        """Set the states from h (L, B, P) and c (L, B, (S-1) H); None is zero."""
        cdef Views views = Views()
        self.check_isa()
        cdef Py_ssize_t n = self.owner.stack.layers * self.rows
        cdef void *hp = views.contiguous(h, 0, self.owner.itemsize, n * self.owner.out())
        cdef void *cp = views.contiguous(
            c, 0, self.owner.itemsize, n * self.owner.c_row()
        )
        check(fc_stream_set(&self.owner.stack, self.rows, self.state, hp, cp))

    def step_some(self, which, x, y, int threads):
        """Step the streams `which` (n,), int64: x (n, I) -> y (n, P), contiguous."""
        cdef Views views = Views()
        self.check_isa()
        cdef Stack owner = self.owner
        cdef Py_ssize_t n = len(which)
        cdef fc_selection some
        some.which = <const int64_t *> views.contiguous(which, 0, 8, n)
        some.count = n
        cdef const void *xp = views.contiguous(
            x, 0, owner.itemsize, n * owner.stack.input_size
        )
        cdef void *yp = views.contiguous(y, 1, owner.itemsize, n * owner.out())
        with nogil:
            check(
                fc_stream_step_some(
                    &owner.stack, self.weights, self.rows, &some, xp, yp, self.state,
                    threads,
                )
            )

    def get_some(self, which, h, c):
        """Copy the states of the streams `which` (n,) into h (L, n, P) and c, or None."""
        cdef Views views = Views()
        self.check_isa()
        cdef Stack owner = self.owner
        cdef Py_ssize_t count = len(which), n = owner.stack.layers * count
        cdef fc_selection some
        some.which = <const int64_t *> views.contiguous(which, 0, 8, count)
        some.count = count
        cdef void *hp = views.contiguous(h, 1, owner.itemsize, n * owner.out())
        cdef void *cp = views.contiguous(
            c, 1, owner.itemsize, n * owner.c_row()
        )
        check(fc_stream_get_some(&owner.stack, self.rows, self.state, &some, hp, cp))

    def set_some(self, which, h, c):
        """Set the states of the streams `which` from h (L, n, P) and c; None is zero."""
        cdef Views views = Views()
        self.check_isa()
        cdef Stack owner = self.owner
        cdef Py_ssize_t count = len(which), n = owner.stack.layers * count
        cdef fc_selection some
        some.which = <const int64_t *> views.contiguous(which, 0, 8, count)
        some.count = count
        cdef void *hp = views.contiguous(h, 0, owner.itemsize, n * owner.out())
        cdef void *cp = views.contiguous(
            c, 0, owner.itemsize, n * owner.c_row()
        )
        check(fc_stream_set_some(&owner.stack, self.rows, self.state, &some, hp, cp))

    def fork_from(self, Stream other):
        """Initialise as a copy of another stream, with its packed weights."""
        other.check_isa()
        Stream.__init__(self, other.owner, other.packed, other.rows)
        self.follow(other.changes, other.handed_out, other.version)
        check(fc_stream_copy(&self.owner.stack, self.rows, other.state, self.state))
