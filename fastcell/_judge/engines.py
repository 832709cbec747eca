"""The engines that are compared: base class, registry of peers, and loading.

fastcell and each peer have a module with a class ``Engine``. Its verbs take a case and
the arrays of that case (NumPy, weights with torch's names and layout) and return
*runs*: prepared calls, one for each way a user of that engine would do the work. A verb
that the engine lacks returns no runs. `load` imports an engine's module.

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

#: The name of fastcell's own engine, also in the tables.
OURS = "fastcell"

#: Name on the command line -> (module, pip names of the packages it needs).
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
        The engine's name, and the way if it has several.
    call : callable
        Does the work once; this is timed.
    read : callable
        Converts the result of `call` to NumPy arrays by name, for the comparison.
    context : callable
        Makes the context manager in which calls run.
    """

    label: str
    call: Callable[[], Any]
    read: Callable[[Any], Arrays]
    context: Callable[[], AbstractContextManager[Any]] = nullcontext


class BaseEngine:
    """The verbs; an engine overrides those that it has."""

    #: Its name in tables; the labels of its runs begin with it.
    label: str

    #: The cells of the engine, by the names of `fastcell._judge.cells.cells`.
    cells: Container[str] = ("lstm", "gru", "rnn")

    #: Whether the first call fixes the number of threads of the process. Then each
    #: number of threads needs its own process.
    threads_fixed = False

    def versions(self) -> dict[str, str]:
        """Return the versions, by name, of all packages that affect the speed."""
        raise NotImplementedError

    def instruction_set(self) -> str | None:
        """Return the set that the engine reports, or None if it reports none."""
        return None

    def notes(self) -> list[str]:
        """Return the settings that differ from the defaults of users."""
        return []

    def has(self, cell: str) -> bool:
        """Return whether the engine has a cell; if not, its columns stay empty."""
        return cell in self.cells

    def does(self, verb: str) -> bool:
        """Return whether the engine has a verb."""
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
    """Return the names of a cell's states in the results of `read`."""
    return cells()[cell].states


def load(name: str, registry: Registry = PEERS, **options: Any) -> Any:
    """Import an engine's module and construct the engine.

    Parameters
    ----------
    name : str
        A key of `registry`.
    registry : dict, optional
        The modules by name.
    **options : optional
        Arguments of the engine.

    Raises
    ------
    NotInstalled
        If a package of the engine is missing. An installed engine that fails to import
        raises its own error.
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
