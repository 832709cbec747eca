"""Timing in interleaved blocks, with medians and spreads over the blocks.

Engines that alternate call by call disturb each other: the idle workers of one thread
pool spin after their call and slow the next engine up to five times. Engines timed one
wholly after the other meet different loads of the machine. So they take turns in
blocks, A B C A B C. Before each block a short wait lets workers go to sleep, and a few
untimed calls bring the engine's weights back to the cache and wake its threads.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import repeat
from typing import Any

#: Calls longer than this have one untimed call per block, enough to wake threads.
_LONG_CALL_NS = 500_000_000

#: Shorter calls are timed several at a time, because reading the clock costs 0.1 us.
_SHORTEST_SAMPLE_NS = 50_000


@dataclass(frozen=True)
class Protocol:
    """The settings of the timing; `seconds` is the length of one block."""

    blocks: int = 7
    seconds: float = 0.075
    wait: float = 0.010
    untimed_calls: int = 2


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median of each block, in the order they ran.

    `calls` is the number of timed calls, 0 if unknown.
    """

    blocks: tuple[float, ...]
    calls: int = 0

    @property
    def median(self) -> float:
        """Seconds per call, the median over all blocks."""
        return statistics.median(self.blocks)

    @property
    def best(self) -> float:
        """Seconds per call of the fastest block, for rates of the machine itself."""
        return min(self.blocks)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles of the blocks, over the median."""
        low, high = quartiles(self.blocks)
        return (high - low) / 2 / self.median


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and third quartile, interpolated between the values.

    Examples
    --------
    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 4.0)
    """
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def ratios(ours: Timing, theirs: Timing) -> tuple[float, float, float]:
    """Return how many times faster `ours` is: the ratio of medians, and two quartiles.

    The quartiles are those of the ratios of neighbouring blocks, which ran under nearly
    the same load. They show the uncertainty of the figure.
    """
    rounds = [b / a for a, b in zip(ours.blocks, theirs.blocks, strict=True)]
    return theirs.median / ours.median, *quartiles(rounds)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean, the mean for ratios.

    Examples
    --------
    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    return math.exp(statistics.fmean(math.log(value) for value in values))


def interleave(
    calls: Sequence[Callable[[], object]],
    protocol: Protocol = Protocol(),
    contexts: Sequence[Callable[[], AbstractContextManager[Any]]] | None = None,
) -> list[Timing]:
    """Time all `calls` in turn, block by block.

    Parameters
    ----------
    calls : sequence of callables
        Each does one unit of work.
    protocol : Protocol
        Number and length of blocks.
    contexts : sequence of callables, optional
        For each call, a function that returns the context manager of its blocks, such
        as ``torch.inference_mode``, which a user enters once and not per call.

    Returns
    -------
    list of Timing
        In the order of `calls`.
    """
    if contexts is None:
        contexts = [nullcontext] * len(calls)
    medians: list[list[float]] = [[] for _ in calls]
    counts = [0] * len(calls)
    for _ in range(protocol.blocks):
        for k, (call, context) in enumerate(zip(calls, contexts, strict=True)):
            time.sleep(protocol.wait)
            with context():
                median, count = _time_block(call, protocol)
            medians[k].append(median)
            counts[k] += count
    return [
        Timing(tuple(blocks), count)
        for blocks, count in zip(medians, counts, strict=True)
    ]


def _time_block(call: Callable[[], object], protocol: Protocol) -> tuple[float, int]:
    """Return the median seconds per call of one block, and the number of calls."""
    clock = time.perf_counter_ns
    last = _SHORTEST_SAMPLE_NS
    for _ in range(protocol.untimed_calls):
        start = clock()
        call()
        last = clock() - start
        if last > _LONG_CALL_NS:
            break
    return time_calls(call, last * 1e-9, protocol.seconds)


def time_calls(
    call: Callable[[], object], last: float, seconds: float
) -> tuple[float, int]:
    """Time calls for `seconds`, one call at least.

    Parameters
    ----------
    call : callable
        The function to time.
    last : float
        Seconds of an earlier call: short calls are timed several at a time.
    seconds : float
        The time after which no more calls are started.

    Returns
    -------
    median : float
        Seconds per call.
    calls : int
        The number of timed calls.
    """
    clock = time.perf_counter_ns
    inner = max(1, _SHORTEST_SAMPLE_NS // max(int(last * 1e9), 1))
    samples = []
    # A garbage collection would add to the time of the call that it interrupts.
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = clock() + int(seconds * 1e9)
        now = 0
        while now < end:
            start = clock()
            for _ in repeat(None, inner):
                call()
            now = clock()
            samples.append(now - start)
    finally:
        if collecting:
            gc.enable()
    return statistics.median(samples) / inner * 1e-9, inner * len(samples)
