"""The public callables, and recipes of their arguments.

`public_names` walks over the modules; the modules ``calls_of_*`` define `RECIPES`. A
public callable without a recipe makes test_junk.py fail, and so does an argument that
occurs in none.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from fastcell.layers.options import Options

MODULES = (
    "fastcell",
    "fastcell.layers",
    "fastcell.cells",
    "fastcell.losses",
    "fastcell.optim",
    "fastcell.models",
    "fastcell.models.search.ctc_decoding",
    "fastcell.train",
    "fastcell.callbacks",
    "fastcell.data",
    "fastcell.rtneural",
    "fastcell.serialize",
    "fastcell.threads",
)
# What public calls return.
CLASSES = (
    "fastcell.layers.session:Session",
    "fastcell.layers.sequential:SequentialSession",
    "fastcell.layers.saved:Saved",
    "fastcell.layers.trace:Trace",
    "fastcell.models.sessions.model_session:ModelSession",
    "fastcell.models.sessions.frame_session:FrameSession",
    "fastcell.models.sessions.forecast_session:ForecastSession",
)
# Where the names of methods begin that are looked at though they begin with "_".
SPECIAL = ("__call__",)


class Recipe:
    """One way to call something public.

    Parameters
    ----------
    name : str
        The callable's ``__qualname__``.
    make : callable
        Returns what is to be called and its arguments, all fresh.
    accepts : str
        For an argument, the kinds of junk that it takes, in one string.
    """

    def __init__(self, name: str, make: Callable[[], Any], /, **accepts: str) -> None:
        self.name = name
        self.make = make
        self.fixed = {n for n, kinds in accepts.items() if kinds == "fixed"}
        self.accepts = {n: set(kinds.split()) for n, kinds in accepts.items()}
        self.arguments = list(make()[1])

    def names(self, argument: str) -> tuple[str, ...]:
        """Return what an error may call an argument."""
        return (argument, *PARTS.get(argument, ()))

    def knows(self, arguments: Any) -> bool:
        """Is one of the arguments known not to be clean?"""
        return any((self.name, argument) in KNOWN for argument in arguments)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})"


RECIPES: list[Recipe] = []

# What errors say of the parts of an argument.
_OF_BATCH = [
    *("batch", "x", "y", "inputs", "targets", "labels", "images", "captions"),
    *("source", "target", "weights"),
]
PARTS: dict[str, list[str]] = {
    "batch": _OF_BATCH,
    "data": _OF_BATCH,
    "train_data": _OF_BATCH,
    "valid_data": _OF_BATCH,
}

# Documented errors beside those that all calls may raise.
DOCUMENTED: dict[str, tuple[type[Exception], ...]] = {
    f"StreamPool.{name}": (KeyError,)
    for name in ("close", "step", "state", "set_state", "reset")
}

# Public by name and not meant for users: what models and trainers call with values
# that they have made. They check nothing.
INTERNAL = {
    *("Attention.backward_step", "Attention.finish", "Attention.gradient_sums"),
    *("Embedding.gather", "Embedding.scatter", "Linear.add_backward"),
    *("Optimizer.holds_any", "Recurrent.check_dstate", "Sequential.check_dstate"),
    *("Linear.outputs", "Pooling.running", "Schedule.__call__"),
    *("Residual.check_dstate",),
    # Made by the methods `session`, `forward` and `trace`, and by the registry.
    *("Session", "SequentialSession", "ModelSession", "FrameSession"),
    *("ForecastSession", "Saved", "Trace", "Cell"),
    # Called by the trainer.
    *("EarlyStopping.__call__", "EarlyStopping.begin", "SaveBest.__call__"),
    *("SaveBest.begin", "_Logger.__call__", "_Logger.begin"),
}

# Calls that do not do yet what this file asks for, by the part of the code they are
# in: (callable, arguments). Each must still fail: a test says when one can be taken
# out.
_KNOWN: dict[str, dict[str, str]] = {}
KNOWN = {
    (name, argument): owner
    for owner, calls in _KNOWN.items()
    for name, arguments in calls.items()
    for argument in arguments.split()
}


def recipe(name: str, /, **accepts: str) -> Callable[[Any], Any]:
    """Make a recipe of the function below, which returns the call and arguments."""

    def made(make: Callable[[], Any]) -> Any:
        RECIPES.append(Recipe(name, make, **accepts))
        return make

    return made


def fresh(recipe: Recipe) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a callable and valid arguments that nobody else has."""
    call, arguments = recipe.make()
    return call, dict(arguments)


def public_names() -> dict[str, Any]:
    """Return all that is public and can be called, by its ``__qualname__``."""
    found: dict[str, Any] = {}
    for obj in _public_objects():
        if inspect.isclass(obj):
            if issubclass(obj, BaseException) or getattr(obj, "_fields", None):
                continue  # made by fastcell alone
            if not inspect.isabstract(obj) and "__init__" in _ours(obj):
                _add(found, obj.__qualname__, obj)
            for name, method in _methods(obj):
                _add(found, name, method)
        elif callable(obj):
            _add(found, obj.__qualname__, obj)
    return found


def _add(found: dict[str, Any], name: str, value: Any) -> None:
    before = found.setdefault(name, value)
    if before is not value and getattr(before, "__func__", before) is not getattr(
        value, "__func__", value
    ):
        raise AssertionError(f"two callables are named {name}")


def _public_objects() -> Iterator[Any]:
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        names = getattr(module, "__all__", None)
        if names is None:
            names = [
                name
                for name, value in vars(module).items()
                if not name.startswith("_")
                and getattr(value, "__module__", "") == module_name
            ]
        for name in names:
            value = getattr(module, name)
            if not inspect.ismodule(value) and (
                inspect.isroutine(value) or inspect.isclass(value)
            ):
                yield value
    for name in CLASSES:
        module_name, _, class_name = name.partition(":")
        yield getattr(importlib.import_module(module_name), class_name)


def _ours(cls: type) -> set[str]:
    """Return the names that fastcell's own classes among the bases define."""
    bases = [b for b in cls.__mro__ if b.__module__.startswith("fastcell")]
    return {name for base in bases for name in vars(base)}


def _methods(cls: type) -> Iterator[tuple[str, Any]]:
    for base in cls.__mro__:
        if (
            not base.__module__.startswith("fastcell.")
            or base.__module__ == "fastcell._core"
        ):
            continue
        for name, value in vars(base).items():
            if name.startswith("_") and name not in SPECIAL:
                continue
            if isinstance(value, property):
                if value.fset is not None:
                    yield f"{base.__qualname__}.{name}", value.fset
                continue
            function = getattr(value, "__func__", value)  # of a class or static method
            if inspect.isfunction(function) and not getattr(
                function, "__isabstractmethod__", False
            ):
                yield f"{base.__qualname__}.{name}", function


def parameters_of(function: Any) -> list[str]:
    """Return the names of the parameters that a caller gives."""
    kinds = inspect.Parameter
    found = inspect.signature(function).parameters.values()
    names = [
        p.name
        for p in found
        if p.name not in ("self", "cls")
        and p.kind not in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
    ]
    if any(p.annotation == "Unpack[Options]" for p in found):  # of a recurrent layer
        names += Options.__annotations__
    return names
