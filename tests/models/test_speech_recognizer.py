"""SpeechRecognizer: loss, gradient, labels, and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastcell
from fastcell.cells import REGISTRY
from fastcell.losses import ctc
from fastcell.models import Model, SpeechRecognizer
from fastcell.models.search.ctc_decoding import greedy, prefix_beam_search
from fastcell.optim import Adam
from fastcell.train import Trainer

CELLS = ("rnn", *REGISTRY)
DIFFERENCE = 1e-6  # of a central difference in float64
GRADIENT_TOLERANCE = 1e-7  # its rounding, 1e-16 / 1e-6, with room, plus O(1e-12)

LENGTHS = np.array([9, 4, 7])
LABELS = np.array([[1, 1, 3], [2, 0, 0], [3, 2, 0]])
LABEL_LENGTHS = np.array([3, 1, 2])


def frames(seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal((9, 3, 5)).astype(dtype)


def batch(dtype=np.float64):
    return frames(dtype=dtype), LENGTHS, LABELS, LABEL_LENGTHS


@pytest.fixture(params=[False, True], ids=["forward", "both"])
def model(request):
    return SpeechRecognizer(
        5, 7, 3, 2, bidirectional=request.param, dtype=np.float64, seed=1
    )


# ------------------------------------------------------------------ loss and gradient


def test_loss_is_ctc_of_the_scores(model):
    expected, _ = ctc(model.scores(frames(), LENGTHS), LABELS, LENGTHS, LABEL_LENGTHS)
    loss, saved = model.loss(batch())
    assert loss == pytest.approx(expected, rel=1e-12)
    assert saved.state is None
    assert model.evaluate(batch()) == (pytest.approx(loss, rel=1e-12), None)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradient_is_the_central_difference_of_the_loss(cell, bidirectional):
    model = SpeechRecognizer(
        5, 6, 3, 1, cell, bidirectional=bidirectional, dtype=np.float64, seed=2
    )
    _, saved = model.loss(batch())
    grads = model.backward(saved)
    random = np.random.default_rng(3)
    for name, array in model.params.arrays().items():
        for at in {tuple(random.integers(0, array.shape)) for _ in range(4)}:
            before, losses = array[at], []
            for change in (DIFFERENCE, -DIFFERENCE):
                array[at] = before + change
                model.params.changed()
                losses.append(model.evaluate(batch())[0])
            array[at] = before
            model.params.changed()
            difference = (losses[0] - losses[1]) / (2 * DIFFERENCE)
            assert abs(grads[name][at] - difference) < GRADIENT_TOLERANCE, (name, at)


def test_gradients_are_keyed_like_the_parameters(model):
    _, saved = model.loss(batch())
    grads = model.backward(saved)
    state = model.state_dict()
    assert set(grads) == set(state)
    assert all(grads[name].shape == state[name].shape for name in state)
    assert {name.partition(".")[0] for name in state} == {"rnn", "decoder"}


def test_saved_values_serve_once(model):
    _, saved = model.loss(batch())
    model.backward(saved)
    with pytest.raises(ValueError, match="used up"):
        model.backward(saved)


def test_frames_and_labels_past_the_lengths_do_not_matter(model):
    x, lengths, labels, label_lengths = batch()
    loss, _ = model.loss((x, lengths, labels, label_lengths))
    x[4:, 1] = np.nan
    labels = labels.copy()
    labels[1, 1:] = 77
    assert model.loss((x, lengths, labels, label_lengths))[0] == loss


def test_no_lengths_are_all_frames_and_all_labels(model):
    full = np.array([[1, 2, 3]] * 3)
    given = model.evaluate((frames(), [9, 9, 9], full, [3, 3, 3]))
    assert model.evaluate((frames(), None, full, None)) == given
    assert model.count(batch()) == 3


def test_loss_is_the_mean_over_rows_of_the_loss_per_label(model):
    alone = [
        model.evaluate((frames()[:n, b : b + 1], None, LABELS[b : b + 1, :k], None))[0]
        for b, (n, k) in enumerate(zip(LENGTHS, LABEL_LENGTHS, strict=True))
    ]
    assert model.evaluate(batch())[0] == pytest.approx(np.mean(alone), rel=1e-12)


def test_dropout_changes_training_and_nothing_else():
    model = SpeechRecognizer(5, 8, 3, 2, dropout=0.5, dtype=np.float64, seed=4)
    plain = SpeechRecognizer(5, 8, 3, 2, dtype=np.float64, seed=4)
    assert model.evaluate(batch()) == plain.evaluate(batch())
    losses = {model.loss(batch())[0] for _ in range(3)}
    assert len(losses) == 3
    assert set(model.state_dict()) == set(plain.state_dict())


def test_equal_seeds_give_equal_weights():
    one, other = (SpeechRecognizer(5, 8, 3, seed=s).state_dict() for s in (5, 5))
    assert all((one[name] == other[name]).all() for name in one)
    third = SpeechRecognizer(5, 8, 3, seed=6).state_dict()
    assert (one["decoder.weight"] != third["decoder.weight"]).any()


# ----------------------------------------------------------------------- predictions


def test_predictions_are_those_of_the_decoders(model):
    scores = model.scores(frames(), LENGTHS)
    assert model.predict(frames(), LENGTHS) == greedy(scores, LENGTHS)
    beams = prefix_beam_search(scores, LENGTHS, 5)
    assert model.predict(frames(), LENGTHS, beam_size=5) == [b[0][0] for b in beams]
    assert model(frames(), LENGTHS) == model.predict(frames(), LENGTHS)


def test_assess_counts_the_edits_of_the_best_paths(model):
    model.network.layers[-1].params["bias"][...] = [0, 50, 0, 0]  # label 1 once, always
    loss, state, scores = model.assess(batch())
    assert loss == model.evaluate(batch())[0]
    assert state is None
    # From [1] to [1, 1, 3] two edits, to [2] one, to [3, 2] two; six labels.
    assert scores == {"label_error_rate": (5.0, 6)}


def test_transcripts_are_names():
    model = SpeechRecognizer(5, 7, vocabulary=["a", "bé", "c"], seed=7)
    assert model.num_labels == 3
    x = frames(dtype=np.float32)
    model.network.layers[-1].params["bias"][...] = [0, 0, 50, 0]
    assert model.transcribe(x) == [["bé"]] * 3
    with pytest.raises(ValueError, match="vocabulary"):
        SpeechRecognizer(5, 7, 3).transcribe(x)


def test_a_session_gives_the_scores_as_frames_come():
    model = SpeechRecognizer(5, 7, 3, 2, dtype=np.float64, seed=8)
    session = model.session(3)
    steps = [session.step(x) for x in frames()]
    np.testing.assert_allclose(np.stack(steps), model.scores(frames()), atol=1e-12)


def made_up(count, seed):
    """Words of one loud feature for some frames, with silence between."""
    random = np.random.default_rng(seed)
    features, labels = [], []
    for _ in range(count):
        row = random.integers(1, 4, random.integers(1, 5))
        parts = []
        for label in row:
            word = np.zeros((random.integers(2, 5), 4))
            word[:, label] = 1
            parts += [word, np.zeros((random.integers(1, 3), 4))]
        features.append(np.concatenate(parts).astype(np.float32))
        labels.append(row.tolist())
    return fastcell.data.Utterances(features, labels, 8)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_training_learns_to_label_words(cell):
    model = SpeechRecognizer(4, 16, 3, cell=cell, seed=9)
    train, test = made_up(64, 0), made_up(16, 1)
    optimizer = Adam(model.params, lr=0.02)
    trainer = Trainer(model, optimizer, clip_norm=1.0, progress=False)
    history = trainer.fit(train, test, epochs=25)
    assert history[0]["valid_label_error_rate"] > 0.5
    assert history[-1]["valid_label_error_rate"] < 0.05


# ---------------------------------------------------------------------------- files


@pytest.mark.parametrize("bidirectional", [False, True])
def test_saved_model_loads_with_its_vocabulary(path, bidirectional):
    model = SpeechRecognizer(
        5, 7, None, 2, "gru", 0.1, bidirectional, seed=10, vocabulary=["no", "yes", "é"]
    )
    fastcell.save(model, path)
    loaded = fastcell.load(path)
    assert type(loaded) is SpeechRecognizer
    assert loaded.vocabulary == ("no", "yes", "é")
    x = frames(dtype=np.float32)
    np.testing.assert_array_equal(loaded.scores(x, LENGTHS), model.scores(x, LENGTHS))


def test_config_survives_json(model):
    config = json.loads(json.dumps(model.config()))
    again = SpeechRecognizer.from_config(config)
    assert again.config() == model.config()
    assert isinstance(again, Model)


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "arguments, options, error, match",
    [
        ((0, 4, 3), {}, ValueError, "input_size.*0"),
        ((5, 0, 3), {}, ValueError, "hidden_size.*0"),
        ((5, 4, 0), {}, ValueError, "num_labels.*0"),
        ((5, 4, 2.0), {}, TypeError, "num_labels.*2.0"),
        ((5, 4), {}, ValueError, "num_labels must be given"),
        ((5, 4, 3, 0), {}, ValueError, "num_layers.*0"),
        ((5, 4, 3), {"cell": "lsmt"}, ValueError, "cell.*'lsmt'"),
        ((5, 4, 3), {"dropout": 1.0}, ValueError, "dropout.*1"),
        ((5, 4, 3), {"bidirectional": 1}, TypeError, "bidirectional.*1"),
        ((5, 4, 3), {"dtype": np.float16}, TypeError, "dtype.*float16"),
        ((5, 4, 3), {"seed": -1}, ValueError, "seed.*-1"),
        ((5, 4, 3), {"vocabulary": ["a", "b"]}, ValueError, "vocabulary.*3; got 2"),
        ((5, 4), {"vocabulary": ["a", "a"]}, ValueError, "vocabulary.*'a' twice"),
        ((5, 4), {"vocabulary": ["a", 1]}, TypeError, "vocabulary.*1"),
        ((5, 4), {"vocabulary": []}, ValueError, "num_labels.*0"),
    ],
)
def test_bad_constructor_arguments_are_named(arguments, options, error, match):
    with pytest.raises(error, match=match):
        SpeechRecognizer(*arguments, **options)


X = np.zeros((6, 2, 5))
NAN = X.copy()
NAN[3, 1, 2] = np.nan
ONE = np.ones((2, 1), int)


@pytest.mark.parametrize(
    "bad, error, match",
    [
        ((X, None, ONE), TypeError, "batch.*tuple of 3"),
        (X, TypeError, "batch.*ndarray"),
        ((X.astype(np.float32), None, ONE, None), TypeError, "x.*float32"),
        ((X[0], None, ONE, None), ValueError, r"x.*\(T, B, 5\).*\(2, 5\)"),
        ((X[..., :4], None, ONE, None), ValueError, r"x.*\(T, B, 5\)"),
        ((X[:0], None, ONE, None), ValueError, "x.*one frame"),
        ((X[:, :0], None, ONE[:0], None), ValueError, "x.*one frame"),
        ((NAN, None, ONE, None), ValueError, "x.*finite.*step 3 of row 1"),
        ((X, [6, 7], ONE, None), ValueError, "lengths.*7 for row 1"),
        ((X, None, ONE[:1], None), ValueError, "labels.*B = 2"),
        ((X, None, 4 * ONE, None), ValueError, "labels.*0 to 3.*got 4"),
        ((X, None, 0 * ONE, None), ValueError, "labels.*blank.*got 0"),
        ((X, None, ONE, [1, 2]), ValueError, "label_lengths.*2 in row 1"),
        ((X, [6, 0], ONE, None), ValueError, "row 1 has 1 labels.*1 steps.*0 steps"),
        (
            (X, [6, 4], np.array([[1, 1, 1], [2, 2, 2]]), None),
            ValueError,
            "row 1 has 3 labels, which need 5 steps, and 4 steps",
        ),
    ],
)
def test_bad_batches_are_named(model, bad, error, match):
    for method in (model.loss, model.evaluate, model.assess):
        with pytest.raises(error, match=match):
            method(bad)


def test_a_state_is_refused(model):
    with pytest.raises(ValueError, match="state"):
        model.loss(batch(), model.params)


def test_bad_input_of_predict_is_named(model):
    for call in (model.predict, model.scores):
        with pytest.raises(ValueError, match="step 3 of row 1"):
            call(NAN)
        assert len(call(NAN, [6, 3])) > 0  # past the length
    with pytest.raises(ValueError, match=r"beam_size.*0"):
        model.predict(X, beam_size=0)
