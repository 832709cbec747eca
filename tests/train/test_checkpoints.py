"""Checkpoints: times of saving, content, and refusals."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from trainers import model_of, streams, trainer_of

import fastcell
from fastcell.models import LanguageModel
from fastcell.optim import SGD, cosine, plateau
from fastcell.train import Trainer
from fastcell.train.checkpoint import read_checkpoint, write_checkpoint


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
        "fastcell.train.trainer.write_checkpoint",
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
