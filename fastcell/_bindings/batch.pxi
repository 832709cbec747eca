# What recurrent stacks are called with.

_PRECISIONS = {
    "float32": FC_F32, "float64": FC_F64, "bf16": FC_BF16, "int8": FC_INT8,
}


cdef class Batch:
    """What forward and backward share about one batch: arrays, or None."""

    cdef readonly Py_ssize_t steps, rows
    cdef readonly object x, index, lengths, mask, reset, h0, c0, dropout
    cdef readonly int threads
    cdef public bint recompute  # the gates, in backward: set before `saved` is made
    cdef public object added  # to the input parts of the first layer (T, B, D G H)
    cdef public object key  # of random masks, or None; first_step: of the batch, for them
    cdef public Py_ssize_t first_step
    cdef const char *isa  # that `saved` is laid out for

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
        self.isa = isa_now

    def check_isa(self):
        """Raise if another instruction set is in use than when it was made."""
        if self.isa is not isa_now:
            raise_other_isa("saved", self.isa)
