"""The engines that are compared, each one small adapter file with the same verbs.

An adapter is a module with a class ``Engine``. Its verbs take a case and the arrays of
that case (NumPy, weights under torch's names and in torch's layout) and return *runs*:
prepared calls, one for each way a user of that engine would do the work. A verb that
the engine does not have returns no runs. Engines are imported when they are asked for.

To add a peer: write ``<name>_adapter.py``, enter it in ``ADAPTERS``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Container
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from language_model import LanguageModelCase
from ragged import RaggedCase
from shapes import Case

from fastcell._cli_cells import cells

Arrays = dict[str, np.ndarray]

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


class NotInstalled(Exception):
    """A package that an adapter needs is not installed."""


class NotYet(Exception):
    """fastcell has no such thing yet: the mode is left out, and the reason printed."""


@dataclass(frozen=True)
class Run:
    """One prepared way of doing a case's work.

    Attributes
    ----------
    label : str
        The engine's name, and the way where it has several.
    call : callable
        Does the work once; this is what is timed.
    read : callable
        Turns what `call` returned into NumPy arrays by name, for the comparison.
    context : callable
        Makes the context manager in which calls run.
    """

    label: str
    call: Callable[[], Any]
    read: Callable[[Any], Arrays]
    context: Callable[[], AbstractContextManager] = nullcontext


class BaseEngine:
    """The verbs; an adapter overrides those that its engine has."""

    #: As the tables print it.
    label: str

    #: The cells that the engine has, by the names of `fastcell._cli_cells.cells`.
    cells: Container[str] = ("lstm", "gru", "rnn")

    #: Whether the number of threads is of the process and fixed by the first call:
    #: then every number of threads gets a process, with all engines in it.
    threads_fixed = False

    def versions(self) -> dict[str, str]:
        """Package name -> version, of everything that decides the speed."""
        raise NotImplementedError

    def instruction_set(self) -> str | None:
        """What the engine says it chose, or None if it does not say."""
        return None

    def notes(self) -> list[str]:
        """Settings that differ from what users get by default."""
        return []

    def has(self, cell: str) -> bool:
        """Whether the engine has a cell; without, its columns stay empty."""
        return cell in self.cells

    def set_num_threads(self, n: int) -> None:
        """Use `n` threads in the runs prepared from now on."""
        raise NotImplementedError

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Inference over the whole sequence from a zero state: y, h and (LSTM) c."""
        return []

    def train(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        """Forward, then backward from `dy`: y, dx and the gradient of each weight."""
        return []

    def step(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """One step of a stream with `x` of shape (1, I): y of shape (H,).

        The state starts at zero and is carried from call to call.
        """
        return []

    def ragged(
        self, case: RaggedCase, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        """As `train`, of sequences with ``case.lengths``; `x`, `dy` are 0 past them.

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


def state_names(cell: str) -> tuple[str, ...]:
    """Names under which `read` returns a cell's states."""
    return cells()[cell].states


def padded(runs: list[Run], case: RaggedCase, suffix: str = " padded") -> list[Run]:
    """Runs over all steps of a padded batch, whose outputs past the ends are not read.

    As dy is 0 there, those steps add nothing to any gradient: the work is wasted, the
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
    """Import an engine's adapter and make it.

    Raises
    ------
    NotInstalled
        If a package of the engine is missing (and only then: an engine that is
        installed and fails to import is an error, not an absence).
    """
    module_name, packages = ADAPTERS[name]
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            raise NotInstalled(
                f"{name}: package {package!r} is not installed"
            ) from None
    return importlib.import_module(module_name).Engine(**options)
