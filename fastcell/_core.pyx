# cython: language_level=3, boundscheck=False, wraparound=False
"""The only place that touches the C core: check -> pointers -> nogil -> exception.

Callers (fastcell.layers) have made every array contiguous and of the right dtype and
shape; what is checked here again is what memory safety needs: item sizes and byte
counts.  No algorithm lives here.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t

import numpy as np


cdef object raise_status(fc_status status):
    if status == FC_BAD_LENGTH:
        raise ValueError("lengths: expected values from 0 to the number of steps")
    if status == FC_BAD_INDEX:
        raise ValueError("index: a value is out of range")
    if status == FC_TOO_LARGE:
        raise MemoryError("the sizes asked for do not fit the address space")
    if status == FC_NO_ISA:
        raise ValueError("instruction set: unknown, or not available on this CPU")
    raise ValueError("the C core rejected its arguments")


cdef inline int check(fc_status status) except -1:
    if status != FC_OK:
        raise_status(status)
    return 0


# The BLAS of fastcell._blas, which imports scipy (0.3 s) and so waits until it is wanted.
cdef fc_blas blas_functions
cdef bint blas_ready = False


cdef const fc_blas *blas() except? NULL:
    global blas_ready
    if not fc_wants_blas():
        return NULL
    if not blas_ready:
        from fastcell import _blas

        sgemm, dgemm = _blas.addresses()
        blas_functions.sgemm = <void *> <uintptr_t> sgemm
        blas_functions.dgemm = <void *> <uintptr_t> dgemm
        blas_ready = True
    return &blas_functions


cdef enum:
    MOST_VIEWS = 16


cdef class Views:
    """Buffers held for the time of one call."""

    cdef Py_buffer view[MOST_VIEWS]
    cdef int count

    def __cinit__(self):
        self.count = 0

    def __dealloc__(self):
        for i in range(self.count):
            PyBuffer_Release(&self.view[i])

    cdef Py_buffer *get(self, object array, int writable, Py_ssize_t itemsize) except NULL:
        cdef int flags = PyBUF_STRIDES | PyBUF_FORMAT
        cdef Py_buffer *view
        if self.count == MOST_VIEWS:
            raise ValueError("too many arrays for one call")
        view = &self.view[self.count]
        PyObject_GetBuffer(array, view, flags | (PyBUF_WRITABLE if writable else 0))
        self.count += 1
        if view.itemsize != itemsize:
            raise ValueError(
                f"array: expected items of {itemsize} bytes, got {view.itemsize}"
            )
        return view

    cdef void *contiguous(
        self, object array, int writable, Py_ssize_t itemsize, Py_ssize_t items
    ) except? NULL:
        """A C-contiguous array of so many items; NULL for None."""
        cdef Py_buffer *view
        cdef Py_ssize_t expected
        cdef int i
        if array is None:
            return NULL
        view = self.get(array, writable, itemsize)
        if view.len != items * itemsize:
            raise ValueError(f"array: expected {items} items, got {view.len // itemsize}")
        expected = itemsize
        for i in range(view.ndim - 1, -1, -1):
            if view.shape[i] > 1 and view.strides[i] != expected:
                raise ValueError("array: expected C-contiguous memory")
            expected *= view.shape[i]
        return view.buf

    cdef Py_buffer *rows(
        self, object array, int writable, Py_ssize_t itemsize, Py_ssize_t steps,
        Py_ssize_t rows, Py_ssize_t width,
    ) except NULL:
        """A (T, B, n) array whose last axis is contiguous."""
        cdef Py_buffer *view = self.get(array, writable, itemsize)
        if (
            view.ndim != 3
            or view.shape[0] != steps
            or view.shape[1] != rows
            or view.shape[2] != width
            or (width > 1 and view.strides[2] != itemsize)
            or view.strides[0] % itemsize
            or view.strides[1] % itemsize
        ):
            raise ValueError("array: expected (T, B, n) rows of consecutive items")
        return view


def aligned_empty(Py_ssize_t size, bint zeroed=False):
    """Return `size` bytes that start at a multiple of 64."""
    memory = (np.zeros if zeroed else np.empty)(size + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


def isa():
    """Return the name of the instruction set in use."""
    return fc_isa().decode()


def isas():
    """Return the names of the instruction sets of this CPU and build, best last."""
    names = []
    cdef const char *name = fc_isa_name(0)
    while name is not NULL:
        names.append(name.decode())
        name = fc_isa_name(<int> len(names))
    return names


def select_isa(str name):
    """Use another instruction set.  Packed weights made before must be made again."""
    if fc_isa_select(name.encode()) != FC_OK:
        raise ValueError(
            f"instruction set: expected one of {', '.join(isas())}, got {name!r}"
        )


def cells():
    """Return {name: (gates, states)} of the cells in the C registry."""
    found = {}
    cdef int i = 0
    while fc_cell_name(i) is not NULL:
        found[fc_cell_name(i).decode()] = (fc_cell_gates(i), fc_cell_states(i))
        i += 1
    return found


cdef class Stack:
    """Layers of one cell: sizes, packed weights, forward and backward."""

    cdef fc_stack stack
    cdef Py_ssize_t itemsize

    def __init__(
        self, str cell, bint double_precision, Py_ssize_t input_size,
        Py_ssize_t hidden_size, Py_ssize_t proj_size, int layers, int directions,
    ):
        cdef size_t size
        self.stack.cell = fc_cell_index(cell.encode())
        if self.stack.cell < 0:
            raise ValueError(f"cell: expected one of {', '.join(cells())}, got {cell!r}")
        self.stack.dtype = FC_F64 if double_precision else FC_F32
        self.itemsize = 8 if double_precision else 4
        self.stack.input_size = input_size
        self.stack.hidden_size = hidden_size
        self.stack.proj_size = proj_size
        self.stack.layers = layers
        self.stack.directions = directions
        check(fc_pack_size(&self.stack, FC_PACK_FORWARD, &size))

    cdef Py_ssize_t out(self):
        return self.stack.proj_size if self.stack.proj_size else self.stack.hidden_size

    def pack(self, bint backward, list weights):
        """Pack weights: a list of (w_ih, w_hh, b_ih, b_hh, w_hr) per layer and direction."""
        cdef fc_pack_kind kind = FC_PACK_BACKWARD if backward else FC_PACK_FORWARD
        cdef Py_ssize_t gates = fc_cell_gates(self.stack.cell) * self.stack.hidden_size
        cdef size_t size
        cdef int i, passes = self.stack.layers * self.stack.directions
        cdef bytearray table = bytearray(passes * sizeof(fc_weights))
        cdef fc_weights *w = <fc_weights *> <char *> table
        cdef Views views
        cdef fc_status status
        if len(weights) != passes:
            raise ValueError(f"weights: expected {passes} tuples, got {len(weights)}")
        check(fc_pack_size(&self.stack, kind, &size))
        holders = []
        for i in range(passes):
            w_ih, w_hh, b_ih, b_hh, w_hr = weights[i]
            views = Views()
            holders.append(views)
            w[i].w_ih = views.contiguous(w_ih, 0, self.itemsize, gates * self.width(i))
            w[i].w_hh = views.contiguous(w_hh, 0, self.itemsize, gates * self.out())
            w[i].b_ih = views.contiguous(b_ih, 0, self.itemsize, gates)
            w[i].b_hh = views.contiguous(b_hh, 0, self.itemsize, gates)
            w[i].w_hr = views.contiguous(
                w_hr, 0, self.itemsize, self.out() * self.stack.hidden_size
            )
        packed = aligned_empty(size)
        cdef uint8_t[::1] memory = packed
        with nogil:
            status = fc_pack(&self.stack, kind, w, &memory[0])
        check(status)
        return packed

    cdef Py_ssize_t width(self, int one_pass):
        """Input features of a pass (layer and direction)."""
        if one_pass < self.stack.directions:
            return self.stack.input_size
        return self.stack.directions * self.out()

    cdef int fill(self, Batch call, fc_batch *batch, Views views) except -1:
        """Pointers of what forward and backward share."""
        cdef Py_buffer *view
        cdef Py_ssize_t T = call.steps, B = call.rows
        cdef Py_ssize_t states = self.stack.layers * self.stack.directions * B
        batch.steps = T
        batch.rows = B
        batch.threads = call.threads
        batch.index = <const int32_t *> views.contiguous(call.index, 0, 4, T * B)
        if call.index is None:
            view = views.rows(call.x, 0, self.itemsize, T, B, self.stack.input_size)
            batch.x_step = view.strides[0] // self.itemsize
            batch.x_row = view.strides[1] // self.itemsize
            batch.x_rows = 0
            batch.x = view.buf
        else:
            batch.x_rows = len(call.x)
            batch.x_row = self.stack.input_size
            batch.x_step = 0
            batch.x = views.contiguous(
                call.x, 0, self.itemsize, batch.x_rows * batch.x_row
            )
        batch.lengths = <const int64_t *> views.contiguous(call.lengths, 0, 8, B)
        batch.mask = <const uint8_t *> views.contiguous(call.mask, 0, 1, T * B)
        batch.reset = <const uint8_t *> views.contiguous(call.reset, 0, 1, T * B)
        batch.h0 = views.contiguous(call.h0, 0, self.itemsize, states * self.out())
        batch.c0 = views.contiguous(
            call.c0, 0, self.itemsize, states * self.stack.hidden_size
        )
        batch.dropout = views.contiguous(
            call.dropout, 0, self.itemsize,
            (self.stack.layers - 1) * T * B * self.stack.directions * self.out(),
        )
        return 0

    def saved_size(self, Batch call):
        """Return the bytes that training keeps for this batch."""
        cdef fc_batch batch
        cdef size_t size
        cdef Views views = Views()
        self.fill(call, &batch, views)
        check(fc_saved_size(&self.stack, &batch, &size))
        return size

    def forward(self, packed, Batch call, y, h, c, saved):
        """Fill y (T, B, D P) and the final states; with `saved`, keep for backward."""
        cdef fc_batch batch
        cdef fc_output output
        cdef fc_status status
        cdef size_t size
        cdef Py_buffer *view
        cdef Views views = Views(), outputs = Views()
        cdef Py_ssize_t states
        cdef const void *weights
        cdef void *kept = NULL
        self.fill(call, &batch, views)
        states = self.stack.layers * self.stack.directions * batch.rows
        check(fc_pack_size(&self.stack, FC_PACK_FORWARD, &size))
        weights = outputs.contiguous(packed, 0, 1, size)
        view = outputs.rows(
            y, 1, self.itemsize, batch.steps, batch.rows,
            self.stack.directions * self.out(),
        )
        output.y = view.buf
        output.y_step = view.strides[0] // self.itemsize
        output.y_row = view.strides[1] // self.itemsize
        output.h = outputs.contiguous(h, 1, self.itemsize, states * self.out())
        output.c = outputs.contiguous(
            c, 1, self.itemsize, states * self.stack.hidden_size
        )
        if saved is not None:
            check(fc_saved_size(&self.stack, &batch, &size))
            kept = outputs.get(saved, 1, 1).buf
            if len(saved) < <Py_ssize_t> size:
                raise ValueError(f"saved: expected {size} bytes, got {len(saved)}")
        check(fc_scratch_size(&self.stack, &batch, 1 if saved is not None else 0, &size))
        scratch = take_scratch(size)
        cdef void *scratch_memory = outputs.get(scratch, 1, 1).buf
        with nogil:
            status = fc_forward(
                &self.stack, weights, &batch, &output, kept, scratch_memory
            )
        check(status)
        give_scratch(scratch)

    def backward(
        self, packed, Batch call, dy, dh, dc, dx, dh0, dc0, list gradients, saved
    ):
        """Fill dx, dh0, dc0 and add to the weight gradients; uses `saved` up."""
        cdef fc_batch batch
        cdef fc_backward_io io
        cdef fc_status status
        cdef size_t size
        cdef Py_buffer *view
        cdef Views views = Views(), outputs = Views(), one
        cdef Py_ssize_t gates = fc_cell_gates(self.stack.cell) * self.stack.hidden_size
        cdef Py_ssize_t states
        cdef int i, passes = self.stack.layers * self.stack.directions
        cdef const void *weights
        cdef void *kept
        cdef bytearray table = bytearray(passes * sizeof(fc_gradients))
        cdef fc_gradients *g = <fc_gradients *> <char *> table
        self.fill(call, &batch, views)
        states = passes * batch.rows
        check(fc_pack_size(&self.stack, FC_PACK_BACKWARD, &size))
        weights = outputs.contiguous(packed, 0, 1, size)
        view = outputs.rows(
            dy, 0, self.itemsize, batch.steps, batch.rows,
            self.stack.directions * self.out(),
        )
        io.dy = view.buf
        io.dy_step = view.strides[0] // self.itemsize
        io.dy_row = view.strides[1] // self.itemsize
        io.dh = outputs.contiguous(dh, 0, self.itemsize, states * self.out())
        io.dc = outputs.contiguous(
            dc, 0, self.itemsize, states * self.stack.hidden_size
        )
        io.dh0 = outputs.contiguous(dh0, 1, self.itemsize, states * self.out())
        io.dc0 = outputs.contiguous(
            dc0, 1, self.itemsize, states * self.stack.hidden_size
        )
        io.dx_step = io.dx_row = 0
        if call.index is not None or dx is None:
            io.dx = outputs.contiguous(
                dx, 1, self.itemsize, batch.x_rows * self.stack.input_size
            )
        else:
            view = outputs.rows(
                dx, 1, self.itemsize, batch.steps, batch.rows, self.stack.input_size
            )
            io.dx = view.buf
            io.dx_step = view.strides[0] // self.itemsize
            io.dx_row = view.strides[1] // self.itemsize
        holders = []
        io.blas = blas()
        io.weights = NULL
        if gradients is not None:
            if len(gradients) != passes:
                raise ValueError(f"gradients: expected {passes} tuples")
            io.weights = g
            for i in range(passes):
                w_ih, w_hh, b_ih, b_hh, w_hr = gradients[i]
                one = Views()
                holders.append(one)
                g[i].w_ih = one.contiguous(
                    w_ih, 1, self.itemsize, gates * self.width(i)
                )
                g[i].w_hh = one.contiguous(w_hh, 1, self.itemsize, gates * self.out())
                g[i].b_ih = one.contiguous(b_ih, 1, self.itemsize, gates)
                g[i].b_hh = one.contiguous(b_hh, 1, self.itemsize, gates)
                g[i].w_hr = one.contiguous(
                    w_hr, 1, self.itemsize, self.out() * self.stack.hidden_size
                )
        check(fc_saved_size(&self.stack, &batch, &size))
        kept = outputs.get(saved, 1, 1).buf
        if len(saved) < <Py_ssize_t> size:
            raise ValueError(f"saved: expected {size} bytes, got {len(saved)}")
        check(fc_scratch_size(&self.stack, &batch, 2, &size))
        scratch = take_scratch(size)
        cdef void *scratch_memory = outputs.get(scratch, 1, 1).buf
        with nogil:
            status = fc_backward(
                &self.stack, weights, &batch, &io, kept, scratch_memory
            )
        check(status)
        give_scratch(scratch)


cdef class Batch:
    """What forward and backward share about one batch: arrays, or None."""

    cdef readonly Py_ssize_t steps, rows
    cdef readonly object x, index, lengths, mask, reset, h0, c0, dropout
    cdef readonly int threads

    def __init__(
        self, Py_ssize_t steps, Py_ssize_t rows, x, index, lengths, mask, reset, h0, c0,
        dropout, int threads,
    ):
        self.steps = steps
        self.rows = rows
        self.x = x
        self.index = index
        self.lengths = lengths
        self.mask = mask
        self.reset = reset
        self.h0 = h0
        self.c0 = c0
        self.dropout = dropout
        self.threads = threads


# Scratch is garbage between calls, so the last few buffers are used again: a fresh one
# would cost a page fault every 4 KB.
cdef list free_scratch = []
cdef enum:
    MOST_FREE_BYTES = 128 * 1024 * 1024


cdef object take_scratch(size_t size):
    cdef object found = None
    if free_scratch:
        found = free_scratch.pop()
        if len(found) >= <Py_ssize_t> size:
            return found
    return aligned_empty(size)


cdef object give_scratch(object scratch):
    if len(free_scratch) < 2 and len(scratch) <= MOST_FREE_BYTES:
        free_scratch.append(scratch)


cdef enum:
    # FLOP of a streaming step above which the GIL is released: below, releasing it
    # costs more than it could give to others.
    GIL_FLOP = 1000 * 1000


cdef class Stream:
    """The states of `rows` streams of one stack, stepped together."""

    cdef Stack owner
    cdef readonly object packed, memory
    cdef readonly Py_ssize_t rows
    cdef const void *weights
    cdef void *state
    cdef bint long_step
    cdef object dtype

    def __init__(self, Stack owner, packed, Py_ssize_t rows):
        cdef size_t size
        self.owner = owner
        self.rows = rows
        self.packed = packed
        check(fc_stream_size(&owner.stack, rows, &size))
        self.adopt(packed, aligned_empty(size, zeroed=True))
        self.dtype = np.float64 if owner.itemsize == 8 else np.float32
        self.long_step = (
            8.0 * rows * owner.stack.layers * owner.stack.hidden_size
            * (owner.stack.hidden_size + owner.stack.input_size) > GIL_FLOP
        )

    cdef adopt(self, packed, memory):
        cdef size_t size
        cdef Views views = Views()
        check(fc_pack_size(&self.owner.stack, FC_PACK_FORWARD, &size))
        self.weights = views.contiguous(packed, 0, 1, size)
        check(fc_stream_size(&self.owner.stack, self.rows, &size))
        self.state = views.contiguous(memory, 1, 1, size)
        self.packed = packed  # both are kept alive, and never resized
        self.memory = memory

    def step(self, x, out=None):
        """x (B, I), or (I,) for one stream -> y (B, P), or (P,)."""
        cdef Stack owner = self.owner
        cdef Py_buffer xv, yv
        cdef fc_status status
        cdef Py_ssize_t width = owner.stack.input_size
        cdef bint flat
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
                if self.long_step:
                    with nogil:
                        status = fc_stream_step(
                            &owner.stack, self.weights, self.rows, xv.buf, yv.buf,
                            self.state,
                        )
                else:
                    status = fc_stream_step(
                        &owner.stack, self.weights, self.rows, xv.buf, yv.buf,
                        self.state,
                    )
                check(status)
            finally:
                PyBuffer_Release(&yv)
        finally:
            PyBuffer_Release(&xv)
        return out

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
        cdef void *hp = views.contiguous(h, 1, self.owner.itemsize, n * self.owner.out())
        cdef void *cp = views.contiguous(
            c, 1, self.owner.itemsize, n * self.owner.stack.hidden_size
        )
        check(fc_stream_get(&self.owner.stack, self.rows, self.state, hp, cp))

    def set(self, h, c):
        """Set the states from h (L, B, P) and c (L, B, H); None is zero."""
        cdef Views views = Views()
        cdef Py_ssize_t n = self.owner.stack.layers * self.rows
        cdef void *hp = views.contiguous(h, 0, self.owner.itemsize, n * self.owner.out())
        cdef void *cp = views.contiguous(
            c, 0, self.owner.itemsize, n * self.owner.stack.hidden_size
        )
        check(fc_stream_set(&self.owner.stack, self.rows, self.state, hp, cp))

    def copy_from(self, Stream other):
        """Take over the states of another stream of the same layer."""
        if other.owner is not self.owner or other.rows != self.rows:
            raise ValueError("other must be a stream of the same layer and rows")
        self.memory[:] = other.memory


cdef raise_step(str name, array, Py_ssize_t rows, Py_ssize_t width, dtype):
    got = np.asarray(array)
    shape = f"({width},) or (1, {width})" if rows == 1 else f"({rows}, {width})"
    raise ValueError(
        f"{name}: expected a contiguous {np.dtype(dtype).name} array of shape {shape}, "
        f"got {got.dtype} {got.shape}"
    )


cdef class Dense:
    """A dense layer's products: y = x W^T + b and their gradients."""

    cdef fc_dtype dtype
    cdef Py_ssize_t itemsize
    cdef readonly Py_ssize_t inputs, outputs

    def __init__(self, bint double_precision, Py_ssize_t inputs, Py_ssize_t outputs):
        self.dtype = FC_F64 if double_precision else FC_F32
        self.itemsize = 8 if double_precision else 4
        self.inputs = inputs
        self.outputs = outputs

    def pack(self, bint backward, w, b):
        """Pack w (O, I) and b (O,) or None."""
        cdef fc_pack_kind kind = FC_PACK_BACKWARD if backward else FC_PACK_FORWARD
        cdef size_t size
        cdef Views views = Views()
        cdef void *wp = views.contiguous(
            w, 0, self.itemsize, self.inputs * self.outputs
        )
        cdef void *bp = views.contiguous(b, 0, self.itemsize, self.outputs)
        check(fc_linear_pack_size(self.dtype, self.inputs, self.outputs, kind, &size))
        packed = aligned_empty(size)
        check(
            fc_linear_pack(
                self.dtype, self.inputs, self.outputs, kind, wp, bp,
                views.contiguous(packed, 1, 1, size),
            )
        )
        return packed

    def forward(self, packed, Py_ssize_t rows, x, y, int threads):
        """x (N, I) -> y (N, O)."""
        cdef size_t size
        cdef Views views = Views()
        cdef fc_status status
        check(
            fc_linear_pack_size(
                self.dtype, self.inputs, self.outputs, FC_PACK_FORWARD, &size
            )
        )
        cdef void *wp = views.contiguous(packed, 0, 1, size)
        cdef void *xp = views.contiguous(x, 0, self.itemsize, rows * self.inputs)
        cdef void *yp = views.contiguous(y, 1, self.itemsize, rows * self.outputs)
        with nogil:
            status = fc_linear_forward(
                self.dtype, self.inputs, self.outputs, wp, rows, xp, yp, threads
            )
        check(status)

    def backward(self, packed, Py_ssize_t rows, x, dy, dx, dw, db, int threads):
        """Fill dx (N, I) if given; add to dw (O, I) and db (O,)."""
        cdef size_t size
        cdef Views views = Views()
        cdef fc_status status
        check(
            fc_linear_pack_size(
                self.dtype, self.inputs, self.outputs, FC_PACK_BACKWARD, &size
            )
        )
        cdef void *wp = views.contiguous(packed, 0, 1, size)
        cdef void *xp = views.contiguous(x, 0, self.itemsize, rows * self.inputs)
        cdef void *dyp = views.contiguous(dy, 0, self.itemsize, rows * self.outputs)
        cdef void *dxp = views.contiguous(dx, 1, self.itemsize, rows * self.inputs)
        cdef void *dwp = views.contiguous(
            dw, 1, self.itemsize, self.inputs * self.outputs
        )
        cdef void *dbp = views.contiguous(db, 1, self.itemsize, self.outputs)
        check(
            fc_linear_scratch_size(
                self.dtype, self.inputs, self.outputs, rows, threads, &size
            )
        )
        scratch = take_scratch(size)
        cdef void *sp = views.get(scratch, 1, 1).buf
        cdef const fc_blas *gemms = blas()
        with nogil:
            status = fc_linear_backward(
                self.dtype, self.inputs, self.outputs, wp, rows, xp, dyp, dxp, dwp, dbp,
                gemms, sp, threads,
            )
        check(status)
        give_scratch(scratch)


