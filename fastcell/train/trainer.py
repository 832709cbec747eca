"""The trainer: the training loop, with checkpoints, resuming, validation, callbacks."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from fastcell._checks.files import check_apart, remove_leftovers
from fastcell._checks.names import callable_of, has_methods, list_of, path_of
from fastcell._checks.numbers import flag, integer, real
from fastcell.optim import clip_grad_norm, clip_grad_value, grad_norm
from fastcell.train.callbacks import SaveBest
from fastcell.train.checkpoint import read_checkpoint, write_checkpoint
from fastcell.train.feeds import Feed, check_batches, check_valid_data, feed_of
from fastcell.train.history import History
from fastcell.train.interrupts import Interrupted, Interrupts, TrainingInterrupted
from fastcell.train.position import Position
from fastcell.train.progress import Progress
from fastcell.train.records import assess, record_of
from fastcell.train.run_state import (
    check_state,
    run_tree,
    take_up,
    warn_of_another_machine,
)

if TYPE_CHECKING:
    from fastcell.models.parts.base import Model
    from fastcell.optim import Optimizer

Callback = Callable[["Trainer", dict[str, Any]], Any]


class Trainer:
    """Train a model on batches, which may continue one another.

    Each step runs the model on the next window of the data, from the final state of the
    window before, with no gradient across the border: truncated backpropagation through
    time. The state is zero at the start of each epoch. A model of independent batches,
    such as a classifier of `fastcell.data.Sequences`, returns no state, and each of its
    batches starts from zero.

    A run that is resumed from a checkpoint ends with the same bits as an uninterrupted
    one, given the same thread count and instruction set.

    Parameters
    ----------
    model : Model
        The model to train.
    optimizer : Optimizer
        An optimizer of ``model.params``.
    clip_norm : float, optional
        Scale the gradients down to this norm if they exceed it.
    schedule : callable, optional
        A function of the number of steps done. It returns a factor of the learning
        rate that the optimizer has at the start of the run.
    callbacks : iterable of callables, optional
        ``callback(trainer, record)`` is called with each new record of the history; it
        may call `stop`. The history is restored on resuming, so a callback that decides
        by ``trainer.history`` needs no state of its own. Its method ``begin(trainer)``,
        if there is one, is called before the first step of a run, new or resumed. See
        `fastcell.callbacks`.
    progress : bool, default True
        Show a progress bar on a terminal's stderr, and a line for each record.
    clip_value : float, optional
        Clip each element of the gradients to ``[-clip_value, clip_value]``, before
        `clip_norm`.

    Attributes
    ----------
    history : History
        The records of the run.
    info : dict
        Plain values that checkpoints save and `resume` restores.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import LanguageModel
    >>> from fastcell.optim import Adam
    >>> from fastcell.train import Trainer
    >>> model = LanguageModel(3, 4, 8, seed=0)
    >>> ids = np.tile([0, 1, 2], 20)[:, np.newaxis]  # one stream, (T, B) = (60, 1)
    >>> data = [(ids[i : i + 10], ids[i + 1 : i + 11]) for i in range(0, 50, 10)]
    >>> trainer = Trainer(model, Adam(model.params, lr=0.05), progress=False)
    >>> history = trainer.fit(data, data, epochs=8)
    >>> history[-1]["step"], history[-1]["valid_loss"] < 0.1
    (40, True)
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        clip_norm: float | None = None,
        schedule: Callable[[int], float] | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool = True,
        *,
        clip_value: float | None = None,
    ) -> None:
        if clip_norm is not None:
            clip_norm = real("clip_norm", clip_norm, above=0)
        if clip_value is not None:
            clip_value = real("clip_value", clip_value, above=0)
        if schedule is not None:
            callable_of("schedule", schedule, "a function of the step")
        self.callbacks = list_of("callbacks", callbacks, "a list of callables")
        for callback in self.callbacks:
            callable_of("callbacks", callback, "callable")
        has_methods("model", model, "a model", ("loss", "backward", "assess", "count"))
        has_methods("optimizer", optimizer, "an optimizer", ("step", "state_dict"))
        if not optimizer.holds_any(model.params.arrays().values()):
            raise ValueError(
                "optimizer must hold parameters of the model; got one that holds none "
                "of them: make it of model.params"
            )
        self.model = model
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.schedule = schedule
        self.progress = flag("progress", progress)
        self.history = History()
        self.info: dict[str, Any] = {}
        self._position = Position()
        self._resumed: dict[str, Any] | None = None
        self._stopped = False

    @property
    def step(self) -> int:
        """Optimizer steps done in this run."""
        return self._position.step

    def stop(self) -> None:
        """End the run after the present step, as if it were complete."""
        self._stopped = True

    # ------------------------------------------------------------------- the run

    def fit(
        self,
        train_data: Iterable[Any],
        valid_data: Iterable[Any] | None = None,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float | None = 60.0,
        checkpoint_steps: int | None = None,
        validate_every: int | None = None,
        best: str | os.PathLike[str] | None = None,
        monitor: str = "valid_loss",
        mode: Literal["min", "max"] = "min",
    ) -> History:
        """Train until all epochs or all steps are done, whichever is first.

        Parameters
        ----------
        train_data : sequence or iterable of batches
            One epoch of windows in their order, such as `fastcell.data.TextStreams`,
            read by index: a run can resume in the middle of an epoch. Data with a
            method ``epoch(n)``, such as `fastcell.data.Sequences`, return the batches
            of each epoch by it, the same number in all epochs. Other iterables, such as
            PyTorch's DataLoader, are iterated once per epoch; see the notes. Tensors
            become arrays.
        valid_data : iterable of batches, optional
            The data of `evaluate`, iterated from their start each time. Windows
            continue one another here too.
        epochs, steps : int, optional
            Length of the whole run, resumed or not; one epoch if neither is given.
        checkpoint : path, optional
            A file to save the run to: at the start, at the end of each epoch and of the
            run, on interruption, and as the next two specify.
        checkpoint_seconds : float, optional
            Save when this much time has passed since the last checkpoint.
        checkpoint_steps : int, optional
            Number of steps between two checkpoints.
        validate_every : int, optional
            Steps between records of the history; by default, each epoch ends with one.
            The last step of a run always adds one.
        best : path, optional
            A file to save the model to, by `fastcell.save`, at each record that is
            better than all before.
        monitor : str, default "valid_loss"
            The key of the value that `best` compares, such as "valid_accuracy".
        mode : {"min", "max"}
            Whether a smaller or a larger value is better.

        Returns
        -------
        History
            One record for each validation.

        Raises
        ------
        TrainingInterrupted
            On Ctrl-C or SIGTERM, in the main thread, after the present step and the
            checkpoint. A second Ctrl-C raises KeyboardInterrupt at once.
        FloatingPointError
            If the loss or the gradients become NaN or infinite. The weights are those
            before that step, and no checkpoint of them is written.
        TypeError, ValueError
            If an argument is of the wrong type or out of its range, there is no window
            to train on, `best` and `checkpoint` are one file, or the data are not those
            of the resumed run.

        Warns
        -----
        RuntimeWarning
            If `checkpoint` is given, or the run is a resumed one, and the order of a
            loader's batches cannot be restored.

        Notes
        -----
        A loader has no batches by index. A checkpoint saves what determines their
        order, if the loader has it: the state of the ``generator`` that it or its
        sampler draws from
        (``DataLoader(..., shuffle=True, generator=torch.Generator())``); the number of
        the epoch, passed to all parts with ``set_epoch(n)``; the loader's own
        ``state_dict()``, as of torchdata's StatefulDataLoader. A resumed run reads the
        same batches in the same order. Without a ``state_dict()`` it iterates again
        through the part of the epoch that was done. Random numbers that a data set
        draws itself, such as random crops, are not saved.

        One batch is read ahead, because only this shows where an epoch ends. If the
        loader has no ``len()``, the ``epoch`` of a record is a whole number in the
        first epoch.
        """
        if epochs is not None:
            epochs = integer("epochs", epochs, minimum=0)
        if steps is not None:
            steps = integer("steps", steps, minimum=0)
        if epochs is None and steps is None:
            epochs = 1
        if checkpoint_seconds is None:
            checkpoint_seconds = math.inf
        else:
            checkpoint_seconds = real(
                "checkpoint_seconds", checkpoint_seconds, minimum=0
            )
        if checkpoint_steps is not None:
            checkpoint_steps = integer("checkpoint_steps", checkpoint_steps, minimum=1)
        if validate_every is not None:
            validate_every = integer("validate_every", validate_every, minimum=1)
        feed = feed_of(train_data)
        if valid_data is not None:
            check_valid_data(valid_data)
        path = None if checkpoint is None else path_of("checkpoint", checkpoint)
        callbacks = list(self.callbacks)
        if best is not None:
            best = path_of("best", best)
            callbacks.insert(0, SaveBest(best, monitor, mode))
            if path is not None:
                check_apart(best, path)
            if valid_data is None and monitor.startswith("valid_"):
                raise ValueError(f"valid_data must be given to monitor {monitor!r}")

        if path is not None:
            remove_leftovers(path)
        self._begin(feed, callbacks, path is not None)

        position = self._position
        unit = getattr(self.model, "unit", "targets")
        total = feed.total(epochs, steps)
        saved_at = time.monotonic()
        saved = (position.step, len(self.history)) if self._resumed else None
        self._resumed = None
        with (
            Interrupts() as interrupts,
            Progress(self.progress, position.step, total, unit) as bar,
        ):
            try:
                while True:
                    # Records and checkpoints after a step are made at the start of the
                    # next turn: a run interrupted in them makes them when resumed.
                    done = self._stopped or (
                        (steps is not None and position.step >= steps)
                        or (epochs is not None and position.epoch >= epochs)
                    )
                    if self._record_due(done, validate_every):
                        self._record(feed, valid_data, callbacks, interrupts, bar)
                        done = done or self._stopped
                    save_due = (
                        done
                        or position.window == 0
                        or position.step % (checkpoint_steps or math.inf) == 0
                        or time.monotonic() - saved_at >= checkpoint_seconds
                    )
                    reached = (position.step, len(self.history))
                    if path is not None and save_due and reached != saved:
                        self._save(path, feed)
                        saved_at, saved = time.monotonic(), reached
                    interrupts.check()
                    if done:
                        return self.history
                    self._step(feed, interrupts, bar)
            except Interrupted as interrupted:
                if path is not None and (position.step, len(self.history)) != saved:
                    self._save(path, feed)
                raise TrainingInterrupted(
                    interrupted.signum, position.step, path, self.history
                ) from None
            finally:
                if self.schedule is not None:
                    self.optimizer.lr = position.base_lr

    def evaluate(self, data: Iterable[Any]) -> float:
        """Return the mean loss of the model over all targets, by inference.

        Parameters
        ----------
        data : iterable of batches
            Windows that continue one another: each starts from the final state of the
            one before, the first from zero.

        Raises
        ------
        TypeError
            If `data` cannot be iterated.
        ValueError
            If no target counts.
        """
        return self.assess(data)["loss"]

    def assess(self, data: Iterable[Any]) -> dict[str, float]:
        """Return the loss and the scores of the model over all targets, by inference.

        Parameters and errors are those of `evaluate`.

        Returns
        -------
        values : dict of str to float
            ``"loss"`` and the scores of the model, such as ``"accuracy"``.
        """
        check_batches("data", data)
        return assess(self.model, data)

    def _begin(self, feed: Feed, callbacks: list[Callback], keeps: bool) -> None:
        """Start a new run, unless one has been resumed."""
        self._stopped = False
        if self._resumed is None:
            self._position = Position(base_lr=float(self.optimizer.lr))
            self.history = History()
            doubt = feed.doubt(keeps) if keeps else None
        else:
            position = self._position
            feed.take_up(self._resumed, position)
            if position.state is not None:
                batch = feed.batch(position)
                check_state(self.model, batch, position.state, self._resumed["file"])
            doubt = feed.doubt(keeps)
            warn_of_another_machine(self._resumed, stacklevel=4)
        if doubt is not None:
            warnings.warn(
                f"a resumed run may be given other batches of train_data, {doubt}",
                RuntimeWarning,
                stacklevel=3,
            )
        for callback in callbacks:
            if hasattr(callback, "begin"):
                callback.begin(self)

    def _step(self, feed: Feed, interrupts: Interrupts, bar: Progress) -> None:
        position = self._position
        started = time.perf_counter()
        batch = feed.batch(position, interrupts)
        if self.schedule is not None:
            self.optimizer.lr = position.base_lr * self.schedule(position.step)
        loss, state, num_targets, weight = self._update(batch, position.state)

        position.step += 1
        position.window += 1
        position.state = state
        position.loss_sum += loss * weight
        position.weight_sum += weight
        position.num_targets += num_targets
        # Last, because it may read and be interrupted.
        if feed.is_over(position, interrupts):
            position.end_epoch()
        seconds = time.perf_counter() - started
        position.step_seconds += seconds
        position.seconds += seconds
        bar.step(loss, self.model.metrics(loss), num_targets, seconds)

    def _update(self, batch: Any, state: Any) -> tuple[float, Any, int, float]:
        """Change the weights by one batch; return its loss, the state after it, the
        number of its targets, and the sum of their weights.
        """
        loss, saved = self.model.loss(batch, state)
        self._check_finite("loss", loss)
        state, num_targets = saved.state, getattr(saved, "count", None)
        if num_targets is None:
            num_targets = self.model.count(batch)
        weight = getattr(saved, "weight", None)
        if weight is None:
            weight = float(num_targets)
        grads = self.model.backward(saved)
        if self.clip_value is not None:
            # Before clipping, which would hide infinity.
            self._check_finite("gradient norm", grad_norm(grads))
            clip_grad_value(grads, self.clip_value)
        if self.clip_norm is not None:
            self._check_finite("gradient norm", clip_grad_norm(grads, self.clip_norm))
        self.optimizer.step(grads)
        return loss, state, num_targets, weight

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the {what} became {value} at step {self.step + 1}: try a lower "
                "learning rate or a smaller clip_norm"
            )

    def _record_due(self, done: bool, validate_every: int | None) -> bool:
        position = self._position
        if position.step == 0 or (
            self.history and self.history[-1]["step"] == position.step
        ):
            return False
        if validate_every is None:
            return done or position.window == 0
        return done or position.step % validate_every == 0

    def _record(
        self,
        feed: Feed,
        valid_data: Iterable[Any] | None,
        callbacks: Sequence[Callback],
        interrupts: Interrupts,
        bar: Progress,
    ) -> None:
        """Validate and add a record; an interruption before the end changes nothing."""
        position = self._position
        started = time.perf_counter()
        valid = None
        if valid_data is not None:
            with bar.note("validating"), feed.at_rest():
                valid = assess(self.model, valid_data, interrupts)
        position.seconds += time.perf_counter() - started

        record = record_of(
            self.model, position, feed.share(position), valid, self.optimizer.lr
        )
        position.loss_sum, position.weight_sum = 0.0, 0.0
        position.num_targets, position.step_seconds = 0, 0.0
        self.history.append(record)
        bar.record(record)
        update = getattr(self.schedule, "update", None)
        if valid is not None and update is not None:
            update(valid["loss"])
        for callback in callbacks:
            callback(self, record)

    # -------------------------------------------------------------- the checkpoint

    def _save(self, path: str, feed: Feed) -> None:
        write_checkpoint(path, run_tree(self, self._position, feed.kept()))

    def resume(self, path: str | os.PathLike[str]) -> Trainer:
        """Restore a run from a checkpoint.

        The model, the optimizer, the schedule and the position in the data become
        those of the checkpoint. The next `fit`, with the arguments of the original
        call, continues the run.

        Parameters
        ----------
        path
            The argument `checkpoint` of `fit`. The trainer has to have the same
            arguments as in that run.

        Returns
        -------
        Trainer
            This trainer, so that ``trainer.resume(path).fit(...)`` can be written.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is not a checkpoint, a damaged one, or one of another model, optimizer
            or schedule. Nothing is changed then. `fit` checks whether the data and the
            recurrent state fit, before it writes anything.
        """
        path = path_of("path", path)
        run = take_up(self, read_checkpoint(path), path)
        self._position, self.history, self.info = run.position, run.history, run.info
        self._resumed = run.origin
        return self
