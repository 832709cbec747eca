# Memory of one call: checked views of the caller's buffers; aligned and scratch memory.

cdef enum:
    MOST_VIEWS = 16


cdef class Views:
    """Buffers held during one call."""

    cdef Py_buffer view[MOST_VIEWS]
    cdef int count
    cdef const char *name  # in errors, of the array that is taken next

    def __cinit__(self):
        self.count = 0
        self.name = b"array"

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
                f"{self.name.decode()} must have items of {itemsize} bytes; "
                f"got {view.itemsize}"
            )
        return view

    cdef void *contiguous(
        self, object array, int writable, Py_ssize_t itemsize, Py_ssize_t items
    ) except? NULL:
        """Return the data of a C-contiguous array of `items` items; NULL for None."""
        cdef Py_buffer *view
        cdef Py_ssize_t expected
        cdef int i
        if array is None:
            return NULL
        view = self.get(array, writable, itemsize)
        if view.len != items * itemsize:
            raise ValueError(
                f"{self.name.decode()} must have {items} items; "
                f"got {view.len // itemsize}"
            )
        expected = itemsize
        for i in range(view.ndim - 1, -1, -1):
            if view.shape[i] > 1 and view.strides[i] != expected:
                raise ValueError(f"{self.name.decode()} must be C-contiguous")
            expected *= view.shape[i]
        return view.buf

    cdef Py_buffer *rows(
        self, object array, int writable, Py_ssize_t itemsize, Py_ssize_t steps,
        Py_ssize_t rows, Py_ssize_t width,
    ) except NULL:
        """Return the buffer of a (T, B, n) array whose last axis is contiguous."""
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
            raise ValueError(
                f"{self.name.decode()} must be ({steps}, {rows}, {width}) with rows of "
                f"consecutive items"
            )
        return view


cdef enum shape:  # of an argument, and the type of its items
    INPUTS  # (T, B, I) reals, rows anywhere
    OUTPUTS  # (T, B, D P) reals, rows anywhere
    GATES  # (T, B, D G H) reals, rows anywhere
    TABLE  # (x_rows, I) reals; this and all others contiguous
    H_STATES  # (L D, B, P) reals
    C_STATES  # (L D, B, S-1, H) reals: all of S states but h
    DROPOUT  # (L-1, T, B, D P) reals
    IDS  # (T, B) int32
    FLAGS  # (T, B) bytes
    LENGTHS  # (B,) int64
    PACKED_FORWARD  # bytes
    PACKED_BACKWARD  # bytes


cdef enum access:
    READ
    WRITTEN


cdef struct argument:
    const char *name  # in errors
    PyObject *array  # None: the core gets NULL
    access access
    shape shape
    void **to  # where the core looks for the array,
    Py_ssize_t *step  # and for the strides of one whose rows may be anywhere
    Py_ssize_t *row


cdef raise_other_isa(str what, const char *made):
    raise RuntimeError(
        f"{what} was made under the instruction set {made.decode()}, and "
        f"{isa_now.decode()} is in use now; make it again"
    )


cdef object rows_apart(array):
    """Return the array, or a copy if its rows overlap, as after a broadcast."""
    if array is not None and 0 in array.strides:
        return np.ascontiguousarray(array)
    return array


def aligned_empty(Py_ssize_t size, bint zeroed=False):
    """Return an array of `size` bytes at a multiple of 64, as the core requires."""
    memory = (np.zeros if zeroed else np.empty)(size + 63, np.uint8)
    cdef Views views = Views()
    cdef uintptr_t address = <uintptr_t> views.get(memory, 1, 1).buf
    cdef Py_ssize_t start = (64 - address % 64) % 64
    return memory[start : start + size]


# Scratch has no content between calls, so the last few buffers are reused: new memory
# costs a page fault every 4 KB.
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
