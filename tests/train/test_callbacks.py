"""Callbacks of training: early stopping, the best model, logs; also after resuming."""

from __future__ import annotations

import csv
import json
import math
import signal

import numpy as np
import pytest
from last_step import LastStep, sequences, trainer_of
from refusals import refuses
from trainers import assert_same_bits

import fastcell
from fastcell.callbacks import CSVLogger, EarlyStopping, JSONLogger, SaveBest
from fastcell.named_classes import CLASSES
from fastcell.train import History, TrainingInterrupted

TIMING = {"seconds", "tokens_per_second"}


pytestmark = pytest.mark.usefixtures("last_step_may_be_saved", "usual_handler")


class Losses:
    """A trainer that has come to these losses, as far as a callback looks at it."""

    def __init__(self, losses, callback, key="valid_loss"):
        self.history, self.model, self.stopped_after = History(), LastStep(), None
        for n, loss in enumerate(losses, 1):
            self.model.decoder.params["bias"] = np.full(2, n, np.float32)
            self.history.append({"step": n, key: loss})
            callback(self, self.history[-1])
            if self.stopped_after is not None:
                break

    def stop(self):
        self.stopped_after = len(self.history)


def stop_after(step):
    """Return a callback that interrupts the run at its first record from `step` on."""

    def callback(trainer, record):
        if record["step"] >= step:
            signal.raise_signal(signal.SIGINT)

    return callback


# ----------------------------------------------------------------------- EarlyStopping


@pytest.mark.parametrize(
    ("losses", "options", "expected"),
    [
        ([3, 2, 2.1, 2.2, 2.3, 1], {"patience": 3}, 5),
        ([3, 2, 2.1, 2.2, 1.9, 2, 2, 2], {"patience": 3}, 8),
        ([3, 2, 1], {"patience": 1}, None),
        ([3, 3], {"patience": 1}, 2),
        ([math.nan, math.nan], {"patience": 2}, 2),
        ([1, math.nan, -math.inf, 1], {"patience": 3}, 4),
        ([1, 2, 3, 2, 1], {"patience": 2, "mode": "max"}, 5),
        ([3, 2.9, 2.8, 2.4, 2.3], {"patience": 2, "min_delta": 0.5}, 3),
    ],
)
def test_a_run_ends_after_so_many_records_without_a_better_one(
    losses, options, expected
):
    assert Losses(losses, EarlyStopping(**options)).stopped_after == expected


def test_early_stopping_ends_the_run_of_a_trainer():
    trainer = trainer_of(callbacks=[EarlyStopping(2, "valid_accuracy", "max")])
    history = trainer.fit(sequences(), sequences(seed=1), epochs=100)
    accuracies = history.column("valid_accuracy")
    assert len(history) < 100
    best = accuracies.index(max(accuracies))
    assert len(accuracies) == best + 3


@pytest.mark.parametrize("stop", [10, 20, 30])
def test_early_stopping_survives_an_interruption(tmp_path, stop):
    path = tmp_path / "run.checkpoint"

    def trainer(*more):
        early = EarlyStopping(2, "valid_accuracy", "max")
        return trainer_of(lr=0.05, callbacks=[early, *more])

    length = {"epochs": 100, "checkpoint": path}
    whole = trainer()
    whole.fit(sequences(), sequences(seed=1), **length)
    with pytest.raises(TrainingInterrupted):
        trainer(stop_after(stop)).fit(sequences(), sequences(seed=1), **length)
    resumed = trainer().resume(path)
    assert resumed.step == stop
    resumed.fit(sequences(), sequences(seed=1), **length)
    assert_same_bits(whole, resumed)


def test_a_run_that_has_ended_early_does_not_go_on_when_resumed(tmp_path):
    path = tmp_path / "run.checkpoint"

    def trainer(patience=1):
        return trainer_of(callbacks=[EarlyStopping(patience, "step", "min")])

    whole = trainer()
    whole.fit(sequences(), epochs=9, checkpoint=path)
    assert whole.step == 20
    resumed = trainer().resume(path)
    resumed.fit(sequences(), epochs=9, checkpoint=path)
    assert_same_bits(whole, resumed)
    patient = trainer(patience=3).resume(path)
    patient.fit(sequences(), epochs=9, checkpoint=path)
    assert patient.step == 40


