# Optimizers and clipping: all parameters of a model in one call.

cdef enum:
    MOST_KEPT = 3


cdef class ParameterList:
    """C-contiguous arrays of one dtype, and the optimizer's state of each.

    The list holds the arrays of clipping for its lifetime. It takes those of an
    optimizer for each step, with their gradients, and releases them, because
    `fastcell.parameters` counts references to parameters. It always holds the state.
    """

    cdef fc_dtype dtype
    cdef Py_ssize_t count
    cdef Py_ssize_t taken  # number of held views, two for each parameter
    cdef fc_parameter *parameters
    cdef Py_buffer *views
    cdef tuple names, shapes
    cdef list held

    def __cinit__(self, arrays, *args):
        cdef Py_ssize_t count = len(arrays)
        self.taken = 0
        self.parameters = <fc_parameter *> PyMem_Calloc(count, sizeof(fc_parameter))
        self.views = <Py_buffer *> PyMem_Calloc(2 * count, sizeof(Py_buffer))
        if self.parameters == NULL or self.views == NULL:
            raise MemoryError

    def __init__(self, dict arrays, tuple kept, bint writable):
        """Hold `arrays`, by name; with `kept`, only record their shapes.

        kept: for each slot of the optimizer's state, a dict of arrays by name, or None
        if the rule does not use the slot; empty for clipping.
        """
        cdef Py_ssize_t i
        cdef Views views
        self.count = len(arrays)
        self.names = tuple(arrays)
        self.held = []
        for i, (name, array) in enumerate(arrays.items()):
            if not self.take_one(array, writable):
                raise ValueError(f"{name} must be a C-contiguous array of reals")
            if i and self.views[i].itemsize != self.views[0].itemsize:
                raise ValueError("arrays must be of one dtype")
            self.parameters[i].n = self.views[i].len // self.views[i].itemsize
            self.parameters[i].p = self.views[i].buf
        if self.count:
            self.dtype = FC_F64 if self.views[0].itemsize == 8 else FC_F32
        if not kept:
            return
        self.shapes = tuple([array.shape for array in arrays.values()])
        self.release()
        for i, name in enumerate(self.names):
            views = Views()
            self.held.append(views)
            for place, arrays_of_place in enumerate(kept):
                if arrays_of_place is not None:
                    self.parameters[i].kept[place] = views.contiguous(
                        arrays_of_place[name], 1, 8 if self.dtype == FC_F64 else 4,
                        self.parameters[i].n,
                    )

    def __dealloc__(self):
        self.release()
        PyMem_Free(self.views)
        PyMem_Free(self.parameters)

    cdef bint take_one(self, object array, bint writable) except -1:
        """Hold one more array, if the core can use it."""
        cdef Py_buffer *view = &self.views[self.taken]
        cdef int flags = PyBUF_STRIDES | PyBUF_FORMAT
        if type(array) is not ndarray:
            return False
        try:
            PyObject_GetBuffer(array, view, flags | (PyBUF_WRITABLE if writable else 0))
        except (BufferError, ValueError):
            return False
        self.taken += 1
        return (
            (view.format[0] == b"f" or view.format[0] == b"d")
            and view.format[1] == 0
            and PyBuffer_IsContiguous(view, b"C")
        )

    cdef bint fits(self, Py_ssize_t i, tuple shape):
        """Return whether the last array has the shape and dtype of parameter i."""
        cdef Py_buffer *view = &self.views[self.taken - 1]
        cdef Py_ssize_t axis
        if view.ndim != len(shape) or view.itemsize != (8 if self.dtype == FC_F64 else 4):
            return False
        for axis in range(view.ndim):
            if view.shape[axis] != <Py_ssize_t> shape[axis]:
                return False
        return True

    def take(self, dict arrays, dict grads):
        """Take the parameters and their gradients, until `release`.

        Returns False, and takes none, if an array is missing or not usable.
        """
        cdef Py_ssize_t i
        cdef tuple shape
        self.release()
        for i in range(self.count):
            shape = self.shapes[i]
            name = self.names[i]
            if (
                not self.take_one(arrays.get(name), True)
                or not self.fits(i, shape)
                or not self.take_one(grads.get(name), False)
                or not self.fits(i, shape)
            ):
                self.release()
                return False
            self.parameters[i].p = self.views[self.taken - 2].buf
            self.parameters[i].g = self.views[self.taken - 1].buf
        return True

    def release(self):
        """Release the arrays of `take`."""
        cdef Py_ssize_t i
        for i in range(self.taken):
            PyBuffer_Release(&self.views[i])
        self.taken = 0

    cdef int check_taken(self, Py_ssize_t each) except -1:
        if self.taken != each * self.count:
            raise ValueError("arrays must be taken first")
        return 0

    def sgd(
        self, double rate, double decay, double momentum, double share, bint nesterov,
        int threads,
    ):
        """A step of gradient descent; kept: the momentum, or None."""
        cdef fc_sgd_rule rule
        self.check_taken(2)
        rule.rate = rate
        rule.decay = decay
        rule.momentum = momentum
        rule.share = share
        rule.nesterov = nesterov
        with nogil:
            check(fc_sgd(self.dtype, &rule, self.count, self.parameters, threads))

    def rmsprop(
        self, double rate, double decay, double alpha, double eps, double momentum,
        int threads,
    ):
        """A step of RMSprop; kept: mean of squares, mean, momentum, the last two or None."""
        cdef fc_rmsprop_rule rule
        self.check_taken(2)
        rule.rate = rate
        rule.decay = decay
        rule.alpha = alpha
        rule.eps = eps
        rule.momentum = momentum
        with nogil:
            check(fc_rmsprop(self.dtype, &rule, self.count, self.parameters, threads))

    def adagrad(self, double rate, double decay, double eps, int threads):
        """A step of Adagrad; kept: the sum of squares."""
        cdef fc_adagrad_rule rule
        self.check_taken(2)
        rule.rate = rate
        rule.decay = decay
        rule.eps = eps
        with nogil:
            check(fc_adagrad(self.dtype, &rule, self.count, self.parameters, threads))

    def adam(
        self, double beta1, double beta2, double eps, double rate,
        double root_correction, double decay, double shrink, int threads,
    ):
        """A step of Adam; kept: mean, mean of squares, largest of these or None."""
        cdef fc_adam_rule rule
        self.check_taken(2)
        rule.beta1 = beta1
        rule.beta2 = beta2
        rule.eps = eps
        rule.rate = rate
        rule.root_correction = root_correction
        rule.decay = decay
        rule.shrink = shrink
        with nogil:
            check(fc_adam(self.dtype, &rule, self.count, self.parameters, threads))

    def sum_of_squares(self, int threads):
        """Return the sum of the squares of all elements, computed in double."""
        cdef double total = 0
        self.check_taken(1)
        with nogil:
            check(
                fc_sum_of_squares(
                    self.dtype, self.count, self.parameters, &total, threads
                )
            )
        return total

    def scale(self, double factor, int threads):
        """Multiply all elements by a factor."""
        self.check_taken(1)
        with nogil:
            check(fc_scale(self.dtype, factor, self.count, self.parameters, threads))

    def clip(self, double limit, int threads):
        """Clip all elements to [-limit, limit]."""
        self.check_taken(1)
        with nogil:
            check(fc_clip(self.dtype, limit, self.count, self.parameters, threads))
