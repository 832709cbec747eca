"""Parameters and gradients of several modules by name, as one flat mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastcell.module import Module
from fastcell.parameters import ParameterGroup, Parameters, UnsuffixedParameters

_PARAMETERS = (Parameters, ParameterGroup, UnsuffixedParameters)


def joined(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of modules by name as one mapping, or `params` itself.

    Raises
    ------
    TypeError
        If some values are modules and others are not.
    ValueError
        If a name is empty, or has a dot.
    """
    if isinstance(params, _PARAMETERS):
        return params
    values = dict(params)
    parts = {n: v for n, v in values.items() if isinstance(v, (Module, *_PARAMETERS))}
    if not parts:
        return params
    other = next((name for name in values if name not in parts), None)
    if other is not None:
        raise TypeError(
            "params must be arrays, or modules and their params, and not both; "
            f"got {type(values[other]).__name__} for {other!r}"
        )
    for name in parts:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(
                f"params must have names that are not empty and have no dot; "
                f"got {name!r}"
            )
    return ParameterGroup(
        {n: v.params if isinstance(v, Module) else v for n, v in parts.items()}
    )


def flat(grads: Mapping[str, Any], params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return gradients by the names of `params`, also if they are given by module.

    Gradients of an array that several modules share are summed.
    """
    if not any(isinstance(value, Mapping) for value in grads.values()):
        return grads
    first = getattr(params, "aliases", {})
    found: dict[str, Any] = {}
    for name, value in grads.items():
        inner = value.items() if isinstance(value, Mapping) else [(None, value)]
        for key, grad in inner:
            full = name if key is None else f"{name}.{key}"
            full = first.get(full, full)
            found[full] = found[full] + grad if full in found else grad
    return found
