"""Timing in turns and printing, shared by the programs of this folder."""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from fastcell.programs import command_line

BLOCK_SECONDS = 0.2
WAIT_SECONDS = 0.01


def options(doc: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all programs have."""
    parser = command_line(doc)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=7, help="of each, in turns")
    return parser


def error(own: Iterable[torch.Tensor], peer: Iterable[torch.Tensor]) -> float:
    """Return the largest difference, over the largest number of its tensor."""
    pairs = zip(own, peer, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def seconds(calls: Sequence[Callable[[], object]], blocks: int) -> list[float]:
    """Return the seconds that each call takes: the median of blocks, in turns.

    Turns, since the machine changes while it is measured; blocks, since the threads and
    the memory of one engine disturb the next one's first calls.
    """
    medians: list[list[float]] = [[] for _ in calls]
    for _ in range(blocks):
        for call, found in zip(calls, medians, strict=True):
            time.sleep(WAIT_SECONDS)
            call()
            samples = []
            end = time.perf_counter() + BLOCK_SECONDS
            while not samples or time.perf_counter() < end:
                start = time.perf_counter()
                call()
                samples.append(time.perf_counter() - start)
            found.append(statistics.median(samples))
    return [statistics.median(found) for found in medians]


def tell(lines: int, largest_error: float, threads: int) -> None:
    """Print what there is to know before the times."""
    print(f"{_cpu()}, {threads} thread{'s' * (threads > 1)}")
    print(f"lines changed: {lines}")
    print(f"largest error: {largest_error:.1e}", flush=True)


def tell_speed(what: str, before: float, after: float) -> None:
    """Print seconds before and after, and how many times as fast it is."""
    print(
        f"{what}: {before * 1e3:.4g} ms before, {after * 1e3:.4g} ms after, "
        f"{before / after:.2f} times as fast",
        flush=True,
    )


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    named = re.search(r"^model name\s*: (.*)", text, re.MULTILINE)
    return named[1] if named else platform.machine()
