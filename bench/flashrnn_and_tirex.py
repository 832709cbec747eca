"""xLSTM packages on the CPU against fastcell, in turns of blocks.

Outputs, and in training all gradients, are compared before anything is timed. The
packages are TiRex (tirex-ts), whose layer computes in bfloat16, FlashRNN with its
backend "vanilla", and TiRex-2, a whole forecast. A package that is not installed is
named and left out. FASTCELL_ISA=avx2 limits the kernels of fastcell.

    pip install torch tirex-ts flashrnn tirex-2
    python bench/flashrnn_and_tirex.py [--quick]
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from judge.report import machine

import fastcell.torch
from fastcell import _core
from fastcell._judge import load
from fastcell._judge.measure import Protocol, interleave, ratios
from fastcell.torch.flash import FUNCTIONS

PROTOCOL = Protocol(blocks=5, seconds=0.15)
QUICK = Protocol(blocks=3, seconds=0.05)
#: Of calls over many steps, which take the package a second.
LONG = Protocol(blocks=3, seconds=0.05, untimed_calls=1)
#: Of the largest number of a tensor, in float32.
TOLERANCE = 5e-5
#: Of TiRex's layer: rows, the least gain with AVX2, with products of bfloat16.
LAYERS = ((1, 10, 5), (16, 30, 5), (64, 50, 5))
SHAPES = ((1, 64, 4, 128), (16, 64, 4, 128), (8, 1024, 4, 64))  # B, T, heads, D
FLASH_BAR = 5
FORECAST_BAR = 2

Tensors = list[torch.Tensor]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="short blocks, nothing compiled"
    )
    parser.add_argument(
        "--only", choices=("layer", "flashrnn", "forecast"), help="(default: all)"
    )
    args = parser.parse_args()
    protocol = QUICK if args.quick else PROTOCOL
    here = machine()
    print(f"{here['cpu']}, fastcell's kernels: {_core.isa()}")
    if disturbed := load.warning(load.busy_share()):
        print(disturbed)
    print("\n| case | package ms | fastcell ms | times as fast | bar |")
    print("| --- | ---: | ---: | ---: | ---: |")
    missing = []
    for name, package, rows in (
        ("layer", "tirex", layer_rows),
        ("flashrnn", "flashrnn", flash_rows),
        ("forecast", "tirex2", forecast_rows),
    ):
        if args.only not in (None, name):
            continue
        if importlib.util.find_spec(package) is None:
            missing.append(package)
            continue
        rows(protocol, args.quick)
    for package in missing:
        print(f"\n{package} is not installed: its cases are left out")


def tell(case: str, calls: list[Callable[[], Any]], bar: float, how: Protocol) -> None:
    """Time the package's call and that of fastcell, and print a row."""
    peer, own = interleave(calls, how)
    ratio, low, high = ratios(own, peer)
    missed = "" if ratio >= bar else ", missed"
    print(
        f"| {case} | {peer.median * 1e3:.4g} | {own.median * 1e3:.4g} | "
        f"{ratio:.1f} [{low:.1f}, {high:.1f}] | {bar:g}{missed} |",
        flush=True,
    )


def check(case: str, own: Tensors, peer: Tensors, tolerance: float = TOLERANCE) -> None:
    """Stop if two lists of tensors differ."""
    for a, b in zip(own, peer, strict=True):
        worst = float((a - b).abs().max() / b.abs().max())
        assert worst <= tolerance, f"{case}: {worst:.1e} apart"


@contextmanager
def in_float32() -> Iterator[None]:
    """Let TiRex's cell compute in float32."""
    narrow, torch.bfloat16 = torch.bfloat16, torch.float32  # type: ignore[misc]
    try:
        yield
    finally:
        torch.bfloat16 = narrow  # type: ignore[misc]


