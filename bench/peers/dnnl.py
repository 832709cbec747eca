"""Bindings by ctypes of the calls that oneDNN's recurrent primitives need.

Memory descriptors have strides, because the numbers of format tags differ between
versions; the other numbers are those of all versions 3 of oneDNN. The library must have
the OpenMP runtime: builds for SYCL accept neither plain memory nor a number of threads.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_uint, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

FORWARD_TRAINING, FORWARD_INFERENCE, BACKWARD = 64, 96, 128
LEFT_TO_RIGHT = 1
TANH = 0x21
OVERWRITE_DIFF_WEIGHTS = 1

#: Arguments of a recurrent primitive; a gradient has the number of its value plus 128.
SRC, SRC_H, SRC_C = 1, 2, 3
DST, DST_H, DST_C = 17, 18, 19
WEIGHTS, RECURRENT, BIAS, WORKSPACE = 33, 34, 41, 64
DIFF = 128

_CPU, _IN_ORDER, _F32, _ANY = 1, 1, 3, 1
_OPENMP = 2
_QUERY_ARGUMENT = 255


class Version(ctypes.Structure):
    """``dnnl_version_t``."""

    _fields_ = (
        ("major", c_int),
        ("minor", c_int),
        ("patch", c_int),
        ("hash", c_char_p),
        ("cpu_runtime", c_uint),
        ("gpu_runtime", c_uint),
    )


class _Argument(ctypes.Structure):
    _fields_ = (("number", c_int), ("memory", c_void_p))


class Library:
    """An engine and a stream of ``libdnnl`` in the environment of this Python.

    Raises
    ------
    OSError
        If there is none, or it is built for another runtime than OpenMP.
    """

    def __init__(self) -> None:
        path = Path(sys.prefix, "lib", "libdnnl.so.3")
        if not path.exists():
            raise OSError(f"there is no {path.name} (pip install onednn-cpu-gomp)")
        self._c = ctypes.CDLL(str(path))
        self._c.dnnl_version.restype = POINTER(Version)
        self.version = self._c.dnnl_version().contents
        if self.version.cpu_runtime != _OPENMP:
            raise OSError(f"{path.name} has no OpenMP runtime")
        self._openmp = ctypes.CDLL("libgomp.so.1")
        self._engine, self._stream = c_void_p(), c_void_p()
        self.call("engine_create", byref(self._engine), c_int(_CPU), c_int64(0))
        self.call("stream_create", byref(self._stream), self._engine, c_int(_IN_ORDER))

    def set_num_threads(self, n: int) -> None:
        self._openmp.omp_set_num_threads(c_int(n))

    def call(self, name: str, *arguments: Any) -> None:
        """Call ``dnnl_<name>``; a status that is not success raises RuntimeError."""
        status = getattr(self._c, f"dnnl_{name}")(*arguments)
        if status != 0:
            raise RuntimeError(f"oneDNN: {name} returned the status {status}")

    def described(
        self, shape: tuple[int, ...], strides: tuple[int, ...] | None = None
    ) -> c_void_p:
        """Descriptor of float32; `strides` in elements, None lets oneDNN choose."""
        descriptor = c_void_p()
        dims = (c_int64 * 12)(*shape)
        if strides is None:
            make, layout = "memory_desc_create_with_tag", c_int(_ANY)
        else:
            make, layout = "memory_desc_create_with_strides", (c_int64 * 12)(*strides)
        self.call(make, byref(descriptor), len(shape), dims, c_int(_F32), layout)
        return descriptor

    def row_major(self, shape: tuple[int, ...]) -> c_void_p:
        """Descriptor of a C-contiguous array."""
        strides = np.cumprod((1, *shape[:0:-1]))[::-1]
        return self.described(shape, tuple(int(s) for s in strides))

    def recurrent(
        self, cell: str, kind: int, descriptors: list[Any], *hint: c_void_p
    ) -> c_void_p:
        """Primitive descriptor; `descriptors` in the order of the C declaration."""
        made = c_void_p()
        name = {"lstm": "lstm", "gru": "lbr_gru", "rnn": "vanilla_rnn"}[cell]
        direction = "backward" if hint else "forward"
        activation = [c_int(TANH)] if cell == "rnn" else []
        slopes = [ctypes.c_float(0), ctypes.c_float(0)] if cell == "rnn" else []
        self.call(
            f"{name}_{direction}_primitive_desc_create",
            byref(made),
            self._engine,
            c_int(kind),
            *activation,
            c_int(LEFT_TO_RIGHT),
            *descriptors,
            c_uint(OVERWRITE_DIFF_WEIGHTS if hint else 0),
            *slopes,
            *hint,
            None,
        )
        return made

    def chosen(self, primitive_descriptor: c_void_p, argument: int) -> c_void_p:
        """Return the descriptor that a primitive requires of one of its arguments."""
        query = self._c.dnnl_primitive_desc_query_md
        query.restype = c_void_p
        return c_void_p(query(primitive_descriptor, _QUERY_ARGUMENT, c_int(argument)))

    def memory(self, descriptor: c_void_p, array: np.ndarray | None = None) -> Memory:
        """Return memory of `array`, or new memory of the descriptor's size."""
        if array is None:
            size = self._c.dnnl_memory_desc_get_size
            size.restype = ctypes.c_size_t
            array = _aligned(size(descriptor))
        made = c_void_p()
        pointer = c_void_p(array.ctypes.data)
        self.call("memory_create", byref(made), descriptor, self._engine, pointer)
        return Memory(made, descriptor, array)

    def reorder(self, source: Memory, target: c_void_p) -> Memory:
        """Return a copy of `source` in the layout of `target`."""
        result = self.memory(target)
        self.reordering(source, result)()
        return result

    def reordering(self, source: Memory, target: Memory) -> Execution:
        """Return a primitive that copies `source` to `target`, in its layout."""
        made = c_void_p()
        self.call(
            "reorder_primitive_desc_create",
            byref(made),
            source.descriptor,
            self._engine,
            target.descriptor,
            self._engine,
            None,
        )
        return Execution(self, made, {SRC: source, DST: target})

    def execution(
        self, primitive_descriptor: c_void_p, arguments: dict[int, Memory]
    ) -> Execution:
        return Execution(self, primitive_descriptor, arguments)


class Memory:
    """A memory object, and the array whose bytes it uses."""

    def __init__(self, made: c_void_p, descriptor: c_void_p, array: np.ndarray) -> None:
        self.made, self.descriptor, self.array = made, descriptor, array


class Execution:
    """A primitive with its arguments; a call runs it and waits."""

    def __init__(
        self, library: Library, descriptor: c_void_p, arguments: dict[int, Memory]
    ) -> None:
        primitive = c_void_p()
        library.call("primitive_create", byref(primitive), descriptor)
        self._kept = arguments
        packed = (_Argument * len(arguments))(
            *(_Argument(k, memory.made) for k, memory in arguments.items())
        )
        self._execute = library._c.dnnl_primitive_execute
        self._wait = library._c.dnnl_stream_wait
        self._stream = library._stream
        self._arguments = (primitive, self._stream, c_int(len(arguments)), packed)

    def __call__(self) -> None:
        if self._execute(*self._arguments) or self._wait(self._stream):
            raise RuntimeError("oneDNN: a primitive failed")


def _aligned(size: int) -> np.ndarray:
    """Zeroed bytes that start at a cache line."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]
