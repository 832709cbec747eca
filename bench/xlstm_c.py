"""The sLSTM and mLSTM against xlstm.c, one sequence, in float32 and int8.

xlstm.c is C for small devices (github.com/raws-labs/xlstm.c). Its sLSTM is
``SLSTM(form="plain")``; its mLSTM is the input product, `fastcell.mlstm` with one head,
and the output gate. It is compiled from a copy of its sources by ``gcc -O3
-march=native``. Its ``cell_clip``, off by default, has no counterpart and stays off.

    python bench/xlstm_c.py --source PATH/OF/xlstm.c [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from compare import measure_case
from judge.bars import Bar
from judge.script import Script
from peers import fastcell_adapter, xlstm_c

import fastcell
from fastcell._judge.agreement import compare_outputs
from fastcell._judge.cases import Case, normal, uniform
from fastcell._judge.engines import OURS, Run
from fastcell._judge.measure import interleave
from fastcell._judge.rows import Row
from fastcell.cells.registry import sigmoid

STEPS = 200
SIZES = (16, 64, 128, 256, 512)
BARS = {
    "float32": Bar("sLSTM and mLSTM, fp32", 3.0, ("forward",)),
    "int8": Bar("sLSTM, int8", 2.0, ("int8",)),
}
TOLERANCE = 1e-5  # float32; C sums products in another order


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables; return the exit code."""
    script = Script(__doc__, argv, threads=(1,), source="xlstm.c")
    engines = (fastcell_adapter.Engine(), xlstm_c.Engine(script.given.source))
    script.begin(engines, BARS)
    for threads in script.given.threads:
        for H in SIZES[:2] if script.given.quick else SIZES:
            case = Case("slstm_plain", STEPS, 1, H, H)
            for mode in ("forward", "int8"):
                measure = partial(
                    measure_case, mode, threads, case, engines, script.protocol
                )
                script.add(f"{mode}, slstm {case.shape}, threads {threads}", measure)
            engines[0].set_num_threads(threads)
            script.add(
                f"mlstm {case.shape}, threads {threads}",
                partial(mlstm, script, threads, H, engines[1]),
            )
    return script.end()


def mlstm(script: Script, threads: int, H: int, engine: xlstm_c.Engine) -> Row:
    """Compare and time the mLSTM of one head."""
    shapes = {"w": (4 * H + 2, H), "b": (4 * H + 2,)}
    w, b = uniform(shapes, H**-0.5).values()
    b[3 * H + 1] = 3  # forget slowly
    x = normal((1, STEPS, H), seed=1)
    ours = partial(our_mlstm(w, b), x)
    runs = [
        Run(OURS, ours, lambda y: {"y": y}),
        Run(engine.label, engine.mlstm(x, w, b), lambda y: {"y": y}),
    ]
    difference = compare_outputs(runs, 1, TOLERANCE)
    timings = interleave([run.call for run in runs], script.protocol)
    return Row(
        mode="forward",
        threads=threads,
        cell="mlstm",
        shape=f"{STEPS}x1x{H}",
        # The product, the sums of C and its product with q; as for the other cells.
        work=STEPS * (2 * w.size + 5 * H * H) * 1e-9,
        timings=dict(zip((run.label for run in runs), timings, strict=True)),
        disagreement=difference,
        sizes={"T": STEPS, "B": 1, "I": H, "H": H},
    )


def our_mlstm(w: np.ndarray, b: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a call: y (B, T, H) of x (B, T, I), with one head."""
    H = (len(b) - 2) // 4
    product = fastcell.Linear(w.shape[1], len(w))
    product.load_state_dict({"weight": w, "bias": b})

    def call(x: np.ndarray) -> np.ndarray:
        a = product(x)[:, None]
        q, k, v = a[..., :H], a[..., H : 2 * H], a[..., 2 * H : 3 * H]
        i, f, o = a[..., 3 * H], a[..., 3 * H + 1], a[..., 3 * H + 2 :]
        y = fastcell.mlstm(q, k, v, i, f, return_state=False)
        y *= sigmoid(o)
        return y[:, 0]

    return call


if __name__ == "__main__":
    sys.exit(main())
