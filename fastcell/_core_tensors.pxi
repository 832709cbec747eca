# Tensors of another framework: by its DLPack exchange table, where it has one, without
# an array of NumPy's between; and whether tensors that serve as weights have changed.

cdef extern from *:
    """
    /* The part of DLPack 1.3 that is used: dmlc.github.io/dlpack. */
    typedef struct { int32_t device_type, device_id; } fc_dl_device;
    typedef struct { uint8_t code, bits; uint16_t lanes; } fc_dl_dtype;
    typedef struct {
        void *data;
        fc_dl_device device;
        int32_t ndim;
        fc_dl_dtype dtype;
        int64_t *shape, *strides;
        uint64_t byte_offset;
    } fc_dl_tensor;
    typedef struct fc_dl_managed {
        uint32_t major, minor;
        void *manager_ctx;
        void (*deleter)(struct fc_dl_managed *self);
        uint64_t flags;
        fc_dl_tensor tensor;
    } fc_dl_managed;
    typedef struct {
        uint32_t major, minor;
        void *before;
        int (*allocate)(fc_dl_tensor *prototype, fc_dl_managed **out, void *context,
                        void (*set_error)(void *context, const char *kind,
                                          const char *message));
        int (*from_object)(void *object, fc_dl_managed **out);
        int (*to_object)(fc_dl_managed *tensor, void **object);
        int (*look)(void *object, fc_dl_tensor *out); /* owns nothing */
        int (*stream)(int32_t device_type, int32_t device_id, void **out);
    } fc_dl_exchange;
    enum { FC_DL_CPU = 1, FC_DL_FLOAT = 2, FC_DL_MAJOR = 1 };
    """
    ctypedef struct fc_dl_device:
        int32_t device_type
        int32_t device_id
    ctypedef struct fc_dl_dtype:
        uint8_t code
        uint8_t bits
        unsigned short lanes
    ctypedef struct fc_dl_tensor:
        void *data
        fc_dl_device device
        int32_t ndim
        fc_dl_dtype dtype
        int64_t *shape
        int64_t *strides
        uint64_t byte_offset
    ctypedef struct fc_dl_managed:
        fc_dl_tensor tensor
    ctypedef struct fc_dl_exchange:
        unsigned int major
        int (*allocate)(
            fc_dl_tensor *, fc_dl_managed **, void *,
            void (*)(void *, const char *, const char *) noexcept
        ) noexcept
        int (*to_object)(fc_dl_managed *, void **) noexcept
        int (*look)(void *, fc_dl_tensor *) noexcept
    enum:
        FC_DL_CPU
        FC_DL_FLOAT
        FC_DL_MAJOR

from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF


cdef void set_error(void *context, const char *kind, const char *message) noexcept:
    (<list> context).append(message.decode(errors="replace"))


