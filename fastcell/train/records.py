"""Evaluation of a model on batches, and the record of it in the history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastcell.train.feeds import as_arrays

if TYPE_CHECKING:
    from fastcell.models.parts.base import Model
    from fastcell.train.interrupts import Interrupts
    from fastcell.train.position import Position


def assess(
    model: Model, data: Iterable[Any], interrupts: Interrupts | None = None
) -> dict[str, float]:
    """Return the loss and the scores of a model over all batches, by inference.

    Returns
    -------
    values : dict of str to float
        ``"loss"``, the mean over all targets, weighted if they have weights; the same
        in the units of the model, such as ``"bpc"``; and the scores of `Model.assess`,
        such as ``"accuracy"``.

    Raises
    ------
    ValueError
        If no target counts.
    """
    total, weight_sum, state = 0.0, 0.0, None
    weight_of = getattr(model, "total_weight", model.count)
    sums: dict[str, tuple[float, int]] = {}
    for batch in map(as_arrays, data):
        if interrupts is not None:
            interrupts.check()
        loss, state, scores = model.assess(batch, state)
        weight = weight_of(batch)
        total += loss * weight
        weight_sum += weight
        for name, (value, count) in scores.items():
            before = sums.get(name, (0.0, 0))
            sums[name] = before[0] + value, before[1] + count
    if weight_sum == 0:
        raise ValueError("data must hold at least one target; got none")
    loss = total / weight_sum
    means = {
        name: float(value) / max(int(count), 1) for name, (value, count) in sums.items()
    }
    return {"loss": loss, **model.metrics(loss), **means}


def record_of(
    model: Model,
    position: Position,
    share: float,
    valid: dict[str, float] | None,
    learning_rate: float,
) -> dict[str, Any]:
    """Return the record of the training since the last one: see `History`.

    `share` is the part of the present epoch that is done.
    """
    train_loss = position.loss_sum / (position.weight_sum or 1.0)
    record: dict[str, Any] = {
        "step": position.step,
        "epoch": position.epoch + share,
        "train_loss": train_loss,
        "valid_loss": None,
    }
    for name, value in model.metrics(train_loss).items():
        record[f"train_{name}"] = value
    for name, value in (valid or {}).items():
        record[f"valid_{name}"] = value
    record["learning_rate"] = learning_rate
    record["tokens_per_second"] = position.num_targets / max(
        position.step_seconds, 1e-9
    )
    record["seconds"] = position.seconds
    return record
