# Dense layers.

cdef class Dense:
    """The products of a dense layer: y = x W^T + b, and the gradients."""

    cdef fc_dtype dtype
    cdef Py_ssize_t itemsize
    cdef readonly Py_ssize_t inputs, outputs

    def __init__(self, bint double_precision, Py_ssize_t inputs, Py_ssize_t outputs):
        self.dtype = FC_F64 if double_precision else FC_F32
        self.itemsize = 8 if double_precision else 4
        self.inputs = inputs
        self.outputs = outputs

    def __reduce__(self):
        return Dense, (self.dtype == FC_F64, self.inputs, self.outputs)

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
        cdef void *pp = views.contiguous(packed, 1, 1, size)
        with nogil:
            check(
                fc_linear_pack(
                    self.dtype, self.inputs, self.outputs, kind, wp, bp, pp
                )
            )
        return packed

    def forward(self, packed, Py_ssize_t rows, x, y, int threads):
        """x (N, I) -> y (N, O)."""
        cdef size_t size
        cdef Views views = Views()
        check(
            fc_linear_pack_size(
                self.dtype, self.inputs, self.outputs, FC_PACK_FORWARD, &size
            )
        )
        cdef void *wp = views.contiguous(packed, 0, 1, size)
        cdef void *xp = views.contiguous(x, 0, self.itemsize, rows * self.inputs)
        cdef void *yp = views.contiguous(y, 1, self.itemsize, rows * self.outputs)
        heed_signals()
        with nogil:
            check(
                fc_linear_forward(
                    self.dtype, self.inputs, self.outputs, wp, rows, xp, yp, threads
                )
            )

    def backward(self, packed, Py_ssize_t rows, x, dy, dx, dw, db, int threads):
        """Fill dx (N, I) if given; add to dw (O, I) and db (O,)."""
        cdef size_t size
        cdef Views views = Views()
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
        heed_signals()
        with nogil:
            check(
                fc_linear_backward(
                    self.dtype, self.inputs, self.outputs, wp, rows, xp, dyp, dxp, dwp,
                    dbp, gemms, sp, threads,
                )
            )
        give_scratch(scratch)
