"""Activations by name, and the arguments of layers that choose them.

`ACTIVATIONS` has the formulas in NumPy, for the steps of cells with options.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastcell._checks.names import one_of
from fastcell._checks.numbers import real, shown
from fastcell.cells.registry import sigmoid
from fastcell.layers.regularizers import LEAST_CLIP

# A name, or a name and the kind's parameters: "tanh", ("elu", 1.0).
Kind = str | tuple[Any, ...]


def _softplus(a: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))
    return result


# The formula by the name of the kind, and how many of alpha and beta it takes.
ACTIVATIONS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "tanh": (0, np.tanh),
    "sigmoid": (0, sigmoid),
    "relu": (0, lambda a: np.maximum(a, 0)),
    "identity": (0, lambda a: a),
    "affine": (2, lambda a, alpha, beta: alpha * a + beta),
    "leaky_relu": (1, lambda a, alpha: np.where(a >= 0, a, alpha * a)),
    "thresholded_relu": (1, lambda a, alpha: np.where(a >= alpha, a, 0)),
    "scaled_tanh": (2, lambda a, alpha, beta: alpha * np.tanh(beta * a)),
    "hard_sigmoid": (
        2,
        lambda a, alpha, beta: np.minimum(np.maximum(alpha * a + beta, 0), 1),
    ),
    "elu": (1, lambda a, alpha: np.where(a >= 0, a, alpha * np.expm1(a))),
    "softsign": (0, lambda a: a / (1 + np.abs(a))),
    "softplus": (0, _softplus),
}
_PARAMETERS = ("alpha", "beta")


class Choice(NamedTuple):
    """The activations and clips of a layer.

    Attributes
    ----------
    activations : tuple
        The kind of each role, with its parameters as floats.
    cell_clip, gate_clip : float or None
    usual : tuple of str
        The kinds of the cell without a choice.
    """

    activations: tuple[Kind, ...]
    cell_clip: float | None
    gate_clip: float | None
    usual: tuple[str, ...]

    @classmethod
    def of(
        cls,
        usual: Sequence[str],
        activations: Any,
        gate_clip: Any,
        cell_clip: Any = None,
    ) -> Choice:
        """Check the arguments of a layer whose cell usually has these activations.

        Raises
        ------
        TypeError, ValueError
            If there is not a kind for each role, a kind is unknown, its parameters are
            not those that it takes, or a clip is not above 0.
        """
        usual = tuple(usual)
        kinds = usual if activations is None else _kinds(activations, len(usual))
        clips = {
            name: None if clip is None else real(name, clip, minimum=LEAST_CLIP)
            for name, clip in (("cell_clip", cell_clip), ("gate_clip", gate_clip))
        }
        return cls(kinds, clips["cell_clip"], clips["gate_clip"], usual)

    @property
    def is_usual(self) -> bool:
        """Whether the cell without a choice computes the same."""
        clips = (self.cell_clip, self.gate_clip)
        return self.activations == self.usual and clips == (None, None)

    @property
    def core_options(self) -> tuple[Any, ...] | None:
        """What the core takes: see `fastcell._core.Stack`."""
        if self.is_usual:
            return None
        activations = tuple(map(_for_core, self.activations))
        return (self.cell_clip or 0.0, self.gate_clip or 0.0, activations)

    def activate(self, role: int, a: np.ndarray) -> np.ndarray:
        """Return the role's activation of `a`, in NumPy."""
        name, *parameters = _parts(self.activations[role])
        return ACTIVATIONS[name][1](clipped(a, self.gate_clip), *parameters)

    def config(self) -> dict[str, Any]:
        """Return the arguments that are not the defaults, for a layer's `config`."""
        found: dict[str, Any] = {}
        if self.activations != self.usual:
            found["activations"] = [
                kind if isinstance(kind, str) else list(kind)
                for kind in self.activations
            ]
        for name in ("cell_clip", "gate_clip"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        return found


def clipped(a: np.ndarray, limit: float | None) -> np.ndarray:
    """Return `a` within [-limit, limit]; without a limit, `a`."""
    return a if limit is None else np.minimum(np.maximum(a, -limit), limit)


def _kinds(given: Any, roles: int) -> tuple[Kind, ...]:
    wanted = f"activations must be a tuple of {roles} kinds"
    if not isinstance(given, (tuple, list)):
        raise TypeError(f"{wanted}; got {shown(given)}")
    if len(given) != roles:
        raise ValueError(f"{wanted}; got {len(given)}")
    return tuple(_kind(f"activations[{i}]", kind) for i, kind in enumerate(given))


def _kind(label: str, given: Any) -> Kind:
    if not isinstance(given, (str, tuple, list)) or not given:
        raise TypeError(
            f"{label} must be a name, or a tuple of a name and numbers; "
            f"got {shown(given)}"
        )
    name, *parameters = _parts(given)
    one_of(label, name, ACTIVATIONS)
    wanted = _PARAMETERS[: ACTIVATIONS[name][0]]
    if len(parameters) != len(wanted):
        form = f'("{name}", {", ".join(wanted)})' if wanted else f'"{name}"'
        raise ValueError(f"{label} must be {form}; got {shown(given)}")
    if not wanted:
        return str(name)
    values = zip(wanted, parameters, strict=True)
    return (name, *(real(f"{label} {which}", value) for which, value in values))


def _parts(kind: Kind | list[Any]) -> list[Any]:
    return [kind] if isinstance(kind, str) else list(kind)


def _for_core(kind: Kind) -> tuple[str, float, float]:
    name, *parameters = _parts(kind)
    if name == "identity":
        return "affine", 1.0, 0.0
    alpha, beta = [*parameters, 0.0, 0.0][:2]
    return name, alpha, beta
