# Stacks of recurrent layers over whole sequences.

cdef class Stack:
    """Layers of one cell: sizes, packed weights, forward and backward."""

    cdef fc_stack stack
    cdef fc_cell_description cell
    cdef Py_ssize_t itemsize

    def __init__(
        self, str cell, str precision, Py_ssize_t input_size,
        Py_ssize_t hidden_size, Py_ssize_t proj_size, int layers, int directions,
        int heads=1, tuple rates=(0.0, 0.0, 0.0), tuple options=None,
    ):
        cdef size_t size
        describe(cell, &self.cell)
        self.stack.cell = fc_cell_index(cell.encode())
        self.stack.dtype = _PRECISIONS[precision]
        self.itemsize = 8 if precision == "float64" else 4
        self.stack.input_size = input_size
        self.stack.hidden_size = hidden_size
        self.stack.proj_size = proj_size
        self.stack.layers = layers
        self.stack.directions = directions
        self.stack.heads = heads
        # Of zoneout of h and of c, and of recurrent dropout.
        self.stack.zoneout_h, self.stack.zoneout_c, self.stack.recurrent_dropout = rates
        if options is not None:
            fill_options(&self.stack.options, options)
        check(fc_pack_size(&self.stack, FC_PACK_FORWARD, &size))

    def __reduce__(self):
        return Stack, (
            self.cell.name.decode(),
            {kind: name for name, kind in _PRECISIONS.items()}[self.stack.dtype],
            self.stack.input_size, self.stack.hidden_size, self.stack.proj_size,
            self.stack.layers, self.stack.directions, self.stack.heads,
            (self.stack.zoneout_h, self.stack.zoneout_c, self.stack.recurrent_dropout),
            options_of(&self.stack.options),
        )

    cdef Py_ssize_t out(self) noexcept:
        return self.stack.proj_size if self.stack.proj_size else self.stack.hidden_size

    cdef Py_ssize_t c_row(self) noexcept:
        """Reals of a row of c: all states but h."""
        return (self.cell.states - 1) * self.stack.hidden_size

    def pack(self, bint backward, list weights, int threads):
        """Pack weights: of each layer and direction its parameters, a tuple.

        They are in the order of `describe_cell`; a bias may be None.
        """
        cdef fc_pack_kind kind = FC_PACK_BACKWARD if backward else FC_PACK_FORWARD
        cdef size_t size
        cdef int passes = self.stack.layers * self.stack.directions
        cdef bytearray table = bytearray(passes * sizeof(fc_weights))
        cdef fc_weights *w = <fc_weights *> <char *> table
        check(fc_pack_size(&self.stack, kind, &size))
        holders = self.take_parameters(
            "weights", weights, READ, <char *> table, sizeof(fc_weights)
        )
        packed = aligned_empty(size)
        cdef uint8_t[::1] memory = packed
        with nogil:
            check(fc_pack(&self.stack, kind, w, &memory[0], threads))
        return packed

    cdef list take_parameters(
        self, str what, list of_passes, access access, char *entries, size_t entry_bytes
    ):
        """Point each pass's entry, fc_weights or fc_gradients, at its parameters.

        Returns what holds the arrays.
        """
        cdef fc_cell_parameter *parameter
        cdef int i, k, passes = self.stack.layers * self.stack.directions
        cdef Views views
        if len(of_passes) != passes:
            raise ValueError(f"{what} must be {passes} tuples; got {len(of_passes)}")
        holders = []
        for i in range(passes):
            arrays = of_passes[i]
            if len(arrays) != self.cell.parameters:
                raise ValueError(
                    f"{what} must be tuples of {self.cell.parameters} arrays; "
                    f"got {len(arrays)}"
                )
            views = Views()
            holders.append(views)
            for k in range(self.cell.parameters):
                parameter = &self.cell.parameter[k]
                views.name = parameter.name
                (<void **> (entries + i * entry_bytes + parameter.member))[0] = (
                    views.contiguous(
                        arrays[k], access == WRITTEN, self.itemsize,
                        self.length(parameter, parameter.rows, i)
                        * self.length(parameter, parameter.columns, i),
                    )
                )
        return holders

    cdef Py_ssize_t length(
        self, const fc_cell_parameter *parameter, fc_axis axis, int one_pass
    ) noexcept:
        """Of an axis of a parameter of a pass (layer and direction)."""
        return length_of(
            parameter, axis, self.cell.gates, self.width(one_pass),
            self.stack.hidden_size, self.out(), self.stack.heads,
        )

    cdef Py_ssize_t width(self, int one_pass) noexcept:
        """Input features of a pass (layer and direction)."""
        if one_pass < self.stack.directions:
            return self.stack.input_size
        return self.stack.directions * self.out()

    cdef int take(
        self, Views views, const fc_batch *batch, const argument *table, int count
    ) except -1:
        """Point the core at the arrays of a table, as far as they fit their shapes."""
        cdef const argument *a
        cdef Py_buffer *view
        cdef Py_ssize_t width, itemsize, items
        cdef int i
        for i in range(count):
            a = &table[i]
            a.to[0] = NULL
            if a.step != NULL:
                a.step[0] = a.row[0] = 0
            if <object> a.array is None:
                continue
            views.name = a.name
            if a.shape in (INPUTS, OUTPUTS, GATES):
                width = self.row_of(a.shape)
                view = views.rows(
                    <object> a.array, a.access == WRITTEN, self.itemsize, batch.steps,
                    batch.rows, width,
                )
                a.to[0] = view.buf
                a.step[0] = view.strides[0] // self.itemsize
                a.row[0] = view.strides[1] // self.itemsize
            else:
                itemsize = self.itemsize
                items = self.items(batch, a.shape, &itemsize)
                a.to[0] = views.contiguous(
                    <object> a.array, a.access == WRITTEN, itemsize, items
                )
        views.name = b"array"
        return 0

    cdef Py_ssize_t row_of(self, shape of) noexcept:
        """The reals of a row that may be anywhere."""
        if of == INPUTS:
            return self.stack.input_size
        if of == OUTPUTS:
            return self.stack.directions * self.out()
        return self.stack.directions * self.cell.gates * self.stack.hidden_size

    cdef Py_ssize_t items(
        self, const fc_batch *batch, shape of, Py_ssize_t *itemsize
    ) except -1:
        """The items of a contiguous argument, and their bytes where they are no reals."""
        cdef size_t size
        cdef Py_ssize_t pairs = batch.steps * batch.rows
        cdef Py_ssize_t states = self.stack.layers * self.stack.directions * batch.rows
        if of == H_STATES:
            return states * self.out()
        if of == C_STATES:
            return states * self.c_row()
        if of == TABLE:
            return batch.x_rows * self.stack.input_size
        if of == DROPOUT:
            return (self.stack.layers - 1) * pairs * self.stack.directions * self.out()
        if of == IDS:
            itemsize[0] = 4
            return pairs
        if of == LENGTHS:
            itemsize[0] = 8
            return batch.rows
        itemsize[0] = 1
        if of == FLAGS:
            return pairs
        check(
            fc_pack_size(
                &self.stack,
                FC_PACK_FORWARD if of == PACKED_FORWARD else FC_PACK_BACKWARD, &size,
            )
        )
        return size

    cdef int fill(self, Batch call, fc_batch *batch, Views views) except -1:
        """Pointers of what forward and backward share."""
        cdef bint indexed = call.index is not None
        batch.steps = call.steps
        batch.rows = call.rows
        batch.threads = call.threads
        batch.recompute = call.recompute
        batch.random = call.key is not None
        batch.key = call.key if batch.random else 0
        batch.first_step = call.first_step
        batch.x_rows = len(call.x) if indexed else 0
        cdef argument[9] table = [
            argument("x", <PyObject *> call.x, READ, TABLE if indexed else INPUTS,
                     <void **> &batch.x, &batch.x_step, &batch.x_row),
            argument("index", <PyObject *> call.index, READ, IDS,
                     <void **> &batch.index, NULL, NULL),
            argument("lengths", <PyObject *> call.lengths, READ, LENGTHS,
                     <void **> &batch.lengths, NULL, NULL),
            argument("mask", <PyObject *> call.mask, READ, FLAGS,
                     <void **> &batch.mask, NULL, NULL),
            argument("reset", <PyObject *> call.reset, READ, FLAGS,
                     <void **> &batch.reset, NULL, NULL),
            argument("h0", <PyObject *> call.h0, READ, H_STATES,
                     <void **> &batch.h0, NULL, NULL),
            argument("c0", <PyObject *> call.c0, READ, C_STATES,
                     <void **> &batch.c0, NULL, NULL),
            argument("dropout", <PyObject *> call.dropout, READ, DROPOUT,
                     <void **> &batch.dropout, NULL, NULL),
            argument("added", <PyObject *> call.added, READ, GATES,
                     <void **> &batch.added, &batch.added_step, &batch.added_row),
        ]
        self.take(views, batch, table, 9)
        if indexed:
            batch.x_row = self.stack.input_size
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

    def forward(self, packed, Batch call, y, h, c, saved, cs=None):
        """Fill y (T, B, D P) and the final states; with `saved`, keep for backward.

        cs (S-1, T, B, D H) with contiguous rows: filled with the states but h of the last
        layer after each step, or None.
        """
        cdef fc_batch batch
        cdef Views views = Views()
        self.fill(call, &batch, views)
        self.run(packed, &batch, y, h, c, saved, cs)

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
        """Arrays for h and for c, all other states; None where the cell has none."""
        cdef Py_ssize_t passes = self.stack.layers * self.stack.directions
        h = np.empty((passes, batch.rows, self.out()), dtype)
        if self.cell.states == 1:
            return h, None
        return h, np.empty((passes, batch.rows, self.c_row()), dtype)

    def step(self, packed, x, state, dtype, int threads):
        """Return the state after one step of one layer: the quick way.

        x (B, I) or (I,); state None, h or (h, c, ...), each (B, n) or (n,).  None where one
        is no such array of NumPy's, contiguous and of the dtype.
        """
        cdef fc_batch batch
        cdef Views views = Views()
        cdef bint two = self.cell.states > 1, more = self.cell.states > 2, single
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
        if more and state is not None:
            state = self.two_of(views, state, single, batch.rows, dtype)
        if state is not None:
            h, c = (state if len(state) == 2 else (None, None)) if two else (state, None)
            batch.h0 = self.quick(views, h, single, batch.rows, self.out(), dtype)
            if batch.h0 == NULL:
                return None
            if two:
                batch.c0 = self.quick(
                    views, c, single, batch.rows, self.c_row(), dtype
                )
                if batch.c0 == NULL:
                    return None
        y = np.empty((1, batch.rows, self.out()), dtype)
        c = np.empty((batch.rows, self.c_row()), dtype) if two else None
        self.run(packed, &batch, y, None, c, None)
        y = y[0]  # which is the next h
        if single:
            y, c = y[0], c[0] if two else None
        if more:
            return y, *map(np.ascontiguousarray, np.split(c, self.cell.states - 1, -1))
        return (y, c) if two else y

    cdef object two_of(
        self, Views views, tuple state, bint single, Py_ssize_t rows, dtype
    ):
        """h, and all other states behind each other; (None, None) if one does not fit."""
        if len(state) != self.cell.states:
            return None, None
        for part in state[1:]:
            if not self.quick(views, part, single, rows, self.stack.hidden_size, dtype):
                return None, None
        return state[0], np.concatenate(state[1:], -1)

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

    cdef int run(self, packed, fc_batch *batch, y, h, c, saved, cs=None) except -1:
        cdef fc_output output
        cdef size_t size
        cdef Views outputs = Views()
        cdef void *kept = NULL
        cdef argument[3] table = [
            argument("y", <PyObject *> y, WRITTEN, OUTPUTS, &output.y, &output.y_step,
                     &output.y_row),
            argument("h", <PyObject *> h, WRITTEN, H_STATES, &output.h, NULL, NULL),
            argument("c", <PyObject *> c, WRITTEN, C_STATES, &output.c, NULL, NULL),
        ]
        self.take(outputs, batch, table, 3)
        self.take_all_c(outputs, batch, cs, &output)
        if saved is not None:
            check(fc_saved_size(&self.stack, batch, &size))
            kept = outputs.get(saved, 1, 1).buf
            if len(saved) < <Py_ssize_t> size:
                raise ValueError(f"saved must have {size} bytes; got {len(saved)}")
        return self.call(packed, batch, &output, kept)

    cdef int take_all_c(
        self, Views views, const fc_batch *batch, cs, fc_output *output
    ) except -1:
        cdef Py_buffer *view
        cdef Py_ssize_t width = self.stack.directions * self.stack.hidden_size
        output.cs = NULL
        if cs is None:
            return 0
        views.name = b"cs"
        view = views.get(cs, 1, self.itemsize)
        wanted = self.cell.states - 1, batch.steps, batch.rows, width
        found = tuple([view.shape[i] for i in range(view.ndim)])
        if found != wanted or (width > 1 and view.strides[3] != self.itemsize):
            raise ValueError(f"cs must be {wanted} with rows of consecutive items")
        output.cs = view.buf
        output.cs_state = view.strides[0] // self.itemsize
        output.cs_step = view.strides[1] // self.itemsize
        output.cs_row = view.strides[2] // self.itemsize
        return 0

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
        list gradients, saved, segment=None, dadded=None
    ):
        """Fill dx, dh0, dc0, dadded and add to the weight gradients; uses `saved` up.

        dy None: zeros.  packed_forward may be None unless the gates are to be
        recomputed.  segment, of a part of longer sequences: (steps before, steps after,
        pairs before, carry).
        """
        cdef fc_segment one_segment
        cdef fc_batch batch
        cdef fc_backward_io io
        cdef Views views = Views(), outputs = Views()
        cdef int passes = self.stack.layers * self.stack.directions
        cdef bytearray weights = bytearray(passes * sizeof(fc_gradients))
        call.check_isa()
        dy = rows_apart(dy)
        self.fill(call, &batch, views)
        cdef argument[8] table = [
            argument("packed_forward", <PyObject *> packed_forward, READ,
                     PACKED_FORWARD, <void **> &io.packed_forward, NULL, NULL),
            argument("dy", <PyObject *> dy, READ, OUTPUTS, <void **> &io.dy,
                     &io.dy_step, &io.dy_row),
            argument("dh", <PyObject *> dh, READ, H_STATES, <void **> &io.dh, NULL, NULL),
            argument("dc", <PyObject *> dc, READ, C_STATES, <void **> &io.dc, NULL, NULL),
            argument("dx", <PyObject *> dx, WRITTEN,
                     INPUTS if call.index is None else TABLE, &io.dx, &io.dx_step,
                     &io.dx_row),
            argument("dh0", <PyObject *> dh0, WRITTEN, H_STATES, &io.dh0, NULL, NULL),
            argument("dc0", <PyObject *> dc0, WRITTEN, C_STATES, &io.dc0, NULL, NULL),
            argument("dadded", <PyObject *> dadded, WRITTEN, GATES, &io.dadded,
                     &io.dadded_step, &io.dadded_row),
        ]
        self.take(outputs, &batch, table, 8)
        io.segment = NULL
        if segment is not None:
            self.take_segment(segment, &batch, outputs, &one_segment)
            io.segment = &one_segment
        io.weights = NULL
        holders = None
        if gradients is not None:
            io.weights = <fc_gradients *> <char *> weights
            holders = self.take_parameters(
                "gradients", gradients, WRITTEN, <char *> weights, sizeof(fc_gradients)
            )
        self.use_up(packed, &batch, &io, saved)

    cdef int take_segment(
        self, tuple segment, const fc_batch *batch, Views views, fc_segment *to
    ) except -1:
        cdef size_t size
        steps_before, steps_after, pairs_before, carry = segment
        check(fc_carry_size(&self.stack, batch, &size))
        if len(carry) < <Py_ssize_t> size:
            raise ValueError(f"carry must have {size} bytes; got {len(carry)}")
        to.steps_before = steps_before
        to.steps_after = steps_after
        to.pairs_before = pairs_before
        to.carry = views.get(carry, 1, 1).buf
        return 0

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
