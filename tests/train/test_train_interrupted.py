"""Runs that are interrupted or killed, and resumed to the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from trainers import VOCAB_SIZE, assert_same_bits, model_of, streams, trainer_of

from fastcell.models import LanguageModel
from fastcell.optim import SGD, cosine, plateau, warmup
from fastcell.train import Trainer, TrainingInterrupted
from fastcell.train.checkpoint import read_checkpoint

TIME_LIMIT = 60.0  # seconds that a child process may take, on a busy machine


class Interrupting:
    """A schedule that sends this process a signal in the step after `step` steps."""

    def __init__(self, schedule, step, signum=signal.SIGINT):
        self.schedule, self.step, self.signum = schedule, step, signum

    def __call__(self, step):
        if step == self.step:
            signal.raise_signal(self.signum)
        return self.schedule(step)


@pytest.fixture
def default_handlers():
    """The handlers of a program that has set none, whatever runs the tests."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {signum: signal.signal(signum, usual[signum]) for signum in usual}
    yield usual
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("stop", [1, 4, 9, 10, 13, 27])
def test_interrupted_and_resumed_run_ends_with_the_same_bits(
    tmp_path, default_handlers, cell, stop
):
    path = tmp_path / "run.checkpoint"
    data, valid = streams(), streams(seed=1)
    schedule = warmup(5, cosine(20, 0.1))
    length = {"epochs": 3, "validate_every": 4, "checkpoint": path}
    whole = trainer_of(model_of(cell), schedule)
    whole.fit(data, valid, **length)

    first = trainer_of(model_of(cell), Interrupting(schedule, stop - 1))
    with pytest.raises(TrainingInterrupted) as caught:
        first.fit(data, valid, **length)
    assert (caught.value.step, caught.value.signum) == (stop, signal.SIGINT)
    assert str(path) in str(caught.value)

    second = trainer_of(model_of(cell, seed=7), schedule)
    assert second.resume(path) is second
    assert second.step == stop
    second.fit(data, valid, **length)
    assert_same_bits(whole, second)


def test_run_interrupted_in_its_validation_makes_the_record_when_resumed(
    tmp_path, default_handlers
):
    path = tmp_path / "run.checkpoint"
    data, valid = streams(), streams(seed=1)

    def interrupted_validation():
        yield valid[0]
        signal.raise_signal(signal.SIGINT)
        yield valid[1]

    class Validation:
        def __iter__(self):
            return interrupted_validation()

    schedule = plateau(factor=0.5, patience=0, threshold=0.9)
    whole = trainer_of(schedule=schedule)
    whole.fit(data, valid, epochs=3)

    first = trainer_of(schedule=plateau(factor=0.5, patience=0, threshold=0.9))
    first.fit(data, valid, epochs=1, checkpoint=path)
    first = trainer_of(schedule=plateau(factor=0.5, patience=0, threshold=0.9))
    with pytest.raises(TrainingInterrupted) as caught:
        first.resume(path).fit(data, Validation(), epochs=3, checkpoint=path)
    assert (caught.value.step, len(caught.value.history)) == (20, 1)

    second = trainer_of(schedule=plateau(factor=0.5, patience=0, threshold=0.9))
    second.resume(path).fit(data, valid, epochs=3)
    assert_same_bits(whole, second)


def test_sgd_and_tied_weights_resume_with_the_same_bits(tmp_path):
    path = tmp_path / "run.checkpoint"

    def trainer():
        model = LanguageModel(VOCAB_SIZE, 6, 6, 1, "gru", 0.2, True, seed=3)
        return Trainer(model, SGD(model.params, lr=0.1, momentum=0.9), progress=False)

    whole, first, second = trainer(), trainer(), trainer()
    whole.fit(streams(), epochs=2)
    first.fit(streams(), epochs=1, checkpoint=path)
    second.resume(path).fit(streams(), epochs=2)
    assert_same_bits(whole, second)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_have_their_usual_handlers_after_a_run(default_handlers, signum):
    trainer = trainer_of(schedule=Interrupting(lambda step: 1.0, 3, signum))
    with pytest.raises(TrainingInterrupted, match="no checkpoint") as caught:
        trainer.fit(streams())
    assert (caught.value.step, caught.value.signum) == (4, signum)
    for usual, handler in default_handlers.items():
        assert signal.getsignal(usual) is handler


