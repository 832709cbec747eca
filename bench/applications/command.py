"""The command line: ``python bench/applications run DATA ROW...``, time, write.

A row is an example of examples/ on a data set. It runs unchanged with fastcell, and
again with the same model trained by PyTorch on the same batches from the same initial
weights (worker.py, twins/). The same code scores both.

    python bench/applications rows
    python bench/applications run DATA sst trec --seeds 0,1,2     how well
    python bench/applications time DATA sst trec --seconds 20     how fast
    python bench/applications write                               docs/results.md

`run` runs two sides at a time, one thread each, without timing. `time` runs fastcell
and each way of PyTorch in turns, alone on the machine, with one thread and with two,
and computes the ratio of the medians to the fastest way (pair.py). Each result is
written to docs/results.json at once, and `write` builds docs/results.md from it; with
`--missing` a run only does rows without a result.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from judge.report import machine

from applications import page
from applications.pair import ENGINES, WAYS, Failure, Side, alone, in_turns, metrics
from applications.rows import APPLICATIONS, Application
from fastcell._judge import load

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results.json"
PICTURES = ROOT / "docs" / "pictures"
_AT_A_TIME = 2
_keeping = Lock()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parse(argv)
    if arguments.command == "rows":
        for row in APPLICATIONS.values():
            print(f"{row.name:16} {row.application}, {row.data}: {row.model}")
        return 0
    if arguments.command == "write":
        page.write(_read(), ROOT / "docs")
        return 0
    rows = [APPLICATIONS[name] for name in arguments.rows or APPLICATIONS]
    if arguments.command == "run":
        failures = run(
            rows,
            arguments.data,
            arguments.seeds,
            arguments.engines,
            missing=arguments.missing,
        )
    else:
        failures = []
        for row in rows:
            try:
                time_row(
                    row,
                    arguments.data,
                    arguments.threads,
                    arguments.seconds,
                    ways=arguments.ways,
                    missing=arguments.missing,
                )
            except Failure as failure:
                failures.append(f"{row.name}: {failure}")
    print("\n".join(failures), end="\n" * bool(failures), file=sys.stderr)
    return 1 if failures else 0


def run(
    rows: Sequence[Application],
    data: Path,
    seeds: Sequence[int],
    engines: Sequence[str] = ENGINES,
    *,
    missing: bool = False,
) -> list[str]:
    """Train and score with the engines, two at a time, and save the figures.

    Returns
    -------
    list of str
        The failures.
    """
    PICTURES.mkdir(exist_ok=True)
    held = _read() if missing else {}
    waiting = [
        (row, seed, engine)
        for seed in seeds
        for row in rows
        for engine in engines
        if str(seed) not in held.get(row.name, {}).get(engine, {})
    ]

    def one(row: Application, seed: int, engine: str) -> str | None:
        what = f"{row.name}, seed {seed}, {engine}"
        try:
            with TemporaryDirectory() as folder:
                side = alone(engine, _drawn(row, data, seed, engine), Path(folder))
            value = metrics(side.printed, {row.metric: row.pattern})[row.metric]
        except Failure as failure:
            return f"{what}: {failure}"
        _keep(row, seed, engine, side, value)
        print(f"{what}: {value}", flush=True)
        return None

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        done = list(pool.map(one, *zip(*waiting, strict=True))) if waiting else []
    return [failure for failure in done if failure]


def _drawn(row: Application, data: Path, seed: int, engine: str) -> list[str]:
    """Return the command of a run; that for the page also draws its picture."""
    picture = PICTURES / f"{row.name}{row.picture}"
    draws = row.picture and engine == "fastcell" and seed == 0
    plot = ["--plot", str(picture.resolve())] if draws else []
    return command(row, data, 1, seed) + plot


def _keep(row: Application, seed: int, engine: str, side: Side, value: float) -> None:
    with _keeping:
        results = _read()
        kept = results.setdefault(row.name, {})
        kept.setdefault(engine, {})[str(seed)] = value
        kept.setdefault("steps", side.steps)
        if seed == 0:
            kept["parameters"] = side.runs[0]["parameters"]
            kept.setdefault("curves", {})[engine] = _curve(side.runs[0]["history"])
            if engine == "fastcell":
                kept["printed"] = _without_folders(side.printed).splitlines()[-60:]
        _write(results)


def time_row(
    row: Application,
    data: Path,
    threads: Sequence[int],
    seconds: float | None,
    ways: Sequence[str] = WAYS,
    *,
    missing: bool = False,
) -> None:
    """Time all in turns, and save the ratio and the wall clock of each thread count."""
    for count in threads:
        held = _read().get(row.name, {}).get("timings", {}).get(str(count), {})
        if missing and "way" in held:
            continue
        peers = {f"torch:{way}": command(row, data, count, 0) for way in ways}
        commands = {"fastcell": command(row, data, count, 0), **peers}
        busy = load.busy_share()
        if load.warning(busy):
            print(f"{row.name}: {load.warning(busy)}", file=sys.stderr, flush=True)
        with TemporaryDirectory() as folder:
            sides, timing = in_turns(commands, Path(folder), seconds)
        results = _read()
        kept = results.setdefault(row.name, {})
        timings = kept.setdefault("timings", {})
        timings[str(count)] = asdict(timing) | {"busy": busy}
        kept["machine"] = {**machine(), "torch": version("torch")}
        if timing.wall_clock is not None:
            kept["steps"] = sides["fastcell"].steps
        _write(results)
        print(
            f"{row.name}, {count} threads: {timing.ratio:.2f} times, {timing.way}; "
            f"{timing.ways}, left out {timing.left_out}",
            flush=True,
        )


def command(row: Application, data: Path, threads: int, seed: int) -> list[str]:
    """Return the example and its arguments."""
    return [
        str(ROOT / "examples" / f"{row.example}.py"),
        *(a.format(data=data.resolve()) for a in row.arguments),
        *("--threads", str(threads), "--seed", str(seed)),
    ]


def _without_folders(printed: str) -> str:
    """Return the output without this machine's paths of pictures."""
    return printed.replace(f"{PICTURES.resolve()}/", "")


def _curve(history: list[dict[str, Any]]) -> dict[str, list[Any]]:
    keys = ("step", "train_loss", "valid_loss")
    return {key: [record.get(key) for record in history] for key in keys}


def _read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def _write(results: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="applications", description=__doc__.partition("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("rows", help="list the rows")
    commands.add_parser("write", help="write docs/results.md")
    for name, what in (("run", "train and score"), ("time", "time in turns")):
        one = commands.add_parser(name, help=what)
        one.add_argument("data", type=Path, help="the folder of all data sets")
        one.add_argument("rows", nargs="*", choices=[[], *APPLICATIONS], metavar="ROW")
        if name == "run":
            one.add_argument(
                "--seeds",
                type=_numbers,
                default=[0, 1, 2],
                metavar="N,N",
            )
            one.add_argument(
                "--engines",
                nargs="+",
                choices=ENGINES,
                default=ENGINES,
                help="one alone, where the other takes too long for several seeds",
            )
        else:
            one.add_argument("--threads", type=_numbers, default=[1, 2], metavar="N,N")
            one.add_argument(
                "--seconds", type=float, help="end after so many of PyTorch's training"
            )
            one.add_argument(
                "--ways", nargs="+", choices=WAYS, default=WAYS, help="of PyTorch"
            )
        one.add_argument(
            "--missing", action="store_true", help="only what is not held yet"
        )
    return parser.parse_args(argv)
