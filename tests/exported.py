"""Exported C files compiled and run: their steps as functions on NumPy arrays."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastcell
from fastcell import _core

CC = shutil.which("cc") or shutil.which("gcc")
needs_cc = pytest.mark.skipif(CC is None, reason="needs a C compiler")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
X86 = platform.machine() in ("x86_64", "AMD64")

# The flags of a build; the instruction set of the library whose roundings it has, as
# multiply-adds are fused where the processor has them; and the lanes of that set, in
# whose order sums over a row are.
PLAIN = "portable" if X86 else "neon"
BUILDS: dict[str, tuple[tuple[str, ...], str, int]] = {
    "c99": (("-O2",), PLAIN, 4),
    "vectors": (("-O1", "-DFASTCELL_NET_SIMD"), PLAIN, 4),
}
if X86 and "avx2" in _core.isas():
    FUSED = ("-mavx2", "-mfma")
    BUILDS["c99-avx2"] = (("-O1", *FUSED), "avx2", 8)
    BUILDS["vectors-avx2"] = (("-O2", "-DFASTCELL_NET_SIMD", *FUSED), "avx2", 8)
if X86 and "avx512" in _core.isas():
    BUILDS["vectors-avx512"] = (
        ("-O2", "-DFASTCELL_NET_SIMD", "-mavx512f", "-mfma"),
        "avx512",
        16,
    )


class Net:
    """A compiled export of a model.

    ``net(x)`` runs one step; `h(k)` and `c(k)` are the states of recurrent layer k as
    arrays on its memory, padding included.
    """

    def __init__(
        self,
        model: Any,
        folder: Path,
        flags: tuple[str, ...] = ("-O2",),
        **options: Any,
    ) -> None:
        assert CC is not None
        name = options.get("name", "net")
        self.made = fastcell.export_c(model, folder / f"{name}.c", **options)
        library = folder / f"{name}.so"
        command = [CC, *STRICT, *flags, "-shared", "-fPIC", "-o", library]
        done = subprocess.run(
            [*command, self.made.source], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        self._library = ctypes.CDLL(str(library))
        self._step = getattr(self._library, f"{name}_step")
        self._reset = getattr(self._library, f"{name}_reset")
        self._step.argtypes = [ctypes.c_void_p] * 3
        self._reset.argtypes = [ctypes.c_void_p]
        self.header = header = Path(self.made.header).read_text()
        self.fields: dict[str, slice] = {}
        at = 0
        for field, size in re.findall(r"^    float (\w+)\[(\d+)\];", header, re.M):
            self.fields[field] = slice(at, at + int(size))
            at += int(size)
        assert self.made.state_bytes % 4 == 0
        self.ids = "int32_t *x" in header
        # Noise around and in the memory: reset has to clear it.
        self._memory = np.full(self.made.state_bytes // 4 + 2, np.nan, np.float32)
        self.state = self._memory[1:-1]
        self.reset()

    def reset(self) -> None:
        self._reset(self.state.ctypes.data)

    def __call__(self, x: Any) -> np.ndarray:
        x = np.ascontiguousarray(x, np.int32 if self.ids else np.float32)
        y = np.full(self.made.outputs, np.nan, np.float32)
        self._step(self.state.ctypes.data, x.ctypes.data, y.ctypes.data)
        assert np.isnan(self._memory[[0, -1]]).all()
        return y

    def h(self, k: int) -> np.ndarray:
        return self.state[self.fields[f"h{k}"]]

    def c(self, k: int) -> np.ndarray:
        return self.state[self.fields[f"c{k}"]]
