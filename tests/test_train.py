"""Properties of training: what a step, a record and a resumed run are."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import fastcell
from fastcell.checkpoint import read_checkpoint, write_checkpoint
from fastcell.data import TextStreams
from fastcell.models import LanguageModel
from fastcell.optim import SGD, Adam, clip_grad_norm, cosine, plateau, warmup
from fastcell.train import History, Trainer, TrainingInterrupted

VOCAB_SIZE = 5
TIME_LIMIT = 60.0  # seconds that a child process may take, on a busy machine


def streams(num_tokens=200, batch_size=3, seq_len=7, seed=0):
    tokens = np.random.default_rng(seed).integers(0, VOCAB_SIZE, num_tokens)
    return TextStreams(tokens, batch_size, seq_len)


def model_of(cell="lstm", dropout=0.3, **options):
    return LanguageModel(VOCAB_SIZE, 4, 6, 2, cell, dropout, **{"seed": 1, **options})


def trainer_of(model=None, schedule=None, lr=0.01, **options):
    model = model_of() if model is None else model
    return Trainer(
        model, Adam(model.params, lr=lr), 1.0, schedule, progress=False, **options
    )


def assert_same_bits(one, other):
    """Two trainers have come to the same weights, optimizer and generators."""
    for name, array in one.model.state_dict().items():
        np.testing.assert_array_equal(array, other.model.state_dict()[name])
    mine, its = one.optimizer.state_dict(), other.optimizer.state_dict()
    assert set(mine) == set(its)
    for name, value in mine.items():
        np.testing.assert_array_equal(value, its[name])
    assert one.model.rng_state() == other.model.rng_state()
    timing = {"seconds", "tokens_per_second"}
    assert [{k: r[k] for k in r.keys() - timing} for r in one.history] == [
        {k: r[k] for k in r.keys() - timing} for r in other.history
    ]


# ---------------------------------------------------------------- what a run computes


def test_fit_equals_the_loop_written_out():
    data = streams()
    model = model_of()
    optimizer = Adam(model.params, lr=0.01)
    schedule = warmup(3, cosine(20))
    step = 0
    for _ in range(2):
        state = None
        for batch in data:
            _, saved = model.loss(batch, state)
            state = saved.state
            grads = model.backward(saved)
            clip_grad_norm(grads, 1.0)
            optimizer.lr = 0.01 * schedule(step)
            optimizer.step(grads)
            step += 1

    trainer = trainer_of(schedule=schedule)
    trainer.fit(data, epochs=2)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(trainer.model.state_dict()[name], array)


def test_training_lowers_the_loss_on_a_repeating_text():
    data = TextStreams(np.tile([0, 1, 2, 2, 3], 60), 4, 20)
    trainer = trainer_of(model_of(dropout=0.0), lr=0.02)
    history = trainer.fit(data, data, epochs=30)
    assert history[0]["valid_loss"] > 1.0
    assert history[-1]["valid_loss"] < 0.2


def test_validation_carries_the_state_over_its_windows():
    data = streams(batch_size=2)
    whole = streams(batch_size=2, seq_len=1000)
    trainer = trainer_of()
    assert len(whole) == 1
    assert trainer.evaluate(data) == pytest.approx(trainer.evaluate(whole), rel=1e-5)


def test_validation_leaves_no_trace_in_the_run():
    one, other = trainer_of(), trainer_of()
    one.fit(streams(), streams(seed=1), epochs=2)
    other.fit(streams(), epochs=2)
    for name, array in one.model.state_dict().items():
        np.testing.assert_array_equal(array, other.model.state_dict()[name])


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        ({}, 10),
        ({"epochs": 3}, 30),
        ({"steps": 13}, 13),
        ({"epochs": 1, "steps": 13}, 10),
        ({"epochs": 2, "steps": 13}, 13),
        ({"epochs": 0}, 0),
    ],
)
def test_run_has_the_steps_asked_for(length, steps):
    trainer = trainer_of()
    assert len(streams()) == 10
    trainer.fit(streams(), **length)
    assert trainer.step == trainer.optimizer.steps == steps


def test_learning_rate_is_left_as_it_was():
    trainer = trainer_of(schedule=cosine(10), lr=0.02)
    history = trainer.fit(streams(), steps=10)
    assert trainer.optimizer.lr == 0.02
    assert history[-1]["learning_rate"] == 0.02 * cosine(10)(9)


def test_plateau_hears_of_each_validation():
    schedule = plateau(factor=0.5, patience=0, threshold=0.9)
    trainer = trainer_of(schedule=schedule, lr=0.01)
    history = trainer.fit(streams(), streams(seed=1), epochs=3)
    # Nothing improves by nine tenths: each validation after the first halves the rate.
    assert history.column("learning_rate") == [0.01, 0.01, 0.005]


# -------------------------------------------------------------------------- records


def test_records_tell_both_losses_and_their_bits():
    trainer = trainer_of()
    valid = streams(seed=1)
    history = trainer.fit(streams(), valid, epochs=2)
    assert [(r["step"], r["epoch"]) for r in history] == [(10, 1.0), (20, 2.0)]
    last = history[-1]
    assert last["valid_loss"] == trainer.evaluate(valid)
    assert last["valid_bpc"] == last["valid_loss"] / math.log(2)
    assert last["train_bpc"] == last["train_loss"] / math.log(2)
    assert last["learning_rate"] == 0.01
    assert last["tokens_per_second"] > 0
    assert 0 < history[0]["seconds"] < last["seconds"]


def test_train_loss_is_the_mean_over_the_targets_since_the_last_record():
    data = streams()
    assert len(data[-1][0]) != len(data[0][0])  # the last window weighs less
    trainer = trainer_of(model_of(dropout=0.0), lr=0.0)
    history = trainer.fit(data, data, epochs=2)
    for record in history:
        assert record["train_loss"] == pytest.approx(record["valid_loss"], rel=1e-6)


def test_records_come_every_so_many_steps_and_at_the_end():
    history = trainer_of().fit(streams(), streams(), epochs=2, validate_every=6)
    assert history.column("step") == [6, 12, 18, 20]
    assert history.column("epoch") == [0.6, 1.2, 1.8, 2.0]


def test_run_without_validation_has_no_validation_loss():
    history = trainer_of().fit(streams(), epochs=1)
    assert history.column("valid_loss") == [None]
    assert history.column("valid_bpc") == [None]
    assert history.best is None


def test_best_record_has_the_smallest_validation_loss():
    history = History({"valid_loss": loss} for loss in (3.0, None, 1.0, 2.0, 1.0))
    assert history.best is history[2]


def test_callbacks_see_each_record_and_may_stop():
    seen = []

    def callback(trainer, record):
        assert trainer.history[-1] is record
        seen.append(record["step"])
        if len(seen) == 2:
            trainer.stop()

    trainer = trainer_of(callbacks=[callback])
    trainer.fit(streams(), epochs=5)
    assert seen == [10, 20]
    assert trainer.step == 20


def test_a_second_fit_begins_anew():
    trainer = trainer_of()
    trainer.fit(streams(), epochs=2)
    history = trainer.fit(streams(), epochs=1)
    assert history.column("step") == [10]
    assert trainer.optimizer.steps == 30


def test_progress_goes_to_stderr_and_only_if_wanted(capsys):
    model = model_of()
    for progress in (False, True):
        Trainer(model, Adam(model.params), progress=progress).fit(streams(), streams())
        out, err = capsys.readouterr()
        assert out == ""
        assert ("train loss" in err and "valid loss" in err) == progress


# ---------------------------------------------------------------- checkpoints, resume


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


def test_info_is_kept_in_the_checkpoint(tmp_path):
    path = tmp_path / "run.checkpoint"
    trainer = trainer_of()
    trainer.info = {"file": "text", "sizes": (1, 2.5, None)}
    trainer.fit(streams(), checkpoint=path)
    assert trainer_of().resume(path).info == trainer.info


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"checkpoint_seconds": None}, [0, 10, 13]),
        ({"checkpoint_seconds": None, "checkpoint_steps": 4}, [0, 4, 8, 10, 12, 13]),
        ({"checkpoint_seconds": 0}, list(range(14))),
    ],
)
def test_checkpoints_are_saved_as_asked(tmp_path, monkeypatch, options, steps):
    saved = []
    monkeypatch.setattr(
        "fastcell.train.write_checkpoint",
        lambda path, tree: saved.append(tree["position"]["step"]),
    )
    path = tmp_path / "run.checkpoint"
    trainer_of().fit(streams(), steps=13, checkpoint=path, **options)
    assert saved == steps


def test_checkpoint_gives_back_what_went_in(tmp_path):
    path = tmp_path / "tree.checkpoint"
    tree = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::2],
        "no dimension": np.array(2.5),
        "scalar": np.float32(0.1),
        "none": None,
        "flag": True,
        "large": 2**127 + 1,
        "numbers": [0.1, math.inf, -0.0],
        "state": (np.zeros((1, 0)), (np.ones(2, bool), [])),
        "a/b": {"c": np.zeros(1)},
        "a": {"b/c": np.ones(1)},
        "{}": {},
    }
    write_checkpoint(path, tree)
    read = read_checkpoint(path)
    assert repr(read) == repr(tree)
    assert type(read["state"]) is tuple
    assert read["scalar"].dtype == np.float32
    assert os.listdir(tmp_path) == ["tree.checkpoint"]


@pytest.mark.parametrize("tree", [{"a": {1: 2}}, {"a": object()}, {"a": {1, 2}}])
def test_checkpoint_of_something_else_is_refused(tmp_path, tree):
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path / "tree.checkpoint", tree)
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------- bad input


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "run.checkpoint"
    trainer_of(schedule=cosine(10)).fit(streams(), steps=3, checkpoint=path)
    return path


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"model": model_of("gru")}, "cell must be .*lstm.*gru"),
        ({"model": model_of(dropout=0.1)}, "dropout"),
        ({"model": LanguageModel(5, 4, 7, 2, dropout=0.3)}, "hidden_size"),
        ({"schedule": None}, "schedule"),
        ({"schedule": plateau()}, "plateau"),
    ],
)
def test_checkpoint_of_another_run_is_refused(checkpoint, other, match):
    trainer = trainer_of(**{"schedule": cosine(10), **other})
    before = trainer.model.state_dict()
    with pytest.raises(ValueError, match=match) as caught:
        trainer.resume(checkpoint)
    assert str(checkpoint) in str(caught.value)
    if "model" in other:
        for name, array in trainer.model.state_dict().items():
            np.testing.assert_array_equal(array, before[name])


def test_checkpoint_of_another_optimizer_is_refused(checkpoint):
    model = model_of()
    trainer = Trainer(model, SGD(model.params, lr=0.1), 1.0, cosine(10))
    with pytest.raises(ValueError, match="SGD"):
        trainer.resume(checkpoint)


def test_other_data_are_refused(checkpoint):
    for data in (streams(seed=1), streams(num_tokens=300), streams(seq_len=6)):
        trainer = trainer_of(schedule=cosine(10)).resume(checkpoint)
        with pytest.raises(ValueError, match="train_data"):
            trainer.fit(data, steps=10)


def test_another_number_of_threads_is_warned_of(checkpoint):
    before = fastcell.get_num_threads()
    trainer = trainer_of(schedule=cosine(10)).resume(checkpoint)
    try:
        fastcell.set_num_threads(before + 1)
        with pytest.warns(RuntimeWarning, match="threads was"):
            trainer.fit(streams(), steps=4)
    finally:
        fastcell.set_num_threads(before)


def test_model_file_is_no_checkpoint(tmp_path):
    path = tmp_path / "model.safetensors"
    fastcell.save(model_of(), path)
    with pytest.raises(ValueError, match=r"model\.safetensors.*checkpoint"):
        trainer_of().resume(path)


def test_truncated_checkpoint_is_refused(checkpoint):
    content = checkpoint.read_bytes()
    for size in (0, 7, 100, len(content) - 1):
        checkpoint.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"run\.checkpoint"):
            trainer_of(schedule=cosine(10)).resume(checkpoint)


@pytest.mark.parametrize(
    "damage",
    [
        lambda tree: tree.pop("optimizer"),
        lambda tree: tree["model"]["params"].pop("decoder.bias"),
        lambda tree: tree["position"].update(step=-1),
        lambda tree: tree["position"].update(unknown=1),
        lambda tree: tree["model"].update(config=None),
        lambda tree: tree.update(model=[]),
        lambda tree: tree.update(history=3),
    ],
)
def test_damaged_checkpoint_is_refused(checkpoint, damage):
    tree = read_checkpoint(checkpoint)
    damage(tree)
    write_checkpoint(checkpoint, tree)
    with pytest.raises(ValueError, match=r"run\.checkpoint"):
        trainer_of(schedule=cosine(10)).resume(checkpoint)


def test_diverging_run_ends_before_the_weights_are_lost(tmp_path):
    path = tmp_path / "run.checkpoint"
    model = model_of(dropout=0.0)
    trainer = Trainer(model, SGD(model.params, lr=1e38), progress=False)
    with pytest.raises(FloatingPointError, match="learning rate"):
        trainer.fit(streams(), epochs=2, checkpoint=path, checkpoint_steps=1)
    for array in read_checkpoint(path)["model"]["params"].values():
        assert np.isfinite(array).all()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"clip_norm": 0.0}, ValueError),
        ({"clip_norm": math.nan}, ValueError),
        ({"clip_norm": "1"}, TypeError),
        ({"schedule": 3}, TypeError),
        ({"callbacks": [3]}, TypeError),
    ],
)
def test_bad_constructor_arguments_are_named(arguments, error):
    model = model_of()
    with pytest.raises(error, match=next(iter(arguments))):
        Trainer(model, Adam(model.params), **arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"epochs": -1}, ValueError),
        ({"epochs": 1.5}, TypeError),
        ({"steps": -1}, ValueError),
        ({"checkpoint_seconds": -1}, ValueError),
        ({"checkpoint_seconds": math.nan}, ValueError),
        ({"checkpoint_steps": 0}, ValueError),
        ({"validate_every": 0}, ValueError),
        ({"train_data": []}, ValueError),
        ({"valid_data": []}, ValueError),
    ],
)
def test_bad_arguments_of_fit_are_named(arguments, error):
    with pytest.raises(error, match=next(iter(arguments)).removeprefix("valid_")):
        trainer_of().fit(**{"train_data": streams(), **arguments})
