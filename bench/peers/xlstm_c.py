"""xlstm.c: sLSTM and mLSTM in portable C, float32 and int8, called through ctypes.

github.com/raws-labs/xlstm.c; compiled from a folder with its sources. It has no
threads. Its int8 forms take x in 8 bits and the ranges of x, y, c and n, measured
beforehand: here in float32 on the same input, before the timing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from judge import reference
from judge.compiler import compiled

from fastcell._judge.cases import Case
from peers import Arrays, BaseEngine, NotInstalled, Run

_SOURCES = ("slstm.c", "slstm_q8.c", "xlstm_quant.c", "mlstm.c")
_LARGEST = {np.int8: 127, np.int16: 32767}


class _Range(ctypes.Structure):
    """XlstmQuantParam: value = scale * (integer - zero_point)."""

    _fields_ = [("scale", ctypes.c_float), ("zero_point", ctypes.c_int32)]

    def to(self, values: np.ndarray, dtype: Any) -> np.ndarray:
        """Return values as integers."""
        most = _LARGEST[dtype]
        integers = np.round(values / self.scale) + self.zero_point
        return np.clip(integers, -most - 1, most).astype(dtype)

    def of(self, integers: np.ndarray) -> np.ndarray:
        """Return integers as values."""
        return np.float32(self.scale) * (integers.astype(np.float32) - self.zero_point)


class _Params(ctypes.Structure):
    """SlstmS8Params; a cell_clip of 0 is none."""

    _fields_ = [
        ("cell_clip", ctypes.c_float),
        ("W_scale", ctypes.c_float),
        ("R_scale", ctypes.c_float),
        ("x", _Range),
        ("y", _Range),
        ("c", _Range),
        ("n", _Range),
    ]


class Engine(BaseEngine):
    """Its sLSTM is `SLSTM(form="plain")`; see :class:`peers.BaseEngine`."""

    label = "xlstm.c"
    cells = ("slstm_plain",)

    def __init__(self, source: Path) -> None:
        files = [source / "src" / name for name in _SOURCES]
        if missing := [file for file in files if not file.exists()]:
            raise NotInstalled(f"{self.label}: no file {missing[0]}")
        self._folder = TemporaryDirectory()
        flags = ["-O3", f"-I{source / 'include'}"]
        folder = Path(self._folder.name)
        self._library = compiled(files, folder, flags, ("gcc", "cc", "clang"))

    def versions(self) -> dict[str, str]:
        return {self.label: "gcc -O3 -march=native"}

    def notes(self) -> list[str]:
        return [
            f"{self.label} has one thread; its int8 takes x, and returns y, in 8 bits"
        ]

    def set_num_threads(self, n: int) -> None:
        pass  # it has one

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        w, r, b = _parameters(weights)
        states = [np.zeros((case.B, case.H), np.float32) for _ in range(4)]
        call = self._call("slstm_eval_f32", case, x, (w, r, b), states, np.float32)

        def read(y: np.ndarray) -> Arrays:
            return {"y": y.swapaxes(0, 1), **dict(zip("hcnm", states, strict=True))}

        return [Run(self.label, call, read)]

    def forward_int8(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        w, r, b = _parameters(weights)
        y, c, n, _ = reference.states(case, weights, x)
        ranges = {
            "x": _asymmetric(x),
            "y": _asymmetric(y),
            "c": _symmetric(c, np.int16),
            "n": _symmetric(n, np.int16),
        }
        of_w, of_r = _symmetric(w, np.int8), _symmetric(r, np.int8)
        params = _Params(0, of_w.scale, of_r.scale, **ranges)
        bias = np.round(b / (of_w.scale * ranges["x"].scale)).astype(np.int32)
        integers = (of_w.to(w, np.int8), of_r.to(r, np.int8), bias)
        kinds = (np.int8, np.int16, np.int16, np.float32)
        states = [np.zeros((case.B, case.H), kind) for kind in kinds]
        call = self._call(
            "slstm_eval_s8",
            case,
            ranges["x"].to(x, np.int8),
            integers,
            states,
            np.int8,
            start=ranges["y"].zero_point,
            params=params,
        )

        def read(y: np.ndarray) -> Arrays:
            h, c, n, m = states
            found = {"y": ranges["y"].of(y.swapaxes(0, 1)), "h": ranges["y"].of(h)}
            return {**found, "c": ranges["c"].of(c), "n": ranges["n"].of(n), "m": m}

        return [Run(self.label, call, read)]

    def mlstm(self, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
        """Return a call of the mLSTM: y (B, T, H) of x (B, T, I).

        w is (4 H + 2, I), b (4 H + 2): of q, k, v, the gates i and f, and o.
        """
        B, T, inputs = x.shape
        H = (len(b) - 2) // 4
        shapes = ((B, H), (B, H, H), (B, H), (B, 1))
        states = [np.zeros(shape, np.float32) for shape in shapes]
        scratch, y = np.zeros(len(b), np.float32), np.zeros((B, T, H), np.float32)
        arrays = _pointers(x, w, b, *states, y, scratch)
        function = self._library.mlstm_eval_f32
        sizes = [ctypes.c_int(size) for size in (B, T, inputs, H)]
        kept = x, w, b, scratch  # the pointers are to their memory

        def call() -> np.ndarray:
            assert kept
            for state in states:
                state.fill(0)
            function(*arrays, *sizes, None)
            return y

        return call

    def _call(
        self,
        name: str,
        case: Case,
        x: np.ndarray,
        parameters: tuple[np.ndarray, ...],
        states: list[np.ndarray],
        dtype: Any,
        start: int = 0,
        params: _Params | None = None,
    ) -> Callable[[], np.ndarray]:
        """Return a call over the sequences from a state of zeros: y (B, T, H)."""
        x = np.ascontiguousarray(x.swapaxes(0, 1))
        y = np.zeros((case.B, case.T, case.H), dtype)
        scratch = np.zeros(4 * case.H, np.float32)
        arrays = _pointers(x, *parameters, *states, y, scratch)
        sizes = [ctypes.c_int(size) for size in (case.B, case.T, case.I, case.H)]
        given = None if params is None else ctypes.byref(params)
        function = getattr(self._library, name)
        kept = x, parameters, scratch, params  # the pointers are to their memory

        def call() -> np.ndarray:
            assert kept
            h, *others = states
            h.fill(start)
            for state in others:
                state.fill(0)
            function(*arrays, *sizes, given)
            return y

        return call


def _parameters(weights: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    return weights["weight_ih_l0"], weights["weight_hh_l0"], bias


def _pointers(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def _symmetric(values: np.ndarray, dtype: Any) -> _Range:
    return _Range(float(np.abs(values).max()) / _LARGEST[dtype], 0)


def _asymmetric(values: np.ndarray) -> _Range:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = (high - low) / 255
    return _Range(scale, round(-128 - low / scale))
