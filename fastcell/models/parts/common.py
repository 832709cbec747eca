"""What the models are made of alike: cells by name, seeds of parts, saved values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.names import one_of
from fastcell._checks.numbers import seed_of, shown
from fastcell.cells import REGISTRY, Cell
from fastcell.layers.saved import Once
from fastcell.losses.parts import weights_of
from fastcell.module import Module

IGNORED = -100  # the target that `losses.cross_entropy` leaves out by default


def cell_named(name: Any) -> Cell:
    """Return a cell by the name that models take: "rnn" is the one with tanh.

    Raises
    ------
    ValueError
        If there is no such cell.
    """
    cells = {"rnn": REGISTRY["rnn_tanh"], **REGISTRY}
    return cells[one_of("cell", name, cells)]


def check_seed(seed: Any) -> int | None:
    """Return a seed that is an integer from 0, or None."""
    return seed_of(seed)


def part_seeds(seed: int | None, count: int) -> list[int | None]:
    """Return an independent seed for each part of a model, or None for each.

    Parts that a model may leave out have theirs all the same, so that two models that
    differ in dropout only start from the same weights.
    """
    if seed is None:
        return [None] * count
    seeds: list[int | None] = (
        np.random.SeedSequence(seed).generate_state(count).tolist()
    )
    return seeds


def set_precision(model: Module, precision: Any) -> None:
    """Let a model compute in `precision`; None: as its parts were made."""
    if precision is not None:
        model.to(precision)


def precision_of(model: Module) -> dict[str, Any]:
    """Return what a configuration says of the precision: nothing if it is the usual."""
    return model._precision_config()


class SavedOnce:
    """What a model's backward needs, and the state after the batch.

    Attributes
    ----------
    state
        The recurrent state, to be handed to the next batch of the same streams; None
        where batches do not continue one another.
    count : int or None
        What the model's `count` says of the batch, where its loss has found out.
    weight : float or None
        What its `total_weight` says, if that may be another number.
    """

    __slots__ = ("_kept", "count", "state", "weight")

    def __init__(self, state: Any, *kept: Any) -> None:
        self.state = state
        self.count: int | None = None
        self.weight: float | None = None
        self._kept = Once(*kept)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "saved can be neither copied nor pickled: it serves one backward; run the "
            "loss again, with the copy"
        )

    def take(self) -> tuple[Any, ...]:
        """Hand over the saved values, once: backward makes the gradients in them.

        Raises
        ------
        ValueError
            If they were taken before, by another thread at the same time too.
        """
        return self._kept.take()


def take_saved(saved: Any) -> tuple[Any, ...]:
    """Return the values that `loss` has kept in `saved`, once.

    Raises
    ------
    TypeError
        If `saved` is not what a model's `loss` returned.
    ValueError
        If it was used before.
    """
    if not isinstance(saved, SavedOnce):
        raise TypeError(f"saved must be what loss returned; got {shown(saved)}")
    return saved.take()


def prefixed(name: str, grads: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return gradients of a part by the names that the model has for them."""
    return {f"{name}.{key}": grad for key, grad in grads.items()}


def check_batch(batch: Any, form: str) -> tuple[Any, ...]:
    """Return a batch that is a tuple or list of as many parts as `form` names.

    A mapping is taken by these names; lengths that it lacks are None.

    Raises
    ------
    TypeError
        If it is none.
    ValueError
        If a mapping lacks one of the other names, or has more.

    Examples
    --------
    >>> check_batch({"y": 1, "x": 2}, "(x, lengths, y)")
    (2, None, 1)
    """
    count = form.count(",") + 1
    if isinstance(batch, Mapping):
        names = form.strip("()").split(", ")
        missing = {n for n in names if not n.endswith("lengths")} - batch.keys()
        if missing or batch.keys() - {*names}:
            raise ValueError(
                f"batch must have the entries {', '.join(names)}; "
                f"got {shown(list(batch))}"
            )
        return tuple(batch.get(name) for name in names)
    if isinstance(batch, (tuple, list)) and len(batch) == count:
        return tuple(batch)
    came = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
    raise TypeError(f"batch must be {form}; got {type(batch).__name__}{came}")


def check_weighted(batch: Any, form: str) -> tuple[Any, ...]:
    """Return the parts of a batch that may have weights, the last one, or None.

    Raises
    ------
    TypeError, ValueError
        As `check_batch`.

    Examples
    --------
    >>> check_weighted((1, 2), "(x, y)"), check_weighted((1, 2, 3), "(x, y)")
    ((1, 2, None), (1, 2, 3))
    >>> check_weighted({"y": 2, "weights": 3, "x": 1}, "(x, y)")
    (1, 2, 3)
    """
    if type(batch) is tuple and len(batch) == form.count(",") + 1:  # most are
        return (*batch, None)
    if isinstance(batch, Mapping) and "weights" in batch:
        rest = {name: part for name, part in batch.items() if name != "weights"}
        return (*check_batch(rest, form), batch["weights"])
    if isinstance(batch, (tuple, list)) and len(batch) == form.count(",") + 2:
        return tuple(batch)
    return (*check_batch(batch, form), None)


def step_weights(weights: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the weights of all steps, (T, B), of those or of whole sequences (B,).

    Raises
    ------
    TypeError, ValueError
        If they are no numbers from 0, or of another shape.
    """
    if weights is not None and np.ndim(as_array("weights", weights)) == 1:
        weights = weights_of("weights", weights, shape[1:], exact=True)
        return np.broadcast_to(weights, shape)
    return weights_of("weights", weights, shape, exact=True)


def check_no_state(state: Any) -> None:
    """Refuse a state of a model whose batches do not continue one another.

    Raises
    ------
    ValueError
        If there is one.
    """
    if state is not None:
        raise ValueError(
            "state must be None, as batches do not continue one another; "
            f"got {shown(state)}"
        )