# ---------------------------------------------------------------------------- SaveBest


@pytest.mark.parametrize(
    ("losses", "mode", "best"),
    [
        ([3, 2, 2.5], "min", 2),
        ([3, 2, 2], "min", 2),
        ([1, 2, 3, 2], "max", 3),
        ([math.nan, 2, -math.inf, 3], "min", 2),
    ],
)
def test_the_model_of_the_best_record_is_saved(tmp_path, losses, mode, best):
    path = tmp_path / "best.safetensors"
    Losses(losses, SaveBest(path, mode=mode))
    saved = fastcell.load(path)
    np.testing.assert_array_equal(saved.decoder.params["bias"], [best, best])


def test_fit_keeps_the_best_model(tmp_path):
    path = tmp_path / "best.safetensors"
    trainer = trainer_of(lr=0.3)
    valid = sequences(seed=1)
    history = trainer.fit(sequences(), valid, epochs=5, best=path)
    losses = history.column("valid_loss")
    assert losses.index(min(losses)) < len(losses) - 1
    trainer.model.load_state_dict(fastcell.load(path).state_dict())
    assert trainer.evaluate(valid) == min(losses)

    fit = {"best": path, "monitor": "valid_accuracy", "mode": "max"}
    history = trainer.fit(sequences(), valid, epochs=6, **fit)
    trainer.model.load_state_dict(fastcell.load(path).state_dict())
    accuracies = history.column("valid_accuracy")
    assert trainer.assess(valid)["accuracy"] == max(accuracies)


@pytest.mark.parametrize("stop", [10, 20, 30, 40])
def test_the_best_model_is_that_of_the_whole_run_after_an_interruption(tmp_path, stop):
    path, best = tmp_path / "run.checkpoint", tmp_path / "best.safetensors"
    fit = {"epochs": 5, "checkpoint": path, "best": best}
    trainer_of(lr=0.1).fit(sequences(), sequences(seed=1), **fit)
    expected = best.read_bytes()
    best.unlink()
    with pytest.raises(TrainingInterrupted):
        trainer_of(lr=0.1, callbacks=[stop_after(stop)]).fit(
            sequences(), sequences(seed=1), **fit
        )
    trainer_of(lr=0.1).resume(path).fit(sequences(), sequences(seed=1), **fit)
    assert best.read_bytes() == expected


def test_a_model_that_cannot_be_saved_is_refused_before_it_is_trained(monkeypatch):
    monkeypatch.delitem(CLASSES, "LastStep")
    trainer = trainer_of()
    with pytest.raises(TypeError, match="LastStep"):
        trainer.fit(sequences(), sequences(), best="nowhere")
    assert trainer.optimizer.steps == 0