def test_interruption_in_the_last_step_is_not_lost(tmp_path, default_handlers):
    path = tmp_path / "run.checkpoint"
    trainer = trainer_of(schedule=Interrupting(lambda step: 1.0, 9))
    with pytest.raises(TrainingInterrupted):
        trainer.fit(streams(), epochs=1, checkpoint=path)
    resumed = trainer_of(schedule=lambda step: 1.0).resume(path)
    assert resumed.fit(streams(), epochs=1).column("step") == [10]


def test_second_interruption_does_not_wait(default_handlers):
    class Twice:
        def __call__(self, step):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        trainer_of(schedule=Twice()).fit(streams())
    assert not isinstance(caught.value, TrainingInterrupted)


def test_handlers_of_the_program_are_left_alone(default_handlers):
    came = []
    signal.signal(signal.SIGTERM, lambda signum, frame: came.append(signum))
    trainer = trainer_of(schedule=Interrupting(lambda step: 1.0, 3, signal.SIGTERM))
    trainer.fit(streams(), epochs=1)
    assert came == [signal.SIGTERM]
    assert trainer.step == 10


def test_training_runs_outside_of_the_main_thread():
    trainer = trainer_of()
    thread = threading.Thread(target=trainer.fit, args=(streams(),))
    thread.start()
    thread.join(TIME_LIMIT)
    assert trainer.step == 10


# A run of a few seconds, saved at each step; what it comes to goes to its second
# argument.
RUN = """
    import sys
    import numpy as np
    import fastcell
    from fastcell.data import TextStreams
    from fastcell.optim import Adam, cosine
    from fastcell.train import Trainer

    path, out, resume = sys.argv[1:]
    tokens = np.random.default_rng(0).integers(0, 5, 3000)
    model = fastcell.models.LanguageModel(5, 4, 16, 2, dropout=0.3, seed=1)
    optimizer = Adam(model.params, lr=0.01)
    trainer = Trainer(model, optimizer, 1.0, cosine(800), progress=False)
    if resume == "resume":
        trainer.resume(path)
    data = TextStreams(tokens, 4, 9)
    trainer.fit(data, data[:3], steps=800, checkpoint=path, checkpoint_steps=1)
    fastcell.save(model, out)
"""


def start_run(path, out, resume="no"):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN), path, out, resume],
        stderr=subprocess.PIPE,
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_killed_and_resumed_run_ends_with_the_same_bits(tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    process = start_run(tmp_path / "whole.checkpoint", whole)
    assert process.wait(TIME_LIMIT) == 0, process.stderr.read()

    path = tmp_path / "run.checkpoint"
    kills = 0
    for _ in range(3):
        process = start_run(path, resumed, "resume" if path.exists() else "no")
        before = path.stat().st_mtime_ns if path.exists() else None
        deadline = time.monotonic() + TIME_LIMIT
        while process.poll() is None and time.monotonic() < deadline:
            if path.exists() and path.stat().st_mtime_ns != before:
                time.sleep(0.02)
                process.kill()
                break
            time.sleep(0.001)
        kills += process.wait(TIME_LIMIT) == -signal.SIGKILL
    assert kills >= 1, process.stderr.read()
    assert 0 < read_checkpoint(path)["position"]["step"] < 800

    process = start_run(path, resumed, "resume")
    assert process.wait(TIME_LIMIT) == 0, process.stderr.read()
    assert whole.read_bytes() == resumed.read_bytes()
