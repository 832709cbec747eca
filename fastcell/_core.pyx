# cython: language_level=3, boundscheck=False, wraparound=False
"""The only place that touches the C core: check -> pointers -> nogil -> exception.

Callers (fastcell.layers) have made every array contiguous and of the right dtype and
shape; what is checked here again is what memory safety needs: item sizes and byte
counts.  No algorithm lives here.
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
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.string cimport memcmp, memcpy, memset

import os
import threading

import numpy as np

cdef object ndarray = np.ndarray
cdef object int64 = np.dtype(np.int64)


class UsedUpError(ValueError):
    """What forward kept was used up by an earlier backward."""


cdef int raise_status(fc_status status) except -1 with gil:
    if status == FC_BAD_LENGTH:
        raise ValueError("lengths must be from 0 to the number of steps")
    if status == FC_BAD_INDEX:
        raise ValueError("ids must be in range; got one that is not")
    if status == FC_TOO_LARGE:
        raise MemoryError("the sizes asked for do not fit the address space")
    if status == FC_NO_ISA:
        raise ValueError("instruction set: unknown, or not available on this CPU")
    if status == FC_BAD_ALIGNMENT:
        raise ValueError(
            "packed weights, saved, state or scratch: expected memory that begins at a "
            "multiple of 64 bytes, as _core.aligned_empty gives it"
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
        return -1  # with what the handler has raised
    raise ValueError("the C core rejected its arguments")


cdef inline int check(fc_status status) except -1 nogil:
    if status != FC_OK:
        raise_status(status)
    return 0


cdef extern from "Python.h":
    int PyErr_CheckSignals()  # leaves its exception for raise_status


cdef unsigned long main_thread


def follow_main_thread():
    """Learn which thread runs the handlers of signals: at import, and after a fork."""
    global main_thread
    main_thread = threading.main_thread().ident


follow_main_thread()
os.register_at_fork(after_in_child=follow_main_thread)


cdef int run_handlers(void *unused) noexcept nogil:
    with gil:
        return PyErr_CheckSignals()


cdef inline void heed_signals() noexcept:
    """Let the next long call of this thread run the handlers of signals meanwhile.

    Where one raises, as that of Ctrl-C does, the call ends and `check` raises the same.
    Handlers run in the main thread; another would wait for the GIL in vain.
    """
    if PyThread_get_thread_ident() == main_thread:
        fc_set_stop(run_handlers, NULL)
    else:
        fc_set_stop(NULL, NULL)


cdef fc_openmp openmp


def use_openmp(
    uintptr_t parallel, uintptr_t max_threads, uintptr_t num_threads, uintptr_t thread_num
):
    """Share work among the threads of an OpenMP runtime: addresses of its functions.

    With 0 for `parallel`, among threads of fastcell's own again.
    """
    with nogil:  # who has the threads may want the GIL
        fc_use_openmp(NULL)
        (<void **> &openmp.parallel)[0] = <void *> parallel
        (<void **> &openmp.max_threads)[0] = <void *> max_threads
        (<void **> &openmp.num_threads)[0] = <void *> num_threads
        (<void **> &openmp.thread_num)[0] = <void *> thread_num
        if parallel:
            fc_use_openmp(&openmp)


# Why there is a team or none, by FC_SHARED_...
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
    """Decide by these costs of sharing work, and not by what this machine's are.

    costs: (ns of a barrier, of a job handed over, and of one with threads to wake, FLOP
    a thread does in a ns), or None, to measure them when they are needed next.
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

    What is not known yet is measured, unless the cores have other work.
    """
    cdef fc_thread_costs costs
    cdef int known
    with nogil:
        known = fc_get_thread_costs(&costs)
    return (
        (costs.turn_ns, costs.hand_over_ns, costs.wake_ns, costs.flop_per_ns),
        bool(known),
    )


# The BLAS of fastcell._blas, which imports scipy (0.3 s) and so waits until it is wanted.
cdef fc_blas blas_functions
cdef bint blas_ready = False


cdef const fc_blas *blas() except? NULL:
    global blas_ready
    if not fc_wants_blas():
        return NULL
    if not blas_ready:
        from fastcell import _blas

        sgemm, dgemm = _blas.addresses()
        blas_functions.sgemm = <void *> <uintptr_t> sgemm
        blas_functions.dgemm = <void *> <uintptr_t> dgemm
        blas_ready = True
    return &blas_functions


# The set in use: one address for each.  Kept here, where a step compares it for nothing.
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

    What forward saved and sessions serve only the set that they were made under: their
    methods raise RuntimeError.  Layers pack their weights again.
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


# One extension, so that there is one dispatch table and one thread pool.
include "_bindings/memory.pxi"
include "_bindings/cells.pxi"
include "_bindings/recurrent.pxi"
include "_bindings/stream.pxi"
include "_bindings/dense.pxi"
include "_bindings/arrays.pxi"
include "_bindings/optimizer.pxi"
include "_bindings/ctc.pxi"
include "_bindings/attention.pxi"
include "_bindings/tensors.pxi"
include "_bindings/quick.pxi"
