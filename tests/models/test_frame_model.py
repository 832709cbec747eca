"""FrameModel: loss, carried state, sessions, and generation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from slopes import assert_gradients, assert_slopes
from tolerances import DENSE, STANDARD_ERRORS, error

import fastcell
from fastcell.cells import REGISTRY
from fastcell.models import FrameModel
from fastcell.optim import Adam
from fastcell.train import Trainer

f32, f64 = np.float32, np.float64
T, G, H = 6, 3, 5
LENGTHS = np.array([4, 6, 1, 0, 5])
B = len(LENGTHS)
EXISTS = np.arange(T)[:, np.newaxis] < LENGTHS

#: Every head: what a model of it is made with.
HEADS = {
    "bernoulli": {"head": "bernoulli"},
    "mixture": {"head": "mixture", "mixtures": 4},
    "mixture, floor": {"head": "mixture", "mixtures": 3, "min_scale": 0.2},
    "mixture, correlated": {"head": "mixture", "mixtures": 3, "frame_size": 2},
    "mixture, residual": {"head": "mixture", "mixtures": 2, "residual": True},
    "values": {"head": "values"},
    "values, residual": {"head": "values", "residual": True},
}
every_head = pytest.mark.parametrize("head", HEADS)
every_likelihood = pytest.mark.parametrize("head", [h for h in HEADS if h[0] != "v"])


def model_of(head, **options):
    options = {"frame_size": G, "dtype": f64, "seed": 1, **HEADS[head], **options}
    return FrameModel(hidden_size=H, **options)


def batch_of(model, lengths=LENGTHS, steps=T, seed=0):
    """Return frames of the model's kind, NaN past the lengths, which do not count."""
    random = np.random.default_rng(seed)
    shape = (steps, B, model.frame_size)
    y = random.standard_normal(shape).astype(model.encoder.dtype)
    if model.head == "bernoulli":
        y = (y > 0).astype(y.dtype)
    x = random.standard_normal((steps, B, model.input_size)).astype(y.dtype)
    if lengths is not None:
        past = np.arange(steps)[:, np.newaxis] >= lengths
        x[past], y[past] = np.nan, np.nan
    return x, lengths, y


# ------------------------------------------------------------------ loss and gradient


@pytest.mark.parametrize("lengths", [LENGTHS, None], ids=["lengths", "whole"])
@every_head
def test_the_gradients_are_the_differences(head, lengths):
    model = model_of(head, num_layers=2)
    assert_gradients(model, batch_of(model, lengths))


@pytest.mark.parametrize("cell", ["rnn", *REGISTRY])
def test_every_cell_has_the_gradients_of_the_differences(cell):
    model = model_of("bernoulli", cell=cell)
    assert_gradients(model, batch_of(model))


def test_dropout_is_in_the_gradient():
    model = model_of("mixture", num_layers=2, dropout=0.3)
    batch, start = batch_of(model), model.rng_state()

    def loss():
        model.set_rng_state(start)
        return model.loss(batch)

    grads = model.backward(loss()[1])
    assert_slopes(lambda: loss()[0], model.params.arrays(), grads, model.params.changed)
    assert loss()[0] != pytest.approx(model.evaluate(batch)[0], rel=1e-3)


def test_the_loss_of_bits_is_that_of_their_probabilities():
    model = model_of("bernoulli")
    x, lengths, y = batch_of(model)
    p = model.predict(x, lengths)
    assert not p[~EXISTS].any()
    likelihood = np.where(y == 1, p, 1 - p)[EXISTS].prod(axis=1)
    expected = -np.log(likelihood).sum() / LENGTHS.sum()
    assert model.loss((x, lengths, y))[0] == pytest.approx(expected, rel=1e-12)


def test_the_loss_of_values_is_the_squared_error():
    model = model_of("values")
    x, lengths, y = batch_of(model)
    difference = (model.predict(x, lengths) - y)[EXISTS]
    loss, state, scores = model.assess((x, lengths, y))
    assert loss == pytest.approx(np.square(difference).mean(), rel=1e-12)
    assert state is None
    assert scores == {"mae": (pytest.approx(np.abs(difference).sum()), G * 16)}
    refuses(ValueError, ["head", "likelihood"], model.log_likelihood, (x, lengths, y))


@every_head
def test_evaluation_is_the_loss_without_dropout(head):
    model = model_of(head, dropout=0.0)
    batch = batch_of(model)
    assert model.count(batch) == LENGTHS.sum()
    loss, state = model.evaluate(batch)
    assert loss == pytest.approx(model.loss(batch)[0], rel=1e-12)
    assert state is None