cdef class Exchange:
    """A framework's tensors: their memory, and new ones.

    capsule: ``__dlpack_c_exchange_api__`` of the class of tensors; classes: those whose
    instances are plain tensors.
    """

    cdef fc_dl_exchange *api
    cdef object tensor, parameter

    def __init__(self, capsule, tensor, parameter):
        self.api = <fc_dl_exchange *> PyCapsule_GetPointer(
            capsule, "dlpack_exchange_api"
        )
        if self.api.major != FC_DL_MAJOR or self.api.look == NULL:
            raise ValueError(f"DLPack 1 expected; got {self.api.major}")
        self.tensor, self.parameter = tensor, parameter

    cdef bint look(self, object tensor, fc_dl_tensor *out) noexcept:
        """Whether it is a plain tensor on the CPU, and where."""
        if type(tensor) is not self.tensor and type(tensor) is not self.parameter:
            return 0
        if self.api.look(<void *> tensor, out) != 0:
            PyErr_Clear()  # it has no memory, or is on a device that DLPack lacks
            return 0
        out.data = <char *> out.data + out.byte_offset
        return out.device.device_type == FC_DL_CPU

    cdef void *numbers(
        self, object tensor, int bits, int ndim, const int64_t *shape
    ) except? NULL:
        """The memory of a contiguous tensor of this shape and dtype, else NULL."""
        cdef fc_dl_tensor found
        cdef int i
        if not self.look(tensor, &found) or not are_contiguous(&found, bits):
            return NULL
        if found.ndim != ndim:
            return NULL
        for i in range(ndim):
            if found.shape[i] != shape[i]:
                return NULL
        return found.data

    cdef void *contiguous(self, object tensor, int bits, Py_ssize_t n) except? NULL:
        """The memory of a contiguous tensor of so many numbers; NULL for None."""
        cdef fc_dl_tensor found
        cdef int i
        if tensor is None:
            return NULL
        if not self.look(tensor, &found) or not are_contiguous(&found, bits):
            raise ValueError("expected a contiguous tensor on the CPU")
        for i in range(found.ndim):
            n = n // found.shape[i] if found.shape[i] and n % found.shape[i] == 0 else -1
        if n != 1:
            raise ValueError("expected a tensor of another size")
        return found.data

    cdef object new(self, int bits, int ndim, int64_t *shape, void **data):
        """A tensor whose memory is at `data`."""
        cdef fc_dl_tensor prototype
        cdef fc_dl_managed *made = NULL
        cdef void *found = NULL
        errors = []
        memset(&prototype, 0, sizeof(prototype))
        prototype.device.device_type = FC_DL_CPU
        prototype.ndim = ndim
        prototype.dtype.code = FC_DL_FLOAT
        prototype.dtype.bits = bits
        prototype.dtype.lanes = 1
        prototype.shape = shape
        if self.api.allocate(&prototype, &made, <void *> errors, set_error) != 0:
            raise MemoryError(f"no memory for a tensor: {', '.join(errors)}")
        data[0] = made.tensor.data
        if self.api.to_object(made, &found) != 0:
            raise MemoryError("no memory for a tensor")
        tensor = <object> found
        Py_DECREF(tensor)  # the reference that came with it
        return tensor


cdef bint are_contiguous(const fc_dl_tensor *tensor, int bits) noexcept:
    """Are these numbers of floating point of so many bits, one behind the other?"""
    cdef int64_t expected = 1
    cdef int i
    if tensor.dtype.code != FC_DL_FLOAT or tensor.dtype.bits != bits:
        return False
    if tensor.strides == NULL:
        return True
    for i in range(tensor.ndim - 1, -1, -1):
        if tensor.shape[i] != 1 and tensor.strides[i] != expected:
            return False
        expected *= tensor.shape[i]
    return True


cdef enum:
    WHOLE = 4096  # bytes: such a tensor is looked at whole, in 0.2 us
    LOOKED_AT = 8  # numbers of each larger one


cdef struct tensor_mark:
    uintptr_t address
    Py_ssize_t items
    int64_t version
    uint64_t bits


cdef class TensorMarks:
    """What tensors were at the last look: where, how large, which version, some numbers.

    The version counts the writes that the framework knows of.  The numbers tell of
    others, as through ``tensor.data`` or by another process: all of a small tensor,
    eight of a large one, spread evenly.
    """

    cdef tensor_mark *marks
    cdef Py_ssize_t count
    cdef Exchange exchange  # or None
    cdef long long changes

    def __init__(self, Exchange exchange):
        self.exchange = exchange

    def __dealloc__(self):
        PyMem_Free(self.marks)

    def update(self, list tensors):
        """Return whether any differs from the last time."""
        cdef Py_ssize_t i, n = len(tensors)
        cdef tensor_mark now
        cdef bint changed = False
        if n != self.count:
            PyMem_Free(self.marks)
            self.count = 0
            self.marks = <tensor_mark *> PyMem_Calloc(n + 1, sizeof(tensor_mark))
            if self.marks == NULL:
                raise MemoryError("no memory for the marks of tensors")
            self.count = n
            changed = True
        for i in range(n):
            self.look(tensors[i], &now)
            if memcmp(&now, &self.marks[i], sizeof(now)) != 0:
                self.marks[i] = now
                changed = True
        self.changes += changed
        return changed

    def forget(self):
        """Make the next update find a change."""
        self.count = 0

    cdef int look(self, tensor, tensor_mark *mark) except -1:
        cdef fc_dl_tensor found
        cdef Py_ssize_t itemsize
        cdef bint contiguous
        cdef int i
        memset(mark, 0, sizeof(tensor_mark))
        if self.exchange is not None and self.exchange.look(tensor, &found):
            mark.address = <uintptr_t> found.data
            mark.items = 1
            for i in range(found.ndim):
                mark.items *= found.shape[i]
            itemsize = found.dtype.bits // 8
            contiguous = are_contiguous(&found, found.dtype.bits)
        else:
            mark.address = tensor.data_ptr()
            mark.items = tensor.numel()
            itemsize = tensor.element_size()
            contiguous = tensor.is_contiguous()
        # One that was made in inference mode has no version.
        mark.version = -1 if tensor.is_inference() else tensor._version
        if mark.address and contiguous:
            if mark.items * itemsize <= WHOLE:
                mark.bits = hash_of(<const char *> mark.address, mark.items * itemsize)
            else:
                mark.bits = sample_of(
                    <const char *> mark.address, mark.items, itemsize
                )
        return 0


