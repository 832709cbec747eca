r"""The roofline: the machine's limit, measured first, and a case's share of it.

With F the rate of multiply-adds, b(n) the bandwidth of reading n bytes repeatedly, both
of all threads together, N_t the rows of step t, and G gates, the least time of

.. math::
    \text{inference} &= \max(2 G H I \sum N_t / F, 4 G H I / b) + r \\
    \text{training} &= 3 \cdot 2 G H I \sum N_t / F + 2 r + 2 G H^2 \sum N_t / F \\
    r &= \sum_t \max(2 G H^2 N_t / F, 4 G H^2 / b)

In inference the input product of all steps is one product that reads its weights once.
The recurrent product reads all of R in each step, 4 G H^2 bytes in float32: it is bound
by reading if rows are few, by multiply-adds if they are many. Training computes the
recurrent product twice step by step (forward, and for the gradient of h), and all other
products over all steps at once. Gate functions, reading x and writing y are not
included, so 100 % is not reachable.

A cell without R, whose gates follow from x alone, has no r.  Its steps are a pass over
memory, so that pass is included: with S saved values of a unit, the bytes

.. math::
    \text{inference} &= 4 (I + H) \sum N_t \\
    \text{training} &= 4 (3 I + 3 H + 2 S H) \sum N_t

that is x and y; in training x, y and the saved values in forward and in backward, dy
and dx, each once, at the bandwidth of reading as many bytes repeatedly.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fastcell import _core
from judge import held
from judge.compiler import NoLibrary, compiled

_SOURCE = Path(__file__).with_name("probe.c")
_SECONDS = 0.02
_ROUNDS = 5

_KIB = 1024
_LEVELS = ("L1", "L2", "L3")
#: Sizes of caches, if unknown.
_DEFAULT_SIZES = {"L1": 32 * _KIB, "L2": 512 * _KIB, "L3": 16 * _KIB**2}


class NoProbe(Exception):
    """There is no compiler, or it failed, so rows have no share of the roofline."""


@dataclass(frozen=True)
class Roofline:
    """The limits of `threads` threads together.

    `bandwidth` is bytes per thread -> GB/s; `levels` names four of its sizes.
    """

    threads: int
    fma: float
    bandwidth: dict[int, float]
    levels: dict[str, int]

    def read(self, size: float) -> float:
        """Return GB/s of reading `size` bytes repeatedly, divided among the threads.

        Between measured sizes it is interpolated over the logarithm of the size. A
        larger buffer is never faster: measurements to the contrary are noise.
        """
        sizes = np.array(sorted(self.bandwidth))
        rates = np.array([self.bandwidth[size] for size in sizes])
        rates = np.maximum.accumulate(rates[::-1])[::-1]
        each = math.log(size / self.threads)
        return float(np.interp(each, np.log(sizes), rates))

    def seconds(self, mode: str, case: Any) -> float | None:
        """Return the least time of one call by the formulas; None for other modes."""
        if mode not in ("forward", "step", "train", "ragged"):
            return None
        inputs, recurrent = case.input_weights, case.recurrent_weights
        rows = case.rows()

        def compute(size: int, count: Any) -> Any:
            return 2 * size * count / (self.fma * 1e9)

        def fetch(size: int) -> float:
            return 4 * size / (self.read(4 * size) * 1e9)

        total, training = rows.sum(), mode in ("train", "ragged")
        once = compute(inputs, total)
        if not recurrent:
            passed = fetch(values_passed(case, training))
            return float(3 * once if training else max(once, fetch(inputs))) + passed
        steps = np.maximum(compute(recurrent, rows), fetch(recurrent)).sum()
        if not training:
            return float(max(once, fetch(inputs)) + steps)
        return float(3 * once + 2 * steps + compute(recurrent, total))

    def or_better(self, other: Roofline | None) -> Roofline:
        """Return the larger of two measurements, since noise only slows."""
        if other is None:
            return self
        rates = {
            size: max(rate, other.bandwidth[size])
            for size, rate in self.bandwidth.items()
        }
        return replace(self, fma=max(self.fma, other.fma), bandwidth=rates)

    def describe(self) -> str:
        """Return a line for the report."""
        reads = ", ".join(
            f"{name} {self.bandwidth[size]:.0f}" for name, size in self.levels.items()
        )
        plural = "s" if self.threads > 1 else ""
        return (
            f"limits of {self.threads} thread{plural}: {self.fma:.0f} GFLOP/s of "
            f"float32 multiply-adds; reading GB/s: {reads}"
        )


def values_passed(case: Any, training: bool) -> int:
    """Return the number of values in one pass over a case's memory."""
    x, y = case.I, case.width
    saved = case.H * _core.describe_cell(case.entry.name)["slots"]
    each = 3 * (x + y) + 2 * saved if training else x + y
    return each * int(case.rows().sum())


