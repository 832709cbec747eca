# Tensors of another framework: access to their memory by its DLPack exchange table,
# without NumPy arrays; and detection of changes of weights.

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

from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF


cdef void set_error(void *context, const char *kind, const char *message) noexcept:
    (<list> context).append(message.decode(errors="replace"))


cdef class Exchange:
    """Access to the memory of a framework's tensors, and construction of new ones.

    capsule: ``__dlpack_c_exchange_api__`` of the class of tensors; tensor, parameter:
    the classes of plain tensors; watchers: functions that return True, or a number
    above 0, while the framework records operations on its tensors.
    """

    cdef fc_dl_exchange *api
    cdef object tensor, parameter
    cdef tuple watchers

    def __init__(self, capsule, tensor, parameter, tuple watchers):
        self.watchers = watchers
        self.api = <fc_dl_exchange *> PyCapsule_GetPointer(
            capsule, "dlpack_exchange_api"
        )
        if self.api.major != FC_DL_MAJOR or self.api.look == NULL:
            raise ValueError(f"DLPack 1 expected; got {self.api.major}")
        self.tensor, self.parameter = tensor, parameter

    cdef bint is_watched(self) except -1:
        """Return whether a watcher returns a true value."""
        for watcher in self.watchers:
            if watcher():
                return True
        return False

    cdef bint look(self, object tensor, fc_dl_tensor *out) noexcept:
        """Return whether it is a plain tensor on the CPU; if so, fill `out`."""
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
        """Return the memory of a contiguous tensor of this shape and dtype, else NULL."""
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
        """Return the memory of a contiguous tensor of `n` elements; NULL for None."""
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
        """Return a new tensor, and set `data` to its memory."""
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
        Py_DECREF(tensor)  # the reference returned by to_object
        return tensor


cdef bint are_contiguous(const fc_dl_tensor *tensor, int bits) noexcept:
    """Return whether it is a contiguous tensor of floats of `bits` bits."""
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
    WHOLE = 4096  # bytes: tensors up to this size are compared whole, in 0.2 us
    LOOKED_AT = 8  # sampled elements of each larger one


cdef struct tensor_mark:
    uintptr_t address
    Py_ssize_t items
    int64_t version
    uint64_t bits


cdef class TensorMarks:
    """Address, size, version and a sample of tensors at the last update.

    The version counts the writes that the framework knows of.  The sample shows others,
    as through ``tensor.data`` or by another process: it is all of a small tensor, eight
    evenly spread elements of a large one.
    """

    cdef tensor_mark *marks
    cdef Py_ssize_t count
    cdef Exchange exchange  # or None
    cdef long long changes
    cdef bint ask_first  # whether a tensor without a version has occurred: test for it

    def __init__(self, Exchange exchange):
        self.exchange = exchange

    def __dealloc__(self):
        PyMem_Free(self.marks)

    def update(self, list tensors):
        """Return whether any tensor has changed since the last update."""
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

    cdef int64_t version_of(self, tensor) except? -2:
        """Return the version; -1 for a tensor of inference mode, which has none."""
        if self.ask_first and tensor.is_inference():
            return -1
        try:
            return tensor._version
        except RuntimeError:
            self.ask_first = True
            return -1

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
        mark.version = self.version_of(tensor)
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
    """Return a hash of `n` bytes, computed in four lanes."""
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
