"""Failures while a run is saved, a full disk and Ctrl-C: the last good file stays."""

from __future__ import annotations

import contextlib
import os
import signal

import numpy as np
import pytest
from last_step import LastStep, sequences, trainer_of
from trainers import assert_same_bits

import fastcell
from fastcell.named_classes import CLASSES
from fastcell.train import TrainingInterrupted
from fastcell.train.checkpoint import read_checkpoint

resource = pytest.importorskip("resource", reason="no limits of processes here")

EPOCHS = 3  # of 10 steps


pytestmark = pytest.mark.usefixtures("last_step_may_be_saved", "usual_handler")


def full_disk():
    """Let no file grow beyond 1000 bytes from now on, as on a disk that is full."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))


@contextlib.contextmanager
def room_again():
    """Take `full_disk` back at the end: pytest's own output may be a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class At:
    """A schedule that does something in the step after `step` steps."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def __call__(self, step):
        if step == self.step:
            self.action()
        return 1.0


def run(folder, schedule=None, resume=False, **options):
    """Run a trainer in a folder, with a checkpoint and the best model."""
    trainer = trainer_of(schedule or (lambda step: 1.0))
    if resume:
        trainer.resume(folder / "run.checkpoint")
    trainer.fit(
        sequences(),
        sequences(seed=1),
        epochs=EPOCHS,
        checkpoint=folder / "run.checkpoint",
        checkpoint_seconds=None,
        best=folder / "best.safetensors",
        monitor="step",  # each record is better
        mode="max",
        **options,
    )
    return trainer


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_full_disk_leaves_the_last_good_files(tmp_path):
    folder, good = tmp_path / "run", {}
    folder.mkdir()

    def fill():
        good.update(files(folder))
        full_disk()

    with room_again(), pytest.raises(OSError, match=r"best\.safetensors"):
        run(folder, At(15, fill))  # noticed after step 20, at the record
    assert set(good) == {"run.checkpoint", "best.safetensors"}
    assert files(folder) == good
    assert read_checkpoint(folder / "run.checkpoint")["position"]["step"] == 10


@pytest.mark.parametrize("step", [13, 20])
def test_run_goes_on_when_there_is_room_again(tmp_path, step):
    folder = tmp_path / "run"
    folder.mkdir()
    trainer = trainer_of()
    trainer.fit(sequences(), sequences(seed=1), epochs=EPOCHS)
    error = pytest.raises(OSError, match=r"run\.checkpoint|best\.safetensors")
    with room_again(), error:
        run(folder, At(step - 1, full_disk), checkpoint_steps=1)
    assert read_checkpoint(folder / "run.checkpoint")["position"]["step"] == step - 1
    resumed = run(folder, resume=True)
    assert_same_bits(trainer, resumed)
    best = fastcell.load(folder / "best.safetensors")
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(best.state_dict()[name], array)
    assert set(files(folder)) == {"run.checkpoint", "best.safetensors"}


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
@pytest.mark.parametrize("which", ["run.checkpoint", "best.safetensors"])
@pytest.mark.parametrize("signals", [1, 2])
def test_interruption_while_saving(tmp_path, monkeypatch, call, which, signals):
    """The first Ctrl-C waits for the file; the second gives it up."""
    whole = trainer_of()
    whole.fit(sequences(), sequences(seed=1), epochs=EPOCHS)
    folder = tmp_path / "run"
    folder.mkdir()
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    target, sent, good = {}, [], {}

    def watched_open(path, *arguments):
        target["now"] = os.path.basename(path)
        return open(path, *arguments)

    def interrupting(name):
        def wrapped(*arguments):
            if call == f"os.{name}" and which in target["now"] and target["armed"]:
                target["armed"] = False
                good.update(files(folder))
                for _ in range(signals):
                    sent.append(1)
                    signal.raise_signal(signal.SIGINT)
            return real[name](*arguments)

        return wrapped

    target["armed"] = False
    monkeypatch.setattr("fastcell._checks.files.open", watched_open, raising=False)
    for name in real:
        monkeypatch.setattr(f"os.{name}", interrupting(name))
    with pytest.raises(KeyboardInterrupt) as caught:
        run(folder, At(15, lambda: target.update(armed=True)))
    monkeypatch.undo()
    monkeypatch.setitem(CLASSES, "LastStep", LastStep)

    assert len(sent) == signals
    assert isinstance(caught.value, TrainingInterrupted) == (signals == 1)
    kept = {n: c for n, c in good.items() if not n.endswith(".tmp")}
    assert set(files(folder)) == set(kept) == {"run.checkpoint", "best.safetensors"}
    if signals == 2:
        assert files(folder) == kept
    step = read_checkpoint(folder / "run.checkpoint")["position"]["step"]
    assert step == (20 if signals == 1 else 10)
    resumed = run(folder, resume=True)
    assert_same_bits(whole, resumed)
