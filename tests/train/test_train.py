"""Properties of training: steps, records, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from refusals import refuses
from trainers import model_of, streams, trainer_of

from fastcell.data import TextStreams
from fastcell.optim import SGD, Adam, clip_grad_norm, cosine, plateau, warmup
from fastcell.train import History, Trainer
from fastcell.train.checkpoint import read_checkpoint

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


# ------------------------------------------------------------------------- bad input


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


@pytest.mark.parametrize(
    "data, words",
    [
        ((batch for batch in ()), ["generator", "list(train_data)"]),
        (None, ["None"]),
        ({0: (0, 1)}, ["{0: (0, 1)}"]),
    ],
)
def test_training_data_that_have_no_indices_are_refused(data, words):
    model = model_of()
    trainer = Trainer(model, SGD(model.params), progress=False)
    refuses(TypeError, ["train_data", *words], trainer.fit, data)


def test_a_generator_is_no_validation_data():
    trainer = trainer_of()
    batches = (batch for batch in streams())
    words = ["valid_data", "generator", "list(valid_data)"]
    refuses(TypeError, words, trainer.fit, streams(), batches)
    assert trainer.step == 0


def test_a_generator_can_be_evaluated_once():
    trainer = trainer_of()
    assert trainer.evaluate(b for b in streams()) == trainer.evaluate(streams())
