"""The classes that a file or a container's configuration may name, such as "LSTM".

Only these are ever built from a file. The decorator `in_files` adds a class to the
table when its module is imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from fastcell._checks.numbers import shown
from fastcell.module import Module

AnyClass = TypeVar("AnyClass", bound=type[Module])

CLASSES: dict[str, type[Module]] = {}


def in_files(cls: AnyClass) -> AnyClass:
    """Add a class of this package to the table, under its ``__name__``."""
    CLASSES[cls.__name__] = cls
    return cls


def class_named(name: Any) -> type[Module]:
    """Return the class that files call `name`.

    Raises
    ------
    ValueError
        If there is no such class, or files may not name it.
    """
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(
            f"name: the class must be {one_of_them(CLASSES)}; got {shown(name)}"
        )
    return CLASSES[name]


def one_of_them(names: Iterable[str]) -> str:
    """Return names for an error, in their order: "A, B or C"."""
    *most, last = sorted(names)
    return f"{', '.join(most)} or {last}"
