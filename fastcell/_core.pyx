# cython: language_level=3, boundscheck=False, wraparound=False
"""The bindings of the C core: checks, pointers, calls without the GIL, exceptions.

No other module calls the core.  Callers (fastcell.layers) pass contiguous arrays of the
right dtype and shape; this module only checks again what memory safety needs, item
sizes and byte counts.  It has no algorithms.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_IsContiguous,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.dict cimport PyDict_Size
from cpython.exc cimport PyErr_Clear, PyErr_Occurred
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.string cimport memcmp, memcpy, memset

import os
import threading

import numpy as np

cdef object ndarray = np.ndarray
cdef object int64 = np.dtype(np.int64)


class UsedUpError(ValueError):
    """`saved` was used up by an earlier backward."""


# The functions of the core as a table, for other extension modules: see
# fastcell_python.h.
_C_API = PyCapsule_New(<void *>fc_get_api(), "fastcell._core._C_API", NULL)


cdef int raise_status(fc_status status) except -1 with gil:
    if status == FC_BAD_LENGTH:
        raise ValueError("lengths must be from 0 to the number of steps")
    if status == FC_BAD_INDEX:
        raise ValueError("ids must be in range; got one that is not")
    if status == FC_TOO_LARGE:
        raise MemoryError("the sizes do not fit the address space")
    if status == FC_NO_ISA:
        raise ValueError("instruction set: unknown, or not available on this CPU")
    if status == FC_BAD_ALIGNMENT:
        raise ValueError(
            "packed weights, saved, state or scratch: expected memory that begins at a "
            "multiple of 64 bytes, as _core.aligned_empty returns it"
        )
    if status == FC_BAD_MEMORY:
        raise ValueError(
            "packed weights, saved or state: expected what this layer made for such a "
            "call under the instruction set in use, got other memory"
        )
    if status == FC_USED_UP:
        raise UsedUpError(
            "saved was used up by an earlier backward; run forward again"
        )
    if status == FC_INTERRUPTED:
        if not PyErr_Occurred():  # the child of a fork, see fc_set_stop
            raise RuntimeError("a signal's handler forked in the middle of this call")
        return -1  # with the handler's exception
    raise ValueError("the C core rejected its arguments")


cdef inline int check(fc_status status) except -1 nogil:
    if status != FC_OK:
        raise_status(status)
    return 0


cdef extern from "Python.h":
    int PyErr_CheckSignals()  # its exception stays set for raise_status


cdef unsigned long main_thread


def follow_main_thread():
    """Record which thread runs signal handlers: at import, and after a fork."""
    global main_thread
    main_thread = threading.main_thread().ident


follow_main_thread()
os.register_at_fork(after_in_child=follow_main_thread)


cdef int run_handlers(void *unused) noexcept nogil:
    with gil:
        return PyErr_CheckSignals()


cdef inline void heed_signals() noexcept:
    """Let the next long call of this thread run signal handlers while it computes.

    If a handler raises, as that of Ctrl-C does, the call ends and `check` raises the
    same.  Handlers run in the main thread only; other threads need not take the GIL.
    """
    if PyThread_get_thread_ident() == main_thread:
        fc_set_stop(run_handlers, NULL)
    else:
        fc_set_stop(NULL, NULL)


cdef fc_openmp openmp


def use_openmp(
    uintptr_t parallel, uintptr_t max_threads, uintptr_t num_threads, uintptr_t thread_num
):
    """Use the threads of an OpenMP runtime, given the addresses of its functions.

    With 0 for `parallel`, fastcell uses its own threads again.
    """
    with nogil:  # the caller that holds the threads may wait for the GIL
        fc_use_openmp(NULL)
        (<void **> &openmp.parallel)[0] = <void *> parallel
        (<void **> &openmp.max_threads)[0] = <void *> max_threads
        (<void **> &openmp.num_threads)[0] = <void *> num_threads
        (<void **> &openmp.thread_num)[0] = <void *> thread_num
        if parallel:
            fc_use_openmp(&openmp)


# Texts of why there is a team or not, by FC_SHARED_...
cdef dict SHARING = {
    FC_SHARED_ONE_THREAD: "one thread",
    FC_SHARED_LITTLE: "little",
    FC_SHARED_DIRECTIONS: "directions",
    FC_SHARED_ROWS: "rows",
    FC_SHARED_UNITS: "units",
    FC_SHARED_NARROW: "narrow",
    FC_SHARED_SHORT: "short",
}


def set_thread_costs(costs):
    """Set the costs of sharing work, in place of measured ones.

    costs: (ns of a barrier, ns of a job for awake threads, ns of a job with threads to
    wake, FLOP of a thread per ns), or None, to measure them at the next need.
    """
    cdef fc_thread_costs wanted
    if costs is None:
        check(fc_set_thread_costs(NULL))
        return
    wanted.turn_ns, wanted.hand_over_ns, wanted.wake_ns, wanted.flop_per_ns = costs
    if fc_set_thread_costs(&wanted) != FC_OK:
        raise ValueError(f"costs must be four finite numbers >= 0; got {costs!r}")


def thread_costs():
    """Return the four costs in use, and whether all are measured or set.

    Unknown costs are measured now, unless the cores have other work.
    """
    cdef fc_thread_costs costs
    cdef int known
    with nogil:
        known = fc_get_thread_costs(&costs)
    return (
        (costs.turn_ns, costs.hand_over_ns, costs.wake_ns, costs.flop_per_ns),
        bool(known),
    )


# The BLAS of fastcell._blas, which imports SciPy (0.3 s): loaded at the first use.  Where
# SciPy is not installed its members stay NULL, and the core computes these products.
cdef fc_blas blas_functions
cdef bint blas_ready = False


cdef const fc_blas *blas() except? NULL:
    global blas_ready
    if not fc_wants_blas():
        return NULL
    if not blas_ready:
        try:
            from fastcell import _blas
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("scipy"):
                raise
        else:
            sgemm, dgemm = _blas.addresses()
            blas_functions.sgemm = <void *> <uintptr_t> sgemm
            blas_functions.dgemm = <void *> <uintptr_t> dgemm
        blas_ready = True
    return &blas_functions


# The name of the set in use, one address for each set: a step compares pointers.
cdef const char *isa_now = fc_isa()


def isa():
    """Return the name of the instruction set in use."""
    return fc_isa().decode()


def isas():
    """Return the names of the instruction sets of this CPU and build, best last."""
    names = []
    cdef const char *name = fc_isa_name(0)
    while name is not NULL:
        names.append(name.decode())
        name = fc_isa_name(<int> len(names))
    return names


def select_isa(str name):
    """Use another instruction set, for tests.

    `saved` and sessions only work with the set they were made under, and raise
    RuntimeError with another.  Layers pack their weights again.
    """
    global isa_now
    if fc_isa_select(name.encode()) != FC_OK:
        raise ValueError(
            f"instruction set must be one of {', '.join(isas())}; got {name!r}"
        )
    isa_now = fc_isa()


def cpu_info():
    """Return the CPU's name, the instruction sets, the one in use, and the compiler."""
    return {
        "cpu": cpu_name(),
        "isas": isas(),
        "isa": isa(),
        "compiler": COMPILER.decode(),
    }


cdef extern from *:
    """
    #if defined(__clang__)
    #define FASTCELL_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FASTCELL_COMPILER "gcc " __VERSION__
    #else
    #define FASTCELL_COMPILER "unknown"
    #endif
    """
    const char *COMPILER "FASTCELL_COMPILER"


def cpu_name():
    """Return the model name that the operating system reports."""
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(("model name", "Model")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


# All bindings are one extension, with one dispatch table and one thread pool.
include "_bindings/memory.pxi"
include "_bindings/cells.pxi"
include "_bindings/batch.pxi"
include "_bindings/recurrent.pxi"
include "_bindings/trace.pxi"
include "_bindings/stream.pxi"
include "_bindings/dense.pxi"
include "_bindings/arrays.pxi"
include "_bindings/optimizer.pxi"
include "_bindings/ctc.pxi"
include "_bindings/attention.pxi"
include "_bindings/mlstm.pxi"
include "_bindings/tensors.pxi"
include "_bindings/quick.pxi"
