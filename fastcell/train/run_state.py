"""The state of a training run in a checkpoint: building, checking and restoring it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from fastcell._checks.schema import (
    Schema,
    dictionary,
    entries,
    items,
    like,
    number,
    optional,
    refuse,
    shortened,
    shown,
    text,
    whole,
)
from fastcell.train.checkpoint import machine
from fastcell.train.history import History
from fastcell.train.position import Position

if TYPE_CHECKING:
    from fastcell.models.parts.base import Model
    from fastcell.optim import Optimizer


class Trained(Protocol):
    """The members of a trainer that a checkpoint uses."""

    model: Model
    optimizer: Optimizer
    schedule: Callable[[int], float] | None
    clip_norm: float | None
    clip_value: float | None
    history: History
    info: dict[str, Any]


class Run(NamedTuple):
    """A run restored from a checkpoint."""

    position: Position
    history: History
    info: dict[str, Any]
    origin: dict[str, Any]  # its file, its data's state and its machine


def run_tree(
    trainer: Trained, position: Position, data: dict[str, Any]
) -> dict[str, Any]:
    """Return the tree of a run for `fastcell.train.checkpoint.write_checkpoint`.

    Raises
    ------
    FloatingPointError
        If a parameter holds NaN or infinity.
    """
    model = trainer.model
    params = model.state_dict()
    for name, array in params.items():
        if not np.isfinite(array).all():
            raise FloatingPointError(
                f"{name} holds NaN or infinity after step {position.step}: no "
                "checkpoint of it is written"
            )
    return {
        "model": {
            "class": type(model).__name__,
            "config": model.config(),
            "params": params,
            "rng": model.rng_state(),
        },
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": _state_of(trainer.schedule),
        "clip_norm": trainer.clip_norm,
        "clip_value": trainer.clip_value,
        "position": {f.name: getattr(position, f.name) for f in fields(position)},
        "history": list(trainer.history),
        "data": data,
        "machine": machine(),
        "info": trainer.info,
    }


def check_run(tree: Any) -> None:
    """Check that a tree has the structure of a result of `run_tree`.

    `take_up` checks what depends on the model and its optimizer.

    Raises
    ------
    ValueError
        If it is not.
    """
    _RUN("the run", tree)
    position, records = tree["position"], tree["history"]
    step, epoch, window = (position[key] for key in ("step", "epoch", "window"))
    windows = tree["data"].get("windows")
    if windows is None:  # a loader may give any number in an epoch
        right = step >= epoch + window and (epoch > 0 or step == window)
        each = "any number of"
    else:
        right = window < windows and step == epoch * windows + window
        each = f"{windows}"
    if not right:
        raise ValueError(
            f"the step {step} must be that of window {window} of epoch {epoch}, with "
            f"{each} windows in each"
        )
    if window == 0 and position["state"] is not None:
        raise ValueError("the state must be None where an epoch begins")
    steps = [0, *(record["step"] for record in records), step]
    if steps != sorted(steps) or len({*steps[:-1]}) < len(steps) - 1:
        raise ValueError("the steps of the history must rise, to that of the run")


def take_up(trainer: Trained, tree: dict[str, Any], name: str) -> Run:
    """Restore the trainer's model, optimizer and schedule from a checkpoint.

    Raises
    ------
    ValueError
        If the tree is damaged, or of another model, optimizer or schedule; the error
        begins with `name`. Nothing is changed then.
    """
    model, optimizer = trainer.model, trainer.optimizer
    schedule: Any = trainer.schedule
    try:
        check_run(tree)
        its_model, its_schedule = tree["model"], tree["schedule"]
        _check_same("model", type(model).__name__, its_model["class"])
        mine, its = model.config(), its_model["config"]
        for key in {**mine, **its}:
            # The seed only chose initial weights, which the checkpoint replaces.
            if key != "seed":
                _check_same(key, mine.get(key), its.get(key))
        _check_same("clip_norm", trainer.clip_norm, tree["clip_norm"])
        _check_same("clip_value", trainer.clip_value, tree.get("clip_value"))
        if (schedule is None) != (its_schedule is None):
            raise ValueError("the run had a schedule, or this one has, not both")
        own = model.state_dict()
        like(own)("params", its_model["params"])
        for key, array in its_model["params"].items():
            if not np.isfinite(array).all():
                raise ValueError(f"params.{key} holds NaN or infinity")
        like(model.rng_state())("rng", its_model["rng"])
        position = Position(**tree["position"])
        if "weight_sum" not in tree["position"]:  # of an earlier version
            position.weight_sum = float(position.num_targets)
        history = History(tree["history"])
        parts: list[_Part] = []
        if hasattr(schedule, "load_state_dict"):
            load = schedule.load_state_dict
            parts.append(_Part("schedule", load, schedule.state_dict(), its_schedule))
        load, old = optimizer.load_state_dict, optimizer.state_dict()
        parts.append(_Part("optimizer", load, old, tree["optimizer"]))
        load = model.load_state_dict
        parts.append(_Part("params", load, own, its_model["params"]))
        old = model.rng_state()
        parts.append(_Part("rng", model.set_rng_state, old, its_model["rng"]))
        _all_or_none(parts)
    except Exception as error:
        # In all cases the file does not fit.
        raise ValueError(f"{name}: {shortened(error)}") from error
    origin = {"file": name, "data": tree["data"], "machine": tree["machine"]}
    return Run(position, history, tree["info"], origin)


class _Part(NamedTuple):
    """A part of a run that a checkpoint replaces."""

    name: str
    load: Callable[[Any], Any]
    old: Any
    new: Any


def _all_or_none(parts: list[_Part]) -> None:
    """Load all parts; if one raises, restore the old values of those before it."""
    for i, part in enumerate(parts):
        try:
            part.load(part.new)
        except Exception as error:
            for earlier in parts[: i + 1]:
                earlier.load(earlier.old)
            raise ValueError(f"{part.name}: {error}") from error


def check_state(model: Model, batch: Any, state: Any, name: str) -> None:
    """Try the recurrent state of a checkpoint on its next batch, by inference.

    Only the model knows the structure of its state.

    Raises
    ------
    ValueError
        If the state does not fit the model and the batch, or gives no finite loss; the
        error begins with `name`.
    """
    try:
        loss = model.evaluate(batch, state)[0]
        reason = f"gives a loss of {loss}"
        fits = bool(np.isfinite(loss))
    except Exception as error:
        reason, fits = f"does not fit the model: {shortened(error)}", False
    if not fits:
        model.evaluate(batch, None)  # raises if the fault is in the data
        raise ValueError(f"{name}: position.state {reason}")


def warn_of_another_machine(origin: dict[str, Any], stacklevel: int) -> None:
    """Warn if the threads or the instruction set are not those of the resumed run."""
    then, now = origin["machine"], machine()
    if then != now:
        changed = ", ".join(
            f"{key} was {then.get(key)} and is {now[key]}"
            for key in now
            if then.get(key) != now[key]
        )
        warnings.warn(
            f"the resumed run may not repeat bit for bit: {changed}",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


def _check_same(name: str, mine: Any, its: Any) -> None:
    try:
        same = bool(mine == its)
    except ValueError:  # of arrays
        same = False
    if not same:
        raise ValueError(
            f"{name} must be that of the checkpoint, {shown(its)}; got {shown(mine)}"
        )


def _state_of(schedule: Any) -> dict[str, Any] | None:
    """Return the state of a schedule; a plain function has an empty one."""
    if schedule is None:
        return None
    return schedule.state_dict() if hasattr(schedule, "state_dict") else {}


def _array_tree(where: str, value: Any) -> None:
    """Be the schema of a recurrent state; the model checks the rest."""
    if isinstance(value, dict):
        for key, part in value.items():
            _array_tree(f"{where}.{key}", part)
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            _array_tree(f"{where}[{i}]", part)
    elif value is not None and not isinstance(value, (np.ndarray, np.generic, int)):
        refuse(where, "arrays", value)


def _arrays(where: str, value: Any) -> None:
    """Be the schema of arrays by name."""
    dictionary(where, value)
    for key, array in value.items():
        if not isinstance(array, np.ndarray):
            refuse(f"{where}.{key}", "an array", array)


def _optimizer(where: str, value: Any) -> None:
    """Be the schema of an optimizer's state; the optimizer checks the rest."""
    dictionary(where, value)
    for key, part in value.items():
        if key == "steps":
            whole()(f"{where}.steps", part)
        elif isinstance(part, np.ndarray):
            if part.dtype.kind == "f" and np.isnan(part).any():
                raise ValueError(f"{where}.{key} must not hold NaN")
        else:
            _scalar(f"{where}.{key}", part)


