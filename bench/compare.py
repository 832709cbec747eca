"""Benchmark of fastcell and its peers, in turns: ``python bench/compare.py``.

All engines get the same weights and inputs. Their outputs are compared before anything
is timed: a disagreement is an error (exit code 1), not a row. README.md in this folder
explains how the figures are measured and read.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import peers
from judge import held, options, roofline
from judge.modes import MODES, work
from judge.report import Report
from peers import BaseEngine

from fastcell._judge import load, rows
from fastcell._judge.agreement import Disagreement, largest_difference
from fastcell._judge.engines import OURS
from fastcell._judge.measure import Protocol
from fastcell._judge.rows import Row

__all__ = ["Disagreement", "largest_difference", "main", "measure_case"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; return the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = options.parse(argv)
    if arguments.held_to:
        held.begin_held(arguments.held_to, argv)
        arguments.peers = [p for p in arguments.peers if p not in held.FREE]
    engines, notes = _load_engines(arguments)
    if arguments.held_to:
        notes.append(held.note(arguments.held_to))
    if not engines:
        print("compare: no engine is installed:", *notes, sep="\n  ", file=sys.stderr)
        return 2
    report = Report.of(engines, notes, _protocol(arguments))
    report.bars = dict(arguments.bar)
    code = 0
    try:
        if _need_processes(engines, arguments):
            _measure_in_processes(report, argv, arguments)
        else:
            _measure_all(report, engines, arguments)
    except KeyboardInterrupt:
        report.notes.append("interrupted: the rows measured until then")
        code = 130
    if arguments.rows:  # a process of another comparison, which prints
        arguments.rows.write_text(report.to_json())
        return code
    markdown = report.to_markdown()
    print(markdown)
    if arguments.markdown:
        arguments.markdown.write_text(markdown)
    if arguments.json:
        arguments.json.write_text(report.to_json() + "\n")
    if arguments.plot:
        _plot(report, arguments.plot)
    return code or (1 if report.errors else 0)


def measure_case(
    mode: str,
    threads: int,
    case: Any,
    engines: Iterable[BaseEngine],
    protocol: Protocol,
    limits: roofline.Roofline | None = None,
) -> Row:
    """Compare, then time one case on all engines with `mode`.

    Raises
    ------
    Disagreement
        Before anything is timed.
    LookupError
        If none of the engines has `mode`.
    peers.NotYet
        If fastcell does not have it yet.
    """
    row = rows.measure_case(mode, MODES[mode], threads, case, engines, protocol)
    limit = None if limits is None else limits.seconds(mode, case)
    return replace(row, work=work(mode, case), limit=limit)


def _measure_all(
    report: Report, engines: list[BaseEngine], arguments: argparse.Namespace
) -> None:
    for threads in arguments.threads:
        measured: list[tuple[Row, Any]] = []
        limits = None
        try:
            for mode in arguments.mode:
                # Before the engines and the probe start threads of their own.
                disturbed = load.warning(load.busy_share())
                if disturbed:
                    _note(report, f"{mode}, threads {threads}: {disturbed}")
                limits = _limits(report, threads, limits)
                _measure_mode(
                    report, mode, threads, engines, arguments, limits, measured
                )
        finally:
            # Rows are compared with the best probe of the whole run.
            if limits is not None:
                report.limits[threads] = vars(limits)
                report.notes.append(limits.describe())
            for row, case in measured:
                limit = None if limits is None else limits.seconds(row.mode, case)
                report.rows.append(replace(row, limit=limit))


def _measure_mode(
    report: Report,
    mode: str,
    threads: int,
    engines: list[BaseEngine],
    arguments: argparse.Namespace,
    limits: roofline.Roofline | None,
    measured: list[tuple[Row, Any]],
) -> None:
    for case in MODES[mode].cases(arguments):
        name = f"{mode}, {getattr(case, 'cell', 'model')} {case.shape}"
        for engine in engines:
            if hasattr(case, "cell") and not engine.has(case.cell):
                _note(report, f"{engine.label} has no {case.cell}: left out there")
        title = f"{name}, threads {threads}"
        try:
            row = measure_case(mode, threads, case, engines, report.protocol, limits)
        except peers.NotYet as reason:
            _note(report, f"mode {mode} left out: {reason}")
            return
        except Exception as error:
            # A failing case must not discard an hour of other cases.
            report.errors.append(f"{title}: {type(error).__name__}: {error}")
            print(f"{title}: ERROR: {error}", file=sys.stderr, flush=True)
            continue
        measured.append((row, case))
        print(f"{title}: {row.summary()}", file=sys.stderr, flush=True)


def _note(report: Report, note: str) -> None:
    if note not in report.notes:
        report.notes.append(note)
        print(f"compare: {note}", file=sys.stderr, flush=True)


def _need_processes(engines: list[BaseEngine], arguments: argparse.Namespace) -> bool:
    """Return whether an engine needs a process for each number of threads."""
    several = len(arguments.threads) > 1
    return several and any(engine.threads_fixed for engine in engines)


def _measure_in_processes(
    report: Report, argv: Sequence[str], arguments: argparse.Namespace
) -> None:
    """Measure in one process for each number of threads, with all engines in it."""
    with TemporaryDirectory() as folder:
        for threads in arguments.threads:
            saved = Path(folder, f"{threads}.json")
            command = [sys.executable, str(Path(__file__).resolve()), *argv]
            command += [f"--threads={threads}", f"--rows={saved}"]
            process = subprocess.Popen(command)
            try:
                code = process.wait()
            except KeyboardInterrupt:
                # The terminal interrupts that process too; it writes its rows so far.
                with contextlib.suppress(KeyboardInterrupt):
                    process.wait(timeout=60)
                code = 130
            if saved.exists():
                report.take(json.loads(saved.read_text()))
            elif code != 130:
                report.errors.append(f"threads {threads}: ended with the code {code}")
            if code == 130:
                raise KeyboardInterrupt


def _limits(
    report: Report, threads: int, before: roofline.Roofline | None
) -> roofline.Roofline | None:
    """Probe the machine, again before each mode, since other load slows a probe."""
    try:
        limits = roofline.measure(threads).or_better(before)
    except roofline.NoProbe as reason:
        _note(report, f"no share of the roofline: {reason}")
        return before
    if before is None:
        print(f"compare: {limits.describe()}", file=sys.stderr, flush=True)
    return limits


def _plot(report: Report, path: Path) -> None:
    from judge import plot

    try:
        plot.draw(report.rows, path)
    except (ModuleNotFoundError, ValueError) as error:
        print(f"compare: no plot: {error}", file=sys.stderr)


def _load_engines(
    arguments: argparse.Namespace,
) -> tuple[list[BaseEngine], list[str]]:
    engines, notes = [], []
    for name in dict.fromkeys([OURS, *arguments.peers]):
        given = {}
        if name == "onnxruntime" and arguments.ort_allow_spinning is not None:
            given["allow_spinning"] = bool(arguments.ort_allow_spinning)
        try:
            engines.append(peers.load(name, **given))
        except peers.NotInstalled as absence:
            notes.append(f"left out: {absence}")
            print(f"compare: left out: {absence}", file=sys.stderr)
    return engines, notes


_protocol = options.protocol


if __name__ == "__main__":
    sys.exit(main())
