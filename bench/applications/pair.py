"""Run an example with fastcell and PyTorch: in turns, to time both, or one alone.

In turns, only one process works at a time: that of fastcell, or one of each way of
PyTorch (worker.py). A turn is a number of training steps, the same for all, of about
half a second by the fastest way, so that temporary load of the machine slows all. A way
that is clearly slower than another, or equal to another, is dropped after a few turns.
"""

from __future__ import annotations

import json
import os
import re
import select
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ENGINES = ("fastcell", "torch")
#: The ways of PyTorch; "compiled" is padded.
WAYS = ("padded", "packed", "compiled")
_WORKER = Path(__file__).with_name("worker.py")
_SECONDS_A_TURN = 0.5
#: Number of timed turns after which a way is dropped, if it is this many times as slow
#: as another.
_TRIED_TURNS = 5
_CLEARLY_SLOWER = 1.25
#: Most seconds of a turn of PyTorch, compilation included.
_LONGEST_TURN = 240
_ALL_STEPS = 10**12


@dataclass
class Side:
    """The measurements of one engine."""

    printed: str = ""
    #: For each training: the number of parameters, and the history.
    runs: list[dict[str, Any]] = field(default_factory=list)
    #: Steps and seconds of each turn.
    turns: list[tuple[int, float]] = field(default_factory=list)
    #: Whether any batch had sequences of different length, by PyTorch's sides.
    ragged: bool = False

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
    """fastcell and the fastest way of PyTorch in one run."""

    #: Median and mean over the turns of the seconds of a step.
    median_step: dict[str, float]
    mean_step: dict[str, float]
    #: Seconds of all steps of the run; None if it was cut short.
    wall_clock: dict[str, float] | None
    #: The ratio of the medians.
    ratio: float
    turns: int
    #: The fastest way, such as "padded, eager".
    way: str = ""
    #: The ratio to each way, as far as it was timed.
    ways: dict[str, float] = field(default_factory=dict)
    #: Why a way was not timed.
    left_out: dict[str, str] = field(default_factory=dict)


class Failure(Exception):
    """An example that ended with an error."""


class Cannot(Exception):
    """A way of PyTorch that does not support the work."""


class Process:
    """A worker: an engine, such as "torch", or one of its ways, as "torch:packed"."""

    def __init__(self, engine: str, command: Sequence[str], folder: Path) -> None:
        self.engine = engine
        self.more = True
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

    def turn(self, steps: int, seconds: float | None = None) -> None:
        """Let it work for `steps` steps; set `more` to whether more are left.

        Raises
        ------
        Cannot
            If this way of PyTorch does not support the work, or exceeds `seconds`.
        Failure
            If it ends with an error.
        """
        print(steps, file=self._out, flush=True)
        if not select.select([self._in], [], [], seconds)[0]:
            raise Cannot(f"a turn of {steps} steps takes more than {seconds} s")
        line = self._in.readline()
        if line:
            done = json.loads(line)
            if "cannot" in done:
                raise Cannot(done["cannot"].splitlines()[0])
            self.side.turns.append((done["steps"], done["seconds"]))
            self.side.ragged |= done["ragged"]
        if line and done["steps"] == steps:
            return
        if self._process.wait() != 0:
            raise Failure(f"{self.engine}: {self._errors.read_text()[-2000:]}")
        self.side.runs = json.loads(self._result.read_text())
        self.side.printed = self._printed.read_text()
        self.more = False

    def stop(self) -> None:
        """End the process, if it still runs."""
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()


def _threads(command: Sequence[str]) -> dict[str, str]:
    """Return the environment with the number of threads for BLAS libraries."""
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
    """Run all in turns.

    Parameters
    ----------
    commands : dict of str to list of str
        For fastcell, then for each way of PyTorch, the example and its arguments.
    folder : Path
        An empty one, for their output.
    seconds : float, optional
        Seconds of training by the fastest way of PyTorch after which all end.

    Raises
    ------
    Failure
        If one ends with an error, or no way of PyTorch supports the work.
    """
    processes = [Process(name, command, folder) for name, command in commands.items()]
    own, *peers = processes
    left_out: dict[str, str] = {}
    try:
        steps = 1
        while any(process.more for process in (own, *peers)):
            if own.more:
                own.turn(steps)
            for peer in [peer for peer in peers if peer.more]:
                try:
                    peer.turn(steps, _LONGEST_TURN)
                except Cannot as reason:
                    left_out[peer.engine] = str(reason)
                    peers.remove(peer)
                    peer.stop()
            if not peers:
                raise Failure(f"no way of PyTorch can do it: {left_out}")
            for peer in _not_worth_it(own, peers):
                peers.remove(peer)
                peer.stop()
            steps = _steps_a_turn(peers, steps)
            # Without the first turn, see below.
            spent = min(sum(s for _, s in peer.side.turns[1:]) for peer in peers)
            if seconds is not None and spent > seconds:
                break
    finally:
        for process in processes:
            process.stop()
    sides = {p.engine: p.side for p in processes if p.engine not in left_out}
    whole = {process.engine for process in (own, *peers) if not process.more}
    timing = _timing(sides, whole)
    timing.left_out = left_out
    return sides, timing


