"""Sessions of sequence models: each step equals the prediction for its prefix."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses

from fastcell.cells import REGISTRY
from fastcell.models import SequenceClassifier, SequenceRegressor, SequenceTagger

f32 = np.float32
every_pooling = pytest.mark.parametrize("pooling", ["last", "mean", "max"])


def x_of(T=9, B=3, I=4):  # noqa: E741  (the letter of DESIGN)
    return np.random.default_rng(0).standard_normal((T, B, I)).astype(f32)


@pytest.mark.parametrize("cell", REGISTRY)
@every_pooling
def test_each_step_has_the_probabilities_of_the_sequence_so_far(pooling, cell):
    model = SequenceClassifier(4, 7, 3, 2, cell, pooling=pooling, dropout=0.5, seed=0)
    x = x_of()
    session = model.session(3)
    for t in range(len(x)):
        assert same_bits(session.step(x[t]), model.predict_proba(x[: t + 1]))


@every_pooling
def test_a_stream_of_ids(pooling):
    model = SequenceClassifier(6, 7, 3, pooling=pooling, embedding_dim=5, seed=0)
    ids = np.random.default_rng(0).integers(0, 6, (9, 2))
    session = model.session(2)
    for t in range(len(ids)):
        assert same_bits(session.step(ids[t]), model.predict_proba(ids[: t + 1]))


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_regressor_gives_its_values(outputs):
    model = SequenceRegressor(4, 7, outputs, pooling="mean", seed=0)
    x = x_of()
    session = model.session(3)
    for t in range(len(x)):
        assert same_bits(session.step(x[t]), model.predict(x[: t + 1]))


def test_a_tagger_gives_the_probabilities_of_the_step():
    model = SequenceTagger(4, 7, 3, seed=0)
    x = x_of()
    p = model.predict_proba(x)
    session = model.session(3)
    for t in range(len(x)):
        assert same_bits(session.step(x[t]), p[t])


@every_pooling
def test_rows_begin_anew_when_they_are_reset(pooling):
    model = SequenceClassifier(4, 7, 3, pooling=pooling, seed=0)
    x = x_of()
    session = model.session(3)
    for x_t in x[:4]:
        session.step(x_t)
    session.reset([1])
    for t in range(4, 9):
        p = session.step(x[t])
    assert same_bits(p[[1]], model.predict_proba(x[4:, [1]]))
    assert same_bits(p[[0, 2]], model.predict_proba(x[:, [0, 2]]))
    session.reset()
    assert same_bits(session.step(x[0]), model.predict_proba(x[:1]))


@every_pooling
def test_a_fork_goes_its_own_way(pooling):
    model = SequenceClassifier(4, 7, 3, pooling=pooling, seed=0)
    x = x_of()
    session = model.session(3)
    for x_t in x[:4]:
        session.step(x_t)
    other = session.fork()
    other.step(x[8])
    for x_t in x[4:]:
        p = session.step(x_t)
    assert same_bits(p, model.predict_proba(x))
    expected = model.predict_proba(np.concatenate([x[:4], x[8:], x[5:6]]))
    assert same_bits(other.step(x[5]), expected)


def test_one_stream_takes_a_step_with_or_without_its_axis():
    model = SequenceClassifier(4, 7, 3, seed=0)
    x = x_of(B=1)
    assert model.session().step(x[0]).shape == (1, 3)
    assert same_bits(model.session().step(x[0, 0]), model.session().step(x[0]))
    backwards = x[:, :, ::-1].copy()[:, :, ::-1]  # not contiguous
    assert same_bits(model.session().step(backwards[0]), model.session().step(x[0]))


def test_what_needs_the_whole_sequence_has_no_session():
    both = SequenceClassifier(4, 7, 3, bidirectional=True)
    refuses(ValueError, ["bidirectional"], both.session)
    attention = SequenceClassifier(4, 7, 3, pooling="attention")
    refuses(
        ValueError, ["pooling", "last, mean or max", "attention"], attention.session
    )


def test_bad_steps_are_named():
    session = SequenceClassifier(4, 7, 3, seed=0).session(3)
    refuses(ValueError, ["x", "(3, 4)"], session.step, np.zeros((3, 5), f32))
    refuses(ValueError, ["x", "(3, 4)"], session.step, np.zeros((2, 4), f32))
    refuses(TypeError, ["x", "float32"], session.step, np.zeros((3, 4)))
    bad = np.zeros((3, 4), f32)
    bad[1, 2] = np.inf
    refuses(ValueError, ["x", "finite", "inf", "row 1"], session.step, bad)
    ids = SequenceClassifier(4, 7, 3, embedding_dim=2, seed=0).session(2)
    refuses(ValueError, ["x", "0 to 3", "4"], ids.step, [0, 4])
    refuses(ValueError, ["x", "(2,)", "(3,)"], ids.step, [0, 1, 2])
    model = SequenceClassifier(4, 7, 3)
    refuses(ValueError, ["batch_size"], model.session, -1)
