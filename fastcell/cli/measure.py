"""What ``fastcell bench`` and ``fastcell explain`` share: layers, clock, machine.

Letters as everywhere: T time steps, B rows, I input features, H hidden units.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastcell import _core
from fastcell._judge.cells import cells
from fastcell._judge.measure import Timing, time_calls
from fastcell.cells import Cell

PRECISIONS = ("float32", "bf16", "int8")

_BLOCKS = 5
_FEWEST_BLOCKS = 3  # where calls are longer than the time they were given
_REST = 0.005  # seconds before a block, in which workers of the last one fall asleep


class Shape(NamedTuple):
    """The sizes of a layer's call."""

    T: int
    B: int
    I: int  # noqa: E741 (the letter of the whole project)
    H: int

    def __str__(self) -> str:
        """As it is given: ``100x8x256`` where I is H, else ``28x128x28x128``."""
        sizes = (self.T, self.B, self.H) if self.I == self.H else self
        return "x".join(map(str, sizes))


def parse_shape(text: str) -> Shape:
    """Read ``100x8x256`` (T, B, I = H) or ``28x128x28x128`` (T, B, I, H).

    Raises
    ------
    ValueError
        If `text` is not three or four positive integers joined by ``x``.

    Examples
    --------
    >>> parse_shape("100x8x256")
    Shape(T=100, B=8, I=256, H=256)
    """
    parts = text.split("x")
    if len(parts) not in (3, 4) or not all(
        part.isascii() and part.isdecimal() and int(part) for part in parts
    ):
        raise ValueError(
            f"must be TxBxH or TxBxIxH, such as 100x8x256; got {text[:40]!r}"
        )
    sizes = list(map(int, parts))
    return Shape(*sizes) if len(sizes) == 4 else Shape(*sizes, *sizes[-1:])


@dataclass(frozen=True)
class Layer:
    """What is asked for, before any memory is taken.

    `cell` is a name of `fastcell._judge.cells.cells`.
    """

    cell: str
    shape: Shape
    precision: str = "float32"
    layers: int = 1
    directions: int = 1

    @property
    def entry(self) -> Cell:
        """What the registry knows of the cell."""
        return cells()[self.cell]

    @property
    def proj_size(self) -> int:
        """Features that h is projected to; 0 for cells that do not project."""
        size = self.entry.proj_size
        return 0 if size is None else size(self.shape.H)

    @property
    def output_size(self) -> int:
        """Features of y."""
        return self.directions * (self.proj_size or self.shape.H)

    @property
    def stack(self) -> _core.Stack:
        """The layer in the core: sizes only."""
        return _core.Stack(
            self.entry.name,
            self.precision,
            self.shape.I,
            self.shape.H,
            self.proj_size,
            self.layers,
            self.directions,
        )

    def describe(self, threads: int, training: int) -> Any:
        """Return the core's decisions, as `fc_describe` tells them.

        Raises
        ------
        MemoryError
            If a size does not fit the address space.
        """
        try:
            return self.stack.describe(self.shape.T, self.shape.B, threads, training)
        except OverflowError:
            raise MemoryError(f"shape {self.shape} is too large") from None

    def flop(self, mode: str) -> float:
        """Multiplications and additions of the products.

        For each row, step, layer and direction 2GH(I+H) with G gates, I being D H
        above the first layer (what a cell projects beside); three times that in
        training.
        """
        once: float = self.describe(1, 0)["flop"]
        return 3 * once if mode == "train" else once

    def check_memory(self, train: bool) -> None:
        """Refuse what this machine cannot hold, before it tries.

        Raises
        ------
        MemoryError
            If weights, arrays and what training keeps exceed the memory.
        """
        T, B, I, _ = self.shape  # noqa: E741
        forward = self.describe(1, int(train))
        needed = forward["weight_bytes"] + forward["packed_bytes"]
        needed += forward["saved_bytes"] + forward["scratch_bytes"]
        needed += 4 * T * B * (I + self.output_size) * (2 if train else 1)
        try:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, OSError, ValueError):
            return
        if needed > 0.9 * memory:
            raise MemoryError(
                f"{self.cell} of shape {self.shape} takes {needed / 1e9:,.1f} GB; "
                f"this machine has {memory / 1e9:,.1f}"
            )

    def make(self) -> Any:
        """Return the layer, with the weights that a new one has."""
        _, _, inputs, units = self.shape
        layer = self.entry.layer(
            inputs,
            units,
            num_layers=self.layers,
            bidirectional=self.directions == 2,
            seed=0,
        )
        if self.precision == "int8":
            return layer.quantize("int8")
        return layer.to(self.precision)

    def call(self, mode: str) -> Callable[[], object]:
        """Return what is timed: a forward call, a training step, one streamed step."""
        T, B, I, _ = self.shape  # noqa: E741
        self.check_memory(mode == "train")
        layer = self.make()
        random = np.random.default_rng(1)
        x = random.standard_normal((T, B, I), np.float32)
        if mode == "forward":
            return lambda: layer(x)
        if mode == "step":
            session, x_t = layer.session(B), x[0]
            y = np.empty((B, self.output_size), np.float32)
            return lambda: session.step(x_t, y)
        dy = random.standard_normal((T, B, self.output_size), np.float32)
        return lambda: layer.backward(dy, layer.forward(x)[2])


def measure(call: Callable[[], object], seconds: float) -> Timing:
    """Time `call` for about so many seconds, in blocks; three calls at least."""
    clock = time.perf_counter
    last = 0.0
    for _ in range(2):  # packs weights, wakes threads
        start = clock()
        call()
        last = clock() - start
        if last > seconds:
            break
    medians: list[float] = []
    ends = clock() + seconds
    while len(medians) < _FEWEST_BLOCKS or (
        len(medians) < _BLOCKS and clock() + last < ends
    ):
        time.sleep(_REST)
        medians.append(time_calls(call, last, seconds / _BLOCKS)[0])
    return Timing(tuple(medians))


def duration(seconds: float) -> str:
    """Return a time with its unit, to three digits.

    Examples
    --------
    >>> duration(0.00123), duration(2.5e-6), duration(75)
    ('1.23 ms', '2.5 us', '75 s')
    """
    units = ((1.0, "s"), (1e3, "ms"), (1e6, "us"), (1e9, "ns"))
    fitting = (unit for unit in units if seconds * unit[0] >= 1)
    factor, name = next(fitting, units[-1])
    return f"{number(seconds * factor)} {name}"


def number(value: float) -> str:
    """Return three digits, or all that stand before the point.

    Examples
    --------
    >>> number(1.2345), number(1021.5)
    ('1.23', '1022')
    """
    return f"{value:.0f}" if value >= 999.5 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """Return what figures depend on: the CPU, the kernels, versions, the load."""
    import platform

    import fastcell

    cpu = _core.cpu_info()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": cpu["cpu"],
        "cores": cores(),
        "isa": cpu["isa"],
        "load": load,
        "fastcell": fastcell.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "compiler": cpu["compiler"],
        "platform": platform.platform(),
    }


def cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def kernels(description: Any, precision: str) -> str:
    """Return which kernels compute, such as ``avx512, bf16 by its own instruction``."""
    name = f"{description['isa']}, {precision}"
    if precision == "float32":
        return name
    own = description["native"]
    return name + (" by its own instruction" if own else " without an instruction")
