# Stacks of recurrent layers over whole sequences.

cdef class Batch:
    """What forward and backward share about one batch: arrays, or None."""

    cdef readonly Py_ssize_t steps, rows
    cdef readonly object x, index, lengths, mask, reset, h0, c0, dropout
    cdef readonly int threads
    cdef public bint recompute  # the gates, in backward: set before `saved` is made
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


_INITIAL = {FC_DRAWN: "drawn", FC_ZEROS: "zeros", FC_ONES: "ones"}


def own_parameters(str cell):
    """Return the parameters that a cell has beside weights and biases.

    Each is (name without a layer's suffix, vectors of H values, "drawn", "zeros" or
    "ones").
    """
    cdef int index = fc_cell_index(cell.encode())
    cdef fc_unit_parameter own
    found = []
    while fc_cell_own(index, len(found), &own):
        found.append((own.name.decode(), own.vectors, _INITIAL[own.initial]))
    return found


_PRECISIONS = {
    "float32": FC_F32, "float64": FC_F64, "bf16": FC_BF16, "int8": FC_INT8,
}


cdef class Stack:
    """Layers of one cell: sizes, packed weights, forward and backward."""

    cdef fc_stack stack
    cdef Py_ssize_t itemsize

    def __init__(
        self, str cell, str precision, Py_ssize_t input_size,
        Py_ssize_t hidden_size, Py_ssize_t proj_size, int layers, int directions,
    ):
        cdef size_t size
        self.stack.cell = fc_cell_index(cell.encode())
        if self.stack.cell < 0:
            raise ValueError(f"cell must be one of {', '.join(cells())}; got {cell!r}")
        self.stack.dtype = _PRECISIONS[precision]
        self.itemsize = 8 if precision == "float64" else 4
        self.stack.input_size = input_size
        self.stack.hidden_size = hidden_size
        self.stack.proj_size = proj_size
        self.stack.layers = layers
        self.stack.directions = directions
        check(fc_pack_size(&self.stack, FC_PACK_FORWARD, &size))

    def __reduce__(self):
        return Stack, (
            fc_cell_name(self.stack.cell).decode(),
            {kind: name for name, kind in _PRECISIONS.items()}[self.stack.dtype],
            self.stack.input_size,
            self.stack.hidden_size,
            self.stack.proj_size,
            self.stack.layers,
            self.stack.directions,
        )

    cdef Py_ssize_t out(self):
        return self.stack.proj_size if self.stack.proj_size else self.stack.hidden_size

    def pack(self, bint backward, list weights, int threads):
        """Pack weights: a list of tuples, one per layer and direction.

        Each is w_ih, w_hh, b_ih, b_hh, w_hr, and then as `own_parameters` tells.
        """
        cdef fc_pack_kind kind = FC_PACK_BACKWARD if backward else FC_PACK_FORWARD
        cdef Py_ssize_t gates = fc_cell_gates(self.stack.cell) * self.stack.hidden_size
        cdef size_t size
        cdef int i, passes = self.stack.layers * self.stack.directions
        cdef bytearray table = bytearray(passes * sizeof(fc_weights))
        cdef fc_weights *w = <fc_weights *> <char *> table
        cdef Views views
        if len(weights) != passes:
            raise ValueError(f"weights must be {passes} tuples; got {len(weights)}")
        check(fc_pack_size(&self.stack, kind, &size))
        holders = []
        for i in range(passes):
            w_ih, w_hh, b_ih, b_hh, w_hr, *own = weights[i]
            views = Views()
            holders.append(views)
            w[i].w_ih = views.contiguous(w_ih, 0, self.itemsize, gates * self.width(i))
            w[i].w_hh = views.contiguous(w_hh, 0, self.itemsize, gates * self.out())
            w[i].b_ih = views.contiguous(b_ih, 0, self.itemsize, gates)
            w[i].b_hh = views.contiguous(b_hh, 0, self.itemsize, gates)
            w[i].w_hr = views.contiguous(
                w_hr, 0, self.itemsize, self.out() * self.stack.hidden_size
            )
            self.point_at_own(views, own, 0, <void **> w[i].own)
        packed = aligned_empty(size)
        cdef uint8_t[::1] memory = packed
        with nogil:
            check(fc_pack(&self.stack, kind, w, &memory[0], threads))
        return packed

    cdef int point_at_own(
        self, Views views, list arrays, bint written, void **own
    ) except -1:
        """Pointers at the parameters of the cell's own, or at their gradients."""
        cdef fc_unit_parameter parameter
        for i, array in enumerate(arrays):
            if not fc_cell_own(self.stack.cell, i, &parameter):
                raise ValueError(f"weights must be tuples of {5 + i} arrays")
            own[i] = views.contiguous(
                array, written, self.itemsize,
                parameter.vectors * self.stack.hidden_size,
            )
        return 0

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
        batch.recompute = call.recompute
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

    def carry_size(self, Batch call):
        """Return the bytes that segments of a batch hand on in backward."""
        cdef fc_batch batch
        cdef size_t size
        cdef Views views = Views()
        self.fill(call, &batch, views)
        check(fc_carry_size(&self.stack, &batch, &size))
        return size

    def describe(self, Py_ssize_t steps, Py_ssize_t rows, int threads, int training):
        """Return how a batch would be computed: fc_description, as a dict.

        training: 0 inference, 1 forward that keeps for backward, 2 backward.
        """
        cdef fc_batch batch
        cdef fc_description description
        memset(&batch, 0, sizeof(batch))
        batch.steps = steps
        batch.rows = rows
        batch.threads = threads
        check(fc_describe(&self.stack, &batch, training, &description))
        found = dict(description)
        found["isa"] = description.isa.decode()
        found["sharing"] = SHARING[description.sharing]
        return found

    def forward(self, packed, Batch call, y, h, c, saved):
        """Fill y (T, B, D P) and the final states; with `saved`, keep for backward."""
        cdef fc_batch batch
        cdef Views views = Views()
        self.fill(call, &batch, views)
        self.run(packed, &batch, y, h, c, saved)

    def infer(self, packed, x, dtype, int threads):
        """Return y, h and c for x (T, B, I) alone, from zero states; the quick way.

        None where x is no such array of NumPy's, contiguous and of the dtype.
        """
        cdef fc_batch batch
        cdef Views views = Views()
        if not self.plain(views, x, dtype, threads, &batch):
            return None
        y = self.outputs(&batch, dtype)
        h, c = self.states(&batch, dtype)
        self.run(packed, &batch, y, h, c, None)
        return y, h, c

    def train(self, packed, x, lengths, dtype, int threads, spare):
        """As `infer`, for training; and the batch, and what is kept, in `spare` memory.

        lengths (B,) int64, which are copied, or None; None is returned where they are
        others.
        """
        cdef fc_batch batch
        cdef size_t size
        cdef Batch call
        cdef Views views = Views()
        if not self.plain(views, x, dtype, threads, &batch):
            return None
        if lengths is not None:
            if type(lengths) is not ndarray:
                return None
            lengths = lengths.copy()  # first: threads may write
            if not in_range(lengths, 0, batch.steps) or lengths.shape != (batch.rows,):
                return None
            batch.lengths = <const int64_t *> views.contiguous(lengths, 0, 8, batch.rows)
        call = Batch.__new__(Batch)
        call.steps = batch.steps
        call.rows = batch.rows
        call.x = x
        call.lengths = lengths
        call.threads = threads
        call.isa = isa_now
        check(fc_saved_size(&self.stack, &batch, &size))
        memory = spare.take(size)
        y = self.outputs(&batch, dtype)
        h, c = self.states(&batch, dtype)
        self.run(packed, &batch, y, h, c, memory)
        return y, h, c, call, memory

    cdef bint plain(
        self, Views views, x, dtype, int threads, fc_batch *batch
    ) except -1:
        """Take x (T, B, I) alone, if it is an array of NumPy's that needs no other look."""
        cdef Py_buffer *view
        if type(x) is not ndarray or x.dtype is not dtype:
            return False
        view = views.get(x, 0, self.itemsize)
        if view.ndim != 3 or view.len == 0 or not PyBuffer_IsContiguous(view, b"C"):
            return False
        memset(batch, 0, sizeof(fc_batch))
        batch.steps = view.shape[0]
        batch.rows = view.shape[1]
        batch.threads = threads
        batch.x = view.buf
        batch.x_row = self.stack.input_size
        batch.x_step = batch.rows * batch.x_row
        return view.shape[2] == batch.x_row

    cdef object outputs(self, fc_batch *batch, dtype):
        """An array for y."""
        cdef Py_ssize_t width = self.stack.directions * self.out()
        return np.empty((batch.steps, batch.rows, width), dtype)

    cdef tuple states(self, fc_batch *batch, dtype):
        """Arrays for h and c, which is None where the cell has none."""
        cdef Py_ssize_t passes = self.stack.layers * self.stack.directions
        h = np.empty((passes, batch.rows, self.out()), dtype)
        if fc_cell_states(self.stack.cell) == 1:
            return h, None
        return h, np.empty((passes, batch.rows, self.stack.hidden_size), dtype)

    def step(self, packed, x, state, dtype, int threads):
        """Return the state after one step of one layer: the quick way.

        x (B, I) or (I,); state None, h or (h, c), each (B, n) or (n,).  None where one is
        no such array of NumPy's, contiguous and of the dtype.
        """
        cdef fc_batch batch
        cdef Views views = Views()
        cdef bint two = fc_cell_states(self.stack.cell) > 1, single
        if type(x) is not ndarray or not 1 <= x.ndim <= 2:
            return None
        single = x.ndim == 1
        memset(&batch, 0, sizeof(batch))
        batch.steps = 1
        batch.rows = 1 if single else len(x)
        batch.threads = threads
        batch.x = self.quick(views, x, single, batch.rows, self.stack.input_size, dtype)
        batch.x_row = self.stack.input_size
        batch.x_step = batch.rows * batch.x_row
        if batch.x == NULL or (two and state is not None and type(state) is not tuple):
            return None
        if state is not None:
            h, c = (state if len(state) == 2 else (None, None)) if two else (state, None)
            batch.h0 = self.quick(views, h, single, batch.rows, self.out(), dtype)
            if batch.h0 == NULL:
                return None
            if two:
                batch.c0 = self.quick(
                    views, c, single, batch.rows, self.stack.hidden_size, dtype
                )
                if batch.c0 == NULL:
                    return None
        y = np.empty((1, batch.rows, self.out()), dtype)
        c = np.empty((batch.rows, self.stack.hidden_size), dtype) if two else None
        self.run(packed, &batch, y, None, c, None)
        y = y[0]  # which is the next h
        if single:
            y, c = y[0], c[0] if two else None
        return (y, c) if two else y

    cdef void *quick(
        self, Views views, array, bint single, Py_ssize_t rows, Py_ssize_t n, dtype
    ) except? NULL:
        """Memory of an array (rows, n), or (n,) if single; NULL if it is another."""
        cdef Py_buffer *view
        if type(array) is not ndarray or array.dtype is not dtype:
            return NULL
        view = views.get(array, 0, self.itemsize)
        if (
            view.len == 0
            or view.ndim != 2 - single
            or view.shape[view.ndim - 1] != n
            or (not single and view.shape[0] != rows)
            or not PyBuffer_IsContiguous(view, b"C")
        ):
            return NULL
        return view.buf

    cdef int run(self, packed, fc_batch *batch, y, h, c, saved) except -1:
        cdef fc_output output
        cdef size_t size
        cdef Py_buffer *view
        cdef Views outputs = Views()
        cdef Py_ssize_t states = self.stack.layers * self.stack.directions * batch.rows
        cdef void *kept = NULL
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
            check(fc_saved_size(&self.stack, batch, &size))
            kept = outputs.get(saved, 1, 1).buf
            if len(saved) < <Py_ssize_t> size:
                raise ValueError(f"saved must have {size} bytes; got {len(saved)}")
        return self.call(packed, batch, &output, kept)

    cdef int call(
        self, packed, fc_batch *batch, fc_output *output, void *kept
    ) except -1:
        """fc_forward; with `kept`, for training."""
        cdef size_t size
        cdef Views views = Views()
        cdef const void *weights
        check(fc_pack_size(&self.stack, FC_PACK_FORWARD, &size))
        weights = views.contiguous(packed, 0, 1, size)
        check(fc_scratch_size(&self.stack, batch, 1 if kept != NULL else 0, &size))
        scratch = take_scratch(size)
        cdef void *scratch_memory = views.get(scratch, 1, 1).buf
        heed_signals()
        with nogil:
            check(
                fc_forward(&self.stack, weights, batch, output, kept, scratch_memory)
            )
        give_scratch(scratch)
        return 0

    def backward(
        self, packed, packed_forward, Batch call, dy, dh, dc, dx, dh0, dc0,
        list gradients, saved, segment=None
    ):
        """Fill dx, dh0, dc0 and add to the weight gradients; uses `saved` up.

        dy None: zeros.  packed_forward may be None unless the gates are to be
        recomputed.  segment, of a part of longer sequences: (steps before, steps after,
        pairs before, carry).
        """
        cdef fc_segment one_segment
        cdef fc_batch batch
        cdef fc_backward_io io
        cdef size_t size
        cdef Py_buffer *view
        cdef Views views = Views(), outputs = Views(), one
        cdef Py_ssize_t gates = fc_cell_gates(self.stack.cell) * self.stack.hidden_size
        cdef Py_ssize_t states
        cdef int i, passes = self.stack.layers * self.stack.directions
        cdef bytearray table = bytearray(passes * sizeof(fc_gradients))
        cdef fc_gradients *g = <fc_gradients *> <char *> table
        call.check_isa()
        dy = rows_apart(dy)
        self.fill(call, &batch, views)
        states = passes * batch.rows
        check(fc_pack_size(&self.stack, FC_PACK_FORWARD, &size))
        io.packed_forward = outputs.contiguous(packed_forward, 0, 1, size)
        io.dy = NULL
        io.dy_step = io.dy_row = 0
        if dy is not None:
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
        io.segment = NULL
        if segment is not None:
            steps_before, steps_after, pairs_before, carry = segment
            check(fc_carry_size(&self.stack, &batch, &size))
            if len(carry) < <Py_ssize_t> size:
                raise ValueError(f"carry must have {size} bytes; got {len(carry)}")
            one_segment.steps_before = steps_before
            one_segment.steps_after = steps_after
            one_segment.pairs_before = pairs_before
            one_segment.carry = outputs.get(carry, 1, 1).buf
            io.segment = &one_segment
        holders = []
        io.weights = NULL
        if gradients is not None:
            if len(gradients) != passes:
                raise ValueError(f"gradients must be {passes} tuples")
            io.weights = g
            for i in range(passes):
                w_ih, w_hh, b_ih, b_hh, w_hr, *own = gradients[i]
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
                self.point_at_own(one, own, 1, g[i].own)
        self.use_up(packed, &batch, &io, saved)

    def backward_alone(
        self, packed, Batch call, dy, dtype, list names, dict shapes, saved
    ):
        """Return dx, dh0, dc0, the gradients by name and the memory, of a call of `train`.

        dc0 is None where the cell has no c.  `saved` is taken when nothing is left that
        could be refused.  None where dy is no such array of NumPy's as y is, or None.
        """
        cdef fc_batch batch
        if dy is not None and (
            type(dy) is not ndarray
            or dy.dtype is not dtype
            or dy.shape != (call.steps, call.rows, self.stack.directions * self.out())
            or not dy.flags.c_contiguous
        ):
            return None
        call.check_isa()
        batch.rows = call.rows
        dx = np.empty(call.x.shape, dtype)
        dh0, dc0 = self.states(&batch, dtype)
        grads = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}
        by_pass = [tuple([grads.get(name) for name in some]) for some in names]
        memory = saved.take()
        self.backward(
            packed, None, call, dy, None, None, dx, dh0, dc0, by_pass, memory
        )
        return dx, dh0, dc0, grads, memory

    cdef int use_up(
        self, packed, fc_batch *batch, fc_backward_io *io, saved
    ) except -1:
        """fc_backward; what it computes by BLAS it gets here."""
        cdef size_t size
        cdef Views views = Views()
        cdef const void *weights
        cdef void *kept = views.get(saved, 1, 1).buf
        check(fc_pack_size(&self.stack, FC_PACK_BACKWARD, &size))
        weights = views.contiguous(packed, 0, 1, size)
        size = FC_SAVED_HEAD
        if len(saved) >= FC_SAVED_HEAD:
            check(fc_saved_bytes(kept, &size))
        if len(saved) < <Py_ssize_t> size:
            raise ValueError(f"saved must have {size} bytes; got {len(saved)}")
        check(fc_scratch_size(&self.stack, batch, 2, &size))
        scratch = take_scratch(size)
        cdef void *scratch_memory = views.get(scratch, 1, 1).buf
        io.blas = blas()
        heed_signals()
        with nogil:
            check(fc_backward(&self.stack, weights, batch, io, kept, scratch_memory))
        give_scratch(scratch)
        return 0
