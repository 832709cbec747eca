"""Benchmark of fastcell.torch and torch.nn: ``python bench/pytorch.py``.

It runs compare.py's verbs, for docs/pytorch.md, on the modules of both and on
fastcell's bare layer, which shows the cost of the bridge: forward and training over the
grid, packed sequences, single steps. Shapes for which the bare layer is slower than
PyTorch are listed separately, since the kernels are the reason.

    python bench/pytorch.py                       everything, one and two threads
    python bench/pytorch.py --quick --threads 1   a first look
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

import peers
from compare import measure_case
from judge import options
from judge.modes import MODES
from judge.report import machine

from fastcell._judge import load
from fastcell._judge.engines import OURS
from fastcell._judge.measure import geometric_mean
from fastcell._judge.rows import Row

ENGINES = (OURS, "fastcell.torch", "torch")
#: Mode -> the labels of the compared runs: ours, PyTorch's, the bare layer's.
TABLES = {
    "forward": [("fastcell.torch", "PyTorch", OURS)],
    "train": [("fastcell.torch", "PyTorch", OURS)],
    "ragged": [("fastcell.torch packed", "PyTorch packed", OURS)],
    "step": [
        ("fastcell.torch cell", "PyTorch cell", OURS),
        ("fastcell.torch layer", "PyTorch layer", OURS),
    ],
}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 1 if something failed."""
    parser = argparse.ArgumentParser(
        prog="pytorch.py", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="few shapes and blocks")
    parser.add_argument("--threads", default="1,2", metavar="N,N")
    parser.add_argument("--mode", default=",".join(TABLES), metavar="M,M")
    given = parser.parse_args(argv)
    quick = ["--quick"] if given.quick else []
    arguments = options.parse(quick)
    about = machine()
    engines = [peers.load(name) for name in ENGINES]
    versions = {k: v for engine in engines for k, v in engine.versions().items()}
    print(", ".join(str(v) for v in about.values()), "|", versions)
    failed = False
    for mode in given.mode.split(","):
        for threads in map(int, given.threads.split(",")):
            if mode == "step" and threads > 1:
                continue
            disturbed = load.warning(load.busy_share())
            if disturbed:
                print(disturbed)
            rows = []
            for case in MODES[mode].cases(arguments):
                protocol = options.protocol(arguments)
                try:
                    row = measure_case(mode, threads, case, engines, protocol)
                except Exception as error:
                    print(f"{mode} {case.cell} {case.shape}: {error}", file=sys.stderr)
                    failed = True
                    continue
                rows.append(row)
            for names in TABLES[mode]:
                print(f"\n## {MODES[mode].title}: {names[0]}, {threads} threads\n")
                _print(rows, *names)
    return 1 if failed else 0


def _print(rows: Iterable[Row], ours: str, theirs: str, bare: str) -> None:
    """Print a row per case, and the mean without the rows of the kernels."""
    print(
        f"| cell | shape | {ours}, us | {theirs}, us | ratio | bare layer's | bridge |"
    )
    print("|---|---|---:|---:|---:|---:|---:|")
    ratios, kernels = [], []
    for row in rows:
        own, peer, layer = (row.timings[label].median for label in (ours, theirs, bare))
        (ratios if peer / layer >= 1 else kernels).append(peer / own)
        over = f"{1e6 * (own - layer):+.1f} us, {100 * (own / layer - 1):+.1f} %"
        print(
            f"| {row.cell} | {row.shape} | {1e6 * own:.1f} | {1e6 * peer:.1f} "
            f"| {peer / own:.2f} | {peer / layer:.2f} | {over} |",
            flush=True,
        )
    for what, found in (("rows", ratios), ("rows of the kernels", kernels)):
        if found:
            print(
                f"\n{len(found)} {what}: mean {geometric_mean(found):.2f}, "
                f"smallest {min(found):.2f}"
            )


if __name__ == "__main__":
    sys.exit(main())