cdef inline uint64_t mixed(uint64_t found, uint64_t bits) noexcept nogil:
    found = (found ^ bits) * <uint64_t> 0x9E3779B97F4A7C15
    return (found << 27) | (found >> 37)


cdef uint64_t hash_of(const char *at, size_t size) noexcept nogil:
    """A hash of so many bytes, in four lanes at once."""
    cdef uint64_t lane[4]
    cdef uint64_t bits[4]
    cdef size_t done = 0, k
    for k in range(4):
        lane[k] = k
    while done + 32 <= size:
        memcpy(bits, at + done, 32)
        for k in range(4):
            lane[k] = mixed(lane[k], bits[k])
        done += 32
    memset(bits, 0, 32)
    memcpy(bits, at + done, size - done)
    for k in range(4):
        lane[k] = mixed(lane[k], bits[k])
    for k in range(1, 4):
        lane[0] = mixed(lane[0], lane[k])
    return lane[0]


cdef uint64_t sample_of(
    const char *at, Py_ssize_t items, Py_ssize_t itemsize
) noexcept nogil:
    cdef Py_ssize_t k, count = min(items, <Py_ssize_t> LOOKED_AT)
    cdef uint64_t bits, found = 0
    for k in range(count):
        bits = 0
        memcpy(&bits, at + k * items // count * itemsize, min(itemsize, 8))
        found = mixed(found, bits)
    return found


cdef class QuickCalls:
    """Calls on plain tensors: without lengths and flags, contiguous, of the stack's dtype.

    They take a tenth of the time that the checks of all other calls do.  names: of the
    weights, in the order of the marks.
    """

    cdef Exchange exchange
    cdef Stack stack
    cdef TensorMarks marks
    cdef tuple names
    cdef object packed
    cdef long long changes  # of the marks, when it was packed
    cdef const char *isa
    cdef list streams  # (rows, memory) that are free

    def __init__(self, Exchange exchange, Stack stack, TensorMarks marks, tuple names):
        self.streams = []
        self.exchange = exchange
        self.stack = stack
        self.marks = marks
        self.names = names

    def keep(self, packed):
        """Use these packed weights, of the tensors that the marks saw last."""
        self.packed = packed
        self.changes = self.marks.changes
        if self.isa is not isa_now:  # which lays states out in its own way
            self.streams = []
        self.isa = isa_now

    def hold(self, dict held):
        """Are the weights by these names those that were packed?"""
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

    def begin(self, x, hx, bint batch_first, bint step, int threads):
        """Return a call with the weights that are held, or None if one is not plain.

        x (T, B, I), or (B, T, I) if batch_first, and hx of torch.nn's shapes, or None;
        with `step`, those of a single cell.
        """
        cdef QuickCall call = QuickCall.__new__(QuickCall)
        cdef fc_stack *stack = &self.stack.stack
        cdef fc_batch *batch = &call.batch
        cdef fc_dl_tensor found
        cdef int bits = 8 * self.stack.itemsize, axes = 0
        cdef Py_ssize_t passes = stack.layers * stack.directions
        call.two = fc_cell_states(stack.cell) > 1
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
        batch.threads = threads
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
        # The states: before their last axis, layers and rows, as far as there are any.
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
        call.calls, call.x = self, x
        call.batch_first, call.step = batch_first, step
        return call


cdef inline void strides_of(
    const fc_batch *batch, Py_ssize_t width, bint batch_first, Py_ssize_t *step,
    Py_ssize_t *row
) noexcept:
    """Those of contiguous numbers (T, B, width), or (B, T, width)."""
    step[0] = width if batch_first else batch.rows * width
    row[0] = batch.steps * width if batch_first else width


cdef class QuickCall:
    """One of `QuickCalls`: forward, and backward once."""

    cdef QuickCalls calls
    cdef readonly object x, h0, c0  # tensors, or None
    cdef object saved
    cdef fc_batch batch
    cdef bint batch_first, step, two
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
        """A tensor as x, with so many features."""
        cdef int64_t shape[3]
        if self.step:
            return self.new_state(width, data)
        shape[0] = self.batch.rows if self.batch_first else self.batch.steps
        shape[1] = self.batch.steps if self.batch_first else self.batch.rows
        shape[2] = width
        return self.calls.exchange.new(8 * self.calls.stack.itemsize, 3, shape, data)

    def forward(self, spare):
        """Return y, h and c, as far as the module has them.

        spare: where memory for backward comes from, or None for inference.
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
        if self.step:
            return (h, c) if self.two else (h,)
        return (y, h, c) if self.two else (y, h)

    cdef int one_step(self, fc_output *output) except -1:
        """One step as of a stream, which has the same bits and costs a third."""
        cdef QuickCalls calls = self.calls
        cdef fc_stack *stack = &calls.stack.stack
        cdef Py_ssize_t rows = self.batch.rows
        cdef Views views = Views()
        cdef const void *weights = views.get(calls.packed, 0, 1).buf
        cdef void *stream
        cdef size_t size
        memory = None
        while calls.streams and memory is None:  # by one thread only
            known, memory = calls.streams.pop()
            if known != rows:
                memory = None
        if memory is None:
            check(fc_stream_size(stack, rows, &size))
            memory = aligned_empty(size)
        stream = views.get(memory, 1, 1).buf
        heed_signals()
        with nogil:
            check(fc_stream_set(stack, rows, stream, self.batch.h0, self.batch.c0))
            check(
                fc_stream_step_some(
                    stack, weights, rows, NULL, rows, self.batch.x, output.y, stream,
                    self.batch.threads,
                )
            )
            check(fc_stream_get(stack, rows, stream, output.h, output.c))
        calls.streams.append((rows, memory))
        return 0

    def backward(self, packed, x, tuple dout, tuple needed, spare):
        """Return the gradients of x, h0, c0 and the weights, as far as they are needed.

        dout: of what forward returned, contiguous tensors of its dtype, or None.
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
            table = self.new_gradients(weights)
            io.weights = <fc_gradients *> <char *> table
        saved, self.saved = self.saved, None
        stack.use_up(packed, &self.batch, &io, saved)
        spare.give(saved)
        for i in range(3, len(needed)):
            if needed[i]:
                tensors[i] = weights[i - 3]
        return tensors

    cdef bytearray new_gradients(self, list tensors):
        """Append a tensor of zeros for each weight; return the core's table of them."""
        cdef Stack stack = self.calls.stack
        cdef int passes = stack.stack.layers * stack.stack.directions, i
        cdef Py_ssize_t each = len(self.calls.names) // passes
        cdef Py_ssize_t rows = fc_cell_gates(stack.stack.cell) * stack.stack.hidden_size
        cdef bytearray table = bytearray(passes * sizeof(fc_gradients))
        cdef fc_gradients *g = <fc_gradients *> <char *> table
        for i in range(passes):
            self.new_zeros(tensors, rows, stack.width(i), &g[i].w_ih)
            self.new_zeros(tensors, rows, stack.out(), &g[i].w_hh)
            if each >= 4:
                self.new_zeros(tensors, rows, 0, &g[i].b_ih)
                self.new_zeros(tensors, rows, 0, &g[i].b_hh)
            if each % 2:
                self.new_zeros(
                    tensors, stack.out(), stack.stack.hidden_size, &g[i].w_hr
                )
        return table

    cdef int new_zeros(
        self, list tensors, Py_ssize_t rows, Py_ssize_t columns, void **data
    ) except -1:
        """Append zeros (rows, columns), or (rows,) if columns is 0."""
        cdef Py_ssize_t itemsize = self.calls.stack.itemsize
        cdef int64_t shape[2]
        shape[0], shape[1] = rows, columns
        tensors.append(
            self.calls.exchange.new(8 * itemsize, 2 if columns else 1, shape, data)
        )
        memset(data[0], 0, rows * max(columns, 1) * itemsize)
        return 0