def _scalar(where: str, value: Any) -> None:
    if value is None or isinstance(value, (bool, str, np.generic)):
        return
    number(finite=False)(where, value)


def _record(where: str, value: Any) -> None:
    """Be the schema of a record; a callback may have added plain values."""
    dictionary(where, value)
    for key, schema in _RECORD.items():
        if key not in value:
            raise ValueError(f"{where} must have the entry {key!r}; it is missing")
        schema(f"{where}.{key}", value[key])
    for key, part in value.items():
        if key.startswith(("train_", "valid_")):
            optional(number(finite=False))(f"{where}.{key}", part)


_RECORD: dict[str, Schema] = {
    "step": whole(1),
    "epoch": number(0),
    "train_loss": number(finite=False),
    "learning_rate": number(),
    "tokens_per_second": number(0),
    "seconds": number(0),
}


def _anything(where: str, value: Any) -> None:
    """Be the schema of any value; its owner checks it."""


def _data(where: str, value: Any) -> None:
    """Be the schema of the state of the data: indexed, or of a loader."""
    dictionary(where, value)
    (_OF_A_LOADER if "order" in value else _BY_INDEX)(where, value)


_BY_INDEX = entries({"windows": whole(1), "crc": whole()})
_OF_A_LOADER = entries(
    {
        "length": optional(whole()),
        "batches": optional(whole()),
        "crc": optional(whole()),
        "order": entries({"generators": items(_anything), "state": _anything}),
    }
)
_RUN = entries(
    {
        "model": entries(
            {"class": text, "config": dictionary, "params": _arrays, "rng": dictionary}
        ),
        "optimizer": _optimizer,
        "schedule": optional(dictionary),
        "clip_norm": optional(number(0)),
        "clip_value": optional(number(0)),
        "position": entries(
            {
                "step": whole(),
                "epoch": whole(),
                "window": whole(),
                "state": _array_tree,
                "loss_sum": number(),
                "weight_sum": number(0),
                "num_targets": whole(),
                "step_seconds": number(0),
                "seconds": number(0),
                "base_lr": number(0),
            },
            may_lack=("weight_sum",),
        ),
        "history": items(_record),
        "data": _data,
        "machine": entries({"threads": whole(1), "isa": text}),
        "info": dictionary,
    },
    may_lack=("clip_value",),
)
