"""One side of a comparison on an application: an example, trained by one engine.

    python bench/worker.py ENGINE RESULT TURNS_IN TURNS_OUT EXAMPLE ARGUMENT...

Runs the example as it stands with its `Trainer` replaced. For the engine "fastcell" the
replacement only takes the time of each step; for "torch" it trains the twin of the
model instead (twins/), on the same batches from the same first weights, and puts the
weights into the model whenever that is scored. Everything else is the example's own:
data, schedule, choice of the best epoch, decoding, metrics.

The process works only while it has the turn. A line read from the file descriptor
TURNS_IN gives it the turn for so many steps of training; when they are done, it writes
a line to TURNS_OUT, with the steps and their seconds, and waits. What is done between
steps, such as validation, falls into a turn but is not timed.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import fastcell.train

#: The two sides can differ by rounding before the first step, and by nothing else.
FIRST_LOSS_TOLERANCE = 1e-4


class Turns:
    """The turn to work, handed over after some steps."""

    def __init__(self, read: int, write: int) -> None:
        self._in = os.fdopen(read)
        self._out = os.fdopen(write, "w")
        self._left = 0
        self._steps, self._seconds = 0, 0.0

    def wait(self) -> None:
        """Wait for the turn."""
        line = self._in.readline()
        if not line:
            raise SystemExit("the comparison has ended")
        self._left = int(line)

    def done(self, seconds: float) -> None:
        """Count a step; hand the turn over after the last one of it."""
        self._steps += 1
        self._seconds += seconds
        self._left -= 1
        if self._left == 0:
            self.report()
            self.wait()

    def report(self) -> None:
        """Tell what was done in this turn."""
        line = {"steps": self._steps, "seconds": self._seconds}
        print(json.dumps(line), file=self._out, flush=True)
        self._steps, self._seconds = 0, 0.0


class TimedTrainer(fastcell.train.Trainer):
    """A trainer that takes the time of its steps, and its turns."""

    turns: Turns
    #: Of all trainers of the process.
    runs: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._untimed = 0.0

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train, and keep the history."""
        history = super().fit(*args, **kwargs)
        parameters = sum(a.size for a in self.model.params.values())
        TimedTrainer.runs.append({"parameters": parameters, "history": list(history)})
        return history

    def _step(self, *args: Any) -> None:
        self._untimed = 0.0
        started = time.perf_counter()
        super()._step(*args)
        self.turns.done(time.perf_counter() - started - self._untimed)


def twin_trainer() -> type[TimedTrainer]:
    """Return the trainer that trains by PyTorch."""
    import torch
    from twins import twin_of
    from twins.optimizers import optimizer_of

    class TwinTrainer(TimedTrainer):
        """A trainer of the model's twin."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._twin = None

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

        def _start(self, batch: Any, state: Any) -> None:
            started = time.perf_counter()
            seed = self.model.config().get("seed") or 0
            torch.manual_seed(seed)
            self._twin = twin_of(self.model).eval()
            with torch.no_grad():
                other = self._twin.loss(batch, state)[0].item()
            own, _ = self.model.evaluate(batch, state)
            if abs(own - other) > FIRST_LOSS_TOLERANCE * abs(own):
                raise AssertionError(f"the first loss is {own}, of PyTorch {other}")
            self._twin.train()
            self._peer = optimizer_of(self.optimizer, self._twin)
            self._untimed += time.perf_counter() - started

        def _update(self, batch: Any, state: Any) -> tuple[float, Any, int]:
            if self._twin is None:
                self._start(batch, state)
            for group in self._peer.param_groups:
                group["lr"] = self.optimizer.lr
            self._peer.zero_grad(set_to_none=True)
            loss, state = self._twin.loss(batch, state)
            loss.backward()
            parameters = self._twin.parameters()
            if self.clip_value is not None:
                torch.nn.utils.clip_grad_value_(parameters, self.clip_value)
            if self.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)
            self._peer.step()
            value = loss.item()
            # Checks the batch for fastcell's sake: not PyTorch's time.
            started = time.perf_counter()
            num_targets = self.model.count(batch)
            self._untimed += time.perf_counter() - started
            return value, state, num_targets

    return TwinTrainer


def main() -> None:
    """Run the example."""
    engine, result, read, write, example, *arguments = sys.argv[1:]
    threads = int(arguments[arguments.index("--threads") + 1])
    if engine == "torch":
        import torch

        torch.set_num_threads(threads)
        # For twins/: not there of itself where PYTHONSAFEPATH is set.
        sys.path.insert(0, str(Path(__file__).parent))
        trainer = twin_trainer()
    else:
        trainer = TimedTrainer
    trainer.turns = Turns(int(read), int(write))
    fastcell.train.Trainer = trainer
    trainer.turns.wait()
    sys.argv = [example, *arguments]
    runpy.run_path(example, run_name="__main__")
    trainer.turns.report()
    Path(result).write_text(json.dumps(TimedTrainer.runs))


if __name__ == "__main__":
    main()