@every_likelihood
def test_the_likelihood_of_a_sequence_is_that_of_its_frames(head):
    model = model_of(head)
    x, lengths, y = batch = batch_of(model)
    found = model.log_likelihood(batch)
    loss, _, scores = model.assess(batch)
    assert scores == {"nll": (pytest.approx(-found.sum()), LENGTHS.sum())}
    assert loss == pytest.approx(-found.sum() / LENGTHS.sum(), rel=1e-12)
    assert found.shape == (B,)
    assert found[3] == 0  # of no frame at all
    for row in (0, 1, 2, 4):
        one = tuple(a[: lengths[row], [row]] for a in (x, y))
        alone = model.log_likelihood((one[0], None, one[1]))
        assert found[row] == pytest.approx(alone[0], rel=1e-12)


@every_head
def test_a_residual_model_adds_to_the_last_frame(head):
    if head == "bernoulli":
        return refuses(ValueError, ["residual"], model_of, head, residual=True)
    plain, other = (model_of(head, residual=r) for r in (False, True))
    x, lengths, y = batch_of(plain)
    nothing = np.zeros_like(x)
    moved = plain.predict(x, lengths)[EXISTS] + x[EXISTS]
    assert error(other.predict(x, lengths)[EXISTS], moved) <= DENSE[f64]
    expected = plain.loss((x, lengths, y - np.where(EXISTS[..., None], x, nothing)))[0]
    assert other.loss((x, lengths, y))[0] == pytest.approx(expected, rel=1e-12)


def test_more_features_than_the_frame_has():
    model = model_of("values", residual=True, input_size=G + 2)
    assert_gradients(model, batch_of(model))
    refuses(ValueError, ["input_size", "generate"], model.generate, None, 3)
    few = {"input_size": 2, "residual": True}
    refuses(ValueError, ["input_size", "3", "2"], model_of, "values", **few)


@every_head
def test_no_frame_has_no_loss(head):
    model = model_of(head)
    batch = batch_of(model, np.zeros(B, int))
    loss, saved = model.loss(batch)
    assert loss == 0
    assert not any(grad.any() for grad in model.backward(saved).values())
    assert model.evaluate(batch)[0] == 0


# ----------------------------------------------------------------------------- state


@every_head
def test_the_state_is_carried_from_window_to_window(head):
    model = model_of(head, cell="gru")
    x, _, y = batch_of(model, None)
    whole = model.evaluate((x, None, y))[0]
    first, saved = model.loss((x[:2], None, y[:2]))
    second, after = model.evaluate((x[2:], None, y[2:]), saved.state)
    assert (2 * first + 4 * second) / 6 == pytest.approx(whole, rel=1e-12)
    assert same_bits(after, model.evaluate((x, None, y))[1])
    if head != "bernoulli" and model.task.has_density:
        assert model.log_likelihood((x[2:], None, y[2:]), saved.state).shape == (B,)


def test_batches_with_lengths_hand_no_state_on():
    model = model_of("bernoulli")
    assert model.loss(batch_of(model))[1].state is None


@every_head
def test_a_stream_predicts_what_the_model_does(head):
    model = model_of(head)
    x, _, _ = batch_of(model, None)
    session = model.session(B)
    steps = [session.step(x_t) for x_t in x[:3]]
    other = session.fork()
    steps += [session.step(x_t) for x_t in x[3:]]
    assert same_bits(np.stack(steps), model.predict(x))
    assert same_bits(other.step(x[3]), steps[3])
    session.state = other.state
    assert same_bits(session.step(x[4]), steps[4])
    session.reset()
    assert same_bits(session.step(x[0]), steps[0])
    refuses(ValueError, ["x", "finite"], session.step, np.full_like(x[0], np.nan))


# --------------------------------------------------------------------------- drawing


@every_head
def test_what_is_drawn_is_fed_back(head):
    model = model_of(head, dtype=f32)
    x, _, _ = batch_of(model, None)
    drawn = model.generate(x, 4, seed=3)
    assert (drawn.shape, drawn.dtype) == ((4, *x.shape[1:]), f32)
    longer = model.generate(np.concatenate([x, drawn[:1]]), 3, seed=4)
    if model.task.has_density:
        assert not same_bits(longer, drawn[1:])  # other draws
        assert not same_bits(drawn, model.generate(x, 4, seed=4))
    else:
        assert same_bits(longer, drawn[1:])
    assert same_bits(drawn, model.generate(x, 4, seed=3))
    assert model.generate(x, 0).shape == (0, *x.shape[1:])
    if head == "bernoulli":
        assert set(np.unique(drawn)) == {0, 1}