def measure(threads: int) -> Roofline:
    """Compile the probe and run it on that many threads, for a second or two.

    Raises
    ------
    NoProbe
    """
    with TemporaryDirectory() as folder:
        library = _compiled(Path(folder))
        caches = cache_sizes()
        biggest = 2 ** math.ceil(math.log2(max(64 * _KIB**2, 2 * caches["L3"])))
        biggest = min(biggest, 256 * _KIB**2)  # for each thread
        sizes = [2**k for k in range(14, int(math.log2(biggest)) + 1)]
        buffers = [_buffer(biggest) for _ in range(threads)]

        def fma(_: Any) -> float:
            return library.probe_fma(_SECONDS)

        def read(size: int) -> Callable[[Any], float]:
            return lambda buffer: library.probe_read(
                buffer.ctypes.data, size, _SECONDS / 2
            )

        return Roofline(
            threads=threads,
            fma=_best(fma, buffers),
            bandwidth={size: _best(read(size), buffers) for size in sizes},
            levels=_named(sizes, caches, threads),
        )


def cache_sizes() -> dict[str, int]:
    """Return the bytes of the first core's caches, by level."""
    found = dict(_DEFAULT_SIZES)
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind = (index / "type").read_text().strip()
            level = f"L{(index / 'level').read_text().strip()}"
            size = (index / "size").read_text().strip()
        except OSError:
            continue
        if kind != "Instruction" and level in found and size.endswith("K"):
            found[level] = int(size[:-1]) * _KIB
    return found


def _named(sizes: list[int], caches: dict[str, int], threads: int) -> dict[str, int]:
    """Return a size well inside each cache (1/4 of the shared one), and the largest."""
    named = {}
    for level in _LEVELS:
        room = caches[level] // 2
        if level == "L3":
            room = room // 2 // threads
        named[level] = max(size for size in sizes if size <= max(room, sizes[0]))
    return {**named, "memory": sizes[-1]}


def _best(probe: Callable[[Any], float], buffers: list[np.ndarray]) -> float:
    """Return the largest of some sums over parallel threads, since noise only slows."""
    best = 0.0
    for _ in range(_ROUNDS):
        rates = [0.0] * len(buffers)
        start = threading.Barrier(len(buffers))

        def run(k: int, rates: list[float] = rates, start: Any = start) -> None:
            start.wait()
            rates[k] = probe(buffers[k])

        workers = [threading.Thread(target=run, args=(k,)) for k in range(len(rates))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, sum(rates))
    return best


def _buffer(size: int) -> np.ndarray:
    raw = np.ones(size + 4096, np.uint8)
    start = -raw.ctypes.data % 4096
    return raw[start : start + size]


def _compiled(folder: Path) -> ctypes.CDLL:
    flags = ["-O2", "-ffp-contract=fast", *held.compiler_flags()]
    try:
        library = compiled([_SOURCE], folder, flags)
    except NoLibrary as reason:
        raise NoProbe(f"no probe of the machine's limits: {reason}") from None
    library.probe_fma.argtypes = [ctypes.c_double]
    library.probe_read.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_double]
    library.probe_fma.restype = library.probe_read.restype = ctypes.c_double
    return library
