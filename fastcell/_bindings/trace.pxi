# States and gates of all steps, from what a call of training keeps.

def trace(Stack stack, Batch call, h, c, values, saved):
    """Fill h (L D, T, B, P), c (S-1, L D, T, B, H) and values (N, L D, T, B, H).

    Of S states and N names `traced` of describe_cell; each may be None.  Uses up `saved`,
    the memory of the call, which needs no `recompute`.
    """
    cdef fc_batch batch
    cdef fc_trace_output output
    cdef size_t size
    cdef Views views = Views(), outputs = Views()
    call.check_isa()
    stack.fill(call, &batch, views)
    cdef Py_ssize_t steps = (
        stack.stack.layers * stack.stack.directions * batch.steps * batch.rows
    )
    cdef Py_ssize_t names = len(traced_names(stack.cell.name.decode()))
    outputs.name = b"h"
    output.h = outputs.contiguous(h, 1, stack.itemsize, steps * stack.out())
    outputs.name = b"c"
    output.c = outputs.contiguous(c, 1, stack.itemsize, steps * stack.c_row())
    outputs.name = b"values"
    output.values = outputs.contiguous(
        values, 1, stack.itemsize, names * steps * stack.stack.hidden_size
    )
    outputs.name = b"saved"
    cdef void *kept = outputs.get(saved, 1, 1).buf
    check(fc_saved_size(&stack.stack, &batch, &size))
    if len(saved) < <Py_ssize_t> size:
        raise ValueError(f"saved must have {size} bytes; got {len(saved)}")
    heed_signals()
    with nogil:
        check(fc_trace(&stack.stack, &batch, kept, &output))
