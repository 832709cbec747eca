"""Learning-rate schedules: the factor of the base learning rate at each step.

A schedule is called with the number of optimizer steps taken so far, from 0::

    optimizer.lr = base_lr * schedule(optimizer.steps)
    optimizer.step(grads)

All except `plateau` depend on the step alone. `plateau` also needs the validation loss,
by ``schedule.update(loss)``, and has a state to save. All have `update`, `state_dict`
and `load_state_dict`, so a training loop can treat them equally. Names are lower case,
since schedules are used like functions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from fastcell._checks.names import callable_of, mapping_of, one_of
from fastcell._checks.numbers import integer, number, real, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Schedule:
    """Base class of all schedules: a call, and a state that is empty by default."""

    def __call__(self, step: int) -> float:
        """Return the factor for the step after `step` steps."""
        raise NotImplementedError

    def update(self, metric: float) -> None:
        """Report a validation loss; no effect by default."""
        number("metric", metric)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON-serializable scalars; empty by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises
        ------
        ValueError
            If `state` is not that of such a schedule.
        """
        _check_keys(self, state, ())


class step(Schedule):
    """Multiply the learning rate by `gamma` every `step_size` steps.

    The factor is ``gamma ** (step // step_size)``.

    Parameters
    ----------
    step_size : int
        At least 1.
    gamma : float
        Positive.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described above.

    Examples
    --------
    >>> from fastcell.optim import step
    >>> schedule = step(100, gamma=0.5)
    >>> [schedule(n) for n in (0, 99, 100, 250)]
    [1.0, 1.0, 0.5, 0.25]
    """

    def __init__(self, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = integer("step_size", step_size, minimum=1)
        self.gamma = real("gamma", gamma, above=0)

    def __call__(self, step: int) -> float:
        return self.gamma ** (_check_step(step) // self.step_size)

    def __repr__(self) -> str:
        return f"step({self.step_size}, gamma={self.gamma})"


class cosine(Schedule):
    """Decay along half a cosine from 1 to `final_factor`, then stay constant.

    The factor is ``f + (1 - f) (1 + cos(pi step / total_steps)) / 2`` with
    ``f = final_factor`` (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts).

    Parameters
    ----------
    total_steps : int
        At least 1.
    final_factor : float
        From 0 to 1.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described above.

    Examples
    --------
    >>> from fastcell.optim import cosine
    >>> schedule = cosine(100)
    >>> [round(schedule(n), 3) for n in (0, 25, 50, 100, 200)]
    [1.0, 0.854, 0.5, 0.0, 0.0]
    """

    def __init__(self, total_steps: int, final_factor: float = 0.0) -> None:
        self.total_steps = integer("total_steps", total_steps, minimum=1)
        self.final_factor = real("final_factor", final_factor, minimum=0, maximum=1)

    def __call__(self, step: int) -> float:
        passed = min(_check_step(step) / self.total_steps, 1.0)
        height = (1.0 + math.cos(math.pi * passed)) / 2.0
        return self.final_factor + (1.0 - self.final_factor) * height

    def __repr__(self) -> str:
        return f"cosine({self.total_steps}, final_factor={self.final_factor})"


class warmup(Schedule):
    """Rise linearly to 1 over `warmup_steps` steps, then follow another schedule.

    The factor is ``(step + 1) / warmup_steps`` while ``step < warmup_steps``, so the
    first step is not lost to a learning rate of zero, and ``then(step - warmup_steps)``
    later.

    Parameters
    ----------
    warmup_steps : int
        At least 0.
    then : callable, optional
        A schedule of this module or any function of the step; constant 1 by default.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described above.

    Examples
    --------
    >>> from fastcell.optim import step, warmup
    >>> schedule = warmup(4, then=step(10))
    >>> [schedule(n) for n in (0, 1, 3, 4, 14)]
    [0.25, 0.5, 1.0, 1.0, 0.1]
    """

    def __init__(
        self, warmup_steps: int, then: Callable[[int], float] | None = None
    ) -> None:
        self.warmup_steps = integer("warmup_steps", warmup_steps, minimum=0)
        if then is not None:
            callable_of("then", then, "a schedule or a function")
        self.then = then

    def __call__(self, step: int) -> float:
        if _check_step(step) < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return 1.0 if self.then is None else self.then(step - self.warmup_steps)

    def update(self, metric: float) -> None:
        """Pass the validation loss on to `then`."""
        number("metric", metric)
        if isinstance(self.then, Schedule):
            self.then.update(metric)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of `then`."""
        return self.then.state_dict() if isinstance(self.then, Schedule) else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of `then`."""
        if isinstance(self.then, Schedule):
            self.then.load_state_dict(state)
        else:
            super().load_state_dict(state)

    def __repr__(self) -> str:
        return f"warmup({self.warmup_steps}, then={self.then!r})"


class plateau(Schedule):
    """Multiply the learning rate by `factor` when the validation loss stops falling.

    Each validation calls ``schedule.update(loss)``. A loss is better if it improves on
    the best one so far by more than `threshold` of its magnitude; NaN and infinities
    never are. After more than `patience` losses in a row that are not better, the
    factor is reduced; the next `cooldown` losses do not count as bad.

    Parameters
    ----------
    factor : float
        Between 0 and 1, both excluded.
    patience : int
        At least 0.
    threshold : float
        At least 0, relative.
    cooldown : int
        At least 0.
    min_factor : float
        Lower bound of the product of all reductions; from 0 to 1.
    mode : {"min", "max"}
        Whether less or more is better.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described above.

    Examples
    --------
    >>> from fastcell.optim import plateau
    >>> schedule = plateau(factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.1, 2.2):
    ...     schedule.update(loss)
    ...     print(schedule(0))
    1.0
    1.0
    1.0
    0.5
    """

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        *,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_factor: float = 0.0,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        self.factor = real("factor", factor, above=0, below=1)
        self.patience = integer("patience", patience, minimum=0)
        self.threshold = real("threshold", threshold, minimum=0)
        self.cooldown = integer("cooldown", cooldown, minimum=0)
        self.min_factor = real("min_factor", min_factor, minimum=0, maximum=1)
        self.mode = one_of("mode", mode, ("min", "max"))
        self._current = 1.0
        self._best: float | None = None
        self._num_bad = 0
        self._num_cooling = 0

    def __call__(self, step: int) -> float:
        """Return the current factor, for any `step`."""
        _check_step(step)
        return self._current

    def update(self, metric: float) -> None:
        """Report a validation loss, and reduce the factor if due.

        Parameters
        ----------
        metric : float
            May be NaN or infinite.
        """
        metric = number("metric", metric)
        if self._is_better(metric):
            self._best = metric
            self._num_bad = 0
        else:
            self._num_bad += 1
        if self._num_cooling:
            self._num_cooling -= 1
            self._num_bad = 0
        if self._num_bad > self.patience:
            self._current = max(self._current * self.factor, self.min_factor)
            self._num_cooling = self.cooldown
            self._num_bad = 0

    def _is_better(self, metric: float) -> bool:
        if self._best is None or not math.isfinite(metric):
            return math.isfinite(metric)
        margin = self.threshold * abs(self._best)
        if self.mode == "min":
            return metric < self._best - margin
        return metric > self._best + margin

    def state_dict(self) -> dict[str, Any]:
        """Return the current factor, the best loss and the counts."""
        return {
            "factor": self._current,
            "best": self._best,
            "num_bad": self._num_bad,
            "num_cooling": self._num_cooling,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises
        ------
        TypeError, ValueError
            If `state` is not that of such a schedule. Nothing is changed then.
        """
        _check_keys(self, state, ("factor", "best", "num_bad", "num_cooling"))
        best = state["best"]
        current = real("factor", state["factor"], minimum=0, maximum=1)
        best = None if best is None else real("best", best)
        num_bad = integer("num_bad", state["num_bad"], minimum=0)
        num_cooling = integer("num_cooling", state["num_cooling"], minimum=0)
        self._current, self._best = current, best
        self._num_bad, self._num_cooling = num_bad, num_cooling

    def __repr__(self) -> str:
        return (
            f"plateau(factor={self.factor}, patience={self.patience}, "
            f"threshold={self.threshold}, cooldown={self.cooldown}, "
            f"min_factor={self.min_factor}, mode={self.mode!r})"
        )


def _check_step(step: int) -> int:
    return integer("step", step, minimum=0)


def _check_keys(
    schedule: Schedule, state: Mapping[str, Any], expected: tuple[str, ...]
) -> None:
    mapping_of("state", state, "what state_dict returned, a mapping")
    if set(state) != set(expected):
        raise ValueError(
            f"the state of {schedule!r} must have the keys {sorted(expected)}; "
            f"got {shown(list(state))}"
        )
