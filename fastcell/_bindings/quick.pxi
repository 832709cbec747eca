# Fast calls of the core on plain tensors of another framework, without NumPy arrays.

from cpython.dict cimport PyDict_GetItem


cdef class QuickCalls:
    """Calls on plain tensors: without lengths and flags, contiguous, of the stack's dtype.

    They take a tenth of the time of the checks of other calls.  names: names of the
    weights, in the order of the marks.
    """

    cdef Exchange exchange
    cdef Stack stack
    cdef TensorMarks marks
    cdef tuple names
    cdef object packed
    cdef const void *weights  # in `packed`
    cdef long long changes  # count of the marks at the time of packing
    cdef const char *isa
    cdef list streams  # free instances of StepMemory

    def __init__(self, Exchange exchange, Stack stack, TensorMarks marks, tuple names):
        self.streams = []
        self.exchange = exchange
        self.stack = stack
        self.marks = marks
        self.names = names

    def keep(self, packed):
        """Use these packed weights, of the tensors at the last update of the marks."""
        cdef size_t size
        cdef Views views = Views()
        check(fc_pack_size(&self.stack.stack, FC_PACK_FORWARD, &size))
        self.weights = views.contiguous(packed, 0, 1, size)
        self.packed = packed  # a reference: the memory stays alive and in place
        self.changes = self.marks.changes
        if self.isa is not isa_now:  # the layout of states depends on the set
            self.streams = []
        self.isa = isa_now

    def infer(self, dict held, x, hx, bint batch_first, bint step):
        """Return the module's result without autograd, or None if this path is unusable.

        It is if the framework watches its tensors, as autograd does, if the weights
        `held` are not those that were packed, or if `begin` returns None.
        """
        cdef QuickCall call
        if self.exchange.is_watched() or not self.hold(held):
            return None
        call = self.begin(x, hx, batch_first, step, 0)
        if call is None:
            return None
        out = call.forward(None)
        if step:
            return out if call.two else out[0]
        return (out[0], out[1:]) if call.two else out

    def step_of(self, Stream stream not None, dict held, x):
        """Return the outputs of a step of a stream, or None if this path is unusable."""
        cdef fc_dl_tensor found
        cdef int64_t shape[2]
        cdef int bits = 8 * self.stack.itemsize
        cdef void *y
        if stream.packed is not self.packed or stream.isa is not isa_now:
            return None
        if not self.hold(held) or not self.exchange.look(x, &found):
            return None
        if not are_contiguous(&found, bits):
            return None
        shape[0] = stream.rows
        if found.ndim == 2:
            if found.shape[0] != stream.rows:
                return None
        elif found.ndim != 1 or stream.rows != 1:
            return None
        if found.shape[found.ndim - 1] != self.stack.stack.input_size:
            return None
        shape[found.ndim - 1] = self.stack.out()
        out = self.exchange.new(bits, found.ndim, shape, &y)
        stream.step_at(found.data, y)
        return out

    cpdef bint hold(self, dict held) except -1:
        """Return whether the weights of these names are those that were packed."""
        cdef tensor_mark now
        cdef Py_ssize_t i, n = len(self.names)
        cdef PyObject *tensor
        if (
            self.packed is None
            or self.isa is not isa_now
            or self.changes != self.marks.changes
            or self.marks.count != n
        ):
            return False
        for i in range(n):
            tensor = PyDict_GetItem(held, self.names[i])
            if tensor == NULL:
                return False
            self.marks.look(<object> tensor, &now)
            if memcmp(&now, &self.marks.marks[i], sizeof(now)) != 0:
                return False
        return True

    cpdef QuickCall begin(self, x, hx, bint batch_first, bint step, int threads):
        """Return a call with the held weights, or None if a tensor is not plain.

        x (T, B, I), or (B, T, I) if batch_first, and hx of torch.nn's shapes, or None;
        with `step`, those of a single cell.  threads: 0 for as many as there are.
        """
        cdef QuickCall call = QuickCall.__new__(QuickCall)
        cdef fc_stack *stack = &self.stack.stack
        cdef fc_batch *batch = &call.batch
        cdef fc_dl_tensor found
        cdef int bits = 8 * self.stack.itemsize, axes = 0
        cdef Py_ssize_t passes = stack.layers * stack.directions
        call.two = self.stack.cell.states > 1
        if call.two and hx is not None:
            if type(hx) is not tuple or len(hx) != 2:
                return None
            call.h0, call.c0 = hx
        else:
            call.h0 = hx
        if not self.exchange.look(x, &found) or not are_contiguous(&found, bits):
            return None
        if (not 1 <= found.ndim <= 2) if step else found.ndim != 3:
            return None
        if found.shape[found.ndim - 1] != stack.input_size:
            return None
        memset(batch, 0, sizeof(fc_batch))
        batch.x = found.data
        batch.steps = batch.rows = 1
        if not step:
            batch.steps = found.shape[1 if batch_first else 0]
            batch.rows = found.shape[0 if batch_first else 1]
        elif found.ndim == 2:
            batch.rows = found.shape[0]
        if batch.steps == 0 or batch.rows == 0:
            return None
        strides_of(batch, stack.input_size, batch_first, &batch.x_step, &batch.x_row)
        # The axes of the states before the last: layers and rows, if they exist.
        if not step:
            call.state_shape[axes] = passes
            axes += 1
        if not step or found.ndim == 2:
            call.state_shape[axes] = batch.rows
            axes += 1
        call.axes = axes + 1
        if call.h0 is not None:
            batch.h0 = call.state(self, call.h0, self.stack.out())
            if batch.h0 == NULL:
                return None
        if call.c0 is not None:
            batch.c0 = call.state(self, call.c0, stack.hidden_size)
            if batch.c0 == NULL:
                return None
        call.calls = self
        call.batch_first, call.step = batch_first, step
        call.flop = (
            8.0 * batch.steps * batch.rows * passes * stack.hidden_size
            * (stack.hidden_size + stack.input_size)
        )
        batch.threads = threads
        if not threads:
            batch.threads = get_num_threads() if call.flop > SHARED_FLOP else 1
        return call


    cdef StepMemory step_memory(self, Py_ssize_t rows):
        """Return memory for a step of `rows` rows that no other call uses."""
        cdef StepMemory memory
        cdef Views views = Views()
        cdef size_t size
        while self.streams:
            memory = self.streams.pop()
            if memory.rows == rows:
                return memory
        memory = StepMemory.__new__(StepMemory)
        check(fc_stream_size(&self.stack.stack, rows, &size))
        memory.rows = rows
        memory.bytes = aligned_empty(size)
        memory.state = views.get(memory.bytes, 1, 1).buf
        return memory