def cross_entropy(
    logits, targets, long long ignore_index, double smoothing, double scale, loss,
    dlogits, int threads,
):
    """logits (N, V), targets (N,) int64 -> loss (N,) float64 and dlogits (N, V)."""
    cdef Py_ssize_t rows = logits.shape[0], n = logits.shape[1]
    cdef Py_ssize_t itemsize = logits.dtype.itemsize
    cdef fc_dtype dtype = FC_F64 if itemsize == 8 else FC_F32
    cdef Views views = Views()
    cdef fc_status status
    cdef void *xp = views.contiguous(logits, 0, itemsize, rows * n)
    cdef int64_t *tp = <int64_t *> views.contiguous(targets, 0, 8, rows)
    cdef double *lp = <double *> views.contiguous(loss, 1, 8, rows)
    cdef void *dp = views.contiguous(dlogits, 1, itemsize, rows * n)
    with nogil:
        status = fc_cross_entropy(
            dtype, rows, n, xp, tp, ignore_index, smoothing, scale, lp, dp, threads
        )
    check(status)


def adam(
    p, g, m, v, double beta1, double beta2, double eps, double rate,
    double root_correction, double decay, double shrink,
):
    """One step of Adam on flat arrays of one dtype, in place."""
    cdef fc_adam_rule rule
    cdef Py_ssize_t n = p.size, itemsize = p.dtype.itemsize
    cdef fc_dtype dtype = FC_F64 if itemsize == 8 else FC_F32
    cdef Views views = Views()
    cdef fc_status status
    cdef void *pp = views.contiguous(p, 1, itemsize, n)
    cdef void *gp = views.contiguous(g, 0, itemsize, n)
    cdef void *mp = views.contiguous(m, 1, itemsize, n)
    cdef void *vp = views.contiguous(v, 1, itemsize, n)
    rule.beta1 = beta1
    rule.beta2 = beta2
    rule.eps = eps
    rule.rate = rate
    rule.root_correction = root_correction
    rule.decay = decay
    rule.shrink = shrink
    with nogil:
        status = fc_adam(dtype, &rule, n, pp, gp, mp, vp)
    check(status)


