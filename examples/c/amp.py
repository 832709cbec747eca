"""An amplifier by a GRU: learned in Python, run by a C program of one file.

The amplifier is an artificial one, of three stages at 48 kHz: a high-pass filter, a
tube that saturates on one side more than on the other, and a low-pass filter. A GRU and
a linear layer learn its output less its input, sample by sample, with truncated
backpropagation (Wright, Damskägg, Juvela and Välimäki 2020, doi:10.3390/app10030766).
The error is theirs: the energy of the difference by that of the output, ESR.

`fastcell.export_c` writes the network as amp.c; with audio.c, which has the form of a
plug-in, the compiler makes a program of it. It runs on a signal that was not learned,
and its output is compared with the session's, sample by sample.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

import numpy as np

import fastcell
from fastcell.losses import mse
from fastcell.optim import Adam

RATE = 48_000
HERE = Path(__file__).parent
FLAGS = "-std=c99 -O2 -march=native -DFASTCELL_NET_SIMD"


def guitar(seconds: float, seed: int) -> np.ndarray:
    """Return a signal of plucked strings, which fade, in [-1, 1]."""
    random = np.random.default_rng(seed)
    steps = int(seconds * RATE)
    y, t = np.zeros(steps), np.arange(RATE // 2) / RATE
    for start in range(0, steps, RATE // 8):
        pitch = 82.4 * 2 ** (random.integers(0, 30) / 12)
        note = sum(
            np.sin(2 * np.pi * pitch * k * t) * np.exp(-t * (3 + k)) / k
            for k in range(1, 8)
        )
        here = min(len(note), steps - start)
        y[start : start + here] += random.uniform(0.1, 0.5) * note[:here]
    return np.clip(y, -1, 1).astype(np.float32)


def amplifier(x: np.ndarray) -> np.ndarray:
    """Return the amplifier's output of a signal."""
    y = np.empty_like(x)
    low = lowpass = 0.0
    for i, sample in enumerate(x.tolist()):
        low += 0.01 * (sample - low)
        driven = 4 * (sample - low) + 0.3
        bent = np.tanh(driven) if driven > 0 else 0.6 * np.tanh(driven / 0.6)
        lowpass += 0.5 * (0.7 * (bent - 0.29) - lowpass)
        y[i] = lowpass
    return y


def train(model: fastcell.Sequential, seconds: float, epochs: int) -> None:
    """Learn the difference of output and input, in parts side by side."""
    x = guitar(seconds, seed=1)
    rows, length = 32, 256
    steps = len(x) // rows // length * length
    x, y = (
        a[: steps * rows].reshape(rows, steps).T[..., np.newaxis]
        for a in (x, amplifier(x) - x)
    )
    optimizer = Adam(model.params, lr=4e-3)
    for epoch in range(epochs):
        state, losses = None, []
        for t in range(0, steps, length):
            part = np.ascontiguousarray(x[t : t + length])
            out, state, saved = model.forward(part, state)
            loss, dy = mse(out, np.ascontiguousarray(y[t : t + length]))
            losses.append(loss)
            optimizer.step(model.backward(dy, saved)[2])
        optimizer.lr *= 0.9
        print(f"epoch {epoch + 1}: mean squared error {np.mean(losses):.6f}")


def main() -> None:
    """Train, export, compile, run and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20, help="of the signal")
    parser.add_argument("--out", type=Path, default=Path("amp"), help="a folder")
    parser.add_argument("--flags", default=FLAGS, help="of the compiler")
    given = parser.parse_args()
    model = fastcell.Sequential(
        [
            fastcell.GRU(1, given.hidden_size, seed=0),
            fastcell.Linear(given.hidden_size, 1, seed=1),
        ]
    )
    train(model, given.seconds, given.epochs)

    given.out.mkdir(exist_ok=True)
    made = fastcell.export_c(model, given.out / "amp.c", name="amp")
    print(
        f"{made.source}: {made.weight_bytes:,} bytes of weights, {made.state_bytes:,} "
        f"of state, {made.multiply_adds:,} multiply-adds a sample"
    )
    program = given.out.resolve() / "audio"
    compiler = os.environ.get("CC", "cc")
    command = [compiler, *given.flags.split(), "-I", given.out, HERE / "audio.c"]
    subprocess.run([*command, made.source, "-o", program], check=True)

    x = guitar(2, seed=2)
    (given.out / "in.f32").write_bytes(x.tobytes())
    files = [given.out / "in.f32", given.out / "out.f32"]
    subprocess.run([program, *files], check=True)
    ours = np.frombuffer(files[1].read_bytes(), np.float32)
    y = amplifier(x)
    session = model.session()
    theirs = x + np.array([session.step(v)[0, 0] for v in x.reshape(-1, 1, 1)])
    print(f"ESR of the C program: {np.square(ours - y).sum() / np.square(y).sum():.4f}")
    print(f"largest difference to Python: {np.abs(ours - theirs).max():.1e}")


if __name__ == "__main__":
    main()
