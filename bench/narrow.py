"""The speed of bf16 and int8 relative to float32, for an instruction set.

Layers of the three precisions take turns in blocks, so that the load of the machine is
the same for all. Above 1, the narrow products are faster. Without an instruction for
them (AVX512_BF16, VNNI) the ratio is below 1 from a few rows on, except int8 by AVX2.

    FASTCELL_ISA=avx2 python bench/narrow.py [--cells lstm,gru] [--threads 1]
"""

from __future__ import annotations

import argparse
from typing import Any

import fastcell
from fastcell._judge import load
from fastcell._judge.measure import Protocol, interleave, ratios
from fastcell.cli.measure import PRECISIONS, Layer, kernels, parse_shape

SHAPES = ("100x1x256", "100x8x256", "100x32x256", "28x128x28x128")
PROTOCOL = Protocol(blocks=5, seconds=0.05)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", default="lstm,gru", help="(default: lstm,gru)")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="as fastcell bench")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    given = parser.parse_args()
    fastcell.set_num_threads(given.threads)
    if disturbed := load.warning(load.busy_share()):
        print(disturbed)
    narrow = [Layer("lstm", parse_shape("1x8x64"), p) for p in PRECISIONS[1:]]
    print("; ".join(kernels(one.describe(1, 0), one.precision) for one in narrow))
    print("\n| cell, shape | bf16 forward | bf16 training | int8 forward |")
    print("| --- | ---: | ---: | ---: |")
    for cell in given.cells.split(","):
        for shape in given.shapes.split(","):
            forward = gains(cell, shape, "forward", PRECISIONS)
            train = gains(cell, shape, "train", PRECISIONS[:2])
            print(f"| {cell} {shape} | {forward[0]} | {train[0]} | {forward[1]} |")


def gains(cell: str, shape: str, mode: str, precisions: Any) -> list[str]:
    """Return the ratios of the other precisions to the first, as texts."""
    layers = [Layer(cell, parse_shape(shape), p) for p in precisions]
    exact, *others = interleave([layer.call(mode) for layer in layers], PROTOCOL)
    found = (ratios(other, exact) for other in others)
    return [f"{ratio:.2f} [{low:.2f}, {high:.2f}]" for ratio, low, high in found]


if __name__ == "__main__":
    main()
