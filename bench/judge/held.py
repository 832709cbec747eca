"""Limit all engines to an older instruction set than the CPU's.

Libraries read their switches when they are loaded, so the comparison restarts with
these in its environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

#: By instruction set, what each library is told.
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
#: What keeps a compiler from more, where it makes code for the CPU at hand.
_COMPILER_FLAGS = {"avx2": ["-mno-avx512f"]}
#: Peers whose own kernels have no such switch: a comparison would be of other sets.
FREE = ("onnxruntime",)
NOTE = (
    "held to {isa} by {switches}; left out, since it has no such switch: ONNX Runtime"
)


def begin_held(isa: str, argv: Sequence[str]) -> None:
    """Begin the program again with the switches, unless that has been done."""
    if any(os.environ.get(k) != v for k, v in SWITCHES[isa].items()):
        script = os.path.abspath(sys.argv[0])
        os.execve(
            sys.executable,
            [sys.executable, script, *argv],
            {**os.environ, **SWITCHES[isa]},
        )


def compiler_flags() -> list[str]:
    """Return those for the probe of the machine's limits."""
    return _COMPILER_FLAGS.get(os.environ.get("FASTCELL_ISA", ""), [])


def note(isa: str) -> str:
    """Say who is held how."""
    switches = " ".join(f"{k}={v}" for k, v in SWITCHES[isa].items())
    return NOTE.format(isa=isa, switches=switches)
