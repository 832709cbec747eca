"""The engines that are compared: fastcell and the peers, each one small module.

A module has a class ``Engine``. Its verbs take a case and the arrays of that case
(NumPy, weights under torch's names and in torch's layout) and return *runs*: prepared
calls, one for each way a user of that engine would do the work. A verb that the engine
does not have returns no runs. Engines are imported when they are asked for.

To add a peer: write ``<package>.py`` beside this file, and enter it in ``PEERS``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Container
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcell._judge.cases import Case
from fastcell._judge.cells import cells

Arrays = dict[str, np.ndarray]

#: What the engine that is judged is called, here and in the tables.
OURS = "fastcell"

#: Name on the command line -> (module, packages it needs, as pip knows them).
Registry = dict[str, tuple[str, tuple[str, ...]]]
PEERS: Registry = {
    "torch": ("fastcell._judge.torch", ("torch",)),
    "onnxruntime": ("fastcell._judge.onnxruntime", ("onnxruntime", "onnx")),
    "openvino": ("fastcell._judge.openvino", ("openvino",)),
    "jax": ("fastcell._judge.jax", ("jax",)),
}


class NotInstalled(Exception):
    """A package that an engine needs is not installed."""


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
    context: Callable[[], AbstractContextManager[Any]] = nullcontext


class BaseEngine:
    """The verbs; an engine overrides those that it has."""

    #: As the tables print it; the labels of its runs begin with it.
    label: str

    #: The cells that the engine has, by the names of `fastcell._judge.cells.cells`.
    cells: Container[str] = ("lstm", "gru", "rnn")

    #: Whether the number of threads is of the process and fixed by the first call:
    #: then every number of threads needs a process of its own.
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

    def does(self, verb: str) -> bool:
        """Whether the engine has a verb."""
        return getattr(type(self), verb) is not getattr(BaseEngine, verb)

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


def state_names(cell: str) -> tuple[str, ...]:
    """Names under which `read` returns a cell's states."""
    return cells()[cell].states


def load(name: str, registry: Registry = PEERS, **options: Any) -> Any:
    """Import an engine's module and make the engine.

    Parameters
    ----------
    name : str
        A key of `registry`.
    registry : dict, optional
        Where the modules are.
    **options : optional
        Arguments of the engine.

    Raises
    ------
    NotInstalled
        If a package of the engine is missing (and only then: an engine that is
        installed and fails to import is an error, not an absence).
    """
    module, packages = registry[name]
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            raise NotInstalled(
                f"{name}: package {package!r} is not installed; "
                f"pip install {' '.join(packages)}"
            ) from None
    return importlib.import_module(module).Engine(**options)
