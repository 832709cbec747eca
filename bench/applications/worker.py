"""One side of a comparison on an application: an example, trained by one engine.

    worker.py ENGINE RESULT TURNS_IN TURNS_OUT EXAMPLE ARGUMENT...

It runs the unchanged example with its `Trainer` replaced. For the engine "fastcell" the
replacement only times each step. For "torch" it trains the twin of the model (twins/),
on the same batches from the same initial weights, and copies the weights to the model
before each scoring. Everything else is the example's own: data, schedule, choice of the
best epoch, decoding, metrics. "torch:padded" and "torch:packed" specify the form of
sequences of different length (twins/ragged.py); "torch" uses the first that the model
supports; "torch:compiled" is padded, with the loss by `torch.compile` with defaults.

On both sides the integers of a batch are converted to int64, and for PyTorch all arrays
to tensors, before the clock starts.

The process works only during its turns. A line read from the file descriptor TURNS_IN
starts a turn of a number of training steps; then it writes a line to TURNS_OUT, with
the steps and their seconds, and waits. Work between steps, such as validation, is in a
turn but not timed. A side that does not support its way writes the reason, and ends.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import fastcell.train

#: Before the first step the two sides may only differ by rounding.
FIRST_LOSS_TOLERANCE = 1e-4


class Turns:
    """The turns of this process, each of some steps."""

    def __init__(self, read: int, write: int) -> None:
        self._in = os.fdopen(read)
        self._out = os.fdopen(write, "w")
        self._left = 0
        self._steps, self._seconds = 0, 0.0
        self.ragged = False

    def wait(self) -> None:
        """Wait for the turn."""
        line = self._in.readline()
        if not line:
            raise SystemExit("the comparison has ended")
        self._left = int(line)

    def done(self, seconds: float) -> None:
        """Count a step; end the turn after its last one."""
        self._steps += 1
        self._seconds += seconds
        self._left -= 1
        if self._left == 0:
            self.report()
            self.wait()

    def report(self) -> None:
        """Write the steps and seconds of this turn."""
        self._tell(steps=self._steps, seconds=self._seconds, ragged=self.ragged)
        self._steps, self._seconds = 0, 0.0

    def give_up(self, reason: str) -> None:
        """Write why this side does not support its way."""
        self._tell(cannot=reason)

    def _tell(self, **what: Any) -> None:
        print(json.dumps(what), file=self._out, flush=True)


class TimedTrainer(fastcell.train.Trainer):
    """A trainer that times its steps and works in turns."""

    turns: Turns
    #: The runs of all trainers of the process.
    runs: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._untimed = 0.0

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train, and save the history."""
        history = super().fit(*args, **kwargs)
        parameters = sum(a.size for a in self.model.params.values())
        TimedTrainer.runs.append({"parameters": parameters, "history": list(history)})
        return history

    def _step(self, *args: Any) -> None:
        self._untimed = 0.0
        started = time.perf_counter()
        super()._step(*args)
        self.turns.done(time.perf_counter() - started - self._untimed)

    def _update(self, batch: Any, state: Any) -> tuple[float, Any, int, float]:
        started = time.perf_counter()
        batch = self._converted(batch)
        self._untimed += time.perf_counter() - started
        return self._trained(batch, state)

    def _converted(self, batch: Any) -> Any:
        """Return a batch with its integers in the models' dtype."""
        return tuple(map(_wide, batch))

    def _trained(self, batch: Any, state: Any) -> tuple[float, Any, int, float]:
        return super()._update(batch, state)


def _wide(part: Any) -> Any:
    if isinstance(part, np.ndarray) and part.dtype.kind in "iu":
        return part.astype(np.int64, copy=False)
    return part


