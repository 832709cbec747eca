"""Checks of state dicts: names compared to a module's, arrays cast to its dtypes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastcell._checks.arrays import converted
from fastcell._checks.names import WrongNames, mapping_of

# The number of missing, and of unexpected, names that an error lists.
_MOST_NAMES = 8


class IncompatibleKeys(NamedTuple):
    """The differences between a state dict and a module, as PyTorch reports them.

    Attributes
    ----------
    missing_keys : list of str
        Parameters that the state dict does not have. They stay as they are.
    unexpected_keys : list of str
        Names of the state dict that no parameter has.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


def arrays_of(
    mapping: Any,
    arrays: Mapping[str, np.ndarray],
    aliases: Collection[str],
    strict: bool,
) -> tuple[dict[str, np.ndarray], IncompatibleKeys]:
    """Return the arrays of a state dict for the parameters, checked and cast.

    Parameters
    ----------
    mapping
        The state dict, unchecked.
    arrays : dict of str to ndarray
        The parameters.
    aliases : collection of str
        Further names of parameters, which the state dict may also have.
    strict : bool
        Whether the names must be the same.

    Raises
    ------
    WrongNames
        If `strict` and they are not.
    TypeError
        If it is no mapping, or a value no array of real numbers.
    ValueError
        If a shape differs.
    """
    mapping_of("mapping", mapping, "a state dict, a mapping of names to arrays")
    missing = [name for name in arrays if name not in mapping]
    unexpected = [n for n in mapping if n not in arrays and n not in aliases]
    if strict and (missing or unexpected):
        parts = [f"missing {_listed(missing)}"] * bool(missing)
        parts += [f"unknown {_listed(unexpected)}"] * bool(unexpected)
        parts += [_of_prefix(missing, unexpected)]
        raise WrongNames(
            f"mapping must have the names {_listed(arrays)}; "
            + "; ".join(filter(None, parts))
        )
    values = {
        name: converted(name, mapping[name], array)
        for name, array in arrays.items()
        if name in mapping
    }
    return values, IncompatibleKeys(missing, unexpected)


def _listed(names: Iterable[Any]) -> str:
    names = [str(name)[:200] for name in names]
    more = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown


def _of_prefix(missing: list[str], unexpected: list[Any]) -> str:
    """Return advice if names only differ by a prefix, such as "module."; else ""."""
    found = [name for name in unexpected if isinstance(name, str)]
    too_many = _common_prefix(found, missing)
    if too_many:
        return (
            f"names begin with {too_many!r}: say {{name.removeprefix({too_many!r}): "
            f"array for name, array in mapping.items() "
            f"if name.startswith({too_many!r})}}"
        )
    too_few = _common_prefix(missing, found)
    if too_few:
        return (
            f"names lack {too_few!r}: say "
            f"{{{too_few!r} + name: array for name, array in mapping.items()}}"
        )
    return ""


def _common_prefix(longer: list[str], shorter: Collection[str]) -> str:
    """Return the most frequent prefix of the shorter names in the longer; or ""."""
    short = set(shorter)
    prefixes: Counter[str] = Counter()
    for name in longer:
        at = name.find(".")
        while at >= 0:
            if name[at + 1 :] in short:
                prefixes[name[: at + 1]] += 1
            at = name.find(".", at + 1)
    return prefixes.most_common(1)[0][0] if prefixes else ""
