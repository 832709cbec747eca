"""Training on independent sequences, in another order in each epoch."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest
from last_step import LastStep, sequences, trainer_of
from trainers import assert_same_bits

from fastcell.models import FeedForward, SequenceClassifier, SequenceTagger
from fastcell.optim import (
    Adam,
    clip_grad_norm,
    clip_grad_value,
    cosine,
    plateau,
    warmup,
)
from fastcell.train import Trainer, TrainingInterrupted
from fastcell.train.checkpoint import data_fingerprint


class Interrupting:
    """A callback-like schedule that sends SIGINT in the step after `step` steps."""

    def __init__(self, schedule, step):
        self.schedule, self.step = schedule, step

    def __call__(self, step):
        if step == self.step:
            signal.raise_signal(signal.SIGINT)
        return self.schedule(step)

    def __getattr__(self, name):  # update and the state, of the schedule itself
        return getattr(self.schedule, name)


pytestmark = pytest.mark.usefixtures("usual_handler")


def falling():
    """A plateau that halves the rate at nearly every validation."""
    return plateau(factor=0.5, patience=0, threshold=0.1)


# ----------------------------------------------------------------- what a run computes


@pytest.mark.parametrize(
    "clip",
    [{"clip_norm": 0.1}, {"clip_value": 0.01}, {"clip_norm": 0.1, "clip_value": 0.01}],
)
def test_fit_equals_the_loop_written_out(clip):
    data = sequences()
    model = LastStep()
    optimizer = Adam(model.params, lr=0.01)
    for n in range(3):
        for batch in data.epoch(n):
            _, saved = model.loss(batch)
            grads = model.backward(saved)
            if "clip_value" in clip:
                clip_grad_value(grads, clip["clip_value"])
            if "clip_norm" in clip:
                clip_grad_norm(grads, clip["clip_norm"])
            optimizer.step(grads)

    trainer = trainer_of(**{"clip_norm": None, **clip})
    trainer.fit(data, epochs=3)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(trainer.model.state_dict()[name], array)


def test_training_learns_which_walks_go_up():
    data, valid = sequences(200), sequences(400, seed=1)
    trainer = trainer_of(lr=0.02)
    history = trainer.fit(data, valid, epochs=15)
    assert history[0]["valid_accuracy"] < history[-1]["valid_accuracy"]
    assert history[-1]["valid_accuracy"] > 0.75  # by eight seeds 0.81 to 0.89


def test_records_have_the_scores_of_the_validation():
    valid = sequences(30, seed=1)
    trainer = trainer_of()
    record = trainer.fit(sequences(), valid, epochs=1)[-1]
    right = count = 0
    for x, lengths, y in valid:
        right += int((trainer.model.predict(x, lengths).argmax(-1) == y).sum())
        count += len(y)
    assert record["valid_accuracy"] == right / count == right / 30
    assert type(record["valid_accuracy"]) is float
    assert trainer.assess(valid) == {
        "loss": record["valid_loss"],
        "accuracy": record["valid_accuracy"],
    }
    assert trainer.evaluate(valid) == record["valid_loss"]


def test_scores_are_shown_with_the_progress(capsys, monkeypatch):
    shown = []

    class Bar:
        disable = False
        postfix = ""

        def __init__(self, **options):
            pass

        def set_postfix_str(self, text, refresh=True):
            self.postfix = text
            shown.append(text)

        def write(self, line, file):
            print(line, file=file)

        def update(self):
            pass

        def close(self):
            pass

    monkeypatch.setattr("tqdm.tqdm", Bar)
    monkeypatch.setattr(
        "fastcell.train.progress.time.monotonic", iter(range(10**6)).__next__
    )
    trainer = trainer_of()
    trainer.progress = True
    history = trainer.fit(sequences(), sequences(seed=1), epochs=2)
    accuracy = f"accuracy {history[0]['valid_accuracy']:.3f}"
    assert f"valid loss {history[0]['valid_loss']:.4f}, {accuracy}" in (
        capsys.readouterr().err
    )
    # From the second epoch on, the bar has them as well.
    *_, last = (text for text in shown if text.startswith("loss"))
    assert f"valid {accuracy}" in last
    assert "accuracy" not in shown[0]
    # It counts what the model is asked for, not steps.
    seen = 2 * sum(len(y) for *_, y in sequences())
    assert f", {seen} targets, " in last


def test_infinite_gradients_are_not_hidden_by_clipping():
    trainer = trainer_of(clip_norm=None, clip_value=0.01)
    backward = trainer.model.backward

    def infinite(saved):
        grads = backward(saved)
        grads["decoder.bias"][0] = math.inf
        return grads

    trainer.model.backward = infinite
    with pytest.raises(FloatingPointError, match="gradient norm became inf at step 1"):
        trainer.fit(sequences())


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (math.inf, ValueError), ("1", TypeError)]
)
def test_bad_clip_values_are_named(value, error):
    model = LastStep()
    with pytest.raises(error, match="clip_value"):
        Trainer(model, Adam(model.params), clip_value=value)


# ------------------------------------------------------------------ stopped and resumed


@pytest.mark.parametrize("stop", [1, 9, 10, 11, 20, 23, 30])
@pytest.mark.parametrize("schedule", [falling, lambda: warmup(15, falling()), None])
def test_interrupted_and_resumed_run_ends_with_the_same_bits(tmp_path, stop, schedule):
    path = tmp_path / "run.checkpoint"
    schedule = schedule or (lambda: cosine(30))
    length = {"epochs": 3, "validate_every": 4, "checkpoint": path}
    assert len(sequences()) == 10
    whole = trainer_of(schedule())
    whole.fit(sequences(), sequences(seed=1), **length)

    first = trainer_of(Interrupting(schedule(), stop - 1))
    with pytest.raises(TrainingInterrupted):
        first.fit(sequences(), sequences(seed=1), **length)
    assert first.step == stop

    second = trainer_of(schedule(), seed=7).resume(path)
    second.fit(sequences(), sequences(seed=1), **length)
    assert_same_bits(whole, second)
    rates = whole.history.column("learning_rate")
    assert rates[-1] < max(rates)  # the schedule has done something
    assert second.step == 30


def test_a_resumed_run_takes_the_rest_of_its_epoch(tmp_path):
    path = tmp_path / "run.checkpoint"
    seen = []

    class Seen(LastStep):
        def loss(self, batch, state=None):
            seen.append(batch[0].tobytes())
            return super().loss(batch, state)

    def trainer():
        model = Seen()
        return Trainer(model, Adam(model.params), progress=False)

    trainer().fit(sequences(), steps=13, checkpoint=path)
    trainer().resume(path).fit(sequences(), epochs=2)
    expected = [batch[0].tobytes() for n in (0, 1) for batch in sequences().epoch(n)]
    assert seen == expected
    assert len(set(seen)) == 20  # another order, and other batches


def test_other_sequences_or_another_order_are_refused(tmp_path):
    path = tmp_path / "run.checkpoint"
    trainer_of().fit(sequences(), steps=3, checkpoint=path)
    for data in (
        sequences(seed=5),
        sequences(41),
        sequences(shuffle=False),
        sequences(bucket=False),
    ):
        with pytest.raises(ValueError, match="train_data"):
            trainer_of().resume(path).fit(data, steps=5)
    data = sequences()
    data.seed = 1
    with pytest.raises(ValueError, match="train_data"):
        trainer_of().resume(path).fit(data, steps=5)


def test_data_that_differ_in_later_epochs_only_are_told_apart():
    class Shuffled(list):
        def __init__(self, batches, seed):
            super().__init__(batches)
            self.seed = seed

        def epoch(self, n):
            return self[:: -1 if n == self.seed else 1]

    batches = [np.zeros(2), np.ones(2)]
    one, same, other = (Shuffled(batches, seed) for seed in (1, 1, 2))
    assert data_fingerprint(one) == data_fingerprint(same)
    assert data_fingerprint(one) != data_fingerprint(other)


def test_another_clip_value_is_refused(tmp_path):
    path = tmp_path / "run.checkpoint"
    trainer_of(clip_value=0.5).fit(sequences(), steps=3, checkpoint=path)
    with pytest.raises(ValueError, match=r"clip_value must be .*0\.5; got 0\.1"):
        trainer_of(clip_value=0.1).resume(path)
    assert trainer_of(clip_value=0.5).resume(path).step == 3


@pytest.mark.parametrize("lengths", [None, [3, 1]])
def test_loss_of_a_sequence_model_tells_what_count_would(lengths):
    x = np.zeros((3, 2, 4), np.float32)
    tags = np.array([[0, 1], [-100, 2], [1, 1]])
    tagger = SequenceTagger(4, 5, 3, seed=0)
    batch = (x, lengths, tags)
    assert tagger.loss(batch)[1].count == tagger.count(batch) == (3 if lengths else 5)
    classifier = SequenceClassifier(4, 5, 3, seed=0)
    batch = (x, lengths, np.array([0, 2]))
    assert classifier.loss(batch)[1].count == classifier.count(batch) == 2


def test_trainer_counts_where_the_loss_does_not_tell():
    model = FeedForward(2, [3], 4, task="regression", seed=0)
    x = np.ones((3, 2), np.float32)
    counted = []
    count = model.count
    model.count = lambda batch: counted.append(count(batch)) or counted[-1]
    trainer = Trainer(model, Adam(model.params), progress=False)
    trainer.fit([(x, np.ones((3, 4)))], steps=2)
    assert counted == [12, 12]