def sum_of_squares(x):
    """Return the sum of x * x in double, of a contiguous array."""
    cdef Py_ssize_t n = x.size, itemsize = x.dtype.itemsize
    cdef Views views = Views()
    cdef double total
    cdef void *xp = views.contiguous(x, 0, itemsize, n)
    check(fc_sum_of_squares(FC_F64 if itemsize == 8 else FC_F32, n, xp, &total))
    return total


def elementary(str function, x):
    """Return exp, sigmoid or tanh of a float32 or float64 array, as the cells use them."""
    x = np.ascontiguousarray(x)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x: expected float32 or float64, got {x.dtype}")
    y = np.empty_like(x)
    cdef fc_dtype dtype = FC_F64 if x.dtype == np.float64 else FC_F32
    cdef Py_ssize_t n = x.size
    cdef Views views = Views()
    cdef void *xp = views.contiguous(x, 0, x.dtype.itemsize, n)
    cdef void *yp = views.contiguous(y, 1, x.dtype.itemsize, n)
    if function == "exp":
        check(fc_exp(dtype, n, xp, yp))
    elif function == "sigmoid":
        check(fc_sigmoid(dtype, n, xp, yp))
    elif function == "tanh":
        check(fc_tanh(dtype, n, xp, yp))
    else:
        raise ValueError(f"function: expected exp, sigmoid or tanh, got {function!r}")
    return y


def cpu_info():
    """Return the CPU's name, the instruction sets, the one in use, and the compiler."""
    return {
        "cpu": cpu_name(),
        "isas": isas(),
        "isa": isa(),
        "compiler": COMPILER.decode(),
    }


cdef extern from *:
    """
    #if defined(__clang__)
    #define FASTCELL_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FASTCELL_COMPILER "gcc " __VERSION__
    #else
    #define FASTCELL_COMPILER "unknown"
    #endif
    """
    const char *COMPILER "FASTCELL_COMPILER"


def cpu_name():
    """Return the model name that the operating system reports."""
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(("model name", "Model")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
