"""fastcell against its peers, interleaved in one run: ``python bench/compare.py``.

Every engine gets the same weights and inputs. Outputs are compared with each other
before anything is timed: engines that disagree are an error (exit code 1), not a row.
See README.md beside this file for how the figures are made and read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import peers
import shapes
from measure import Protocol, interleave
from peers import BaseEngine, Run
from report import MODES, OURS, Report, Row, machine

#: Largest difference of two engines, as a share of the largest value of that array.
#: Over the grid PyTorch and ONNX Runtime were at most 1.8e-6 apart forward and 6e-7 in
#: four steps, PyTorch's gradients at most 1.7e-6 from its own in float64. The demo
#: compares losses after updates by Adam, which divides small gradients by themselves.
#: A wrong gate order, a lost bias or a step too few is above 1e-2.
TOLERANCES = {"forward": 5e-6, "train": 1e-5, "step": 5e-6, "demo": 1e-4}

#: Calls whose outputs are compared: several where a state is carried from call to call.
_COMPARED_CALLS = {"forward": 1, "train": 1, "step": 4, "demo": 4}

_THREE_PASSES = 3  # training costs three times the products of inference


class Disagreement(Exception):
    """Engines that were given the same problem have returned different answers."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; return the exit code."""
    arguments = _parse(argv)
    engines, notes = _load_engines(arguments)
    if not engines:
        print("compare: no engine is installed:", *notes, sep="\n  ", file=sys.stderr)
        return 2
    report = _new_report(engines, notes, _protocol(arguments))
    code = 0
    try:
        _measure_all(report, engines, arguments)
    except KeyboardInterrupt:
        report.notes.append("interrupted: the rows measured until then")
        code = 130
    markdown = report.to_markdown()
    print(markdown)
    if arguments.markdown:
        arguments.markdown.write_text(markdown)
    if arguments.json:
        arguments.json.write_text(report.to_json() + "\n")
    return code or (1 if report.errors else 0)


def largest_difference(
    first: dict[str, np.ndarray], second: dict[str, np.ndarray]
) -> tuple[float, str]:
    """The largest relative difference of two sets of arrays, and in which it is.

    Relative to the largest magnitude of the array: elements near zero are sums that
    cancel and carry the rounding error of their terms. NaN or infinity in either, a
    missing array, or different shapes, count as infinite.
    """
    worst, where = 0.0, ""
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            return np.inf, f"{name} (only in one)"
        a = np.asarray(first[name], np.float64)
        b = np.asarray(second[name], np.float64)
        if a.shape != b.shape:
            return np.inf, f"{name} (shapes {a.shape} and {b.shape})"
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return np.inf, f"{name} (not finite)"
        scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
        difference = np.abs(a - b).max(initial=0.0)
        if difference > worst * scale:
            worst, where = float(difference / scale), name
    return worst, where


def compare_outputs(runs: Sequence[Run], calls: int, tolerance: float) -> float | None:
    """Run everything and compare the outputs, each with each.

    Returns
    -------
    float or None
        The largest difference that was found; None if there is nothing to compare.

    Raises
    ------
    Disagreement
        If any two differ by more than `tolerance`; names all such pairs.
    """
    outputs = {run.label: _outputs(run, calls) for run in runs}
    found = None
    complaints = []
    for first, second in combinations(outputs, 2):
        difference, where = largest_difference(outputs[first], outputs[second])
        found = difference if found is None else max(found, difference)
        if not difference <= tolerance:
            complaints.append(
                f"{first} and {second} differ by {difference:.1e} in {where}, allowed "
                f"are {tolerance:.0e}"
            )
    if complaints:
        raise Disagreement("; ".join(complaints))
    return found


def measure_case(
    mode: str,
    threads: int,
    case: shapes.Case | shapes.LanguageModelCase,
    engines: Iterable[BaseEngine],
    protocol: Protocol,
) -> Row:
    """Compare, then time one case on all engines that do `mode`.

    Raises
    ------
    Disagreement
        Before anything is timed.
    LookupError
        If none of the engines does `mode`.
    """
    runs = []
    for engine in engines:
        engine.set_num_threads(threads)
        runs += _PREPARE[mode](engine, case)
    if not runs:
        raise LookupError(f"none of the engines has the mode {mode!r}")
    disagreement = compare_outputs(runs, _COMPARED_CALLS[mode], TOLERANCES[mode])
    timings = interleave(
        [run.call for run in runs], protocol, [run.context for run in runs]
    )
    return Row(
        mode=mode,
        threads=threads,
        cell="lstm" if mode == "demo" else case.cell,
        shape=case.shape,
        work=_work(mode, case),
        timings=dict(zip((run.label for run in runs), timings, strict=True)),
        disagreement=disagreement,
    )


def _outputs(run: Run, calls: int) -> dict[str, np.ndarray]:
    outputs = {}
    with run.context():
        for k in range(calls):
            for name, value in run.read(run.call()).items():
                outputs[f"{name} of call {k}" if calls > 1 else name] = value
    return outputs


def _work(mode: str, case: Any) -> float | None:
    if mode == "step":
        return None
    if mode == "demo":
        return float(case.tokens)
    return case.flop * 1e-9 * (_THREE_PASSES if mode == "train" else 1)


