"""Random calls of recurrent layers, compared with NumPy steps and with plain calls.

A case draws a layer, a batch and a way to call it: instruction set, threads, memory
budget, axes, strides, a copy of the layer in its place. The caller's small arrays are
overwritten as soon as a call has returned, and two batches are in use at once. Outputs
and states must equal the cells' NumPy steps, gradients their central differences, and
both must have the bits of a plain call. The tests run a few cases. Many are run by

    python tests/fuzz.py --calls 100000 --seed 1

preferably with an extension built for the sanitizers (CONTRIBUTING.md). A failing case
is identified by its seed: ``--seed N --cases 1`` runs it alone.
"""

from __future__ import annotations

import argparse
import copy
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from oracle import KINDS, Problem, joined, named, problem, same_bits, slope, split
from tolerances import DIFFERENCE, FORWARD, GRADIENT_FLOAT32, error

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY


@dataclass
class Case:
    """A problem, how it is called, and how many calls have been made."""

    random: np.random.Generator
    made: Problem
    batch_first: bool
    calls: int = 0

    def choose(self, *values: Any) -> Any:
        """Return one of the values."""
        return values[int(self.random.integers(len(values)))]

    def check(self, what: str, right: Any) -> None:
        """Raise unless it is right."""
        if not right:
            raise AssertionError(what)

    def caller(self, array: np.ndarray) -> np.ndarray:
        """Return an array (T, B, ...) as the caller has it, of its own memory.

        Batch first if the layer says so; in memory of any strides.
        """
        array = array.swapaxes(0, 1) if self.batch_first else array
        if self.random.random() < 0.5:
            return array.copy()
        shape = [n + int(self.random.integers(3)) for n in array.shape[:-1]]
        room = np.zeros((*shape, array.shape[-1]), array.dtype)
        view = room[tuple(slice(n) for n in array.shape[:-1])]
        view[...] = array
        return view

    def core(self, array: np.ndarray) -> np.ndarray:
        """Return an array of the caller's with the axes (T, B, ...)."""
        return array.swapaxes(0, 1) if self.batch_first else array


def drawn(seed: int) -> Case:
    """Draw a case."""
    random = np.random.default_rng(seed)
    cell = list(REGISTRY.values())[seed % len(REGISTRY)]
    made = problem(
        cell,
        T=int(random.integers(0, 7)),
        B=int(random.integers(0, 6)),
        I=int(random.choice([0, 1, 3, 17])),
        H=int(random.choice([1, 2, 5, 8, 9, 17, 33])),
        kind=str(random.choice(KINDS)),
        seed=seed,
        num_layers=int(random.integers(1, 4)),
        bidirectional=bool(random.integers(3) == 0),
    )
    if random.random() < 0.5:
        made = made.as_float32()
    case = Case(random, made, bool(random.integers(2)))
    made.layer.batch_first = case.batch_first
    return case


def small_arrays(case: Case, made: Problem) -> dict[str, Any]:
    """Return the arguments that a call copies, in fresh arrays of the caller's."""
    given: dict[str, Any] = {"state": tuple(s.copy() for s in made.state)}
    for name, array in made.sequence.items():
        if name == "lengths":
            given[name] = array.astype(case.choose(np.int64, np.int32, np.uint8))
        else:
            given[name] = case.core(array).copy()
    return given


def overwrite(case: Case, given: dict[str, Any]) -> None:
    """Write something else into arrays that a call has taken."""
    for array in [*given.pop("state"), *given.values()]:
        if array.dtype.kind == "f":
            array[...] = case.choose(np.nan, 1e30, 0)
        elif array.dtype.kind == "b":
            np.logical_not(array, out=array)
        else:
            info = np.iinfo(array.dtype)
            array[...] = case.choose(info.min, info.max, 0, 1)


def forward(case: Case, made: Problem) -> Callable[[], dict[str, np.ndarray]]:
    """Run forward, spoil what it was given, and return what runs backward.

    That returns all results by name, time first.
    """
    layer = made.layer
    given = small_arrays(case, made)
    budget = None if layer.bidirectional else case.choose(None, None, 0, 4000)
    x = case.caller(made.x)
    y, final, saved = layer.forward(
        x,
        joined(given["state"]),
        memory_budget=budget,
        **{name: array for name, array in given.items() if name != "state"},
    )
    overwrite(case, given)
    results = {"y": case.core(y).copy(), **named(tuple(map(np.copy, split(final))))}
    y[...] = np.nan  # the caller's too
    case.calls += 1

    def backward() -> dict[str, np.ndarray]:
        dstate = tuple(d.copy() for d in made.dstate)
        dx, dfirst, grads = layer.backward(case.caller(made.dy), saved, joined(dstate))
        case.calls += 1
        first = {f"d{n}": d for n, d in named(split(dfirst)).items()}
        own = {f"d{n}": g for n, g in grads.items()}
        return {**results, "dx": case.core(dx), **first, **own}

    return backward


