"""Random configurations: any layer, in any precision, with any batch, of sizes that
reach full and remainder tiles, several ranges of rows, and teams of threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from oracle import KINDS, Problem, named, problem, same_bits

from fastcell import _core
from fastcell.cells import REGISTRY

# 16 turns for each cell: see `configuration`.
COUNT = max(200, 16 * len(REGISTRY))
PRECISIONS = ("float32", "float64", "bf16", "int8")
# A thread needs a million FLOP: 4 threads, twice that, for batches that are not full.
ENOUGH_FLOP = 8e6


@dataclass(frozen=True)
class Configuration:
    """What a problem is made from; its string names a test."""

    seed: int
    cell: str
    precision: str
    T: int
    B: int
    I: int  # noqa: E741  (the letter of DESIGN)
    H: int
    num_layers: int
    bidirectional: bool
    kind: str
    num_heads: int = 1

    def __str__(self) -> str:
        ways = "both-ways" if self.bidirectional else "one-way"
        sizes = f"T{self.T}-B{self.B}-I{self.I}-H{self.H}-L{self.num_layers}"
        if self.num_heads > 1:
            sizes += f"-K{self.num_heads}"
        return f"{self.seed}-{self.cell}-{self.precision}-{sizes}-{ways}-{self.kind}"

    @property
    def trains(self) -> bool:
        return self.precision != "int8"

    def made(self) -> Problem:
        """Make the layer and the batch."""
        made = problem(
            REGISTRY[self.cell],
            T=self.T,
            B=self.B,
            I=self.I,
            H=self.H,
            kind=self.kind,
            seed=self.seed,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            **({"num_heads": self.num_heads} if self.num_heads > 1 else {}),
        )
        if self.precision == "float64":
            return made
        made = made.as_float32()
        if self.precision == "bf16":
            made.layer.to("bf16")
        elif self.precision == "int8":
            made.layer = made.layer.quantize()
        return made


def configuration(seed: int) -> Configuration:
    """Draw a configuration: every second one small, one of four with many rows, one of
    four with few rows of many units."""
    random = np.random.default_rng(seed)
    cell = list(REGISTRY)[seed % len(REGISTRY)]
    turn = seed // len(REGISTRY)  # how often the cell was drawn before
    size = ("small", "rows", "small", "units")[turn % 4]
    # Each round of four sizes begins with another, so that in 16 turns all meet all.
    precision = PRECISIONS[(turn + turn // 4) % 4]
    T, num_layers = int(random.integers(1, 9)), int(random.integers(1, 4))
    B = [1, 2, 3, 5, 7, 8, 13]
    I, H = [0, 1, 3, 16, 33], [1, 7, 9, 17, 33, 70]  # noqa: E741
    if size == "rows":
        B, I, H = [17, 23, 49, 55], [3, 33, 66], [33, 70, 100]  # noqa: E741
        num_layers = 1 + num_layers // 3
    elif size == "units":
        B, I, H = [1, 2, 3], [5, 20], [137, 150, 203]  # noqa: E741
        num_layers = 1
    chosen = {n: int(random.choice(v)) for n, v in (("B", B), ("I", I), ("H", H))}
    described = _core.describe_cell(cell)
    num_heads = 1
    if turn % 3 == 1 and described["takes_heads"]:
        num_heads = int(random.choice([2, 3, 5]))
        head = max(1, chosen["H"] // num_heads)
        if random.integers(2):  # whole vectors of every set
            head = -(-head // 16) * 16
        chosen["H"] = num_heads * head
    if size != "small":
        of_a_step = 2 * chosen["B"] * len(REGISTRY[cell].gates) * chosen["H"]
        recurrent = "weight_hh" in described["parameters"]
        of_a_step *= chosen["I"] + chosen["H"] * recurrent
        T = int(np.clip(ENOUGH_FLOP / of_a_step, 3, 60))
    return Configuration(
        seed,
        cell,
        precision,
        T,
        num_layers=num_layers,
        bidirectional=bool(random.integers(3) == 0),
        kind=str(random.choice(KINDS)),
        num_heads=num_heads,
        **chosen,
    )


CONFIGURATIONS = [configuration(seed) for seed in range(COUNT)]


def changed(made: Problem, **arrays: Any) -> Problem:
    """Return the same layer with another batch."""
    return replace(made, **arrays)


def rows_of(made: Problem, rows: Any) -> Problem:
    """Return the problem of some rows of the batch."""
    return changed(
        made,
        x=made.x[:, rows],
        dy=made.dy[:, rows],
        state=tuple(s[:, rows] for s in made.state),
        dstate=tuple(s[:, rows] for s in made.dstate),
        sequence={
            n: a[rows] if n == "lengths" else a[:, rows]
            for n, a in made.sequence.items()
        },
    )


def active(made: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return which steps of which rows are computed, and which reset first: (T, B)."""
    exists = np.arange(made.T)[:, np.newaxis] < made.sequence.get(
        "lengths", np.full(made.B, made.T)
    )
    reset = made.sequence.get("reset", np.zeros((made.T, made.B), bool)) & exists
    return exists & made.sequence.get("mask", True), reset


def results(made: Problem) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run inference and, where the layer trains, training.

    Returns what belongs to the sequences, rows on the second axis, and the gradients of
    the weights.
    """
    y, final = made.call()
    own = {"y": y, **{f"final {n}": s for n, s in named(final).items()}}
    if made.layer.precision == "int8":
        return own, {}
    y, final, gradients = made.train()
    own |= {"y of training": y}
    own |= {f"final {n} of training": s for n, s in named(final).items()}
    weights = made.layer.state_dict()
    own |= {f"d{n}": g for n, g in gradients.items() if n not in weights}
    return own, {f"d{n}": g for n, g in gradients.items() if n in weights}


def differing(got: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the names of what has not the same bits in both."""
    assert got.keys() == expected.keys()
    return [n for n, array in expected.items() if not same_bits(got[n], array)]
