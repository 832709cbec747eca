"""The oracle: outputs of whole sequences by the cells' NumPy steps, and gradients by
central differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from tolerances import DIFFERENCE_STEP

from fastcell.cells import REGISTRY, Cell

States = tuple[np.ndarray, ...]

# What a batch may carry besides x and the state.
KINDS = ("plain", "lengths", "mask", "reset", "everything")

# What tests of cells iterate over.
by_name = pytest.mark.parametrize("cell", REGISTRY.values(), ids=REGISTRY)
both_ways = pytest.mark.parametrize(
    "bidirectional", [False, True], ids=["one-way", "both-ways"]
)


def every_stack(most_layers: int) -> Callable[[Any], Any]:
    """Run a test for each cell, number of layers, direction and kind of batch."""
    layers = pytest.mark.parametrize("num_layers", range(1, most_layers + 1))
    kinds = pytest.mark.parametrize("kind", KINDS)
    return lambda test: kinds(both_ways(layers(by_name(test))))


@dataclass
class Problem:
    """A layer in float64 and a batch for it, time first; values fit float32 exactly."""

    cell: Cell
    layer: Any
    x: np.ndarray
    state: States
    dy: np.ndarray
    dstate: States
    sequence: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def T(self) -> int:
        return self.x.shape[0]

    @property
    def B(self) -> int:
        return self.x.shape[1]

    def as_float32(self) -> Problem:
        """Return the same problem, to the last bit, for a layer in float32."""
        layer = type(self.layer).from_config(
            {**self.layer.config(), "dtype": "float32"}
        )
        layer.load_state_dict(
            {n: w.astype(np.float32) for n, w in self.layer.state_dict().items()}
        )
        return Problem(
            self.cell,
            layer,
            self.x.astype(np.float32),
            tuple(s.astype(np.float32) for s in self.state),
            self.dy.astype(np.float32),
            tuple(s.astype(np.float32) for s in self.dstate),
            self.sequence,
        )

    def call(self, **changes: Any) -> tuple[np.ndarray, States]:
        """Run the layer for inference: y and the final states, as a tuple."""
        arguments = {"x": self.x, "state": self.state, **self.sequence, **changes}
        x, state = arguments.pop("x"), arguments.pop("state")
        y, final = self.layer(x, joined(state), **arguments)
        return y, split(final)

    def train(self) -> tuple[np.ndarray, States, dict[str, np.ndarray]]:
        """Run forward and backward: y, the final states, and all gradients by name."""
        y, final, saved = self.layer.forward(
            self.x, joined(self.state), **self.sequence
        )
        dx, dstate, grads = self.layer.backward(self.dy, saved, joined(self.dstate))
        return y, split(final), {"x": dx, **named(split(dstate)), **grads}

    def values(self) -> dict[str, np.ndarray]:
        """Return everything that has a gradient, by the names of `train`."""
        return {"x": self.x, **named(self.state), **self.layer.state_dict()}

    def expected(self, values: Mapping[str, np.ndarray] | None = None) -> tuple:
        """Return y and the final states by the formulas, at `values`."""
        values = self.values() if values is None else values
        return run(
            self.cell,
            values,
            values["x"],
            tuple(values[f"state {i}"] for i in range(len(self.state))),
            self.layer.num_layers,
            2 if self.layer.bidirectional else 1,
            **self.sequence,
        )

    def loss(self, values: Mapping[str, np.ndarray]) -> float:
        """Return the sum of outputs and final states, weighted by dy and dstate."""
        y, final = self.expected(values)
        total = (y * self.dy).sum()
        for state, weight in zip(final, self.dstate, strict=True):
            total += (state * weight).sum()
        return float(total)


def set_constants(layer: Any, seed: int) -> None:
    """Draw what begins with ones or zeros too, so that no value is like another.

    Those of one are gains of a normalization. With gains of one a step makes
    differences larger, and many steps make more of a rounding error than a tolerance
    can allow; so they are about 0.3.
    """
    random = np.random.default_rng(seed)
    for weight in layer.params.values():
        if weight.size and (np.all(weight == 1) or np.all(weight == 0)):
            weight *= 0.3
            weight += random.uniform(-0.2, 0.2, weight.shape)


def problem(
    cell: Cell,
    *,
    T: int = 5,
    B: int = 3,
    I: int = 3,  # noqa: E741  (the letter of DESIGN)
    H: int = 7,
    kind: str = "plain",
    seed: int = 0,
    **arguments: Any,
) -> Problem:
    """Make a layer of `cell` in float64 and a random batch for it."""
    random = np.random.default_rng(seed)
    if cell.proj_size:  # a projection is smaller than what it projects
        H = max(H, 2)
    layer = cell.layer(I, H, dtype=np.float64, seed=seed, **arguments)
    set_constants(layer, seed)
    layer.load_state_dict({n: rounded(w) for n, w in layer.state_dict().items()})
    passes = layer.num_layers * (2 if layer.bidirectional else 1)
    width = (2 if layer.bidirectional else 1) * layer.output_size
    shapes = [(passes, B, layer.output_size)]
    shapes += [(passes, B, H)] * (len(cell.states) - 1)

    def draw(*shape: int) -> np.ndarray:
        return rounded(random.standard_normal(shape))

    sequence: dict[str, np.ndarray] = {}
    if kind in ("lengths", "everything"):
        sequence["lengths"] = random.integers(0, T + 1, B)
    if kind in ("mask", "everything"):
        sequence["mask"] = random.random((T, B)) < 0.7
    if kind in ("reset", "everything"):
        sequence["reset"] = random.random((T, B)) < 0.25
    x, state = draw(T, B, I), tuple(draw(*shape) for shape in shapes)
    if cell.admissible:
        state = tuple(rounded(part) for part in cell.admissible(state))
    return Problem(
        cell,
        layer,
        x,
        state,
        draw(T, B, width),
        tuple(draw(*shape) for shape in shapes),
        sequence,
    )


def problems(
    cell: Cell, sizes: Iterable[Mapping[str, int]], **arguments: Any
) -> Iterator[Problem]:
    """Make a problem of each of some sizes."""
    for seed, size in enumerate(sizes):
        yield problem(cell, seed=seed, **size, **arguments)


def run(
    cell: Cell,
    weights: Mapping[str, np.ndarray],
    x: np.ndarray,
    state: States,
    num_layers: int,
    directions: int,
    *,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    reset: np.ndarray | None = None,
    dropout: np.ndarray | None = None,
) -> tuple[np.ndarray, States]:
    """Run a stack over x (T, B, I) one step at a time; y and the final states.

    Steps past a length do not exist: y is 0 and the state stays. A masked step keeps
    the state, and y is h. A reset is a border before its step in time, where both
    directions lose their state. dropout holds the factors (L-1, T, B, D P) of the
    outputs between layers.
    """
    T, B, _ = x.shape
    finals: list[States] = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            w = {
                name.removesuffix(suffix): array
                for name, array in weights.items()
                if name.endswith(suffix)
            }
            now = tuple(s[layer * directions + direction] for s in state)
            y = np.zeros((T, B, now[0].shape[-1]))
            for t in reversed(range(T)) if direction else range(T):
                exists = np.ones(B, bool) if lengths is None else t < lengths
                active = exists if mask is None else exists & mask[t]
                border = t + direction  # the one just crossed
                if reset is not None and border < T:
                    crossed = reset[border]
                    if lengths is not None:
                        crossed = crossed & (border < lengths)
                    now = _where(crossed, [np.zeros_like(s) for s in now], now)
                now = _where(active, cell.step(x[t], now, w), now)
                y[t] = np.where(exists[:, np.newaxis], now[0], 0)
            outputs.append(y)
            finals.append(now)
        x = np.concatenate(outputs, axis=-1)
        if dropout is not None and layer < num_layers - 1:
            x = x * dropout[layer]
    return x, tuple(np.stack(parts) for parts in zip(*finals, strict=True))


def slope(problem: Problem, name: str, seed: int) -> tuple[float, np.ndarray]:
    """Return the derivative of the loss along a random direction, and the direction."""
    values = problem.values()
    direction = np.random.default_rng(seed).standard_normal(values[name].shape)
    ahead, behind = (
        problem.loss(
            {**values, name: values[name] + sign * DIFFERENCE_STEP * direction}
        )
        for sign in (1, -1)
    )
    return (ahead - behind) / (2 * DIFFERENCE_STEP), direction


def slope_error(
    problem: Problem, gradients: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return, for each gradient, how far its slope is from the central difference."""
    errors = {}
    for i, name in enumerate(problem.values()):
        expected, direction = slope(problem, name, i)
        got = float((gradients[name] * direction).sum())
        errors[name] = abs(got - expected) / (1 + abs(expected))
    return errors


def rounded(array: np.ndarray) -> np.ndarray:
    """Return float64 values that float32 holds exactly."""
    return array.astype(np.float32).astype(np.float64)


def split(state: Any) -> States:
    """Return a layer's state, h or (h, c), as a tuple."""
    return state if isinstance(state, tuple) else (state,)


def joined(state: Any) -> Any:
    """Return a tuple of states as a layer wants it: h or (h, c)."""
    return state[0] if isinstance(state, tuple) and len(state) == 1 else state


def named(state: States) -> dict[str, np.ndarray]:
    """Return the states under names for `Problem.values`."""
    return {f"state {i}": part for i, part in enumerate(state)}


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Compare bits: NaN equals itself, and 0 differs from -0."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _where(rows: np.ndarray, new: Any, old: States) -> States:
    return tuple(
        np.where(rows[:, np.newaxis], n, o) for n, o in zip(new, old, strict=True)
    )
