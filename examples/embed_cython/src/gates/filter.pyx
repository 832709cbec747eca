# cython: language_level=3, boundscheck=False, wraparound=False
"""A filter of signals: a GRU whose steps run in a loop without the GIL.

The loop feeds each output back as part of the next input, which a call for a whole
sequence cannot do: that is what a loop of one's own is for.
"""

from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

cimport fastcell.kernels as fc

fc.fastcell_import()


cdef int check(fc.fc_status status) except -1 nogil:
    if status != fc.FC_OK:
        with gil:
            raise ValueError(fc.fc_status_text(status).decode())
    return 0


cdef void *aligned(size_t size) except NULL:
    cdef void *memory
    if posix_memalign(&memory, 64, size):
        raise MemoryError
    memset(memory, 0, size)
    return memory


cdef class Filter:
    """y_t = h_t of a GRU whose input is x_t and y_{t-1}.

    Parameters
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh
        As in `fastcell.GRU(1 + H, H)`: (3 H, 1 + H), (3 H, H), (3 H,), (3 H,), float32.
        They are copied.
    """

    cdef fc.fc_stack stack
    cdef void *packed
    cdef void *stream

    def __cinit__(
        self,
        const float[:, ::1] weight_ih,
        const float[:, ::1] weight_hh,
        const float[::1] bias_ih,
        const float[::1] bias_hh,
    ):
        cdef Py_ssize_t H = weight_hh.shape[1]
        cdef size_t size
        cdef fc.fc_weights weights
        if (
            weight_ih.shape[0] != 3 * H
            or weight_ih.shape[1] != 1 + H
            or weight_hh.shape[0] != 3 * H
            or bias_ih.shape[0] != 3 * H
            or bias_hh.shape[0] != 3 * H
        ):
            raise ValueError("the shapes are not those of a GRU(1 + H, H)")
        memset(&self.stack, 0, sizeof(self.stack))
        self.stack.cell = fc.fc_cell_index(b"gru")
        self.stack.dtype = fc.FC_F32
        self.stack.input_size = 1 + H
        self.stack.hidden_size = H
        self.stack.layers = self.stack.directions = 1
        memset(&weights, 0, sizeof(weights))
        weights.w_ih = &weight_ih[0, 0]
        weights.w_hh = &weight_hh[0, 0]
        weights.b_ih = &bias_ih[0]
        weights.b_hh = &bias_hh[0]
        check(fc.fc_pack_size(&self.stack, fc.FC_PACK_FORWARD, &size))
        self.packed = aligned(size)
        check(fc.fc_pack(&self.stack, fc.FC_PACK_FORWARD, &weights, self.packed, 1))
        check(fc.fc_stream_size(&self.stack, 1, &size))
        self.stream = aligned(size)

    def __dealloc__(self):
        free(self.packed)
        free(self.stream)

    def run(self, const float[::1] x, float[:, ::1] y):
        """Filter x (T,) into y (T, H); other threads run meanwhile."""
        cdef Py_ssize_t H = self.stack.hidden_size, T = x.shape[0], t
        if y.shape[0] != T or y.shape[1] != H:
            raise ValueError(f"y: expected ({T}, {H}), got {y.shape[0], y.shape[1]}")
        cdef float *row = <float *>aligned((1 + H) * sizeof(float))
        try:
            with nogil:
                for t in range(T):
                    row[0] = x[t]
                    check(
                        fc.fc_stream_step(
                            &self.stack, self.packed, 1, row, &y[t, 0], self.stream
                        )
                    )
                    memcpy(row + 1, &y[t, 0], H * sizeof(float))
        finally:
            free(row)
