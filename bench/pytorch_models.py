"""Benchmark of small PyTorch models with an LSTM: ``python bench/pytorch_models.py``.

It prints two tables of docs/pytorch.md: a model compiled as one graph; and a
convolution, an LSTM and a linear layer with two threads, of PyTorch, fastcell or both.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from judge.report import machine

import fastcell
import fastcell.torch
from fastcell import _core
from fastcell._judge import load
from fastcell._judge.measure import Protocol, Timing, interleave
from fastcell.torch.openmp import share_threads

VOCABULARY = 1000


class Words(torch.nn.Module):
    """Scores of the next word: embedding, LSTM, linear."""

    def __init__(self, width: int, H: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, width)
        self.lstm = torch.nn.LSTM(width, H)
        self.linear = torch.nn.Linear(H, 64)

    def forward(self, x: torch.Tensor) -> Any:
        return self.linear(self.lstm(self.embedding(x))[0])


class Frames(torch.nn.Module):
    """Scores of frames of sound: convolution, LSTM, linear."""

    def __init__(self, features: int, width: int, H: int) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv1d(features, width, 5, padding=2)
        self.lstm = torch.nn.LSTM(width, H)
        self.linear = torch.nn.Linear(H, 64)

    def forward(self, x: torch.Tensor) -> Any:
        x = torch.relu(self.convolution(x)).permute(2, 0, 1)
        return self.linear(self.lstm(x)[0])


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="of a block")
    parser.add_argument("--blocks", type=int, default=7)
    given = parser.parse_args(argv)
    protocol = Protocol(given.blocks, given.seconds)
    print(", ".join(map(str, machine().values())), "| PyTorch", torch.__version__)
    disturbed = load.warning(load.busy_share())
    if disturbed:
        print(disturbed)
    _print_compiled(protocol)
    _print_threads(protocol)
    return 0


# ------------------------------------------------------------------ one graph


def _print_compiled(protocol: Protocol) -> None:
    print("\n## Embedding, LSTM, linear: torch.compile(fullgraph=True), 1 thread\n")
    print("| T x B x H | | compiles in, s | eager, us | compiled, us | ratio |")
    print("|---|---|---:|---:|---:|---:|")
    torch.set_num_threads(1)
    for T, B, width, H in ((20, 8, 32, 32), (50, 16, 64, 64), (100, 32, 128, 256)):
        torch.manual_seed(0)
        model = Words(width, H)
        fastcell.torch.accelerate(model, fullgraph=True)
        x = torch.randint(VOCABULARY, (T, B))
        torch._dynamo.reset()
        compiled = torch.compile(copy.deepcopy(model), fullgraph=True)
        for training in (False, True):
            calls = [_call(m, x, training) for m in (model, compiled)]
            begin = time.perf_counter()
            _agree(calls[1](), calls[0](), 1e-5)
            seconds = time.perf_counter() - begin
            eager, as_graph = interleave(calls, protocol)
            print(
                f"| {T}x{B}x{H} | {'training' if training else 'forward'} "
                f"| {seconds:.1f} | {_us(eager)} | {_us(as_graph)} "
                f"| {eager.median / as_graph.median:.2f} |",
                flush=True,
            )


def _call(model: Any, x: torch.Tensor, training: bool) -> Callable[[], torch.Tensor]:
    def forward() -> torch.Tensor:
        with torch.no_grad():
            out: torch.Tensor = model(x)
            return out

    def step() -> torch.Tensor:
        model.zero_grad(set_to_none=True)
        out: torch.Tensor = model(x)
        out.square().mean().backward()
        return out.detach()

    return step if training else forward


# -------------------------------------------------------------------- threads


@contextmanager
def _threads(torchs: int, ours: int, shared: bool) -> Iterator[None]:
    """Set the threads of PyTorch's operators and of fastcell's."""
    torch.set_num_threads(torchs)
    fastcell.set_num_threads(ours)
    if shared:
        share_threads()
    else:
        _core.use_openmp(0, 0, 0, 0)
    try:
        yield
    finally:
        share_threads()


#: Numbers of threads: PyTorch's operators, fastcell's, whether they are the same.
WAYS = {
    "shared": (2, 2, True),
    "two sets": (2, 2, False),
    "PyTorch's alone": (2, 1, False),
    "fastcell's alone": (1, 2, False),
}


def _print_threads(protocol: Protocol) -> None:
    print("\n## Convolution, LSTM, linear: whose two threads, us\n")
    print(
        "| T x B x H | | torch.nn |", " | ".join(WAYS), "| shared to the better one |"
    )
    print("|---|---|---:|" + "---:|" * (len(WAYS) + 1))
    for T, B, width, H in ((100, 1, 64, 128), (50, 16, 64, 64), (100, 32, 128, 256)):
        torch.manual_seed(0)
        model = Frames(40, width, H)
        peer = copy.deepcopy(model)
        fastcell.torch.accelerate(model)
        x = torch.randn(B, 40, T)
        for training in (False, True):
            calls = [_call(m, x, training) for m in (peer, *[model] * len(WAYS))]
            _agree(calls[1](), calls[0](), 1e-4)
            ways = [(2, 1, False), *WAYS.values()]
            contexts = [lambda way=way: _threads(*way) for way in ways]
            timings = interleave(calls, protocol, contexts)
            _, shared, _, theirs, ours = (t.median for t in timings)
            print(
                f"| {T}x{B}x{H} | {'training' if training else 'forward'} |",
                " | ".join(map(_us, timings)),
                f"| {shared / min(theirs, ours):.2f} |",
                flush=True,
            )


def _us(timing: Timing) -> str:
    return f"{1e6 * timing.median:.0f}"


def _agree(found: torch.Tensor, expected: torch.Tensor, bound: float) -> None:
    error = float((found - expected).abs().max() / expected.abs().max())
    if not error <= bound:
        raise RuntimeError(f"the outputs differ by {error:.1e} of the largest number")


if __name__ == "__main__":
    sys.exit(main())
