# Dense layers.

cdef class Dense:
    """The products of a dense layer: y = x W^T + b, and the gradients."""

    cdef fc_linear layer
    cdef Py_ssize_t itemsize

    def __init__(self, bint double_precision, Py_ssize_t inputs, Py_ssize_t outputs):
        self.layer.dtype = FC_F64 if double_precision else FC_F32
        self.layer.inputs = inputs
        self.layer.outputs = outputs
        self.itemsize = 8 if double_precision else 4

    @property
    def inputs(self):
        return self.layer.inputs

    @property
    def outputs(self):
        return self.layer.outputs

    def __reduce__(self):
        return Dense, (self.layer.dtype == FC_F64, self.inputs, self.outputs)

    def pack(self, bint backward, w, b):
        """Pack w (O, I) and b (O,) or None."""
        cdef fc_pack_kind kind = FC_PACK_BACKWARD if backward else FC_PACK_FORWARD
        cdef size_t size
        cdef Views views = Views()
        cdef void *wp = views.contiguous(
            w, 0, self.itemsize, self.layer.inputs * self.layer.outputs
        )
        cdef void *bp = views.contiguous(b, 0, self.itemsize, self.layer.outputs)
        check(fc_linear_pack_size(&self.layer, kind, &size))
        packed = aligned_empty(size)
        cdef void *pp = views.contiguous(packed, 1, 1, size)
        with nogil:
            check(fc_linear_pack(&self.layer, kind, wp, bp, pp))
        return packed

    def forward(self, packed, Py_ssize_t rows, x, y, int threads):
        """x (N, I) -> y (N, O)."""
        cdef size_t size
        cdef Views views = Views()
        check(fc_linear_pack_size(&self.layer, FC_PACK_FORWARD, &size))
        cdef void *wp = views.contiguous(packed, 0, 1, size)
        cdef void *xp = views.contiguous(x, 0, self.itemsize, rows * self.layer.inputs)
        cdef void *yp = views.contiguous(y, 1, self.itemsize, rows * self.layer.outputs)
        heed_signals()
        with nogil:
            check(fc_linear_forward(&self.layer, wp, rows, xp, yp, threads))

    def backward(self, packed, Py_ssize_t rows, x, dy, dx, dw, db, int threads):
        """Fill dx (N, I) if given; add to dw (O, I) and db (O,)."""
        cdef size_t size
        cdef Views views = Views()
        cdef fc_linear_backward_io io
        cdef Py_ssize_t inputs = self.layer.inputs, outputs = self.layer.outputs
        check(fc_linear_pack_size(&self.layer, FC_PACK_BACKWARD, &size))
        cdef void *wp = views.contiguous(packed, 0, 1, size)
        io.x = views.contiguous(x, 0, self.itemsize, rows * inputs)
        io.dy = views.contiguous(dy, 0, self.itemsize, rows * outputs)
        io.dx = views.contiguous(dx, 1, self.itemsize, rows * inputs)
        io.dw = views.contiguous(dw, 1, self.itemsize, inputs * outputs)
        io.db = views.contiguous(db, 1, self.itemsize, outputs)
        io.blas = blas()
        check(fc_linear_scratch_size(&self.layer, rows, threads, &size))
        scratch = take_scratch(size)
        cdef void *sp = views.get(scratch, 1, 1).buf
        heed_signals()
        with nogil:
            check(fc_linear_backward(&self.layer, wp, rows, &io, sp, threads))
        give_scratch(scratch)
