"""How near the cells come to the machine's limits, and to the LSTM's rate.

- minGRU, minLSTM and IndRNN have no R: a call is a product and a pass over memory. The
  share is that of `judge/roofline.py`.
- The sLSTM and the LSTM's other forms have the LSTM's products and other gates. They
  take turns with the LSTM; a figure is the cell's GFLOP/s over the LSTM's, with the
  quartiles over the blocks.

Outputs are compared with the cells' NumPy steps first.

    python bench/cells.py [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from judge import reference, roofline
from judge.bars import Bar
from judge.modes import MODES
from judge.script import Script
from peers import fastcell_adapter

from fastcell._judge import rows
from fastcell._judge.agreement import Disagreement
from fastcell._judge.cases import Case
from fastcell._judge.engines import Run
from fastcell._judge.measure import Protocol, Timing, interleave, ratios
from fastcell._judge.rows import Row

STEPS = 100
TOLERANCE = 1e-5  # float32 on both sides
Shapes = Sequence[tuple[int, int]]  # B, H
SHAPES = tuple(product((16, 64), (64, 128, 256)))
WITHOUT_R = ("min_gru", "min_lstm", "indrnn_relu")
#: The least rate of a cell, as a share of the LSTM's.
RATES = {
    "slstm": 0.85,
    "lstm_peephole": 0.85,
    "lstm_coupled": 0.85,
    "lstm_layer_norm": 0.7,
}
BARS = {
    mode: Bar(
        f"share of roofline, {mode}",
        0.8,
        (mode,),
        value=lambda r: r.share,
        percent=True,
    )
    for mode in ("forward", "train")
}
ENGINE = fastcell_adapter.Engine()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables; return the exit code."""
    script = Script(__doc__, argv)
    script.begin([ENGINE], BARS)
    shapes = SHAPES[1:2] if script.given.quick else SHAPES
    tables = []
    for threads in script.given.threads:
        ENGINE.set_num_threads(threads)
        shares(script, threads, shapes)
        tables += [rates(script, mode, threads, shapes) for mode in BARS]
    return script.end(*tables)


def shares(script: Script, threads: int, shapes: Shapes) -> None:
    """Add a row with its share of the roofline for each cell without R."""
    limits = roofline.measure(threads)
    measured = []
    for mode, (B, H), cell in product(BARS, shapes, WITHOUT_R):
        case = Case(cell, STEPS, B, H, H)
        title = f"{mode}, {cell} {case.shape}, threads {threads}"
        take = partial(alone, mode, threads, case, script.protocol, limits)
        if row := script.add(title, take):
            measured.append((row, case))
    # Rows are compared with the better of two probes, since noise only slows.
    limits = roofline.measure(threads).or_better(limits)
    for row, case in measured:
        at = script.report.rows.index(row)
        limit = limits.seconds(row.mode, case)
        script.report.rows[at] = replace(row, limit=limit)
    script.report.notes.append(limits.describe())


def alone(
    mode: str,
    threads: int,
    case: Case,
    protocol: Protocol,
    limits: roofline.Roofline,
) -> Row:
    """Return the row of a case without peers."""
    difference = reference.compare_with_steps(case, run_of(mode, case), TOLERANCE)
    row = rows.measure_case(mode, MODES[mode], threads, case, [ENGINE], protocol)
    limit = limits.seconds(mode, case)
    return replace(row, disagreement=difference, limit=limit)


def run_of(mode: str, case: Case) -> Run:
    """Return fastcell's way of a mode."""
    (run,) = MODES[mode].prepare(ENGINE, case)
    return run


def rates(script: Script, mode: str, threads: int, shapes: Shapes) -> str:
    """Return a table: each cell's GFLOP/s over the LSTM's, and what is below a bar."""
    plural = "s" if threads > 1 else ""
    title = MODES[mode].title
    lines = [
        f"## {title}: GFLOP/s over the LSTM's, {threads} thread{plural}",
        "",
        "| shape | LSTM, GFLOP/s | " + " | ".join(RATES) + " |",
        "| --- |" + " ---: |" * (len(RATES) + 1),
        "| bar | | " + " | ".join(f">= {least}" for least in RATES.values()) + " |",
    ]
    misses = []
    for B, H in shapes:
        cases = [Case(cell, STEPS, B, H, H) for cell in ("lstm", *RATES)]
        shape = cases[0].shape
        try:
            lstm, *others = together(mode, cases, script.protocol)
        except Disagreement as error:
            script.report.errors.append(f"{mode}, {shape}: {error}")
            continue
        work = MODES[mode].work(cases[0])
        fields = [shape, f"{work / lstm.median:.0f}"]
        for case, timing in zip(cases[1:], others, strict=True):
            rate = relative(case, timing, cases[0], lstm)
            fields.append("{:.2f} [{:.2f}, {:.2f}]".format(*rate))
            if round(rate[0], 2) < RATES[case.cell]:
                misses.append(f"{case.cell} {shape} {rate[0]:.2f}")
        lines.append("| " + " | ".join(fields) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    below = (
        f"Below its bar: {', '.join(misses)}." if misses else "None is below its bar."
    )
    return "\n".join([*lines, "", below])


def together(mode: str, cases: Sequence[Case], protocol: Protocol) -> list[Timing]:
    """Compare each case with its steps, then time all of them in turns."""
    runs = [run_of(mode, case) for case in cases]
    for case, run in zip(cases, runs, strict=True):
        reference.compare_with_steps(case, run, TOLERANCE)
    return interleave([run.call for run in runs], protocol)


def relative(
    case: Case, timing: Timing, lstm_case: Case, lstm: Timing
) -> tuple[float, float, float]:
    """Return the rate of a case over that of the LSTM, and its quartiles.

    A coupled gate is three quarters of the LSTM's work.
    """
    work = case.flop / lstm_case.flop
    ratio, low, high = ratios(timing, lstm)
    return work * ratio, work * low, work * high


if __name__ == "__main__":
    sys.exit(main())
