"""The unit that the display of training counts: that of the model's task."""

from __future__ import annotations

import numpy as np
import pytest

import fastcell
from fastcell.data import CharVocabulary, Sequences
from fastcell.models import (
    Captioner,
    FeedForward,
    Forecaster,
    FrameModel,
    LanguageModel,
    Seq2Seq,
    SequenceClassifier,
    SequenceRegressor,
    SequenceTagger,
    SpeechRecognizer,
)
from fastcell.optim import SGD
from fastcell.train import Trainer

UNITS = [
    (LanguageModel(2, 2, 2, vocabulary=CharVocabulary("ab")), "characters"),
    (LanguageModel(2, 2, 2), "tokens"),
    (SequenceClassifier(2, 3, 2), "sequences"),
    (SequenceRegressor(2, 3, 2), "values"),
    (SequenceTagger(2, 3, 2), "steps"),
    (FrameModel(2, 3), "frames"),
    (Forecaster(2, 3), "values"),
    (Seq2Seq(5, 5, 2, 2, bos=0, eos=1), "tokens"),
    (Captioner(2, 5, 2, 2, bos=0, eos=1), "tokens"),
    (SpeechRecognizer(2, 3, vocabulary=["a"]), "recordings"),
    (FeedForward(2, [3], 2), "targets"),
]


@pytest.mark.parametrize(("model", "unit"), UNITS)
def test_a_model_says_what_it_counts(model, unit):
    assert model.unit == unit


def test_all_models_are_here():
    kinds = {getattr(fastcell.models, name) for name in fastcell.models.__all__}
    kinds = {kind for kind in kinds if isinstance(kind, type)}
    concrete = {k for k in kinds if hasattr(k, "count") and not k.__abstractmethods__}
    assert concrete == {type(model) for model, _ in UNITS}


def test_the_lines_of_training_tell_it(capsys):
    model = SequenceClassifier(2, 3, 2)
    data = Sequences([np.ones((3, 2)), np.zeros((2, 2))], [0, 1])
    Trainer(model, SGD(model.params, lr=0.1)).fit(data, epochs=1)
    said = capsys.readouterr().err
    assert " sequences/s" in said
    assert "tokens/s" not in said


def test_data_that_have_epochs_alone_are_trained_on():
    data = Sequences([np.ones((3, 2)), np.zeros((2, 2))], [0, 1], batch_size=1)

    class Drawn:
        def __len__(self):
            return len(data)

        def epoch(self, n):
            return list(data.epoch(n))

    losses = []
    for batches in (data, Drawn()):
        model = SequenceClassifier(2, 3, 2, seed=0)
        trainer = Trainer(model, SGD(model.params, lr=0.1), progress=False)
        losses.append(trainer.fit(batches, epochs=2)[-1]["train_loss"])
    assert losses[0] == losses[1]
