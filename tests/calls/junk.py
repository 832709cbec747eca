"""Public calls with junk as arguments: they must refuse it by a proper error.

Every public callable has recipes (`public_calls`): valid arguments, and the other kinds
that each of them may be. Junk of twelve kinds replaces each argument. A call must
accept the kinds of its recipe, and refuse all others by ValueError, TypeError,
OverflowError or MemoryError, with a text that names the argument.

A run by hand puts random junk into one to three arguments, for instance with a
sanitizer:

    python tests/calls/junk.py --calls 100000 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import sys
import tempfile
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import calls_of_data  # noqa: F401
import calls_of_models  # noqa: F401
import numpy as np
from public_calls import DOCUMENTED, RECIPES, Recipe, fresh

import fastcell

os.environ.setdefault("MPLBACKEND", "Agg")  # no windows
REFUSALS = (ValueError, TypeError, OverflowError, MemoryError)
SECONDS = 20  # that a call may take; most take a thousandth of one


class Tensor:
    """What NumPy sees of a tensor of PyTorch that requires a gradient."""

    requires_grad = True
    dtype = "torch.float32"
    shape = (2, 3)

    def __array__(self, *args: Any, **named: Any) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def __dlpack__(self, **named: Any) -> Any:
        raise BufferError("Can't export tensors that require gradient")

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[Any]:
        return iter((Tensor(), Tensor()))

    def __getitem__(self, i: Any) -> Any:
        return Tensor()

    def detach(self) -> np.ndarray:
        return np.ones(self.shape, np.float32)


PackedSequence = namedtuple(
    "PackedSequence", "data batch_sizes sorted_indices unsorted_indices"
)


def _packed(valid: Any) -> Any:
    return PackedSequence(np.ones((3, 2), np.float32), np.array([2, 1]), None, None)


def _rank(valid: Any) -> Any:
    if isinstance(valid, np.ndarray) and valid.ndim:
        return np.broadcast_to(valid, (2, 1, 2, *valid.shape)).copy()
    return np.ones((2,) * 6, np.float32)


# By kind: what comes in the place of a valid value. The first is for the property, all
# of them are for random calls.
KINDS: dict[str, list[Callable[[Any], Any]]] = {
    "none": [lambda valid: None],
    "str": [lambda valid: "junk", lambda valid: "", lambda valid: "a\0b\n" * 99],
    "list": [
        lambda valid: ["a", None],
        lambda valid: [],
        lambda valid: [[1], [2, 3]],
        lambda valid: [1.5, 2.5],
        lambda valid: [valid, valid],
    ],
    "dict": [lambda valid: {"a": 1}, lambda valid: {}, lambda valid: {1: None}],
    "object": [
        lambda valid: np.array([None, "a"], object),
        lambda valid: np.empty((0, 2), object),
    ],
    "negative": [
        lambda valid: -1,
        lambda valid: -(2**70),
        lambda valid: np.float32(-1.5),
        lambda valid: np.array([-1, -(2**62)]),
    ],
    "huge": [
        lambda valid: 2**70,
        lambda valid: 10**5000,
        lambda valid: np.uint64(2**63),
        lambda valid: np.array([2**62, 2**63], np.uint64),
    ],
    "nan": [
        lambda valid: float("nan"),
        lambda valid: float("inf"),
        lambda valid: np.full((2, 3), np.nan, np.float32),
    ],
    "generator": [lambda valid: (i for i in range(3)), lambda valid: iter(())],
    "tensor": [lambda valid: Tensor()],
    "packed": [_packed],
    "rank": [_rank, lambda valid: np.float32(1), lambda valid: np.ones((0, 2, 0))],
}


def name_in(text: str, names: Any) -> bool:
    """Does the text hold one of the names as a word?"""
    return any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", text) for n in names)


class _Late(BaseException):
    pass


def _late(*_: Any) -> None:
    raise _Late


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def called(recipe: Recipe, junk: dict[str, Any]) -> BaseException | None:
    """Call with the junk in place of arguments; return the error, None without."""
    call, arguments = fresh(recipe)
    arguments.update({name: make(arguments[name]) for name, make in junk.items()})
    threads = fastcell.get_num_threads()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), _time_limit():
            warnings.simplefilter("ignore")
            result = call(**arguments)
            if isinstance(result, Iterator):
                list(result)
    except Exception as error:
        return error
    except _Late as late:
        return late
    finally:
        fastcell.set_num_threads(threads)
    return None


def wrong_refusal(recipe: Recipe, error: BaseException, names: Any) -> str:
    """Return what is wrong with an error that refuses junk; "" if it is right."""
    if isinstance(error, _Late):
        return f"takes more than {SECONDS} seconds"
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return ""  # of a path that is none of a file
    if not isinstance(error, (*REFUSALS, *DOCUMENTED.get(recipe.name, ()))):
        return f"raises {type(error).__name__}: {text[:150]}"
    if not name_in(text, names):
        return f"does not name it: {type(error).__name__}: {text[:150]}"
    return ""


def fault_of(recipe: Recipe, argument: str, kind: str, make: Any = None) -> str:
    """Return what a call does wrong with junk in one argument; "" if it is right."""
    make = make or KINDS[kind][0]
    error = called(recipe, {argument: make})
    accepted = kind in recipe.accepts.get(argument, ())
    if error is None:
        return "" if accepted else "takes it"
    names = recipe.names(argument)
    if kind == "str":  # an error of a file names the file
        names = (*names, make(None))
    wrong = wrong_refusal(recipe, error, names)
    if accepted:
        return wrong or f"refuses what it should take: {error}"
    return wrong


def random_faults(calls: int, seed: int) -> Iterator[str]:
    """Yield what random calls do wrong; what they take is not judged."""
    source = random.Random(seed)
    for n in range(calls):
        recipe = source.choice(RECIPES)
        names = [name for name in recipe.arguments if name not in recipe.fixed]
        if not names:
            continue
        chosen = source.sample(names, min(len(names), source.randint(1, 3)))
        kinds = {name: source.choice(list(KINDS)) for name in chosen}
        junk = {name: source.choice(KINDS[kind]) for name, kind in kinds.items()}
        error = called(recipe, junk)
        # Junk that is taken may change what another argument has to be.
        every = [n for name in recipe.arguments for n in recipe.names(name)]
        every += [junk[name](None) for name in chosen if kinds[name] == "str"]
        wrong = "" if error is None else wrong_refusal(recipe, error, every)
        if wrong and not recipe.knows(chosen):
            yield f"{n}: {recipe} {kinds}: {wrong}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # what is written by a name that is junk
        for fault in random_faults(options.calls, options.seed):
            count += 1
            print(fault, flush=True)
        os.chdir("/")
    print(f"{options.calls} calls, {count} faults")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
