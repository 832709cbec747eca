"""Run an example by fastcell and by PyTorch: in turns, to time both, or one alone.

In turns, only one of the two processes works at a time. A turn is so many steps of
training, the same for both, about half a second of PyTorch's; so whatever slows the
machine down for a while slows both.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ENGINES = ("fastcell", "torch")
_WORKER = Path(__file__).with_name("worker.py")
_SECONDS_A_TURN = 0.5
_ALL_STEPS = 10**12


@dataclass
class Side:
    """What one engine did."""

    printed: str = ""
    #: Of each training: the parameters of its model, and its history.
    runs: list[dict[str, Any]] = field(default_factory=list)
    #: Steps and seconds of each turn.
    turns: list[tuple[int, float]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Steps of training in all turns."""
        return sum(steps for steps, _ in self.turns)

    @property
    def seconds(self) -> float:
        """Seconds of training in all turns."""
        return sum(seconds for _, seconds in self.turns)


@dataclass
class Timing:
    """Both sides of one run."""

    #: Median and mean over the turns of the seconds a step takes.
    median_step: dict[str, float]
    mean_step: dict[str, float]
    #: Seconds of all steps of the run; None where it was cut short.
    wall_clock: dict[str, float] | None
    #: Of the medians.
    ratio: float
    turns: int


class Failure(Exception):
    """An example that ended with an error."""


class Process:
    """A worker."""

    def __init__(self, engine: str, command: Sequence[str], folder: Path) -> None:
        self.engine = engine
        self.side = Side()
        folder = folder.resolve()
        self._result = folder / f"{engine}.json"
        self._printed = folder / f"{engine}.txt"
        self._errors = folder / f"{engine}.err"
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._out: IO[str] = os.fdopen(ours_out, "w")
        self._in: IO[str] = os.fdopen(ours_in)
        fds = [str(theirs_in), str(theirs_out)]
        (folder / engine).mkdir()
        with self._printed.open("w") as printed, self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, _WORKER, engine, self._result, *fds, *command],
                stdout=printed,
                stderr=errors,
                pass_fds=(theirs_in, theirs_out),
                cwd=folder / engine,
                env=os.environ | _threads(command),
            )
        os.close(theirs_in)
        os.close(theirs_out)

    def turn(self, steps: int) -> bool:
        """Let it work so many steps; return whether it has more to do.

        Raises
        ------
        Failure
            If it ends with an error.
        """
        print(steps, file=self._out, flush=True)
        line = self._in.readline()
        if line:
            done = json.loads(line)
            self.side.turns.append((done["steps"], done["seconds"]))
        if line and done["steps"] == steps:
            return True
        if self._process.wait() != 0:
            raise Failure(f"{self.engine}: {self._errors.read_text()[-2000:]}")
        self.side.runs = json.loads(self._result.read_text())
        self.side.printed = self._printed.read_text()
        return False

    def stop(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()


def _threads(command: Sequence[str]) -> dict[str, str]:
    """Return what tells the BLAS libraries of both sides how many threads to run."""
    count = command[list(command).index("--threads") + 1]
    return dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), count)


def alone(engine: str, command: Sequence[str], folder: Path) -> Side:
    """Run one side to its end, without timing.

    Raises
    ------
    Failure
        If it ends with an error.
    """
    process = Process(engine, command, folder)
    try:
        process.turn(_ALL_STEPS)
    finally:
        process.stop()
    return process.side


def in_turns(
    commands: dict[str, Sequence[str]],
    folder: Path,
    seconds: float | None = None,
) -> tuple[dict[str, Side], Timing]:
    """Run both in turns.

    Parameters
    ----------
    commands : dict of str to list of str
        For each engine, the example and its arguments.
    folder : Path
        An empty one, for their output.
    seconds : float, optional
        End both after so many seconds of training by PyTorch.

    Raises
    ------
    Failure
        If one ends with an error.
    """
    own, peer = (Process(engine, commands[engine], folder) for engine in ENGINES)
    try:
        steps, more = 1, {own.engine: True, peer.engine: True}
        while any(more.values()):
            for process in (own, peer):
                if more[process.engine]:
                    more[process.engine] = process.turn(steps)
            last, taken = peer.side.turns[-1]
            if last and taken:
                steps = max(1, round(_SECONDS_A_TURN / taken * last))
            # Without the first turn, see below.
            spent = sum(taken for _, taken in peer.side.turns[1:])
            if seconds is not None and spent > seconds:
                break
    finally:
        own.stop()
        peer.stop()
    sides = {process.engine: process.side for process in (own, peer)}
    return sides, _timing(sides, not any(more.values()))


def _timing(sides: dict[str, Side], whole: bool) -> Timing:
    # The first turn is one step, which sets up memory on both sides.
    pairs = [
        (own, peer)
        for own, peer in zip(*(sides[e].turns for e in ENGINES), strict=False)
        if own[0] == peer[0] and own[0]
    ][1:]
    if not pairs:
        raise Failure("there must be two turns to time; got fewer steps")
    steps = sum(own[0] for own, _ in pairs)
    median, mean = {}, {}
    for k, engine in enumerate(ENGINES):
        median[engine] = statistics.median(pair[k][1] / pair[k][0] for pair in pairs)
        mean[engine] = sum(pair[k][1] for pair in pairs) / steps
    wall = {engine: sides[engine].seconds for engine in ENGINES} if whole else None
    own, peer = (median[engine] for engine in ENGINES)
    return Timing(median, mean, wall, peer / own, len(pairs))


def metrics(printed: str, patterns: dict[str, str]) -> dict[str, float]:
    """Return the figures of a run: by name, what the pattern's group matches last.

    Raises
    ------
    Failure
        If one is not there.
    """
    found = {}
    for name, pattern in patterns.items():
        values = re.findall(pattern, printed, re.MULTILINE)
        if not values:
            raise Failure(f"{name}: {pattern!r} must be printed; got {printed[-500:]}")
        found[name] = float(values[-1])
    return found
