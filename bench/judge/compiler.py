"""Shared libraries compiled for this CPU while a benchmark runs."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


class NoLibrary(Exception):
    """There is no compiler, or it failed."""


def compiled(
    sources: Sequence[Path],
    folder: Path,
    flags: Sequence[str] = (),
    compilers: Sequence[str] = ("cc", "gcc", "clang"),
) -> ctypes.CDLL:
    """Compile C files to a library in `folder`, by the first compiler there is.

    Raises
    ------
    NoLibrary
    """
    what = ", ".join(source.name for source in sources)
    compiler = next(filter(None, map(shutil.which, compilers)), None)
    if compiler is None:
        raise NoLibrary(f"no C compiler for {what}")
    target = folder / f"{sources[0].stem}.so"
    command = [compiler, "-march=native", *flags, "-shared", "-fPIC"]
    command += [*map(str, sources), "-o", str(target), "-lm"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise NoLibrary(f"{what} did not compile: {result.stderr.strip()[:300]}")
    return ctypes.CDLL(str(target))
