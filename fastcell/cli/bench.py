"""``fastcell bench``: the speed of fastcell on this machine, as a Markdown table.

It times fastcell alone, against other libraries, or against an earlier run.
bench/compare.py has more modes and peers, bar charts and the roofline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import fastcell
from fastcell._judge import engines, load, own
from fastcell._judge.agreement import Disagreement
from fastcell._judge.cases import Case as Problem
from fastcell._judge.cells import default_cells
from fastcell._judge.engines import OURS, BaseEngine
from fastcell._judge.measure import Protocol
from fastcell._judge.modes import MODES as RULES
from fastcell._judge.rows import Row, measure_case
from fastcell.cli.figures import BEFORE, Case, Figure, Table
from fastcell.cli.measure import Layer, Shape, cores, kernels, machine, measure
from fastcell.cli.results import PROGRAM, Result, check_outputs, picture_kind, read

MODES = tuple(RULES)

#: From single steps over streams and batches to large layers.
GRID = tuple(
    Shape(*sizes)
    for sizes in (
        (1, 1, 64, 64),
        (1, 1, 256, 256),
        (100, 1, 64, 64),
        (100, 1, 256, 256),
        (100, 1, 512, 512),
        (25, 1, 1024, 1024),
        (100, 8, 256, 256),
        (100, 32, 256, 256),
        (50, 64, 512, 512),
        (50, 64, 1024, 1024),
        (28, 128, 28, 128),
        (50, 16, 1024, 1024),
        (200, 16, 40, 96),
    )
)
STEPS = tuple(Shape(1, 1, H, H) for H in (32, 64, 128, 256))
QUICK_GRID = (GRID[2], GRID[6], GRID[10])
QUICK_STEPS = (STEPS[1], STEPS[3])

_BLOCKS, _QUICK_BLOCKS = 7, 3  # of each engine

_ALONE = """\
Shapes are TxBxH, or TxBxIxH. Medians over blocks, {seconds} s for each figure;
± is half the distance between the quartiles of the blocks. GFLOP/s count the
products, 2GH(I+H) for each row and step, in training three times that."""

_PEERS = """\
Shapes are TxBxH, or TxBxIxH. All engines get the same weights and inputs, and their
outputs are compared before they are timed: in turns, {blocks} blocks of {ms} ms each.
Times are medians; a ratio is a peer's time over fastcell's, above 1 fastcell is faster;
in brackets its quartiles over the blocks."""


def bench(given: dict[str, Any]) -> int:
    """Print the table, row by row as it is measured, and write the files.

    Returns
    -------
    int
        1 if a ratio is below the required one, else 0.
    """
    precision = given.get("precision", "float32")
    _check_options(given, precision)
    older = None if "compare" not in given else _older(given["compare"], precision)
    results, picture = given.get("json"), given.get("plot")
    check_outputs(results, picture, given.get("compare"), given.get("force", False))
    if picture is not None:
        _check_matplotlib()
    run = _Run(given, precision, _load_peers(given.get("against", ())), older)
    for paragraph in run.introduction():
        print(f"{paragraph}\n")
    before = fastcell.get_num_threads()
    try:
        run.measure_all()
    finally:  # after Ctrl-C too
        fastcell.set_num_threads(before)
        if results is not None:
            _write(results, json.dumps(run.record(), indent=1).encode() + b"\n")
    below = run.table.below(given["fail_below"]) if "fail_below" in given else []
    for paragraph in run.conclusions():
        print(f"\n{paragraph}")
    if below:
        print(f"\nBelow {given['fail_below']:g}:\n")
        for line in below:
            print(f"- {line}")
    if picture is not None:
        _write(picture, _drawn(run.table, picture))
    return 1 if below else 0


class _Run:
    """All figures of one run.

    Parameters
    ----------
    given : dict
        The arguments of the command line.
    precision : str
        The precision of the layers.
    peers : sequence of BaseEngine
        The engines to time besides fastcell.
    older : Result or None
        An earlier result to compare with.
    """

    def __init__(
        self,
        given: dict[str, Any],
        precision: str,
        peers: Sequence[BaseEngine],
        older: Result | None,
    ) -> None:
        quick = given.get("quick", False)
        self._precision = precision
        self._peers = peers
        self._older = older
        self._cases = list(_cases(given, precision, quick, peers))
        self._check_cases()
        self._seconds = given.get("seconds", 0.1 if quick else 0.5)
        blocks = _QUICK_BLOCKS if quick else _BLOCKS
        self._protocol = Protocol(blocks, self._seconds / blocks)
        self._machine = machine()
        self._warnings: dict[str, str] = {}
        self.table = Table(
            [peer.label for peer in peers],
            older is not None,
            {case.layer.cell for case in self._cases},
        )

    def _check_cases(self) -> None:
        if not self._cases:
            raise ValueError("no mode that was asked for has any of the shapes")
        for case in self._cases:
            case.layer.check_memory(case.mode == "train")
        older = self._older
        if older and not any(case.key in older.medians for case in self._cases):
            raise ValueError(
                f"--compare: {older.path} must have one of the modes, cells, shapes "
                "and threads that are measured now; it has none"
            )

    def introduction(self) -> list[str]:
        """Return the paragraphs above the table."""
        self._warn(self._cases[0].mode)
        paragraphs = [self._where(), _PEERS if self._peers else _ALONE]
        protocol = self._protocol
        how = {
            "seconds": f"{self._seconds:g}",
            "blocks": protocol.blocks,
            "ms": f"{protocol.seconds * 1e3:.2g}",
        }
        paragraphs[1] = paragraphs[1].format(**how)
        paragraphs += ["\n".join(_about(peer)) for peer in self._peers]
        if self._older is not None:
            paragraphs.append(
                f"{BEFORE}: {self._older.about()}.\nFigures of two runs compare only "
                "on one machine that was equally quiet."
            )
        return [*paragraphs, *self._warnings.values()]

    def _where(self) -> str:
        about, layer = self._machine, self._cases[0].layer
        load = "" if about["load"] is None else f", load {about['load']:.1f}"
        return (
            f"{about['cpu']}, {about['cores']} cores{load}; "
            f"{kernels(layer.describe(1, 0), layer.precision)}  \n"
            f"fastcell {about['fastcell']}, numpy {about['numpy']}, "
            f"Python {about['python']}, {about['compiler']}, {about['platform']}"
        )

    def measure_all(self) -> None:
        """Measure all cases, and print each row."""
        self.table.begin()
        mode = self._cases[0].mode
        for case in self._cases:
            if case.mode != mode:
                mode = case.mode
                self._warn(mode)
            self.table.add(self._figure(case))

    def conclusions(self) -> list[str]:
        """Return the paragraphs below the table."""
        first = self._cases[0].mode
        late = ((m, warning) for m, warning in self._warnings.items() if m != first)
        return [*self.table.means(), *(f"{mode}: {text}" for mode, text in late)]

    def record(self) -> dict[str, Any]:
        """Return the measurements for the JSON file."""
        figures = self.table.figures
        return {
            "program": PROGRAM,
            "machine": self._machine,
            "precision": self._precision,
            "seconds": self._seconds,
            "versions": {k: v for p in self._peers for k, v in p.versions().items()},
            "warnings": self._warnings,
            "complete": len(figures) == len(self._cases),
            "figures": [figure.record(self.table.against) for figure in figures],
        }

    def _figure(self, case: Case) -> Figure:
        before = None if self._older is None else self._older.medians.get(case.key)
        if self._peers:
            row = _judged(case, self._peers, self._protocol)
            return Figure(case, row.timings[OURS], row, before)
        fastcell.set_num_threads(case.threads)
        timing = measure(case.layer.call(case.mode), self._seconds)
        return Figure(case, timing, None, before)

    def _warn(self, mode: str) -> None:
        """Record a warning if other programs are busy before a mode is measured."""
        warning = load.warning(load.busy_share())
        if warning is not None:
            self._warnings[mode] = warning


def _judged(case: Case, peers: Sequence[BaseEngine], protocol: Protocol) -> Row:
    """Compare and time one case on fastcell and its peers."""
    problem = Problem(case.layer.cell, *case.layer.shape)
    try:
        return measure_case(
            case.mode,
            RULES[case.mode],
            case.threads,
            problem,
            [own.Engine(), *peers],
            protocol,
        )
    except Disagreement as error:
        raise ValueError(f"{case}: {error}; it was not timed") from None
    except Exception as error:  # a peer may raise anything
        raise ValueError(f"{case}: {type(error).__name__}: {error}") from error


def _about(peer: BaseEngine) -> list[str]:
    versions = ", ".join(
        f"{name} {version}" for name, version in peer.versions().items()
    )
    chosen = peer.instruction_set()
    first = f"{peer.label}: {versions}" + (f", {chosen}" if chosen else "")
    return [first, *peer.notes()]


def _check_options(given: dict[str, Any], precision: str) -> None:
    if "against" in given and precision != "float32":
        raise ValueError(f"--against compares in float32; got --precision {precision}")
    if not ("against" in given or "compare" in given):
        for option in ("plot", "fail_below"):
            if option in given:
                name = option.replace("_", "-")
                raise ValueError(
                    f"--{name} is of ratios: give --against or --compare with it"
                )


def _load_peers(names: Sequence[str]) -> list[BaseEngine]:
    peers = []
    for name in dict.fromkeys(names):
        try:
            peers.append(engines.load(name))
        except engines.NotInstalled as absence:
            raise ValueError(f"--against {absence}") from None
        except ImportError as error:
            raise ValueError(f"--against {name}: cannot be imported: {error}") from None
    return peers


def _cases(
    given: dict[str, Any],
    precision: str,
    quick: bool,
    peers: Sequence[BaseEngine] = (),
) -> Iterator[Case]:
    modes = given.get("modes", MODES)
    if precision == "int8":
        if "train" in given.get("modes", ()):
            raise ValueError("--modes: a layer of precision int8 does not train")
        modes = [mode for mode in modes if mode != "train"]
    cells = given.get("cells", default_cells())
    threads = given.get("threads", sorted({1, cores()}))
    if peers:
        modes = _had("modes", given, modes, lambda peer, mode: peer.does(mode), peers)
        cells = _had("cells", given, cells, lambda peer, cell: peer.has(cell), peers)
        _check_threads(threads, modes, peers)
    shapes = given.get("shapes")
    steps = QUICK_STEPS if quick else STEPS
    if shapes is not None:
        steps = tuple(shape for shape in shapes if shape.T == shape.B == 1)
    calls = shapes or (QUICK_GRID if quick else GRID)
    for mode in modes:
        for cell in cells:
            for shape in steps if mode == "step" else calls:
                # A session's step runs in the thread that calls it.
                for count in (1,) if mode == "step" else threads:
                    yield Case(mode, Layer(cell, shape, precision), count)


def _had(
    option: str,
    given: dict[str, Any],
    names: Sequence[str],
    has: Callable[[BaseEngine, str], bool],
    peers: Sequence[BaseEngine],
) -> list[str]:
    """Return the names that any peer has; a given name without a peer is an error."""
    had = [name for name in names if any(has(peer, name) for peer in peers)]
    for name in given.get(option, ()):
        if name not in had:
            labels = " and ".join(peer.label for peer in peers)
            raise ValueError(f"--{option}: there is no {name} in {labels}")
    return had


def _check_threads(
    threads: Sequence[int], modes: Sequence[str], peers: Sequence[BaseEngine]
) -> None:
    counts = set(threads) if set(modes) != {"step"} else set()
    if "step" in modes:
        counts.add(1)
    for peer in peers:
        if peer.threads_fixed and len(counts) > 1:
            raise ValueError(
                f"--threads: {peer.label} takes its number of threads once for the "
                "whole process; give one number, such as --threads 1"
            )


def _older(path: str, precision: str) -> Result:
    older = read(path)
    if older.precision != precision:
        raise ValueError(
            f"--compare: {path} is of precision {older.precision}; this run {precision}"
        )
    return older


def _check_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            "--plot: package 'matplotlib' is not installed; pip install matplotlib"
        ) from None


def _drawn(table: Table, path: str) -> bytes:
    from io import BytesIO

    from fastcell._judge import plot

    content = BytesIO()
    kind = picture_kind(path)
    title = "How many times as fast fastcell is (log scale)"
    plot.draw(table.bars(), content, title, format=kind, program=PROGRAM)
    return content.getvalue()


def _write(path: str, content: bytes) -> None:
    from fastcell._checks.files import write_atomically

    write_atomically(path, content)