def _steps_a_turn(peers: Sequence[Process], before: int) -> int:
    paces = [taken / last for last, taken in (p.side.turns[-1] for p in peers) if last]
    return max(1, round(_SECONDS_A_TURN / min(paces))) if paces else before


def _not_worth_it(own: Process, peers: Sequence[Process]) -> list[Process]:
    """Return the ways to drop from the timing; never all of them."""
    tried = {}
    for peer in peers:
        pairs = _pairs(own.side, peer.side)
        if len(pairs) >= _TRIED_TURNS:
            tried[peer.engine] = statistics.median(_pace(t) for _, t in pairs)
    return [
        peer
        for peer in peers
        if len(tried) > 1
        and peer.engine in tried
        and (
            tried[peer.engine] > _CLEARLY_SLOWER * min(tried.values())
            or (peer.engine.endswith(":packed") and not peer.side.ragged)
        )
    ]


def _pairs(own: Side, peer: Side) -> list[tuple[tuple[int, float], tuple[int, float]]]:
    """Return the timed turns of both, without the first one, which allocates memory."""
    pairs = zip(own.turns, peer.turns, strict=False)
    return [(a, b) for a, b in pairs if a[0] == b[0] and a[0]][1:]


def _pace(turn: tuple[int, float]) -> float:
    steps, seconds = turn
    return seconds / steps


def _timing(sides: dict[str, Side], whole: set[str]) -> Timing:
    own_name, *names = sides
    ragged = any(sides[name].ragged for name in names)
    if not ragged and len(names) > 1:  # packed equals the others
        names = [name for name in names if not name.endswith(":packed")]
    pairs = {name: _pairs(sides[own_name], sides[name]) for name in names}
    ratios = {
        name: statistics.median(_pace(theirs) for _, theirs in found)
        / statistics.median(_pace(ours) for ours, _ in found)
        for name, found in pairs.items()
        if found
    }
    if not ratios:
        raise Failure("there must be two turns to time; got fewer steps")
    best = min(ratios, key=ratios.__getitem__)
    found = pairs[best]
    steps = sum(ours[0] for ours, _ in found)
    median, mean = {}, {}
    for k, engine in enumerate(ENGINES):
        median[engine] = statistics.median(_pace(pair[k]) for pair in found)
        mean[engine] = sum(pair[k][1] for pair in found) / steps
    ended = {own_name, best} <= whole
    both = zip(ENGINES, (own_name, best), strict=True)
    wall = {engine: sides[name].seconds for engine, name in both} if ended else None
    ways = {_way(name, ragged): ratio for name, ratio in ratios.items()}
    way = _way(best, ragged)
    return Timing(median, mean, wall, ratios[best], len(found), way, ways)


def _way(name: str, ragged: bool) -> str:
    """Return the page's name of a way, such as "padded, eager"."""
    way = name.partition(":")[2]
    how = "compiled" if way == "compiled" else "eager"
    if not ragged:
        return f"no padding, {how}"
    return f"{'packed' if way == 'packed' else 'padded'}, {how}"


def metrics(printed: str, patterns: dict[str, str]) -> dict[str, float]:
    """Return the figures of a run by name, each from the last match of its pattern.

    Raises
    ------
    Failure
        If a pattern has no match.
    """
    found = {}
    for name, pattern in patterns.items():
        values = re.findall(pattern, printed, re.MULTILINE)
        if not values:
            raise Failure(f"{name}: {pattern!r} must be printed; got {printed[-500:]}")
        found[name] = float(values[-1])
    return found