@pytest.mark.parametrize("head", ["bernoulli", "values"])
def test_no_first_frames_are_one_of_zeros(head):
    model = model_of(head)
    zeros = np.zeros((1, G))
    assert same_bits(model.generate(None, 5, seed=0), model.generate(zeros, 5, seed=0))
    several = model.generate(None, 5, seed=0, count=7)
    assert several.shape == (5, 7, G)
    assert same_bits(several, model.generate(np.zeros((1, 7, G)), 5, seed=0))
    if head == "values":
        assert same_bits(several[:, 3], model.generate(None, 5))


@every_head
def test_at_temperature_zero_nothing_is_random(head):
    model = model_of(head)
    x, _, _ = batch_of(model, None)
    drawn = model.generate(x, 3, 0, seed=1)
    assert same_bits(drawn, model.generate(x, 3, 0, seed=2))
    if head == "bernoulli":
        assert same_bits(drawn[0], (model.predict(x)[-1] > 0.5).astype(f64))
    if not model.task.has_density:
        assert same_bits(drawn[0], model.predict(x)[-1])


@every_likelihood
def test_draws_have_the_mean_that_is_predicted(head):
    model, count = model_of(head), 4000
    first = batch_of(model, None)[0][:, 0]
    drawn = model.generate(first, 1, seed=5, count=count)[0]
    spread = drawn.std(axis=0) / math.sqrt(count)
    expected = model.predict(first[:, np.newaxis])[-1, 0]
    assert (np.abs(drawn.mean(axis=0) - expected) < STANDARD_ERRORS * spread).all()


# ------------------------------------------------------------------ files, learning


@every_head
def test_a_saved_model_is_the_same(head, path):
    model = model_of(head, dropout=0.2, num_layers=2)
    fastcell.save(model, path)
    other = fastcell.load(path)
    assert other.config() == model.config()
    x, lengths, _ = batch_of(model)
    assert same_bits(other.predict(x, lengths), model.predict(x, lengths))
    assert same_bits(other.generate(None, 4, seed=0), model.generate(None, 4, seed=0))


def circle(phases, steps):
    angles = phases + 0.3 * np.arange(steps)[:, np.newaxis]
    return np.stack([np.cos(angles), np.sin(angles)], axis=2).astype(f32)


def train(model, y, steps=300):
    x = np.concatenate([np.zeros_like(y[:1]), y[:-1]])
    trainer = Trainer(model, Adam(model.params, lr=0.02), 1.0, progress=False)
    trainer.fit([(x, None, y)], epochs=steps)
    return trainer


def test_values_learn_to_go_round():
    model = FrameModel(2, 24, head="values", residual=True, seed=0)
    y = circle(np.random.default_rng(0).uniform(0, 6, 16), 20)
    train(model, y)
    drawn = model.generate(y[:10], 10)
    assert np.abs(drawn - y[10:]).mean() < 0.1


def test_a_mixture_learns_two_ways_to_go_on():
    random = np.random.default_rng(0)
    y = random.choice([-1, 1], (12, 64, 1)) + 0.1 * random.standard_normal((12, 64, 1))
    model = FrameModel(1, 8, head="mixture", mixtures=4, seed=0)
    train(model, y.astype(f32))
    entropy = math.log(2) + math.log(0.1 * math.sqrt(2 * math.pi * math.e))
    x = np.zeros_like(y, dtype=f32)
    assert model.evaluate((x, None, y))[0] < entropy + 0.15
    drawn = model.generate(None, 10, seed=0, count=50)
    assert (np.abs(np.abs(drawn) - 1) < 0.5).mean() > 0.95
    assert 0.35 < (drawn > 0).mean() < 0.65


def test_bits_learn_what_alternates():
    y = np.zeros((12, 2, 2), f32)
    y[::2, 0, 0] = y[1::2, 0, 1] = 1  # 10, 01, 10, ...
    y[1::2, 1, 0] = y[::2, 1, 1] = 1  # 01, 10, 01, ...
    model = FrameModel(2, 8, seed=0)
    assert train(model, y).history[-1]["train_loss"] < 2 * math.log(2) / 12 + 0.05
    assert same_bits(model.generate(y[:3], 9, seed=0), y[3:])


# ------------------------------------------------------------------------- bad input

BAD_MODELS = [
    ({"head": "gauss"}, ValueError, ["head", "bernoulli, mixture, values", "'gauss'"]),
    ({"head": None}, ValueError, ["head", "None"]),
    ({"frame_size": 0}, ValueError, ["frame_size", ">= 1", "0"]),
    ({"frame_size": 2.0}, TypeError, ["frame_size", "2.0"]),
    ({"head": "mixture", "mixtures": 0}, ValueError, ["mixtures", ">= 1", "0"]),
    ({"head": "mixture", "mixtures": 1.5}, TypeError, ["mixtures", "1.5"]),
    ({"head": "mixture", "min_scale": -1}, ValueError, ["min_scale", ">= 0", "-1"]),
    ({"head": "mixture", "correlated": True}, ValueError, ["correlated", "2", "3"]),
    ({"head": "mixture", "correlated": 1}, TypeError, ["correlated", "1"]),
    ({"mixtures": 2}, ValueError, ["mixtures", "bernoulli", "2"]),
    ({"head": "values", "correlated": False}, ValueError, ["correlated", "values"]),
    ({"min_scale": 0.1}, ValueError, ["min_scale", "bernoulli", "0.1"]),
    ({"input_size": 0}, ValueError, ["input_size", ">= 1", "0"]),
    ({"residual": 1}, TypeError, ["residual", "1"]),
    ({"dtype": "int8"}, TypeError, ["dtype", "int8"]),
    ({"cell": "tree"}, ValueError, ["cell", "tree"]),
]


