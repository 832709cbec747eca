"""Captioner: loss, gradients, ragged captions, learning, and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from model_slopes import slope_errors
from refusals import refuses
from tolerances import DIFFERENCE

import fastcell
from fastcell.cells import REGISTRY
from fastcell.models import Captioner

f32, f64 = np.float32, np.float64
BOS, EOS = 2, 3


def made(**options):
    arguments = {"dtype": f64, "seed": 1, **options}
    return Captioner(6, 9, 4, 5, **arguments)


def batch_of(B=4, T=6, seed=0):
    random = np.random.default_rng(seed)
    captions = random.integers(4, 9, (T, B))
    lengths = random.integers(2, T + 1, B)
    lengths[0] = T
    captions[0] = BOS
    captions[lengths - 1, np.arange(B)] = EOS
    return captions, lengths, random.standard_normal((B, 6))


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", *REGISTRY])
def test_gradients_are_central_differences(cell, num_layers):
    model = made(cell=cell, num_layers=num_layers, dropout=0.25)
    errors = slope_errors(model, batch_of())
    assert max(errors.values()) <= DIFFERENCE, errors


def test_loss_of_a_ragged_batch_is_that_of_its_captions():
    model = made()
    captions, lengths, images = batch = batch_of()
    total = 0.0
    for b, n in enumerate(lengths):
        alone = captions[:n, b : b + 1], None, images[b : b + 1]
        total += model.loss(alone)[0] * model.count(alone)
    expected = total / model.count(batch)
    assert model.loss(batch)[0] == pytest.approx(expected, rel=1e-12)
    loss, state, scores = model.assess(batch)
    assert (loss, state) == model.evaluate(batch)
    assert loss == pytest.approx(expected, rel=1e-12)
    right, counted = scores["accuracy"]
    assert counted == model.count(batch) == (lengths - 1).sum()
    assert 0 <= right < counted


def test_the_first_state_is_a_squashed_projection():
    model = made(num_layers=2)
    images = batch_of()[2]
    w, b = model.params["image.weight"], model.params["image.bias"]
    expected = np.tanh(images @ w.T + b).reshape(4, 2, 2, 5)  # state, layer
    h, c = model._first(images)
    np.testing.assert_allclose(h, expected[:, 0].swapaxes(0, 1), rtol=1e-12)
    np.testing.assert_allclose(c, expected[:, 1].swapaxes(0, 1), rtol=1e-12)


def test_saved_values_serve_once():
    model = made()
    _, saved = model.loss(batch_of())
    assert saved.state is None
    model.backward(saved)
    with pytest.raises(ValueError, match="saved"):
        model.backward(saved)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_saved_model_loads(cell, path):
    model = made(cell=cell, dtype=f32, dropout=0.1, num_layers=2)
    fastcell.save(model, path)
    loaded = fastcell.load(path)
    assert type(loaded) is Captioner
    assert loaded.config() == json.loads(json.dumps(model.config()))
    images = batch_of()[2].astype(f32)
    assert loaded.predict(images) == model.predict(images)


def test_the_captioner_learns_what_vectors_mean():
    # Four things in the world, each either there or not: named in their order.
    names = np.array([4, 5, 6, 7])
    random = np.random.default_rng(0)
    there = random.random((600, 4)) < 0.5
    images = np.where(there, 1.0, -1.0) + 0.3 * random.standard_normal((600, 4))
    captions = [np.array([BOS, *names[row], EOS]) for row in there]
    data = fastcell.data.Sequences(captions, images, 40)
    model = Captioner(4, 8, 8, 24, seed=0)
    trainer = fastcell.train.Trainer(
        model, fastcell.optim.Adam(model.params, lr=0.02), 1.0, progress=False
    )
    trainer.fit(data, epochs=8)
    asked = np.where(there, 1.0, -1.0).astype(f32)[:64]
    for beam in (1, 3):
        answers = model.predict(asked, beam, max_length=8)
        right = [
            a == names[row].tolist() for a, row in zip(answers, there, strict=False)
        ]
        assert np.mean(right) >= 0.95


@pytest.mark.parametrize(
    ("arguments", "error_type", "words"),
    [
        ({"image_size": 0}, ValueError, ["image_size", ">= 1"]),
        ({"vocab_size": 1}, ValueError, ["vocab_size", ">= 2"]),
        ({"embedding_dim": 0}, ValueError, ["embedding_dim"]),
        ({"hidden_size": "5"}, TypeError, ["hidden_size"]),
        ({"num_layers": 0}, ValueError, ["num_layers"]),
        ({"cell": "cnn"}, ValueError, ["cell", "lstm"]),
        ({"dropout": -0.1}, ValueError, ["dropout"]),
        ({"bos": 3}, ValueError, ["eos", "bos"]),
        ({"eos": 9}, ValueError, ["eos", "0 to 8"]),
        ({"dtype": np.float16}, TypeError, ["dtype"]),
        ({"seed": 1.0}, TypeError, ["seed"]),
    ],
)
def test_bad_constructor_arguments_are_named(arguments, error_type, words):
    good = {"image_size": 6, "vocab_size": 9, "embedding_dim": 3, "hidden_size": 5}
    refuses(error_type, words, Captioner, **{**good, **arguments})


def test_bad_batches_are_named():
    model = made()
    captions, lengths, images = batch_of()
    refuses(TypeError, ["batch", "captions", "ndarray"], model.loss, captions)
    refuses(TypeError, ["batch", "tuple of 2"], model.loss, (captions, lengths))

    def loss(captions=captions, lengths=lengths, images=images):
        return model.loss((captions, lengths, images))

    refuses(
        TypeError, ["images", "float64", "float32"], loss, images=images.astype(f32)
    )
    refuses(ValueError, ["images", "(B, 6)", "(4, 5)"], loss, images=images[:, :5])
    refuses(ValueError, ["captions", "3 sequences", "4"], loss, images=images[:3])
    broken = images.copy()
    broken[2, 1] = np.nan
    refuses(ValueError, ["images", "finite", "nan", "(2, 1)"], loss, images=broken)
    refuses(ValueError, ["captions", "0 to 8"], loss, captions * 0 + 9)
    refuses(ValueError, ["captions", "begin with 2"], loss, captions * 0 + 4)
    refuses(ValueError, ["captions", "2 or more"], loss, lengths=lengths * 0)
    refuses(ValueError, ["images", "none"], model.predict, images[:0])
    refuses(ValueError, ["beam_size"], model.predict, images, beam_size=0)
