"""``fastcell export-c`` writes a model as C; ``convert`` reads one of RTNeural."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from fastcell.cli.arguments import path_value


def add_export_c(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", metavar="MODEL", type=path_value)
    parser.add_argument(
        "-o",
        "--out",
        type=path_value,
        help="the C file (default: NAME.c); the header is beside it",
    )
    parser.add_argument("--name", help="prefix of the public names (default: net)")
    parser.add_argument(
        "--dtype",
        choices=["float32", "int8"],
        help="of the weights of recurrent layers (default: float32)",
    )
    parser.add_argument(
        "--lanes",
        type=int,
        choices=[1, 2, 4, 8, 16],
        help="units are padded to a multiple of it; 1 for processors without vectors "
        "(default: 8)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")


def export_c(given: dict[str, Any]) -> int:
    """Write the files, and print what they need."""
    import fastcell

    name = given.get("name", "net")
    out = Path(given.get("out", f"{name}.c"))
    _refuse_existing(given, out, out.with_suffix(".h"))
    made = fastcell.export_c(
        fastcell.load(given["model"]),
        out,
        name=name,
        dtype=given.get("dtype", "float32"),
        lanes=given.get("lanes", 8),
    )
    rows = {
        "files": f"{made.source}, {made.header}",
        "inputs, outputs": f"{made.inputs}, {made.outputs}",
        "weights": f"{made.weight_bytes:,} bytes",
        "state": f"{made.state_bytes:,} bytes",
        "code": _code(made.source),
        "multiply-adds": f"{made.multiply_adds:,} a step",
    }
    width = max(map(len, rows))
    for label, value in rows.items():
        print(f"{label:{width}}  {value}")
    return 0


def add_convert(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", metavar="MODEL.json", type=path_value)
    parser.add_argument(
        "-o", "--out", type=path_value, help="where to (default: model.safetensors)"
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")


def convert(given: dict[str, Any]) -> int:
    """Read a model of RTNeural, and save it."""
    import fastcell
    from fastcell.rtneural import read_rtneural

    out = Path(given.get("out", "model.safetensors"))
    _refuse_existing(given, out)
    model = read_rtneural(given["model"])
    fastcell.save(model, out)
    for layer in model.layers:
        print(f"{type(layer).__name__}({_sizes(layer)})")
    return 0


def _refuse_existing(given: dict[str, Any], *paths: Path) -> None:
    for path in paths:
        if path.exists() and not given.get("force"):
            raise ValueError(f"{path} exists; --force replaces it")


def _sizes(layer: Any) -> str:
    return ", ".join(
        str(getattr(layer, name))
        for name in ("input_size", "hidden_size", "in_features", "out_features", "kind")
        if hasattr(layer, name)
    )


def _code(source: str) -> str:
    """Return the size of the compiled functions, by the compiler of this machine."""
    compiler = os.environ.get("CC") or "cc"
    if not (shutil.which(compiler) and shutil.which("size")):
        return "unknown: there is no compiler (CC, cc) here"
    with tempfile.TemporaryDirectory() as folder:
        compiled = str(Path(folder) / "code.o")
        command = [compiler, "-std=c99", "-Os", "-c", source, "-o", compiled]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return f"unknown: {compiler} failed"
        sections = subprocess.run(
            ["size", "-A", compiled], capture_output=True, text=True
        ).stdout
    found = re.findall(r"^\.text\S*\s+(\d+)", sections, re.M)
    return f"{sum(map(int, found)):,} bytes ({compiler} -Os)"