def plain(case: Case) -> dict[str, np.ndarray]:
    """Return all results of a plain call, under the names of `forward`'s."""
    made = case.made
    made.layer.batch_first = False
    y, final, grads = made.train()
    made.layer.batch_first = case.batch_first
    case.calls += 2
    return {"y": y, **named(final), **{f"d{n}": g for n, g in grads.items()}}


def other_batch(case: Case) -> Problem:
    """Return the same layer with other numbers and other lengths."""
    made = case.made
    sequence = {n: np.roll(a, 1, axis=-1) for n, a in made.sequence.items()}
    return replace(made, x=made.x[::-1].copy(), sequence=sequence)


def steps(case: Case) -> None:
    """Check that a session and a pool give the bits of a call over the sequence."""
    made, B = case.made, case.made.B
    layer = made.layer
    if layer.bidirectional or set(made.sequence) - {"reset"}:
        return
    y, final = expected_call(case)
    reset = made.sequence.get("reset")
    session = layer.session(B)
    session.state = joined(made.state)
    pool = fastcell.StreamPool(layer, capacity=case.choose(1, B + 1))
    ids = case.random.permutation(pool.open(B))
    pool.set_state(ids, joined(made.state))
    for t in range(made.T):
        rows = np.zeros(0, int) if reset is None else np.flatnonzero(reset[t])
        session.reset(rows)
        pool.reset(ids[rows])
        if case.random.random() < 0.2:
            session = case.choose(type(session).fork, copied_by(case))(session)
        some = case.random.permutation(B)
        got = pool.step(ids[some], made.x[t][some])
        case.check("a session's bits", same_bits(session.step(made.x[t]), y[t]))
        case.check("a pool's bits", same_bits(got, y[t][some]))
        case.calls += 2
    states = zip(split(session.state), split(pool.state(ids)), final, strict=True)
    for of_session, of_pool, expected in states:
        case.check("a session's state", same_bits(of_session, expected))
        case.check("a pool's state", same_bits(of_pool, expected))


def expected_call(case: Case) -> Any:
    """Return y and the final states of a call for inference, time first."""
    made = case.made
    made.layer.batch_first = False
    found = made.call()
    made.layer.batch_first = case.batch_first
    case.calls += 1
    return found


def copied_by(case: Case) -> Callable[[Any], Any]:
    """Return one of the ways to copy a layer or a session."""
    protocol = int(case.random.integers(2, 6))
    return case.choose(
        copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m, protocol))
    )


def run_case(seed: int) -> int:
    """Run one case; return how many calls it made.

    Raises
    ------
    AssertionError
        If a result is not what it has to be.
    """
    case = drawn(seed)
    _core.select_isa(case.choose(*_core.isas()))
    fastcell.set_num_threads(int(case.random.integers(1, 4)))
    made = case.made
    expected = plain(case)

    if case.random.random() < 0.3:
        made.layer = copied_by(case)(made.layer)
    pending = [forward(case, made), forward(case, other_batch(case))]
    order = case.random.permutation(2)
    found = {int(i): pending[i]() for i in order}[0]
    for name, array in expected.items():
        case.check(f"the bits of {name}", same_bits(found[name], array))

    dtype = made.layer.dtype.type
    y, final = made.expected()
    for name, truth in {"y": y, **named(final)}.items():
        case.check(f"{name} by the formula", error(found[name], truth) < FORWARD[dtype])
    name = str(case.choose(*made.values()))
    if dtype is np.float64:
        derivative, direction = slope(made, name, seed)
        got = float((found[f"d{name}"] * direction).sum())
        wrong = abs(got - derivative) / (1 + abs(derivative))
        case.check(f"the slope of {name}", wrong <= DIFFERENCE)
    else:
        truth = as_float64(made).train()[2][name]
        case.check(
            f"the gradient of {name} in float32",
            error(found[f"d{name}"], truth) <= GRADIENT_FLOAT32,
        )
    steps(case)
    return case.calls


def as_float64(made: Problem) -> Problem:
    """Return the same problem for a layer in float64, time first."""
    config = {**made.layer.config(), "dtype": "float64", "batch_first": False}
    layer = type(made.layer).from_config(config)
    layer.load_state_dict(
        {n: w.astype(np.float64) for n, w in made.layer.state_dict().items()}
    )
    return replace(
        made,
        layer=layer,
        x=made.x.astype(np.float64),
        dy=made.dy.astype(np.float64),
        state=tuple(s.astype(np.float64) for s in made.state),
        dstate=tuple(s.astype(np.float64) for s in made.dstate),
    )


def main() -> int:
    """Run cases until there are enough; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000, help="least calls")
    parser.add_argument("--cases", type=int, help="exactly so many cases")
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    arguments = parser.parse_args()
    calls = cases = failed = 0
    begun = time.monotonic()
    while cases < arguments.cases if arguments.cases else calls < arguments.calls:
        seed = arguments.seed + cases
        cases += 1
        try:
            calls += run_case(seed)
        except Exception as failure:
            failed += 1
            print(f"seed {seed}: {type(failure).__name__}: {failure}", flush=True)
    seconds = time.monotonic() - begun
    print(f"{cases} cases, {calls} calls, {failed} failed; {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
