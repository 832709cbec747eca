"""Limit all engines to an older instruction set than the CPU's.

Libraries read their switches when they are loaded, so the comparison restarts with
these in its environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

#: The environment variables of each library, by instruction set.
SWITCHES = {
    "avx2": {
        "FASTCELL_ISA": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
}
#: Flags that limit a compiler which compiles for this CPU.
_COMPILER_FLAGS = {"avx2": ["-mno-avx512f"]}
#: Peers without such a switch: they would use another set.
FREE = ("onnxruntime",)
NOTE = (
    "held to {isa} by {switches}; left out, since it has no such switch: ONNX Runtime"
)


def begin_held(isa: str, argv: Sequence[str]) -> None:
    """Restart the program with the switches, unless it has them already."""
    if any(os.environ.get(k) != v for k, v in SWITCHES[isa].items()):
        script = os.path.abspath(sys.argv[0])
        os.execve(
            sys.executable,
            [sys.executable, script, *argv],
            {**os.environ, **SWITCHES[isa]},
        )


def compiler_flags() -> list[str]:
    """Return the compiler flags for the probe of the machine's limits."""
    return _COMPILER_FLAGS.get(os.environ.get("FASTCELL_ISA", ""), [])


def note(isa: str) -> str:
    """Return the note on the switches in use and the engines left out."""
    switches = " ".join(f"{k}={v}" for k, v in SWITCHES[isa].items())
    return NOTE.format(isa=isa, switches=switches)
