"""Exported C against RTNeural: the same small networks, sample by sample.

    python bench/rtneural.py SOURCE [--quick] [--sizes H H]

SOURCE is a checkout of RTNeural (github.com/jatinchowdhury18/RTNeural). For each cell
and hidden size, a network of one input, the recurrent layer and a dense one is compiled
as RTNeural's static model, by each backend whose headers are there (its own loops,
Eigen, xsimd), and as the C file of `fastcell.export_c`, all with the same flags. The
outputs of 200 samples are compared; then the programs take turns, and the least time of
a sample counts. A ratio above 1 says that the C file is faster than RTNeural's fastest
backend.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import fastcell

SIZES = [8, 12, 16, 20, 24, 32, 40, 48, 64]
FLAGS = ("-O3", "-march=native")
BACKENDS = {
    "stl": ("-DRTNEURAL_USE_STL=1", 32),
    "eigen": ("-DRTNEURAL_USE_EIGEN=1", 32),  # which knows no more
    "xsimd": ("-DRTNEURAL_USE_XSIMD=1", 64),
}
TIMED = """
static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Prints 200 outputs, then nanoseconds of a sample, the least of some rounds. */
int main(int argc, char **argv) {
    BEGIN;
    for (int i = 0; i < 200; i++) {
        float x = (float)(i * 37 % 101) / 50.5f - 1.0f, y;
        STEP(x, y);
        printf("%.9g\\n", y);
    }
    double least = 1e9;
    float sum = 0;
    for (int round = 0; round < 20; round++) {
        double begin = seconds(), spent;
        for (int i = 0; i < 2000; i++) {
            float x = (float)(i % 101) / 50.5f - 1.0f, y;
            STEP(x, y);
            sum += y;
        }
        spent = (seconds() - begin) / 2000;
        least = spent < least ? spent : least;
    }
    printf("%.9g\\n%.2f\\n", sum, 1e9 * least);
    return argc > 9;
}
"""
THEIRS = """
#include <RTNeural/RTNeural.h>
#include <cstdio>
#include <ctime>
#include <fstream>

static RTNeural::ModelT<float, 1, 1, RTNeural::{layer}<float, 1, {H}>,
                        RTNeural::DenseT<float, {H}, 1>> model;
#define BEGIN                                    \\
    std::ifstream file(argv[1]);                 \\
    model.parseJson(file);                       \\
    model.reset()
#define STEP(x, y) y = model.forward(&x)
"""
OURS = """
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "net.h"

static net_state state;
#define BEGIN (void)argv, net_reset(&state)
#define STEP(x, y) net_step(&state, &x, &y)
"""


def keras(model: fastcell.Sequential) -> dict[str, object]:
    """Return a model in RTNeural's JSON form."""
    rnn, head = model.layers
    w = {name: np.array(rnn.params[name]) for name in rnn.params}
    is_gru = isinstance(rnn, fastcell.GRU)

    def turned(array: np.ndarray) -> np.ndarray:
        parts = np.split(array, len(rnn.gates))
        return np.concatenate([parts[1], parts[0], parts[2]] if is_gru else parts)

    w = {name: turned(array) for name, array in w.items()}
    biases = [w["bias_ih_l0"], w["bias_hh_l0"]]
    recurrent = {
        "type": "gru" if is_gru else "lstm",
        "activation": "tanh",
        "shape": [None, None, rnn.hidden_size],
        "weights": [
            w["weight_ih_l0"].T.tolist(),
            w["weight_hh_l0"].T.tolist(),
            [b.tolist() for b in biases] if is_gru else sum(biases).tolist(),
        ],
    }
    dense = {
        "type": "dense",
        "activation": "",
        "shape": [None, None, 1],
        "weights": [
            np.array(head.params["weight"]).T.tolist(),
            np.array(head.params["bias"]).tolist(),
        ],
    }
    return {"in_shape": [None, None, 1], "layers": [recurrent, dense]}


def built(folder: Path, cell: str, H: int, source: Path) -> dict[str, list[str | Path]]:
    """Return the commands of all programs of a network."""
    kind = getattr(fastcell, cell)
    head = fastcell.Linear(H, 1, seed=1)
    model = fastcell.Sequential([kind(1, H, seed=0), head])
    (folder / "model.json").write_text(json.dumps(keras(model)))
    fastcell.export_c(model, folder / "net.c", lanes=16 if H > 8 else 8)
    (folder / "ours.c").write_text(OURS + TIMED)
    ours = folder / "ours"
    cc = os.environ.get("CC", "gcc")
    files = [folder / "ours.c", folder / "net.c"]
    flags = [*FLAGS, "-std=c99", "-DFASTCELL_NET_SIMD"]
    subprocess.run([cc, *flags, *files, "-o", ours], check=True)
    programs: dict[str, list[str | Path]] = {"fastcell": [ours]}
    text = THEIRS.replace("{layer}", f"{cell}LayerT").replace("{H}", str(H))
    (folder / "theirs.cpp").write_text(text + TIMED)
    cxx = os.environ.get("CXX", "g++")
    include = ["-I", source, "-I", source / "modules" / "xsimd" / "include"]
    include.append("-I/usr/include/eigen3")
    for backend, (choice, alignment) in BACKENDS.items():
        program = folder / backend
        flags = [*FLAGS, "-std=c++17", choice]
        flags.append(f"-DRTNEURAL_DEFAULT_ALIGNMENT={alignment}")
        done = subprocess.run(
            [cxx, *flags, *include, folder / "theirs.cpp", "-o", program],
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            programs[backend] = [program, folder / "model.json"]
        elif H == 8:
            reason = [li for li in done.stderr.splitlines() if "error" in li][:1]
            print(f"backend {backend} does not compile: {' '.join(reason)}")
    return programs


def main() -> None:
    """Print a row for each cell and size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("--quick", action="store_true", help="few sizes, two turns")
    parser.add_argument("--sizes", type=int, nargs="+", help="hidden sizes")
    given = parser.parse_args()
    sizes = given.sizes or ([8, 32] if given.quick else SIZES)
    print("| cell | H | " + " | ".join(("fastcell", *BACKENDS)) + " | ratio | error |")
    print("| --- " * (len(BACKENDS) + 5) + "|")
    for cell in ("GRU", "LSTM"):
        for H in sizes:
            with tempfile.TemporaryDirectory() as folder:
                programs = built(Path(folder), cell, H, given.source.resolve())
                times = {name: np.inf for name in programs}
                outputs = {}
                for _ in range(2 if given.quick else 7):
                    for name, command in programs.items():
                        done = subprocess.run(
                            command, capture_output=True, text=True, check=True
                        )
                        *y, _, time = map(float, done.stdout.split())
                        outputs[name], times[name] = np.array(y), min(time, times[name])
            theirs = {n: t for n, t in times.items() if n != "fastcell"}
            errors = [np.abs(outputs[n] - outputs["fastcell"]).max() for n in theirs]
            # RTNeural's tanh and exp are those of its backend, some approximate.
            assert max(errors) < 5e-3, errors
            cells = [
                f"{times[n]:.0f}" if n in times else "" for n in ("fastcell", *BACKENDS)
            ]
            ratio = min(theirs.values()) / times["fastcell"]
            row = [cell, str(H), *cells, f"{ratio:.2f}", f"{max(errors):.0e}"]
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
