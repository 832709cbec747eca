"""Training LSTMs with layer normalization, and with zoneout, against haste and Keras.

haste's layers (github.com/lmnt-com/haste) run on the CPU by PyTorch; Keras' are cells
of one's own in `keras.layers.RNN`, on PyTorch. The masks of zoneout are random on all
sides; for the comparison before the timing the peers get fastcell's.

haste's layer normalization is that of ``LSTM(layer_norm=True)``: of W x and of R h over
all 4 H values, and of c; its one bias is the sum of both. Its zoneout is of h alone,
``zoneout=(p, 0)``.

    pip install torch keras
    python bench/haste.py --source PATH/OF/haste [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

from judge import zoneout
from judge.bars import Bar
from judge.modes import MODES
from judge.script import Script
from peers import BaseEngine, fastcell_adapter, keras_cells
from peers import haste as haste_adapter

from fastcell._judge.agreement import compare_outputs
from fastcell._judge.cases import Case
from fastcell._judge.engines import Run
from fastcell._judge.measure import Protocol, interleave
from fastcell._judge.rows import Row

STEPS = 100
ROWS, UNITS = (16, 64), (64, 256)
BARS = {"train": Bar("training to haste's and Keras' best", 5.0, ("train",))}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables; return the exit code."""
    script = Script(__doc__, argv, source="haste", blocks=3)
    peers = [haste_adapter.Engine(script.given.source), keras_cells.Engine()]
    script.begin([fastcell_adapter.Engine(), *peers], BARS)
    quick = script.given.quick
    for threads in script.given.threads:
        for B, H in product(ROWS[: 1 if quick else 2], UNITS[: 1 if quick else 2]):
            for case in (
                Case("lstm_layer_norm", STEPS, B, H, H),
                zoneout.ZoneoutCase("lstm", STEPS, B, H, H),
            ):
                title = f"train, {case.cell} {case.shape}, threads {threads}"
                script.add(
                    title, partial(measure, threads, case, peers, script.protocol)
                )
    return script.end()


def measure(
    threads: int, case: Case, peers: Sequence[BaseEngine], protocol: Protocol
) -> Row:
    """Compare, then time one case.

    Raises
    ------
    fastcell._judge.agreement.Disagreement
        If outputs or gradients differ.
    """
    own, mode = fastcell_adapter.Engine(), MODES["train"]
    for engine in (own, *peers):
        engine.set_num_threads(threads)
    problem = case, case.weights(), case.input(), case.dy()
    (ours,) = own.train(*problem)
    first = ours.call()
    same: dict[str, Any] = {}
    if zoneout.rate(case):
        same["keep"] = zoneout.kept(ours.read(first)["y"])
    fixed = [Run(ours.label, lambda: first, ours.read)]
    for engine in peers:
        fixed += engine.train(*problem, **same)
    difference = compare_outputs(fixed, 1, mode.tolerance)
    runs = [ours]
    for engine in peers:
        runs += engine.train(*problem)
    timings = interleave([run.call for run in runs], protocol)
    return Row(
        mode="train",
        threads=threads,
        cell=case.cell,
        shape=case.shape,
        work=mode.work(case),
        timings=dict(zip((run.label for run in runs), timings, strict=True)),
        disagreement=difference,
        sizes=case.sizes,
    )


if __name__ == "__main__":
    sys.exit(main())
