"""The adapters of compare.py: one module for each engine, all with the same verbs.

An adapter is a module with a class ``Engine``, as in `fastcell._judge.engines`. The
engines of ``fastcell bench --against`` are there, with its verbs; their adapters here
add the further verbs of compare.py.

To add a peer: write ``<name>_adapter.py``, enter it in ``ADAPTERS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from judge.language_model import LanguageModelCase
from judge.ragged import RaggedCase

from fastcell._judge import engines
from fastcell._judge.cases import Case
from fastcell._judge.engines import Arrays, NotInstalled, Run, state_names

__all__ = ["Arrays", "BaseEngine", "NotInstalled", "NotYet", "Run", "state_names"]

#: Name on the command line -> (adapter module, packages it needs).
ADAPTERS = {
    "fastcell": ("peers.fastcell_adapter", ("fastcell",)),
    "torch": ("peers.torch_adapter", ("torch",)),
    "fastcell.torch": ("peers.fastcell_torch_adapter", ("torch",)),
    "onnxruntime": ("peers.onnxruntime_adapter", ("onnxruntime", "onnx")),
    "openvino": ("peers.openvino_adapter", ("openvino",)),
    "onednn": ("peers.onednn_adapter", ()),  # a C library: the adapter looks for it
    "jax": ("peers.jax_adapter", ("jax",)),
    "tensorflow": ("peers.tensorflow_adapter", ("tensorflow", "keras")),
}


class NotYet(Exception):
    """fastcell lacks it: the mode is left out, and the reason is printed."""


class BaseEngine(engines.BaseEngine):
    """The verbs; an adapter overrides those that its engine has."""

    def ragged(
        self, case: RaggedCase, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        """As `train`, for sequences of ``case.lengths``; `x`, `dy` are 0 past them.

        Outputs past a sequence's end are read as 0: see `padded` for engines that
        compute them.
        """
        return []

    def train_bf16(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        """As `train`, with products of bfloat16; arrays are float32 outside."""
        return []

    def forward_int8(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """As `forward`, with weights of int8; ours also in float32, to compare."""
        return []

    def language_model(
        self,
        case: LanguageModelCase,
        weights: Arrays,
        batches: list[tuple[np.ndarray, np.ndarray]],
    ) -> list[Run]:
        """One training step of the demo's model on the next batch: its loss.

        Weights, optimizer and state are carried from call to call; batches repeat.
        """
        return []


def padded(runs: list[Run], case: RaggedCase, suffix: str = " padded") -> list[Run]:
    """Return runs over all steps of a padded batch, with outputs past the ends ignored.

    dy is 0 there, so those steps add nothing to any gradient: the work is wasted, the
    result is right.
    """

    def masked(read: Callable[[Any], Arrays], result: Any) -> Arrays:
        arrays = read(result)
        return {**arrays, "y": np.where(case.mask()[..., None], arrays["y"], 0)}

    return [
        replace(run, label=run.label + suffix, read=partial(masked, run.read))
        for run in runs
    ]


def load(name: str, **options: Any) -> BaseEngine:
    """Import an engine's adapter, and construct it as `engines.load` does."""
    return engines.load(name, ADAPTERS, **options)
