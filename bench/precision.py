"""The effect of narrow products on the validation loss of tiny Shakespeare.

The demo's model is trained twice from the same weights, on the same windows, with
products in float32 and in bfloat16. Both are evaluated on the last tenth of the text;
the float32 model also with 8-bit products. Differences are of the mean cross-entropy.

    python bench/precision.py [--steps 2000] [--cell lstm] [--threads 2]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import fastcell
from fastcell.data import CharVocabulary, TextStreams
from fastcell.demo_data import tiny_shakespeare
from fastcell.models import LanguageModel
from fastcell.optim import Adam, clip_grad_norm

T, B, LEARNING_RATE, CLIP = 64, 32, 6e-3, 5.0


def main() -> None:
    """Train, evaluate, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=2000, help="(default: 2000)")
    parser.add_argument(
        "--cell", default="lstm", help="of a language model (default: lstm)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    if given.threads is not None:
        fastcell.set_num_threads(given.threads)
    text = tiny_shakespeare()
    vocabulary = CharVocabulary.from_text(text)
    ids = vocabulary.encode(text)
    border = len(ids) * 9 // 10
    windows = TextStreams(ids[:border], B, T)
    validation = TextStreams(ids[border:], B, T)

    rows = []
    for precision in ("float32", "bf16"):
        model = LanguageModel(
            len(vocabulary), 64, 256, cell=given.cell, seed=given.seed
        ).to(precision)
        seconds = train(model, windows, given.steps)
        rows.append((f"trained in {precision}", evaluate(model, validation), seconds))
        if precision == "float32":
            quantized = model.quantize()
            rows.append(("the same, in int8", evaluate(quantized, validation), None))
    exact = rows[0][1]
    print("| model | nats per character | against float32 | training, s |")
    print("| --- | ---: | ---: | ---: |")
    for name, loss, seconds in rows:
        spent = "" if seconds is None else f"{seconds:.0f}"
        print(f"| {name} | {loss:.4f} | {loss / exact - 1:+.2%} | {spent} |")


def train(model: LanguageModel, windows: TextStreams, steps: int) -> float:
    """Train for `steps` windows with a cosine schedule; return the seconds."""
    optimizer = Adam(model.params, lr=LEARNING_RATE)
    state, start = None, time.perf_counter()
    for step in range(steps):
        optimizer.lr = LEARNING_RATE * max(0.05, (1 + np.cos(np.pi * step / steps)) / 2)
        number = step % len(windows)
        if number == 0:
            state = None
        _, saved = model.loss(windows[number], state)
        state = saved.state
        grads = model.backward(saved)
        clip_grad_norm(grads, CLIP)
        optimizer.step(grads)
    return time.perf_counter() - start


def evaluate(model: LanguageModel, windows: TextStreams) -> float:
    """Return the mean cross-entropy over all windows, the state carried."""
    state, total, count = None, 0.0, 0
    for batch in windows:
        loss, state = model.evaluate(batch, state)
        total += loss * model.count(batch)
        count += model.count(batch)
    return total / count


if __name__ == "__main__":
    main()