_PREPARE: dict[str, Callable[[BaseEngine, Any], list[Run]]] = {
    "forward": lambda engine, case: engine.forward(case, case.weights(), case.input()),
    "train": lambda engine, case: engine.train(
        case, case.weights(), case.input(), case.dy()
    ),
    "step": lambda engine, case: engine.step(case, case.weights(), case.input()[0]),
    "demo": lambda engine, case: engine.language_model(
        case, case.weights(), case.batches()
    ),
}


def _measure_all(
    report: Report, engines: list[BaseEngine], arguments: argparse.Namespace
) -> None:
    for mode in arguments.mode:
        for threads in arguments.threads:
            for case in _cases(mode, arguments):
                name = f"{mode}, {getattr(case, 'cell', 'model')} {case.shape}"
                title = f"{name}, threads {threads}"
                try:
                    row = measure_case(mode, threads, case, engines, report.protocol)
                except Exception as error:
                    # One case that fails must not cost the hour that the others took.
                    report.errors.append(f"{title}: {type(error).__name__}: {error}")
                    print(f"{title}: ERROR: {error}", file=sys.stderr, flush=True)
                    continue
                report.rows.append(row)
                print(f"{title}: {_summary(row)}", file=sys.stderr, flush=True)


def _summary(row: Row) -> str:
    figures = [f"{label} {row.figure(label):.4g}" for label in row.timings]
    ratio = "" if row.ratio is None else f"; ratio {row.ratio[0]:.2f}"
    return ", ".join(figures) + ratio


def _cases(
    mode: str, arguments: argparse.Namespace
) -> Iterator[shapes.Case | shapes.LanguageModelCase]:
    if mode == "demo":
        yield shapes.LanguageModelCase()
        return
    grid = arguments.shapes or (shapes.QUICK_GRID if arguments.quick else shapes.GRID)
    if mode == "step":
        sizes = (64,) if arguments.quick else shapes.STEP_SIZES
        single = [shape for shape in arguments.shapes or () if shape[:2] == (1, 1)]
        grid = single if arguments.shapes else [(1, 1, size, size) for size in sizes]
    yield from shapes.cases(arguments.cells, list(grid))


def _load_engines(
    arguments: argparse.Namespace,
) -> tuple[list[BaseEngine], list[str]]:
    engines, notes = [], []
    for name in dict.fromkeys([OURS, *arguments.peers]):
        options = {}
        if name == "onnxruntime" and arguments.ort_allow_spinning is not None:
            options["allow_spinning"] = bool(arguments.ort_allow_spinning)
        try:
            engines.append(peers.load(name, **options))
        except peers.NotInstalled as absence:
            notes.append(f"left out: {absence}")
            print(f"compare: left out: {absence}", file=sys.stderr)
    return engines, notes


def _new_report(
    engines: list[BaseEngine], notes: list[str], protocol: Protocol
) -> Report:
    report = Report(
        machine=machine(),
        versions={"numpy": np.__version__},
        instruction_sets={},
        protocol=protocol,
        notes=notes,
    )
    for engine in engines:
        report.versions.update(engine.versions())
        report.notes.extend(engine.notes())
        chosen = engine.instruction_set()
        if chosen is not None:
            report.instruction_sets[engine.label] = chosen
    return report


def _protocol(arguments: argparse.Namespace) -> Protocol:
    blocks = arguments.blocks or (3 if arguments.quick else Protocol.blocks)
    return Protocol(blocks, 0.05 if arguments.quick else Protocol.seconds)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="compare.py",
        description="Time fastcell against its peers, interleaved in blocks.",
    )
    known_peers = [name for name in peers.ADAPTERS if name != OURS]
    add = parser.add_argument
    add(
        "--mode",
        type=_list_of(_one_of(MODES)),
        default=list(MODES),
        metavar="M,M",
        help="of forward, train, step, demo (default: all)",
    )
    add(
        "--threads",
        type=_list_of(_positive),
        default=[1, 2],
        metavar="N,N",
        help="numbers of threads (default: 1,2)",
    )
    add(
        "--cells",
        type=_list_of(_one_of(shapes.GATES)),
        default=list(shapes.GATES),
        metavar="C,C",
        help="of lstm, gru, rnn (default: all)",
    )
    add(
        "--shapes",
        type=_list_of(shapes.parse_shape),
        metavar="S,S",
        help="TxBxH or TxBxIxH instead of the grid; step takes those with T = B = 1",
    )
    add(
        "--peers",
        type=_list_of(_one_of(known_peers)),
        default=known_peers,
        metavar="P,P",
        help=f"of {', '.join(known_peers)} (default: all), or '' for none",
    )
    add("--quick", action="store_true", help="few shapes and blocks, for a first look")
    add("--blocks", type=_positive, help="blocks per engine (default: 7, quick 3)")
    add(
        "--ort-allow-spinning",
        type=int,
        choices=(0, 1),
        help="set session.intra_op.allow_spinning (default: as users get it)",
    )
    add("--json", type=Path, metavar="FILE", help="write everything measured")
    add("--markdown", type=Path, metavar="FILE", help="write the tables")
    return parser.parse_args(argv)


def _list_of(convert: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        try:
            return [convert(part.strip()) for part in text.split(",") if part.strip()]
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _one_of(names: Iterable[str]) -> Callable[[str], str]:
    names = list(names)

    def convert(text: str) -> str:
        if text not in names:
            raise ValueError(f"must be of {', '.join(names)}, got {text!r}")
        return text

    return convert


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"must be a positive integer, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
