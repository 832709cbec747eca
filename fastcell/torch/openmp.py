"""Use of PyTorch's OpenMP threads, so that two thread pools do not compete."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch

from fastcell import _core

# Names of the runtime's functions, in the order of `fc_openmp`.
_FUNCTIONS = (
    "GOMP_parallel",
    "omp_get_max_threads",
    "omp_get_num_threads",
    "omp_get_thread_num",
)


def share_threads() -> bool:
    """Let fastcell use the threads of PyTorch's OpenMP; return whether it does.

    If PyTorch has no OpenMP, or one without the functions of GCC's, fastcell keeps its
    own threads.
    """
    openmp: Any = torch.backends.openmp
    if not openmp.is_available():
        return False
    folder = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        try:
            # It is already loaded; functions are looked up in the libraries it links.
            library = ctypes.CDLL(str(folder / name))
            functions = [getattr(library, function) for function in _FUNCTIONS]
        except (OSError, AttributeError):
            continue
        addresses = [ctypes.cast(f, ctypes.c_void_p).value for f in functions]
        _core.use_openmp(*(address or 0 for address in addresses))
        return True
    return False