cdef class StepMemory:
    """Memory of a stream for one step at a time."""

    cdef Py_ssize_t rows
    cdef object bytes
    cdef void *state


cdef inline void strides_of(
    const fc_batch *batch, Py_ssize_t width, bint batch_first, Py_ssize_t *step,
    Py_ssize_t *row
) noexcept:
    """Set the strides of a contiguous (T, B, width), or (B, T, width)."""
    step[0] = width if batch_first else batch.rows * width
    row[0] = batch.steps * width if batch_first else width


cdef class QuickCall:
    """One of `QuickCalls`: forward, and backward once."""

    cdef QuickCalls calls
    cdef readonly object h0, c0  # tensors, or None; None after forward
    cdef public object saved  # used up by backward
    cdef fc_batch batch
    cdef bint batch_first, step, two
    cdef double flop
    cdef int axes  # of the states
    cdef int64_t state_shape[3]

    @property
    def steps(self):
        return self.batch.steps

    @property
    def rows(self):
        return self.batch.rows

    @property
    def is_step(self):
        return self.step

    @property
    def is_used_up(self):
        return self.saved is None

    cdef void *state(self, QuickCalls calls, tensor, Py_ssize_t width) except? NULL:
        self.state_shape[self.axes - 1] = width
        return calls.exchange.numbers(
            tensor, 8 * calls.stack.itemsize, self.axes, self.state_shape
        )

    cdef object new_state(self, Py_ssize_t width, void **data):
        self.state_shape[self.axes - 1] = width
        return self.calls.exchange.new(
            8 * self.calls.stack.itemsize, self.axes, self.state_shape, data
        )

    cdef object new_rows(self, Py_ssize_t width, void **data):
        """Return a new tensor with the axes of x and `width` features."""
        cdef int64_t shape[3]
        if self.step:
            return self.new_state(width, data)
        shape[0] = self.batch.rows if self.batch_first else self.batch.steps
        shape[1] = self.batch.steps if self.batch_first else self.batch.rows
        shape[2] = width
        return self.calls.exchange.new(8 * self.calls.stack.itemsize, 3, shape, data)

    def forward(self, spare):
        """Return y, h and c, without those that the module lacks.

        spare: source of the memory for backward, or None for inference.
        """
        cdef QuickCalls calls = self.calls
        cdef Stack stack = calls.stack
        cdef fc_output output
        cdef size_t size
        cdef void *kept = NULL
        cdef Py_ssize_t width = stack.stack.directions * stack.out()
        cdef Views views
        memset(&output, 0, sizeof(output))
        strides_of(
            &self.batch, width, self.batch_first, &output.y_step, &output.y_row
        )
        h = self.new_state(stack.out(), &output.y if self.step else &output.h)
        if self.two:
            c = self.new_state(stack.stack.hidden_size, &output.c)
        if not self.step:
            y = self.new_rows(width, &output.y)
        if spare is not None:
            views = Views()
            check(fc_saved_size(&stack.stack, &self.batch, &size))
            self.saved = spare.take(size)
            kept = views.get(self.saved, 1, 1).buf
            stack.call(calls.packed, &self.batch, &output, kept)
        elif self.batch.steps == 1 and stack.stack.directions == 1:
            self.one_step(&output)
        else:
            stack.call(calls.packed, &self.batch, &output, NULL)
        self.h0 = self.c0 = None  # autograd keeps them if it needs them
        if self.step:
            return (h, c) if self.two else (h,)
        return (y, h, c) if self.two else (y, h)

    cdef int one_step(self, fc_output *output) except -1:
        """Run one step as a stream's, with the same bits, in a third of the time."""
        cdef StepMemory memory = self.calls.step_memory(self.batch.rows)
        if self.flop > GIL_FLOP:
            heed_signals()
            with nogil:
                self.advance(memory.state, output)
        else:
            self.advance(memory.state, output)
        self.calls.streams.append(memory)
        return 0

    cdef int advance(self, void *state, fc_output *output) except -1 nogil:
        cdef const fc_stack *stack = &self.calls.stack.stack
        cdef Py_ssize_t rows = self.batch.rows
        check(fc_stream_set(stack, rows, state, self.batch.h0, self.batch.c0))
        cdef fc_selection all_rows
        all_rows.which = NULL
        all_rows.count = rows
        check(
            fc_stream_step_some(
                stack, self.calls.weights, rows, &all_rows, self.batch.x, output.y,
                state, self.batch.threads,
            )
        )
        return check(fc_stream_get(stack, rows, state, output.h, output.c))

    def backward(self, packed, x, tuple dout, tuple needed, spare):
        """Return the needed gradients of x, h0, c0 and the weights.

        dout: gradients of forward's results, contiguous tensors of their dtype, or None.
        spare: receives the memory of `saved`, or None.
        """
        cdef Stack stack = self.calls.stack
        cdef fc_backward_io io
        cdef Exchange exchange = self.calls.exchange
        cdef int bits = 8 * stack.itemsize
        cdef Py_ssize_t width = stack.stack.directions * stack.out()
        cdef Py_ssize_t pairs = self.batch.steps * self.batch.rows
        cdef Py_ssize_t states = self.batch.rows
        cdef list tensors = [None] * len(needed)
        cdef list weights = []
        cdef Py_ssize_t i
        cdef bytearray table
        if not self.step:
            states *= stack.stack.layers * stack.stack.directions
        memset(&io, 0, sizeof(io))
        self.batch.x = exchange.contiguous(x, bits, pairs * stack.stack.input_size)
        if self.step:  # the y of a single step is its h
            dy, dh, dc = dout[0], None, dout[1] if self.two else None
        else:
            dy, dh, dc = dout[0], dout[1], dout[2] if self.two else None
        io.dy = exchange.contiguous(dy, bits, pairs * width)
        io.dh = exchange.contiguous(dh, bits, states * stack.out())
        io.dc = exchange.contiguous(dc, bits, states * stack.stack.hidden_size)
        strides_of(&self.batch, width, self.batch_first, &io.dy_step, &io.dy_row)
        if needed[0]:
            width = stack.stack.input_size
            tensors[0] = self.new_rows(width, &io.dx)
            strides_of(&self.batch, width, self.batch_first, &io.dx_step, &io.dx_row)
        if needed[1]:
            tensors[1] = self.new_state(stack.out(), &io.dh0)
        if needed[2]:
            tensors[2] = self.new_state(stack.stack.hidden_size, &io.dc0)
        if any(needed[3:]):
            table = self.new_gradients(weights, needed[3:])
            io.weights = <fc_gradients *> <char *> table
        saved, self.saved = self.saved, None
        stack.use_up(packed, &self.batch, &io, saved)
        if spare is not None:
            spare.give(saved)
        for i in range(3, len(needed)):
            if needed[i]:
                tensors[i] = weights[i - 3]
        return tensors

    cdef bytearray new_gradients(self, list tensors, tuple needed):
        """Append zeros for each weight that needs them; return the core's table of them."""
        cdef Stack stack = self.calls.stack
        cdef int passes = stack.stack.layers * stack.stack.directions, i
        cdef Py_ssize_t each = len(self.calls.names) // passes, at = 0
        cdef fc_cell_parameter *parameter
        cdef bint biased = each == stack.cell.parameters, wanted
        cdef int k
        cdef bytearray table = bytearray(passes * sizeof(fc_gradients))
        cdef char *entry = <char *> table
        for i in range(passes):
            first = at
            for k in range(stack.cell.parameters):
                parameter = &stack.cell.parameter[k]
                if parameter.bias_of >= 0 and not biased:
                    continue
                wanted = needed[at]
                if biased and not wanted:
                    # The core only computes the gradient of a bias with that of its matrix.
                    wanted = self.needs_bias_of(k, needed[first : first + each])
                self.new_zeros(
                    tensors, wanted, stack.length(parameter, parameter.rows, i),
                    0 if parameter.columns == FC_AXIS_NONE
                    else stack.length(parameter, parameter.columns, i),
                    <void **> (entry + parameter.member),
                )
                at += 1
            entry += sizeof(fc_gradients)
        return table

    cdef bint needs_bias_of(self, int matrix, tuple needed):
        """Is the gradient of a bias needed that is added to this one's product?"""
        cdef Stack stack = self.calls.stack
        cdef int k
        for k in range(stack.cell.parameters):
            if stack.cell.parameter[k].bias_of == matrix and needed[k]:
                return True
        return False

    cdef int new_zeros(
        self, list tensors, bint wanted, Py_ssize_t rows, Py_ssize_t columns, void **data
    ) except -1:
        """Append zeros (rows, columns), or (rows,) if columns is 0, or None."""
        cdef Py_ssize_t itemsize = self.calls.stack.itemsize
        cdef int64_t shape[2]
        if not wanted:
            tensors.append(None)
            return 0
        shape[0], shape[1] = rows, columns
        tensors.append(
            self.calls.exchange.new(8 * itemsize, 2 if columns else 1, shape, data)
        )
        memset(data[0], 0, rows * max(columns, 1) * itemsize)
        return 0
