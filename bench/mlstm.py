"""The mLSTM against PyTorch's kernels in mlstm_kernels, in turns of blocks.

Outputs are compared before anything is timed. The parallel kernel returns no state, and
is compared with calls that do not either.

    pip install torch mlstm_kernels einops
    python bench/mlstm.py [--threads 1]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from mlstm_kernels.torch import get_mlstm_kernel, get_mlstm_step_kernel

import fastcell
from fastcell._judge import load
from fastcell._judge.measure import Protocol, interleave, ratios

HEADS = 4
SIZES = ((64, 128), (128, 128), (128, 256))  # of a key, of a value
PROTOCOL = Protocol(blocks=9, seconds=0.05)
TOLERANCE = 2e-5  # of the largest output, float32

chunkwise = get_mlstm_kernel("chunkwise--native_autograd")
parallel = get_mlstm_kernel("parallel--native_autograd")
native_step = get_mlstm_step_kernel("native")


def main() -> None:
    """Measure and print two tables: times as fast as the peer, with the range."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    threads = parser.parse_args().threads
    fastcell.set_num_threads(threads)
    torch.set_num_threads(threads)
    if disturbed := load.warning(load.busy_share()):
        print(disturbed)
    with torch.inference_mode():
        print("| B x T, K, N | chunkwise, with the state | parallel, without |")
        print("| --- | ---: | ---: |")
        for B, T, (K, N) in product((1, 4), (64, 512, 2048), SIZES):
            print(f"| {B} x {T}, {K}, {N} | {sequences(B, T, K, N)} |", flush=True)
        print("\n| step: B, K, N | new state | in place |\n| --- | ---: | ---: |")
        for B, (K, N) in product((1, 4, 32), SIZES):
            print(f"| {B}, {K}, {N} | {steps(B, K, N)} |", flush=True)


def normal(*shape: int) -> torch.Tensor:
    """Return random numbers, the same in every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def sequences(B: int, T: int, K: int, N: int) -> str:
    """Return the gains over both kernels for whole sequences."""
    q, k, v = (normal(B, HEADS, T, n) for n in (K, K, N))
    inputs = {"q": q, "k": k.flip(2), "v": v}
    inputs |= {"i": normal(B, HEADS, T), "f": normal(B, HEADS, T).flip(2) + 3}
    arrays = {name: x.numpy() for name, x in inputs.items()}
    options = {"autocast_kernel_dtype": torch.float32}
    found = gain(
        lambda: fastcell.mlstm(**arrays),
        lambda: chunkwise(**inputs, return_last_states=True, **options),
    )
    if T > 1000:  # seconds, and gigabytes
        return f"{found} | "
    without = gain(
        lambda: fastcell.mlstm(**arrays, eps=0, return_state=False),
        lambda: parallel(**inputs, eps=0, **options),
    )
    return f"{found} | {without}"


def steps(B: int, K: int, N: int) -> str:
    """Return the gains for one step."""
    q, k, v = (normal(B, HEADS, n) for n in (K, K, N))
    i, f = normal(B, HEADS, 1), normal(B, HEADS, 1) + 3
    state = normal(B, HEADS, K, N), normal(B, HEADS, K), normal(B, HEADS, 1)
    arrays = [x.numpy() for x in (q, k.flip(1), v, i, f)]
    before = tuple(x.numpy() for x in state)
    own = tuple(x.copy() for x in before)

    def peer() -> Any:
        return native_step(q, k.flip(1), v, i, f, *state)

    new = gain(lambda: fastcell.mlstm_step(*arrays, before), peer)

    def in_place() -> Any:
        return fastcell.mlstm_step(*arrays, own, in_place=True)

    return f"{new} | {gain(in_place, peer, compare=False)}"


def gain(ours: Callable[[], Any], peer: Callable[[], Any], compare: bool = True) -> str:
    """Return how many times as fast ours is, after a comparison of the outputs."""
    if compare:
        a, b = (x[0] if isinstance(x, tuple) else x for x in (ours(), peer()))
        assert np.abs(a - b.numpy()).max() <= TOLERANCE * np.abs(a).max()
    own, other = interleave([ours, peer], PROTOCOL)
    ratio, low, high = ratios(own, other)
    return f"{ratio:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
