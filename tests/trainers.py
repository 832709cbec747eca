"""A small model, data and a trainer for the tests of training."""

from __future__ import annotations

import numpy as np

from fastcell.data import TextStreams
from fastcell.models import LanguageModel
from fastcell.optim import Adam
from fastcell.train import Trainer

VOCAB_SIZE = 5


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
