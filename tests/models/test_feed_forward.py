"""FeedForward: loss, gradients, prediction, and bad arguments."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from slopes import assert_gradients
from tolerances import DENSE, error

import fastcell
from fastcell.losses import cross_entropy, mse
from fastcell.models import FeedForward
from fastcell.optim import Adam
from fastcell.train import Trainer

f32, f64 = np.float32, np.float64
I, B, K = 5, 7, 3  # noqa: E741  (the letter of DESIGN)

every_task = pytest.mark.parametrize("task", ["classification", "regression"])
every_activation = pytest.mark.parametrize("activation", ["tanh", "relu"])


def model_of(task="classification", hidden_sizes=(9, 4), activation="tanh", **options):
    options = {"dtype": f64, "seed": 1, **options}
    return FeedForward(I, hidden_sizes, K, activation, task, **options)


def batch_of(task="classification", dtype=f64):
    random = np.random.default_rng(0)
    x = random.standard_normal((B, I)).astype(dtype)
    if task == "regression":
        return x, random.standard_normal((B, K)).astype(dtype)
    return x, random.integers(0, K, B)


@pytest.mark.parametrize("hidden_sizes", [(), (9,), (9, 4, 6)])
@every_activation
@every_task
def test_the_gradients_are_the_differences(task, activation, hidden_sizes):
    assert_gradients(model_of(task, hidden_sizes, activation), batch_of(task))


@every_activation
@every_task
def test_the_output_is_the_formula(task, activation):
    model = model_of(task, activation=activation)
    x, y = batch_of(task)
    w = model.state_dict()
    h = x
    for k in range(2):
        h = h @ w[f"hidden_{k}.weight"].T + w[f"hidden_{k}.bias"]
        h = np.tanh(h) if activation == "tanh" else np.maximum(h, 0)
    expected = h @ w["output.weight"].T + w["output.bias"]
    assert error(model(x), expected) <= DENSE[f64]
    loss, state, scores = model.assess((x, y))
    assert state is None
    if task == "regression":
        assert loss == pytest.approx(mse(expected, y)[0], rel=1e-12)
        assert scores == {"mae": (pytest.approx(np.abs(expected - y).sum()), B * K)}
        assert same_bits(model.predict(x), model(x))
        assert model.count((x, y)) == B * K
        return
    assert loss == pytest.approx(cross_entropy(expected, y)[0], rel=1e-12)
    best = expected.argmax(axis=1)
    assert scores == {"accuracy": ((best == y).sum(), B)}
    assert model.predict(x).tolist() == best.tolist()
    p = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    assert error(model.predict_proba(x), p) <= DENSE[f64]
    assert model.count((x, y)) == B


def test_a_row_does_not_depend_on_the_others():
    model = model_of(dtype=f32)
    x, _ = batch_of(dtype=f32)
    p = model.predict_proba(x)
    for row in range(B):
        assert same_bits(model.predict_proba(x[[row]]), p[[row]])


@every_task
def test_dropout_changes_training_and_nothing_else(task):
    plain, dropping = model_of(task), model_of(task, dropout=0.5)
    batch = batch_of(task)
    assert list(plain.state_dict()) == list(dropping.state_dict())
    assert plain.loss(batch)[0] == plain.evaluate(batch)[0]
    assert dropping.evaluate(batch) == plain.evaluate(batch)
    assert dropping.loss(batch)[0] != dropping.loss(batch)[0]


def test_a_hidden_layer_learns_what_a_linear_model_cannot():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], f32)
    batch = x, np.array([0, 1, 1, 0])
    accuracies = []
    for hidden_sizes in ([], [8]):
        model = FeedForward(2, hidden_sizes, 2, seed=0, classes=["even", "odd"])
        trainer = Trainer(model, Adam(model.params, lr=0.05), progress=False)
        history = trainer.fit([batch], [batch], epochs=200)
        accuracies.append(history[-1]["valid_accuracy"])
    assert accuracies[0] < 1.0
    assert accuracies[1] == 1.0
    assert model.predict(x).tolist() == ["even", "odd", "odd", "even"]


def test_a_regression_learns_a_function():
    x = np.linspace(-2, 2, 80, dtype=f32)[:, np.newaxis]
    batch = x, np.sin(2 * x[:, 0])
    model = FeedForward(1, [24], 1, task="regression", seed=0)
    trainer = Trainer(model, Adam(model.params, lr=0.02), progress=False)
    history = trainer.fit([batch], [batch], epochs=600)
    assert history[-1]["valid_loss"] < 0.01
    assert model.predict(x).shape == (80,)


@every_task
def test_a_saved_model_loads(task, path):
    options = {} if task == "regression" else {"classes": [3, 1, 2]}
    model = model_of(task, activation="relu", dropout=0.2, dtype=f32, **options)
    fastcell.save(model, path)
    loaded = fastcell.load(path)
    assert type(loaded) is FeedForward
    assert loaded.config() == model.config() == json.loads(json.dumps(model.config()))
    x, _ = batch_of(dtype=f32)
    assert same_bits(loaded(x), model(x))
    assert loaded.predict(x).tolist() == model.predict(x).tolist()


def test_saved_values_serve_once():
    model = model_of()
    _, saved = model.loss(batch_of())
    model.backward(saved)
    refuses(ValueError, ["saved"], model.backward, saved)


@every_task
def test_no_rows_are_legal(task):
    model = model_of(task)
    x, y = (array[:0] for array in batch_of(task))
    loss, saved = model.loss((x, y))
    assert loss == 0.0
    assert not any(grad.any() for grad in model.backward(saved).values())
    assert len(model.predict(x)) == 0


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"input_size": 0}, ValueError, ["input_size"]),
        ({"hidden_sizes": 5}, TypeError, ["hidden_sizes", "list", "5"]),
        ({"hidden_sizes": [5, 0]}, ValueError, ["hidden_sizes", ">= 1"]),
        ({"hidden_sizes": [5.0]}, TypeError, ["hidden_sizes"]),
        ({"output_size": 1}, ValueError, ["output_size", ">= 2", "1"]),
        ({"output_size": 0, "task": "regression"}, ValueError, ["output_size"]),
        ({"activation": "gelu"}, ValueError, ["activation", "tanh", "'gelu'"]),
        ({"task": "ranking"}, ValueError, ["task", "regression", "'ranking'"]),
        ({"dropout": 1.0}, ValueError, ["dropout"]),
        ({"dropout": math.nan}, ValueError, ["dropout"]),
        ({"classes": ["a", "b"]}, ValueError, ["classes", "output_size = 3"]),
        ({"classes": "abc", "task": "regression"}, ValueError, ["classes"]),
        ({"dtype": np.int32}, TypeError, ["dtype"]),
        ({"seed": -1}, ValueError, ["seed"]),
    ],
)
def test_bad_constructor_arguments_are_named(arguments, error, words):
    good = {"input_size": I, "hidden_sizes": [4], "output_size": K}
    refuses(error, words, lambda: FeedForward(**{**good, **arguments}))


@pytest.mark.parametrize(
    "batch, error, words",
    [
        (np.zeros((B, I)), TypeError, ["batch", "(x, y)"]),
        ((np.zeros((B, I)), None, np.zeros(B, int)), TypeError, ["batch", "(x, y)"]),
        ((np.zeros((B, 4)), np.zeros(B, int)), ValueError, ["x", "(B, 5)", "(7, 4)"]),
        ((np.zeros(I), 0), ValueError, ["x", "(B, 5)", "(5,)"]),
        ((np.zeros((B, I), f32), np.zeros(B, int)), TypeError, ["x", "float64"]),
        ((np.full((B, I), np.inf), np.zeros(B, int)), ValueError, ["x", "finite"]),
        ((np.zeros((B, I)), np.zeros(B)), TypeError, ["y", "integers"]),
        ((np.zeros((B, I)), np.zeros(4, int)), ValueError, ["y", "(7,)", "(4,)"]),
        ((np.zeros((B, I)), np.full(B, 3)), ValueError, ["y", "0 to 2", "got 3"]),
    ],
)
def test_bad_batches_are_named(batch, error, words):
    model = model_of()
    refuses(error, words, model.loss, batch)
    refuses(error, words, model.evaluate, batch)


def test_values_have_no_probabilities():
    model = model_of("regression")
    refuses(ValueError, ["task"], model.predict_proba, batch_of()[0])