# ----------------------------------------------------------------------------- loggers


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def read_json(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_logs_hold_the_records(tmp_path):
    table, lines = tmp_path / "log.csv", tmp_path / "log.jsonl"
    trainer = trainer_of(callbacks=[CSVLogger(table), JSONLogger(lines)])
    history = trainer.fit(sequences(), sequences(seed=1), epochs=3)
    assert len(history) == 3
    assert read_json(lines) == history
    rows = read_csv(table)
    assert [{k: float(v) for k, v in row.items()} for row in rows] == history
    assert list(rows[0]) == list(history[0])


def test_logs_are_there_while_the_run_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    counts = []

    def count(trainer, record):
        counts.append(len(read_csv(path)))

    trainer = trainer_of(callbacks=[CSVLogger(path), count])
    trainer.fit(sequences(), epochs=3)
    assert counts == [1, 2, 3]


def test_what_a_record_lacks(tmp_path):
    table, lines = tmp_path / "log.csv", tmp_path / "log.jsonl"
    for logger in (CSVLogger(table), JSONLogger(lines)):
        Losses([None, math.nan, math.inf, 0.1], logger)
    assert [row["valid_loss"] for row in read_csv(table)] == ["", "nan", "inf", "0.1"]
    assert [r["valid_loss"] for r in read_json(lines)] == [None, None, None, 0.1]


def test_a_value_that_comes_later_gets_its_column(tmp_path):
    path = tmp_path / "log.csv"
    logger = CSVLogger(path)
    trainer = Losses([1.0], logger)
    for record in ({"step": 2, "valid_accuracy": 0.5}, {"step": 3, "valid_loss": 2.0}):
        trainer.history.append(record)
        logger(trainer, record)
    assert read_csv(path) == [
        {"step": "1", "valid_loss": "1.0", "valid_accuracy": ""},
        {"step": "2", "valid_loss": "", "valid_accuracy": "0.5"},
        {"step": "3", "valid_loss": "2.0", "valid_accuracy": ""},
    ]


def test_logs_of_a_resumed_run_are_those_of_the_whole(tmp_path):
    path = tmp_path / "run.checkpoint"
    table, lines = tmp_path / "log.csv", tmp_path / "log.jsonl"

    def trainer(*more):
        return trainer_of(callbacks=[CSVLogger(table), JSONLogger(lines), *more])

    length = {"epochs": 4, "checkpoint": path}
    trainer().fit(sequences(), sequences(seed=1), **length)
    expected = read_csv(table), read_json(lines)

    with pytest.raises(TrainingInterrupted):
        trainer(stop_after(20)).fit(sequences(), sequences(seed=1), **length)
    # A run that was killed may have logged what its checkpoint does not know, and have
    # been in the middle of a line.
    for log in (table, lines):
        log.write_text(log.read_text() + log.read_text().splitlines()[-1] + "\nhalf")
    trainer().resume(path).fit(sequences(), sequences(seed=1), **length)

    def untimed(rows):
        return [{k: v for k, v in row.items() if k not in TIMING} for row in rows]

    for got, want in zip((read_csv(table), read_json(lines)), expected, strict=True):
        assert untimed(got) == untimed(want)


def test_a_new_run_begins_its_log_anew(tmp_path):
    path = tmp_path / "log.csv"
    trainer = trainer_of(callbacks=[CSVLogger(path)])
    trainer.fit(sequences(), epochs=3)
    trainer.fit(sequences(), epochs=1)
    assert len(read_csv(path)) == 1


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    path = tmp_path / "nowhere" / "log.csv"
    with pytest.raises(OSError, match="nowhere"):
        trainer_of(callbacks=[CSVLogger(path)]).fit(sequences())


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: EarlyStopping(0), ValueError, ["patience", ">= 1"]),
        (lambda: EarlyStopping(1.5), TypeError, ["patience"]),
        (lambda: EarlyStopping(1, 3), TypeError, ["monitor"]),
        (lambda: EarlyStopping(1, mode="less"), ValueError, ["mode", "'less'"]),
        (lambda: EarlyStopping(1, min_delta=-1), ValueError, ["min_delta"]),
        (lambda: SaveBest(3), TypeError, ["path", "3"]),
        (lambda: SaveBest("a", mode=None), ValueError, ["mode", "None"]),
    ],
)
def test_bad_arguments_are_named(make, error, words):
    refuses(error, words, make)


@pytest.mark.parametrize("callback", [EarlyStopping(1), EarlyStopping(1, "valid_f1")])
def test_a_value_that_is_not_in_the_records_is_named(callback):
    trainer = trainer_of(callbacks=[callback])
    with pytest.raises(
        ValueError, match=rf"train_loss.*{callback.monitor}.*valid_data"
    ):
        trainer.fit(sequences(), epochs=3)


def test_fit_refuses_to_monitor_a_validation_without_data(tmp_path):
    trainer = trainer_of()
    with pytest.raises(ValueError, match=r"valid_data .*'valid_loss'"):
        trainer.fit(sequences(), best=tmp_path / "best")
    assert trainer.optimizer.steps == 0
    trainer.fit(sequences(), best=tmp_path / "best", monitor="train_loss")
    assert (tmp_path / "best").exists()
