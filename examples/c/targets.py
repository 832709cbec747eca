"""A network as one C file on several processors: the same 100 steps, bit for bit.

Exports a model, compiles it with steps.c for each target, runs it there or in an
emulator, and compares every output with the session in Python. Multiply-adds are fused
where the processor has the instruction, so the bits are those of the library's
instruction sets with or without it. What each target needs, as packages of Debian:

    host        cc
    cortex-m3   gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
    cortex-m4   the same; it has an FPU
    aarch64     gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
    wasm        clang lld wasi-libc libclang-rt-dev-wasm32 nodejs
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastcell
from fastcell import _core

HERE = Path(__file__).parent
C99 = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
BARE = (HERE / "cortex_m" / "start.c", "-T", HERE / "cortex_m" / "mps2.ld")
ARM = ("arm-none-eabi-gcc", "-mthumb", "-nostartfiles", *BARE)
BOARD = (
    *("qemu-system-arm", "-display", "none", "-monitor", "none", "-serial", "none"),
    *("-chardev", "stdio,id=out", "-semihosting-config", "enable=on,chardev=out"),
)


class Target(NamedTuple):
    """How a program is compiled and run, and whether multiply-adds are fused there."""

    compiler: tuple[str | Path, ...]
    run: tuple[str, ...]
    fused: bool
    lanes: int = 4


TARGETS = {
    "host": Target(("cc", "-O2"), (), False),
    "cortex-m3": Target(
        (*ARM, "-Os", "-mcpu=cortex-m3"),
        (*BOARD, "-M", "mps2-an385", "-kernel"),
        False,
        1,
    ),
    "cortex-m4": Target(
        (*ARM, "-O2", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
        (*BOARD, "-M", "mps2-an386", "-kernel"),
        True,
        1,
    ),
    "aarch64": Target(
        ("aarch64-linux-gnu-gcc", "-O2", "-static", "-DFASTCELL_NET_SIMD"),
        ("qemu-aarch64",),
        True,
    ),
    "wasm": Target(
        ("clang", "--target=wasm32-wasi", "-O2"),
        ("node", "--no-warnings", str(HERE / "wasi.mjs")),
        False,
    ),
}


def missing(name: str) -> str | None:
    """Return which program of a target is missing."""
    target = TARGETS[name]
    programs = [str(target.compiler[0]), *target.run[:1]]
    return next((p for p in programs if shutil.which(p) is None), None)


def run(name: str, model: fastcell.Module, folder: Path, dtype: str) -> np.ndarray:
    """Return the outputs of the steps on a target, and print the sizes."""
    target = TARGETS[name]
    made = fastcell.export_c(model, folder / "net.c", dtype=dtype, lanes=target.lanes)
    program = folder / "steps"
    command = [*target.compiler, *C99, "-I", folder, HERE / "steps.c", made.source]
    subprocess.run([*command, "-o", program], check=True)
    done = subprocess.run(
        [*target.run, program], capture_output=True, text=True, timeout=60
    )
    lines = re.findall(r"^[0-9a-f]{8}$", done.stdout, re.M)
    if not lines:
        raise RuntimeError(f"{name}: no output; {done.stderr.strip()}")
    bits = np.array([int(line, 16) for line in lines], np.uint32)
    return bits.view(np.float32).reshape(-1, made.outputs)


def expected(name: str, model: fastcell.Module, inputs: int, dtype: str) -> np.ndarray:
    """Return the outputs of the session, by the set of the target's multiply-adds."""
    wanted = ("avx2", "neon") if TARGETS[name].fused else ("portable",)
    sets = [isa for isa in wanted if isa in _core.isas()]
    before = _core.isa()
    try:
        _core.select_isa(sets[0] if sets else before)
        session = (model.quantize() if dtype == "int8" else model).session()
        seed, rows = 1, []
        for _ in range(100):
            x = np.empty((1, inputs), np.float32)
            for i in range(inputs):
                seed = (seed * 1664525 + 1013904223) % 2**32
                x[0, i] = (seed >> 16) / 32768 - 1
            rows.append(session.step(x)[0])
        return np.array(rows)
    finally:
        _core.select_isa(before)


def main() -> None:
    """Compare the targets of the command line, or all whose tools are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--dtype", choices=["float32", "int8"], default="float32")
    given = parser.parse_args()
    model = fastcell.Sequential(
        [
            fastcell.LSTM(3, 12, seed=0),
            fastcell.GRU(12, 8, seed=1),
            fastcell.Linear(8, 2, seed=2),
        ]
    )
    differ = False
    for name in given.targets or TARGETS:
        if name not in TARGETS:
            parser.error(f"no target {name}; there are {', '.join(TARGETS)}")
        if program := missing(name):
            print(f"{name}: not run, there is no {program}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            y = run(name, model, Path(folder), given.dtype)
        same = np.array_equal(y, expected(name, model, 3, given.dtype))
        differ |= not same
        print(f"{name}: 100 steps, {'equal' if same else 'DIFFERENT'} bits")
    sys.exit(differ)


if __name__ == "__main__":
    main()
