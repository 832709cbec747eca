"""What a checkpoint holds of a training run, and how a run is taken up from it."""

from __future__ import annotations

import reprlib
import warnings
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastcell._numbers import integer
from fastcell.checkpoint import machine
from fastcell.history import History

if TYPE_CHECKING:
    from fastcell.train import Trainer


@dataclass
class Position:
    """Where a run stands. With the weights, all that the next step depends on."""

    step: int = 0  # optimizer steps done
    epoch: int = 0  # epochs completed
    window: int = 0  # windows of the present epoch done
    state: Any = None  # recurrent state after the last window
    # Of the time since the last record:
    loss_sum: float = 0.0  # losses times their targets
    num_targets: int = 0
    step_seconds: float = 0.0  # time in steps, without validation
    # Of the whole run:
    seconds: float = 0.0
    base_lr: float = 0.0


class Run(NamedTuple):
    """A run as a checkpoint has left it."""

    position: Position
    history: History
    info: dict[str, Any]
    origin: dict[str, Any]  # what its data and its machine were


def run_tree(
    trainer: Trainer, position: Position, fingerprint: dict[str, int]
) -> dict[str, Any]:
    """Return all of a run, as `fastcell.checkpoint.write_checkpoint` takes it.

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
        "data": fingerprint,
        "machine": machine(),
        "info": trainer.info,
    }


def take_up(trainer: Trainer, tree: dict[str, Any], name: str) -> Run:
    """Give the trainer's model, optimizer and schedule the state of a checkpoint.

    Raises
    ------
    ValueError
        If the tree is damaged, or that of another model, optimizer or schedule; the
        error begins with `name`.
    """
    try:
        model, its_model = trainer.model, tree["model"]
        _check_same("model", type(model).__name__, its_model["class"])
        mine, its = model.config(), its_model["config"]
        for key in {**mine, **its}:
            # The seed chose weights that the checkpoint replaces.
            if key != "seed":
                _check_same(key, mine.get(key), its.get(key))
        _check_same("clip_norm", trainer.clip_norm, tree["clip_norm"])
        _check_same("clip_value", trainer.clip_value, tree.get("clip_value"))
        position = Position(**tree["position"])
        for key in ("step", "epoch", "window", "num_targets"):
            integer(key, getattr(position, key), minimum=0)
        history = History(tree["history"])
        schedule, its_schedule = trainer.schedule, tree["schedule"]
        if (schedule is None) != (its_schedule is None):
            raise ValueError("the run had a schedule, or this one has, not both")
        trainer.optimizer.load_state_dict(tree["optimizer"])
        model.load_state_dict(its_model["params"])
        model.set_rng_state(its_model["rng"])
        if hasattr(schedule, "load_state_dict"):
            schedule.load_state_dict(its_schedule)
        origin = {"data": tree["data"], "machine": dict(tree["machine"])}
        return Run(position, history, dict(tree["info"]), origin)
    except KeyError as error:
        raise ValueError(f"{name}: {error.args[0]!s} is missing or unknown") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{name}: {error}") from error


def check_same_data(
    origin: dict[str, Any], position: Position, fingerprint: dict[str, int]
) -> None:
    """Raise ValueError unless the data are those of the run that is resumed."""
    if origin["data"] != fingerprint or position.window >= fingerprint["windows"]:
        raise ValueError(
            "train_data must be those of the resumed run; got others, or other "
            "windows of them"
        )


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
    if mine != its:
        raise ValueError(
            f"{name} must be that of the checkpoint, {reprlib.repr(its)}; "
            f"got {reprlib.repr(mine)}"
        )


def _state_of(schedule: Any) -> dict[str, Any] | None:
    """Return the state of a schedule; a plain function has an empty one."""
    if schedule is None:
        return None
    return schedule.state_dict() if hasattr(schedule, "state_dict") else {}