def twin_trainer(way: str = "") -> type[TimedTrainer]:
    """Return the trainer that trains by PyTorch.

    Parameters
    ----------
    way : {"", "padded", "packed", "compiled"}
        The way; "" is padded if the model supports it, else packed.
    """
    import torch
    from twins import twin_of
    from twins.base import layers_of, tensors
    from twins.optimizers import optimizer_of
    from twins.ragged import NotPadded

    class TwinTrainer(TimedTrainer):
        """A trainer of the model's twin."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._twin = None

        def _converted(self, batch: Any) -> Any:
            # The model counts the batch's targets, in arrays.
            return batch, tensors(batch)

        def fit(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().fit(*args, **kwargs)
            finally:
                self._give_back()

        def assess(self, data: Any) -> dict[str, float]:
            self._give_back()
            return super().assess(data)

        def _record(self, *args: Any) -> None:
            self._give_back()
            super()._record(*args)

        def _give_back(self) -> None:
            if self._twin is not None:
                self._twin.give(self.model)

        def _start(self, batch: Any, tensors: Any, state: Any) -> None:
            started = time.perf_counter()
            seed = self.model.config().get("seed") or 0
            torch.manual_seed(seed)
            self._twin = twin_of(self.model, "packed" if way == "packed" else "padded")
            self._twin.eval()
            try:
                other = self._first_loss(tensors, state)
            except NotPadded:
                if way:
                    raise
                for layers in layers_of(self._twin):
                    layers.way = "packed"
                other = self._first_loss(tensors, state)
            own, _ = self.model.evaluate(batch, state)
            if abs(own - other) > FIRST_LOSS_TOLERANCE * abs(own):
                raise AssertionError(f"the first loss is {own}, of PyTorch {other}")
            self._twin.train()
            self._peer = optimizer_of(self.optimizer, self._twin)
            self._loss = self._twin.loss
            if way == "compiled":
                self._loss = torch.compile(self._loss)
            self._untimed += time.perf_counter() - started

        def _first_loss(self, tensors: Any, state: Any) -> float:
            with torch.no_grad():
                return self._twin.loss(tensors, state)[0].item()

        def _trained(self, batches: Any, state: Any) -> tuple[float, Any, int, float]:
            batch, tensors = batches
            if self._twin is None:
                self._start(batch, tensors, state)
            for group in self._peer.param_groups:
                group["lr"] = self.optimizer.lr
            self._peer.zero_grad(set_to_none=True)
            loss, state = self._loss(tensors, state)
            loss.backward()
            parameters = self._twin.parameters()
            if self.clip_value is not None:
                torch.nn.utils.clip_grad_value_(parameters, self.clip_value)
            if self.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)
            self._peer.step()
            value = loss.item()
            # The check of the batch is fastcell's, so it is not in PyTorch's time.
            started = time.perf_counter()
            num_targets = self.model.count(batch)
            weight = self.model.total_weight(batch)
            self.turns.ragged |= any(r.ragged for r in layers_of(self._twin))
            self._untimed += time.perf_counter() - started
            return value, state, num_targets, weight

    return TwinTrainer


def _of_the_way(error: Exception) -> bool:
    """Return whether the error is a limit of a way of PyTorch: padding, compiling."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"NotPadded", "TorchDynamoException", "InductorError"})


def main() -> None:
    """Run the example."""
    side, result, read, write, example, *arguments = sys.argv[1:]
    engine, _, way = side.partition(":")
    threads = int(arguments[arguments.index("--threads") + 1])
    if engine == "torch":
        import torch

        torch.set_num_threads(threads)
        # For twins/: PYTHONSAFEPATH removes it from the path.
        sys.path.insert(0, str(Path(__file__).parents[1]))
        trainer = twin_trainer(way)
    else:
        trainer = TimedTrainer
    trainer.turns = Turns(int(read), int(write))
    fastcell.train.Trainer = trainer
    trainer.turns.wait()
    sys.argv = [example, *arguments]
    try:
        runpy.run_path(example, run_name="__main__")
    except Exception as error:
        if not _of_the_way(error):
            raise
        trainer.turns.give_up(f"{type(error).__name__}: {error}")
        raise
    trainer.turns.report()
    Path(result).write_text(json.dumps(TimedTrainer.runs))


if __name__ == "__main__":
    main()
