"""fastcell and PyTorch on real data: ``python bench/applications.py run DATA ROW...``.

A row is an example of examples/ on a data set. It is run as it stands by fastcell, and
once more with the same model trained by PyTorch on the same batches from the same first
weights (worker.py, twins/). Both are scored by the same code.

    python bench/applications.py rows
    python bench/applications.py run DATA sst trec --seeds 0,1,2     how well
    python bench/applications.py time DATA sst trec                  how fast
    python bench/applications.py write                               docs/results.md

`run` runs both sides at the same time, one thread each, and times nothing. `time` runs
them in turns, nothing else beside them, and takes the ratio of the medians of the turns
(pair.py). Results are kept in docs/results.json, each as soon as it is there, and
`write` makes docs/results.md of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import results_page
from application_rows import APPLICATIONS, Application
from pair import ENGINES, Failure, in_turns, metrics, side_by_side
from report import machine

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results.json"
PICTURES = ROOT / "docs" / "pictures"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line says; return the exit code."""
    arguments = _parse(argv)
    if arguments.command == "rows":
        for row in APPLICATIONS.values():
            print(f"{row.name:16} {row.application}, {row.data}: {row.model}")
        return 0
    if arguments.command == "write":
        results_page.write(_read(), ROOT / "docs")
        return 0
    failed = 0
    for name in arguments.rows or APPLICATIONS:
        row = APPLICATIONS[name]
        try:
            if arguments.command == "run":
                for seed in arguments.seeds:
                    run(row, arguments.data, seed)
            else:
                time_row(row, arguments.data, arguments.threads, arguments.seconds)
        except Failure as failure:
            print(f"{name}: {failure}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def run(row: Application, data: Path, seed: int) -> None:
    """Train and score by both engines, without timing, and keep the figures."""
    PICTURES.mkdir(exist_ok=True)
    commands = {}
    for engine in ENGINES:
        commands[engine] = command(row, data, 1, seed)
        if row.picture and engine == "fastcell" and seed == 0:
            picture = PICTURES / f"{row.name}{row.picture}"
            commands[engine] += ["--plot", str(picture.resolve())]
    with TemporaryDirectory() as folder:
        sides = side_by_side(commands, Path(folder))
    results = _read()
    kept = results.setdefault(row.name, {})
    for engine, side in sides.items():
        value = metrics(side.printed, {row.metric: row.pattern})[row.metric]
        kept.setdefault(engine, {})[str(seed)] = value
        print(f"{row.name}, seed {seed}, {engine}: {value}", flush=True)
        kept.setdefault("steps", side.steps)
        if seed == 0:
            kept["parameters"] = side.runs[0]["parameters"]
            kept.setdefault("curves", {})[engine] = _curve(side.runs[0]["history"])
            if engine == "fastcell":
                kept["printed"] = _without_folders(side.printed).splitlines()[-60:]
    _write(results)


def time_row(row: Application, data: Path, threads: int, seconds: float | None) -> None:
    """Time both engines in turns, and keep the ratio and the wall clock."""
    commands = {engine: command(row, data, threads, 0) for engine in ENGINES}
    with TemporaryDirectory() as folder:
        sides, timing = in_turns(commands, Path(folder), seconds)
    results = _read()
    kept = results.setdefault(row.name, {})
    kept.setdefault("timings", {})[str(threads)] = asdict(timing)
    kept["machine"] = machine()
    if timing.wall_clock is not None:
        kept["steps"] = sides["fastcell"].steps
    _write(results)
    print(f"{row.name}, {threads} threads: {timing.ratio:.2f} times", flush=True)


def command(row: Application, data: Path, threads: int, seed: int) -> list[str]:
    """Return the example and its arguments."""
    return [
        str(ROOT / "examples" / f"{row.example}.py"),
        *(a.format(data=data.resolve()) for a in row.arguments),
        *("--threads", str(threads), "--seed", str(seed)),
    ]


def _without_folders(printed: str) -> str:
    """Return it without where on this machine the pictures are."""
    return printed.replace(f"{PICTURES.resolve()}/", "")


def _curve(history: list[dict[str, Any]]) -> dict[str, list[Any]]:
    keys = ("step", "train_loss", "valid_loss")
    return {key: [record.get(key) for record in history] for key in keys}


def _read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def _write(results: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="applications.py", description=__doc__.partition("\n")[0]
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
                type=lambda text: [int(seed) for seed in text.split(",")],
                default=[0, 1, 2],
                metavar="N,N",
            )
        else:
            one.add_argument("--threads", type=int, default=1)
            one.add_argument(
                "--seconds", type=float, help="end after so many of PyTorch's training"
            )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
