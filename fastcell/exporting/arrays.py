"""Weights as arrays of C: their order in products, 8-bit integers, their text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_LEAST = np.finfo(np.float32).tiny


class Integers(NamedTuple):
    """A matrix of 8-bit integers (K, N), with a scale for each column."""

    numbers: np.ndarray
    scale: np.ndarray


def padded(units: int, lanes: int) -> int:
    """Return a multiple of `lanes` that is no less than `units`."""
    return -(-units // lanes) * lanes


def gate_columns(weight: np.ndarray, gates: int, to: int) -> np.ndarray:
    """Return W (G H, K) as the operand of a step's product, (K, G to).

    Each gate has `to` columns, those past its H units are zeros.
    """
    units, depth = len(weight) // gates, weight.shape[1]
    columns = np.zeros((depth, gates, to), np.float32)
    columns[:, :, :units] = weight.reshape(gates, units, depth).transpose(2, 0, 1)
    return columns.reshape(depth, gates * to)


def gate_row(values: np.ndarray, vectors: int, to: int) -> np.ndarray:
    """Return values (vectors H,) as (vectors to,), each vector padded by zeros."""
    row = np.zeros((vectors, to), np.float32)
    row[:, : len(values) // vectors] = values.reshape(vectors, -1)
    return row.reshape(-1)


def integers_of(columns: np.ndarray) -> Integers:
    """Return a matrix (K, N) in 8 bits, rounded as `pack` in `src_c/kernels/pack.h`."""
    most = np.abs(columns).max(axis=0, initial=0.0).astype(np.float32)
    scale = most / np.float32(127)
    inverse = np.zeros_like(scale)
    normal = scale >= _LEAST
    inverse[normal] = np.float32(1) / scale[normal]
    numbers = np.rint(columns * inverse)
    return Integers(np.clip(numbers, -127, 127).astype(np.int8), scale)


def text_of(name: str, values: np.ndarray) -> str:
    """Return the definition of a constant array, which compiles to these bits."""
    kind = "signed char" if values.dtype == np.int8 else "real"
    flat = values.reshape(-1)
    numbers = [_number(value) for value in flat] or ["0"]
    lines, line = [], "   "
    for number in numbers:
        if len(line) + len(number) > 86:
            lines.append(line)
            line = "   "
        line += f" {number},"
    body = "\n".join([*lines, line])
    return f"static const {kind} {name}[{len(numbers)}] NET_ALIGNED = {{\n{body}\n}};\n"


def _number(value: np.generic) -> str:
    if value.dtype == np.int8:
        return str(int(value))
    text = f"{float(value):.9g}"
    return f"{text}f" if set(text) & {".", "e"} else f"{text}.0f"