def layer_rows(protocol: Protocol, quick: bool) -> None:
    """TiRex's sLSTM layer as a whole, inference."""
    package = importlib.import_module("tirex.models.slstm.layer")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    peer = package.sLSTMLayer(package.sLSTMBlockConfig(512, 4), "torch")
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    own = copy.deepcopy(peer)
    fastcell.torch.accelerate(own)
    narrow = "avx512_bf16" in machine()["flags"]
    with torch.inference_mode():
        for B, bar, narrow_bar in LAYERS:
            x = torch.randn(B, 64, 512)
            case = f"TiRex's layer, 512, 4 heads, B {B}, T 64"
            with in_float32():
                expected = peer(x)
            check(case, [own(x)], [expected])
            calls: Any = [lambda x=x: peer(x), lambda x=x: own(x)]
            tell(case, calls, narrow_bar if narrow else bar, protocol)


def flash_rows(protocol: Protocol, quick: bool) -> None:
    """FlashRNN's functions, forward and training."""
    flashrnn = importlib.import_module("flashrnn").flashrnn
    torch.set_num_threads(1)
    for B, T, H, D in SHAPES[: 2 if quick else None]:
        for function in FUNCTIONS:
            of = FUNCTIONS[function]
            torch.manual_seed(0)
            inputs = [
                torch.randn(B, T, of.x_gates, H, D),
                torch.randn(of.r_gates, H, D, D) / D**0.5 / 2,
                torch.randn(of.biases, H, D) / 4,
            ]
            dh = torch.randn(B, T, H, D)
            options = {"function": function, "backend": "vanilla", "dtype": "float32"}

            def forward(
                function: Any, inputs: Any = inputs, options: Any = options
            ) -> Tensors:
                with torch.no_grad():
                    return list(function(*inputs, **options))

            def training(
                function: Any,
                inputs: Any = inputs,
                options: Any = options,
                dh: Any = dh,
            ) -> Tensors:
                given = [tensor.detach().requires_grad_() for tensor in inputs]
                found, _ = function(*given, **options)
                return [found[0].detach(), *torch.autograd.grad(found[0], given, dh)]

            for what, run in (("forward", forward), ("training", training)):
                case = f"FlashRNN {function}, B {B}, T {T}, {H} x {D}, {what}"
                check(case, run(fastcell.torch.flashrnn), run(flashrnn))
                calls: Any = [
                    lambda run=run: run(flashrnn),
                    lambda run=run: run(fastcell.torch.flashrnn),
                ]
                tell(case, calls, FLASH_BAR, LONG if T > 512 else protocol)


def forecast_rows(protocol: Protocol, quick: bool) -> None:
    """A whole forecast of TiRex-2, one series of 512 steps."""
    program = example()
    torch.manual_seed(0)
    peer = program.random_model()
    context = torch.sin(torch.arange(512) / 8).numpy()
    for compiled in (False,) if quick else (False, True):
        own = copy.deepcopy(peer)
        fastcell.torch.accelerate(own.model)
        models = [peer, own]
        if compiled:
            for model in models:
                compile_layers(model.model)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            case = f"TiRex-2, a forecast, {threads} thread{'s' * (threads > 1)}"
            case += ", compiled" if compiled else ""
            calls: Any = [
                lambda model=model: program.forecast(model, context, 64)
                for model in models
            ]
            expected, found = (call() for call in calls)
            check(case, [found], [expected])
            tell(case, calls, FORECAST_BAR, protocol)


def compile_layers(model: torch.nn.Module) -> None:
    """Compile what ``tirex2.load_model(compile=True)`` does."""
    for module in model.modules():
        names = [cls.__name__ for cls in type(module).__mro__]
        if "mLSTMLayer" in names or "_FlashRNNLayer" in names:
            module.compile()


def example() -> Any:
    """Return examples/pytorch/tirex.py as a module."""
    folder = Path(__file__).parents[1] / "examples" / "pytorch"
    sys.path.append(str(folder))
    spec: Any = importlib.util.spec_from_file_location("program", folder / "tirex.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


if __name__ == "__main__":
    main()