@pytest.mark.parametrize("options, error, words", BAD_MODELS)
def test_bad_arguments_are_named(options, error, words):
    refuses(error, words, FrameModel, **{"frame_size": G, "hidden_size": H, **options})


def ones(*shape, at=None, value=None):
    array = np.ones(shape)
    if at is not None:
        array[at] = value
    return array


BAD_BATCHES = [
    ("bernoulli", {"x": ones(T, B, 2)}, ValueError, ["x", "(T, B, 3)", "(6, 5, 2)"]),
    ("bernoulli", {"x": ones(T, B, G).astype(f32)}, TypeError, ["x", "float32"]),
    (
        "bernoulli",
        {"x": ones(T, B, G, at=(3, 0, 2), value=np.nan)},
        ValueError,
        ["x", "finite", "nan at step 3 of row 0, feature 2"],
    ),
    ("values", {"y": ones(T, B, 4)}, ValueError, ["y", "(6, 5, 3)", "(6, 5, 4)"]),
    ("values", {"y": ones(T, B)}, ValueError, ["y", "(6, 5, 3)", "(6, 5)"]),
    ("values", {"y": np.full((T, B, G), "a")}, TypeError, ["y", "real numbers"]),
    ("values", {"y": None}, TypeError, ["y"]),
    (
        "mixture",
        {"y": ones(T, B, G, at=(5, 1, 0), value=np.inf)},
        ValueError,
        ["y", "finite", "inf at step 5 of row 1, element 0"],
    ),
    (
        "bernoulli",
        {"y": ones(T, B, G, at=(0, 2, 1), value=0.5)},
        ValueError,
        ["y", "0 or 1", "0.5 at step 0 of row 2, element 1"],
    ),
    (
        "bernoulli",
        {"y": ones(T, B, G, at=(0, 2, 1), value=np.nan)},
        ValueError,
        ["y", "0 or 1", "nan"],
    ),
    ("values", {"lengths": [1, 2]}, ValueError, ["lengths", "(5,)", "(2,)"]),
    ("values", {"lengths": [7, 1, 1, 1, 1]}, ValueError, ["lengths", "0 to 6", "7"]),
]


@pytest.mark.parametrize("head, parts, error, words", BAD_BATCHES)
def test_bad_batches_are_named(head, parts, error, words):
    model = model_of(head)
    parts = {"x": ones(T, B, G), "lengths": LENGTHS, "y": ones(T, B, G), **parts}
    batch = parts["x"], parts["lengths"], parts["y"]
    for call in (model.loss, model.assess, model.count):
        refuses(error, words, call, batch)
    refuses(TypeError, ["batch", "(x, lengths, y)"], model.loss, batch[:2])


BAD_BEGINNINGS = [
    ((np.zeros((2, 4)), 3), ValueError, ["first_frames", "(F, 3)", "(2, 4)"]),
    ((np.zeros(3), 3), ValueError, ["first_frames", "(3,)"]),
    ((np.zeros((0, 3)), 3), ValueError, ["first_frames", "at least one"]),
    ((np.full((1, 3), np.nan), 3), ValueError, ["first_frames", "finite"]),
    ((np.zeros((1, 3), f32), 3), TypeError, ["first_frames", "float64", "float32"]),
    (("abc", 3), TypeError, ["first_frames"]),
    ((None, -1), ValueError, ["length", ">= 0", "-1"]),
    ((None, 3, -0.5), ValueError, ["temperature", ">= 0", "-0.5"]),
]


@pytest.mark.parametrize("arguments, error, words", BAD_BEGINNINGS)
def test_bad_beginnings_are_named(arguments, error, words):
    refuses(error, words, model_of("bernoulli").generate, *arguments)


def test_the_number_of_draws_is_checked():
    generate = model_of("values").generate
    refuses(ValueError, ["count", ">= 1", "0"], generate, None, 3, count=0)
    batch = np.zeros((1, 2, G))
    refuses(ValueError, ["count", "first_frames"], generate, batch, 3, count=2)
