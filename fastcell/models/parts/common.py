"""Parts shared by all models: seeds, saved values, batch checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import seed_of, shown
from fastcell.layers.saved import Once
from fastcell.losses.parts import weights_of
from fastcell.module import Module

IGNORED = -100  # the target that `losses.cross_entropy` leaves out by default


def check_seed(seed: Any) -> int | None:
    """Check that a seed is an integer from 0, or None, and return it."""
    return seed_of(seed)


def part_seeds(seed: int | None, count: int) -> list[int | None]:
    """Return an independent seed for each part of a model, or None for each.

    Optional parts always have a seed, so that two models that differ only in dropout
    start from the same weights.
    """
    if seed is None:
        return [None] * count
    seeds: list[int | None] = (
        np.random.SeedSequence(seed).generate_state(count).tolist()
    )
    return seeds


def set_precision(model: Module, precision: Any) -> None:
    """Set the precision of a model; None leaves it unchanged."""
    if precision is not None:
        model.to(precision)


def precision_of(model: Module) -> dict[str, Any]:
    """Return the configuration's entry for the precision; empty for the default."""
    return model._precision_config()


class SavedOnce:
    """Values that `loss` saves for one `backward`, and the state after the batch.

    Attributes
    ----------
    state
        The recurrent state, to be passed with the next batch of the same streams; None
        if batches do not continue one another.
    count : int or None
        The model's `count` of the batch, if the loss has computed it.
    weight : float or None
        Its `total_weight`, if that may differ from `count`.
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
        """Return the saved values, once: backward overwrites them with gradients.

        Raises
        ------
        ValueError
            If they were taken before, also by a concurrent thread.
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
    """Return the gradients of a part, with its name as the prefix of theirs."""
    return {f"{name}.{key}": grad for key, grad in grads.items()}


def check_batch(batch: Any, form: str) -> tuple[Any, ...]:
    """Return a batch as a tuple of the parts that `form` names.

    A batch is a tuple or list of that many parts, or a mapping from these names.
    Missing lengths are None.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If a mapping lacks another name, or has additional ones.

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
    """Return the parts of a batch with weights, or None for them, as the last part.

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
    if type(batch) is tuple and len(batch) == form.count(",") + 1:  # the common case
        return (*batch, None)
    if isinstance(batch, Mapping) and "weights" in batch:
        rest = {name: part for name, part in batch.items() if name != "weights"}
        return (*check_batch(rest, form), batch["weights"])
    if isinstance(batch, (tuple, list)) and len(batch) == form.count(",") + 2:
        return tuple(batch)
    return (*check_batch(batch, form), None)


def step_weights(weights: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return weights of steps (T, B), given as such or as weights of sequences (B,).

    Raises
    ------
    TypeError, ValueError
        If they are not numbers from 0, or of another shape.
    """
    if weights is not None and np.ndim(as_array("weights", weights)) == 1:
        weights = weights_of("weights", weights, shape[1:], exact=True)
        return np.broadcast_to(weights, shape)
    return weights_of("weights", weights, shape, exact=True)


def check_no_state(state: Any) -> None:
    """Raise if a state is passed to a model whose batches do not continue one another.

    Raises
    ------
    ValueError
        If `state` is not None.
    """
    if state is not None:
        raise ValueError(
            "state must be None, as batches do not continue one another; "
            f"got {shown(state)}"
        )


def started(states: tuple[str, ...]) -> tuple[str, ...]:
    """Return the states that a model's own layers may initialize.

    Of more than two it is h alone, and the others begin with zeros: the n and m of an
    sLSTM have to fit its c.
    """
    return states if len(states) < 3 else states[:1]
