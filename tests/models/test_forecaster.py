"""Forecaster: feedback of its own outputs, gradients, bits, and errors."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from model_slopes import slope_errors
from oracle import same_bits
from refusals import refuses
from tolerances import DENSE, DIFFERENCE, error

import fastcell
from fastcell.cells import REGISTRY
from fastcell.data import Windows
from fastcell.losses import mae, mse
from fastcell.models import Forecaster
from fastcell.optim import Adam
from fastcell.train import Trainer

f32, f64 = np.float32, np.float64
CELLS = ("rnn", *REGISTRY)
T, B, I, H, K = 6, 5, 3, 7, 4  # noqa: E741  (the letter of DESIGN)
LENGTHS = np.array([4, 6, 1, 2, 5])

some_lengths = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "some"])
either = pytest.mark.parametrize("residual", [True, False])


def model_of(**options):
    return Forecaster(I, H, **{"dtype": f64, "seed": 1, **options})


def batch_of(lengths=None, dtype=f64, horizon=K):
    random = np.random.default_rng(0)
    x = random.standard_normal((T, B, I)).astype(dtype)
    return x, lengths, random.standard_normal((horizon, B, I)).astype(dtype)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# ------------------------------------------------------------------ loss and gradient


@some_lengths
@either
@pytest.mark.parametrize("cell", CELLS)
def test_the_gradients_are_the_differences(cell, residual, lengths):
    model = model_of(num_layers=2, cell=cell, residual=residual)
    for name, wrong in slope_errors(model, batch_of(lengths)).items():
        assert wrong <= DIFFERENCE, name


@pytest.mark.parametrize("horizon", [1, 2, 9])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_gradients_of_each_horizon_are_the_differences(cell, horizon):
    model = model_of(cell=cell)
    for name, wrong in slope_errors(model, batch_of(LENGTHS, f64, horizon)).items():
        assert wrong <= DIFFERENCE, name


@either
def test_dropout_is_in_the_gradient(residual):
    model = model_of(num_layers=2, dropout=0.3, residual=residual)
    for name, wrong in slope_errors(model, batch_of(LENGTHS)).items():
        assert wrong <= DIFFERENCE, name


def test_the_absolute_error_is_in_the_gradient():
    for name, wrong in slope_errors(model_of(loss="mae"), batch_of()).items():
        assert wrong <= DIFFERENCE, name


@some_lengths
@either
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_each_frame_is_made_of_the_one_before(cell, residual, lengths):
    model = model_of(cell=cell, residual=residual)
    x = batch_of()[0]
    frames = model.predict(x, K, lengths)
    assert frames.shape == (K, B, I)
    layer, w = model.children()["rnn"], model.state_dict()
    for row in range(B):
        given = x[: T if lengths is None else lengths[row], [row]]
        for frame in frames[:, [row]]:
            h = layer(given)[0][-1]
            expected = h @ w["decoder.weight"].T + w["decoder.bias"]
            if residual:
                expected += given[-1]
            assert error(frame, expected) <= DENSE[f64]
            given = np.concatenate([given, frame[np.newaxis]])


@pytest.mark.parametrize(("loss", "function"), [("mse", mse), ("mae", mae)])
@some_lengths
def test_the_loss_is_the_error_of_the_forecast(lengths, loss, function):
    model = model_of(loss=loss)
    x, _, y = batch = batch_of(lengths)
    frames = model.predict(x, K, lengths)
    value, saved = model.loss(batch)
    assert value == function(frames, y)[0]
    assert saved.state is None
    assert model.evaluate(batch) == (value, None)
    absolute = pytest.approx(np.abs(frames - y).sum(), rel=1e-12)
    assert model.assess(batch)[2] == {"mae": (absolute, y.size)}
    assert model.count(batch) == K * B * I


def test_dropout_is_for_training_only():
    batch = batch_of()
    plain, dropping = model_of(), model_of(dropout=0.5)  # the same initial weights
    loss = plain.loss(batch)[0]
    assert dropping.evaluate(batch) == (loss, None)
    assert dropping.loss(batch)[0] != dropping.loss(batch)[0]


def test_of_one_value_a_frame_the_axis_may_be_left_out():
    model = Forecaster(1, H, dtype=f64, seed=0)
    x, _, y = batch_of()
    x, y = x[..., :1], y[..., :1]
    assert model.loss((x, None, y))[0] == model.loss((x, None, y[..., 0]))[0]


def test_saved_values_serve_once():
    model = model_of()
    _, saved = model.loss(batch_of())
    model.backward(saved)
    refuses(ValueError, ["saved"], model.backward, saved)


# ------------------------------------------------------------------ rows, bits, streams


@pytest.mark.parametrize("dtype", [f32, f64])
@either
def test_a_forecast_does_not_depend_on_its_batch(residual, dtype):
    model = model_of(num_layers=2, residual=residual, dtype=dtype)
    x = batch_of(dtype=dtype)[0]
    frames = model.predict(x, K, LENGTHS)
    assert frames.dtype == dtype
    for row, n in enumerate(LENGTHS):
        assert same_bits(model.predict(x[:n, [row]], K), frames[:, [row]])


def test_a_shorter_forecast_is_the_beginning_of_a_longer_one():
    model, x = model_of(), batch_of()[0]
    longest = model.predict(x, 9)
    for horizon in (1, 4, 8):
        assert same_bits(model.predict(x, horizon), longest[:horizon])


@either
def test_a_session_forecasts_at_any_time(residual):
    model = model_of(num_layers=2, residual=residual, dtype=f32)
    x = batch_of(dtype=f32)[0]
    session = model.session(B)
    for t in range(T):
        following = session.step(x[t])
        expected = model.predict(x[: t + 1], K)
        assert same_bits(following, expected[0])
        assert same_bits(session.forecast(K), expected)
        assert same_bits(session.forecast(2), expected[:2])  # it has not moved


def test_streams_begin_anew_and_fork():
    model, x = model_of(), batch_of()[0]
    session = model.session(B)
    refuses(ValueError, ["frame", "stream 0"], session.forecast, K)
    for frame in x:
        session.step(frame)
    session.reset([1, 3])
    refuses(ValueError, ["frame", "stream 1"], session.forecast, K)
    session.step(x[0])
    other = session.fork()
    forecast = session.forecast(K)
    for row in range(B):
        read = x[:1] if row in (1, 3) else np.concatenate([x, x[:1]])
        assert same_bits(forecast[:, [row]], model.predict(read[:, [row]], K))
    session.step(x[1])
    assert same_bits(other.forecast(K), forecast)
    assert not same_bits(session.forecast(K), forecast)
    session.reset()
    refuses(ValueError, ["frame"], session.forecast, K)
    refuses(ValueError, ["horizon", "0"], other.forecast, 0)
    refuses(ValueError, ["x", "(5, 3)"], other.step, x[0, 0])


def test_what_a_session_returns_is_the_callers():
    model = model_of()
    session = model.session()
    following = session.step(np.ones(I))
    before = following.copy()
    following[...] = np.nan
    assert same_bits(session.forecast(1)[0], before)


def test_empty_batches_are_legal():
    model = model_of()
    batch = np.zeros((T, 0, I)), None, np.zeros((K, 0, I))
    loss, saved = model.loss(batch)
    assert loss == 0.0
    assert not any(grad.any() for grad in model.backward(saved).values())
    assert model.predict(batch[0], K).shape == (K, 0, I)


# -------------------------------------------------------------------- the parameters


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_parameters_have_the_names_of_their_layers(dropout):
    assert list(model_of(dropout=dropout).state_dict()) == [
        "rnn.weight_ih_l0",
        "rnn.weight_hh_l0",
        "rnn.bias_ih_l0",
        "rnn.bias_hh_l0",
        "decoder.weight",
        "decoder.bias",
    ]


def test_equal_seeds_give_equal_weights():
    one, same, other = (model_of(seed=s).state_dict() for s in (3, 3, 4))
    for name in one:
        assert same_bits(one[name], same[name])
        assert (one[name] != other[name]).any()


@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_model_loads(cell, path):
    model = model_of(
        num_layers=2, cell=cell, residual=False, dropout=0.2, loss="mae", dtype=f32
    )
    fastcell.save(model, path)
    loaded = fastcell.load(path)
    assert type(loaded) is Forecaster
    assert loaded.config() == model.config() == json.loads(json.dumps(model.config()))
    x = batch_of(dtype=f32)[0]
    assert same_bits(loaded.predict(x, K, LENGTHS), model.predict(x, K, LENGTHS))


def test_other_precisions_compute_nearly_the_same():
    model = model_of(dtype=f32)
    x = batch_of(dtype=f32)[0]
    frames = model.predict(x, K)
    assert 0 < error(model.quantize().predict(x, K), frames) < 0.05
    assert 0 < error(model.to("bf16").predict(x, K), frames) < 0.05


# ------------------------------------------------------------------------- training


def test_it_learns_to_go_on_with_a_circle():
    """Of different speeds: a frame tells where it is, only several how fast."""
    random = np.random.default_rng(0)
    speed, begin = random.uniform(0.2, 0.5, 200), random.uniform(0, 6.3, 200)
    angle = begin[:, np.newaxis] + speed[:, np.newaxis] * np.arange(20)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    train, valid = (
        Windows(part, 8, 12, 40, seed=0) for part in (points[:160], points[160:])
    )
    model = Forecaster(2, 24, seed=0)
    trainer = Trainer(model, Adam(model.params, lr=0.01), clip_norm=1, progress=False)
    last = ((points[160:, 8:] - points[160:, 7:8]) ** 2).mean()
    history = trainer.fit(train, valid, epochs=60)
    assert history[-1]["valid_loss"] < 0.02 * last
    x, _, y = valid[0]
    frames = model.predict(x, len(y))
    wrong = np.abs(frames - y).mean(axis=(1, 2))
    assert all(a < b + 0.05 for a, b in pairwise(wrong))  # it goes astray slowly


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    path = tmp_path / "run.checkpoint"
    points = np.random.default_rng(0).standard_normal((30, I))

    def run(resumed=False, **length):
        model = model_of(num_layers=2, dropout=0.3, dtype=f32)
        trainer = Trainer(model, Adam(model.params, lr=0.01), progress=False)
        if resumed:
            trainer.resume(path)
        trainer.fit(Windows([points], T, K, 4, seed=2), **length)
        return model.state_dict()

    run(steps=8, checkpoint=path)  # in the middle of the second epoch of 6 batches
    whole, resumed = run(epochs=3), run(resumed=True, epochs=3)
    assert all(same_bits(whole[name], resumed[name]) for name in whole)


# ------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"frame_size": 0}, ValueError, ["frame_size"]),
        ({"hidden_size": 2.0}, TypeError, ["hidden_size"]),
        ({"num_layers": 0}, ValueError, ["num_layers"]),
        ({"cell": "transformer"}, ValueError, ["cell", "lstm"]),
        ({"residual": 1}, TypeError, ["residual"]),
        ({"dropout": 1.0}, ValueError, ["dropout"]),
        ({"loss": "rmse"}, ValueError, ["loss", "mae", "'rmse'"]),
        ({"dtype": np.int32}, TypeError, ["dtype"]),
        ({"seed": -1}, ValueError, ["seed"]),
    ],
)
def test_bad_constructor_arguments_are_named(arguments, kind, words):
    good = {"frame_size": I, "hidden_size": H}
    refuses(kind, words, lambda: Forecaster(**{**good, **arguments}))


def with_nan(t=2, row=1):
    x = batch_of()[0]
    x[t, row, 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("x", "lengths", "kind", "words"),
    [
        (batch_of()[0][..., :2], None, ValueError, ["x", "(T, B, 3)", "(6, 5, 2)"]),
        (batch_of()[0][0], None, ValueError, ["x", "(T, B, 3)", "(5, 3)"]),
        (batch_of()[0][:0], None, ValueError, ["x", "at least one frame"]),
        (batch_of(dtype=f32)[0], None, TypeError, ["x", "float64", "float32"]),
        (with_nan(), None, ValueError, ["x", "finite", "nan", "step 2 of row 1"]),
        (batch_of()[0], [1, 2], ValueError, ["lengths", "(5,)"]),
        (batch_of()[0], [7] * 5, ValueError, ["lengths", "0 to 6", "7"]),
        (
            batch_of()[0],
            [3, 0, 1, 0, 2],
            ValueError,
            ["lengths", "at least 1", "row 1"],
        ),
        ("text", None, TypeError, ["x"]),
    ],
)
def test_bad_frames_are_named(x, lengths, kind, words):
    model = model_of()
    refuses(kind, words, model.loss, (x, lengths, batch_of()[2]))
    refuses(kind, words, model.evaluate, (x, lengths, batch_of()[2]))
    refuses(kind, words, model.predict, x, K, lengths)


@pytest.mark.parametrize(
    ("y", "kind", "words"),
    [
        (np.zeros((K, B, 2)), ValueError, ["y", "(4, 5, 3)", "(4, 5, 2)"]),
        (np.zeros((K, 4, I)), ValueError, ["y", "(4, 5, 3)", "(4, 4, 3)"]),
        (np.zeros((K, B)), ValueError, ["y", "(4, 5, 3)", "(4, 5)"]),
        (np.zeros((0, B, I)), ValueError, ["y", "(K, 5, 3)", "at least 1"]),
        (np.zeros(K), ValueError, ["y", "(K, 5, 3)", "(4,)"]),
        (np.full((K, B, I), np.inf), ValueError, ["y", "finite", "inf"]),
        (np.full((K, B, I), "a"), TypeError, ["y", "real numbers"]),
        (None, TypeError, ["y"]),
    ],
)
def test_bad_targets_are_named(y, kind, words):
    model = model_of()
    refuses(kind, words, model.loss, (batch_of()[0], None, y))
    refuses(kind, words, model.count, (batch_of()[0], None, y))


def test_a_horizon_is_at_least_one():
    model, x = model_of(), batch_of()[0]
    refuses(ValueError, ["horizon", ">= 1", "0"], model.predict, x, 0)
    refuses(TypeError, ["horizon", "2.0"], model.predict, x, 2.0)


@pytest.mark.parametrize("batch", [batch_of()[0], batch_of()[:2], None])
def test_a_batch_is_three_things(batch):
    model = model_of()
    refuses(TypeError, ["batch", "(x, lengths, y)"], model.loss, batch)
    refuses(TypeError, ["batch", "(x, lengths, y)"], model.evaluate, batch)
