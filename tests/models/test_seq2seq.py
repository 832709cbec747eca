"""Seq2Seq: loss, gradients, ragged batches, learning, and bad input."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
from model_slopes import slope_errors
from oracle import same_bits
from refusals import refuses
from tolerances import DIFFERENCE, FORWARD, error

import fastcell
from fastcell.cells import REGISTRY
from fastcell.models import Seq2Seq

f32, f64 = np.float32, np.float64
BOS, EOS = 2, 3

# Attention, input feeding, both ways: all that fit together.
KINDS = [
    (None, False, False),
    (None, False, True),
    ("additive", False, True),
    ("additive", True, True),
    ("additive", True, False),
    ("dot", False, False),
    ("dot", True, False),
    ("general", False, True),
    ("general", True, True),
]
IDS = [
    f"{kind}{'-fed' if fed else ''}{'-both-ways' if both else ''}"
    for kind, fed, both in KINDS
]
by_kind = pytest.mark.parametrize("attention, feeding, both_ways", KINDS, ids=IDS)


def made(attention="additive", feeding=False, both_ways=True, **options):
    arguments = {"dtype": f64, "seed": 3, "cell": "gru", **options}
    return Seq2Seq(
        7,
        9,
        4,
        5,
        bidirectional=both_ways,
        attention=attention,
        input_feeding=feeding,
        **arguments,
    )


def batch_of(B=4, S=5, T=6, source_vocab=7, target_vocab=9, seed=0, ragged=True):
    """Random sources and targets, with lengths or without."""
    random = np.random.default_rng(seed)
    source = random.integers(0, source_vocab, (S, B))
    target = random.integers(4, target_vocab, (T, B))
    target[0] = BOS
    if not ragged:
        target[-1] = EOS
        return source, None, target, None
    source_lengths = random.integers(1, S + 1, B)
    target_lengths = random.integers(2, T + 1, B)
    source_lengths[0], target_lengths[0] = S, T
    target[target_lengths - 1, np.arange(B)] = EOS
    return source, source_lengths, target, target_lengths


def single(batch, b):
    """One pair of a batch, without padding."""
    source, source_lengths, target, target_lengths = batch
    return (
        source[: source_lengths[b], b : b + 1],
        None,
        target[: target_lengths[b], b : b + 1],
        None,
    )


# ------------------------------------------------------------------ loss and gradient


@by_kind
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_gradients_are_central_differences(attention, feeding, both_ways, ragged):
    model = made(attention, feeding, both_ways, num_layers=2)
    errors = slope_errors(model, batch_of(ragged=ragged))
    assert max(errors.values()) <= DIFFERENCE, errors


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("cell", ["rnn", *REGISTRY])
def test_gradients_of_every_cell(cell, feeding):
    model = made("additive", feeding, cell=cell)
    errors = slope_errors(model, batch_of())
    assert max(errors.values()) <= DIFFERENCE, errors


@pytest.mark.parametrize("feeding", [False, True])
def test_gradients_with_dropout_and_sampled_inputs(feeding):
    model = made("general", feeding, num_layers=2, dropout=0.3)
    errors = slope_errors(model, batch_of(), sampling=0.5)
    assert max(errors.values()) <= DIFFERENCE, errors


@by_kind
def test_loss_of_a_ragged_batch_is_that_of_its_pairs(attention, feeding, both_ways):
    model = made(attention, feeding, both_ways)
    batch = batch_of()
    total = 0.0
    for b in range(4):
        alone = single(batch, b)
        total += model.loss(alone)[0] * model.count(alone)
    expected = total / model.count(batch)
    assert model.loss(batch)[0] == pytest.approx(expected, rel=1e-12)
    assert model.evaluate(batch)[0] == pytest.approx(expected, rel=1e-12)


@by_kind
def test_padding_has_no_effect(attention, feeding, both_ways):
    model = made(attention, feeding, both_ways, cell="lstm")
    source, source_lengths, target, target_lengths = batch = batch_of()
    loss, saved = model.loss(batch)
    grads = model.backward(saved)
    source, target = source.copy(), target.copy()
    for b in range(4):
        source[source_lengths[b] :, b] = 1_000_000  # of no vocabulary
        target[target_lengths[b] :, b] = -100
    dirty = source, source_lengths, target, target_lengths
    other, saved = model.loss(dirty)
    assert other == loss
    for name, grad in model.backward(saved).items():
        assert same_bits(grad, grads[name])
    unmeasured = (source, source_lengths, target, None)  # -100 ends the targets too
    assert model.loss(unmeasured)[0] == loss
    assert model.count(unmeasured) == model.count(batch)


@by_kind
def test_state_dict_survives_a_file(attention, feeding, both_ways, path):
    model = made(attention, feeding, both_ways, dtype=f32, dropout=0.2, num_layers=2)
    fastcell.save(model, path)
    loaded = fastcell.load(path)
    assert type(loaded) is Seq2Seq
    assert loaded.config() == model.config()
    assert loaded.evaluate(batch_of())[0] == model.evaluate(batch_of())[0]
    config = json.loads(json.dumps(model.config()))
    assert Seq2Seq.from_config(config).config() == model.config()


def test_a_large_vocabulary_is_scored_in_parts(monkeypatch):
    from fastcell.models.heads import softmax as softmax_loss

    model = made()
    batch = batch_of()
    loss, saved = model.loss(batch)
    grads = model.backward(saved)
    assessed = model.assess(batch)
    monkeypatch.setattr(softmax_loss, "MOST_SCORES", 1)
    monkeypatch.setattr(softmax_loss, "LEAST_ROWS", 3)
    other, saved = model.loss(batch)
    assert other == pytest.approx(loss, rel=1e-14)
    for name, grad in model.backward(saved).items():
        assert error(grad, grads[name]) <= FORWARD[f64]
    assert model.assess(batch)[0] == pytest.approx(assessed[0], rel=1e-14)
    assert model.assess(batch)[2] == assessed[2]


def test_accuracy_counts_the_most_likely_tokens():
    model = made()
    batch = batch_of()
    _, state, scores = model.assess(batch)
    right, counted = scores["accuracy"]
    assert (state, counted) == (None, model.count(batch))
    answers = 0
    for b in range(4):
        source, _, target, _ = single(batch, b)
        for t in range(1, len(target)):
            # Of the tokens that could stand at t, is the true one the likeliest?
            losses = []
            for token in range(9):
                changed = target[: t + 1].copy()
                changed[t] = token
                losses.append(_log_probability(model, source, changed)[-1])
            answers += int(np.argmax(losses) == target[t, 0])
    assert right == answers
    assert 0 < right < counted


def _log_probability(model, source, said):
    """Log-probabilities of the tokens of one target after its first, step by step."""
    decoding = model._decoder.start(*model._encode(source, None))
    steps = []
    for t in range(len(said) - 1):
        scores, decoding = model._step(said[t], decoding)
        scores = scores[0] - scores[0].max()
        steps.append(scores[said[t + 1, 0]] - np.log(np.exp(scores).sum()))
    return np.array(steps)


@by_kind
def test_steps_one_by_one_give_the_loss_of_the_whole(attention, feeding, both_ways):
    model = made(attention, feeding, both_ways, cell="lstm", num_layers=2)
    batch = batch_of()
    for b in range(4):
        source, _, target, _ = alone = single(batch, b)
        expected = -_log_probability(model, source, target).mean()
        assert model.evaluate(alone)[0] == pytest.approx(expected, rel=1e-12)


def test_saved_values_serve_once():
    model = made()
    _, saved = model.loss(batch_of())
    assert saved.state is None
    model.backward(saved)
    with pytest.raises(ValueError, match="saved"):
        model.backward(saved)


def test_dropout_changes_training_and_nothing_else():
    model = made(dropout=0.5, num_layers=2)
    plain = made(num_layers=2)
    batch = batch_of()
    assert model.loss(batch)[0] != model.loss(batch)[0]
    assert model.evaluate(batch)[0] == plain.evaluate(batch)[0]
    assert list(model.state_dict()) == list(plain.state_dict())
    state = json.loads(json.dumps(model.rng_state()))
    first = model.loss(batch, sampling=0.5)[0]
    model.set_rng_state(state)
    assert model.loss(batch, sampling=0.5)[0] == first


def test_parameter_names():
    names = list(made("general", cell="lstm").state_dict())
    assert names == [
        "encoder.embedding.weight",
        *(
            f"encoder.rnn.{kind}_l0{direction}"
            for direction in ("", "_reverse")
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ),
        "bridge.h_l0.weight",
        "bridge.h_l0.bias",
        "bridge.c_l0.weight",
        "bridge.c_l0.bias",
        "decoder.embedding.weight",
        "decoder.rnn.weight_ih_l0",
        "decoder.rnn.weight_hh_l0",
        "decoder.rnn.bias_ih_l0",
        "decoder.rnn.bias_hh_l0",
        "decoder.attention.memory.weight",
        "decoder.combine.weight",
        "decoder.combine.bias",
        "output.weight",
        "output.bias",
    ]
    assert not any("bridge" in n for n in made("dot", both_ways=False).state_dict())


# ----------------------------------------------------------------- scheduled sampling


@pytest.mark.parametrize("feeding", [False, True])
def test_sampling_of_nothing_is_teacher_forcing(feeding):
    model = made("additive", feeding)
    batch = batch_of()
    assert model.loss(batch, sampling=0.0)[0] == model.loss(batch)[0]
    assert model.loss(batch, sampling=1.0)[0] != model.loss(batch)[0]


def test_sampling_of_everything_reads_the_model_s_own_words():
    from fastcell.models.decoder.scheduled_sampling import sampled_inputs

    model = made()
    source, lengths, inputs, _, _ = model._checked(batch_of())
    start = model._decoder.start(*model._encode(source, lengths))
    random = np.random.default_rng(0)
    mixed = sampled_inputs(model._step, start, inputs, 1.0, random)
    assert (mixed[0] == BOS).all()
    # Drawn by the model: on the average as likely as its entropy says.
    likely = sampled_inputs(
        lambda tokens, state: (np.eye(9)[(tokens + 1) % 9] * 1e3, state),
        start,
        inputs,
        1.0,
        random,
    )
    np.testing.assert_array_equal(
        likely, (BOS + np.arange(len(inputs)))[:, np.newaxis] % 9 + 0 * inputs
    )


def test_sampling_replaces_its_share():
    from fastcell.models.decoder.scheduled_sampling import sampled_inputs

    inputs = np.zeros((401, 100), int)

    def always_one(tokens, state):
        return np.tile([0.0, 1e3], (len(tokens), 1)), state

    random = np.random.default_rng(0)
    mixed = sampled_inputs(always_one, None, inputs, 0.25, random)
    # Five standard deviations of a share of 40,000.
    assert abs(mixed[1:].mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 40_000)


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_sampled_inputs_come_as_often_as_all_ways_to_them_say(probability):
    from fastcell.models.decoder.scheduled_sampling import sampled_inputs
    from fastcell.models.search.sampling import token_probabilities

    n, V = 20_000, 3
    scores = np.random.default_rng(1).standard_normal((V, V, V)) * 2

    def step(tokens, last):  # after two tokens, the state is the one before
        return scores[last, tokens], tokens

    true = [2, 1, 0, 1]
    inputs = np.tile(np.array(true)[:, np.newaxis], n)
    random = np.random.default_rng(0)
    mixed = sampled_inputs(step, np.zeros(n, int), inputs, probability, random)
    counts = Counter(map(tuple, mixed.T.tolist()))
    for row in itertools.product(range(V), repeat=len(true)):
        p, last = float(row[0] == true[0]), 0
        for t in range(1, len(true)):
            drawn = token_probabilities(scores[last, row[t - 1]])[row[t]]
            p *= probability * drawn + (1 - probability) * (row[t] == true[t])
            last = row[t - 1]
        # Five standard deviations, and one for those that are hardly there.
        assert abs(counts[row] - n * p) < 5 * (n * p * (1 - p)) ** 0.5 + 1


# --------------------------------------------------------------------------- learning


@pytest.mark.parametrize(
    "attention, feeding", [("additive", False), ("general", True)], ids=["whole", "fed"]
)
def test_the_model_learns_to_reverse_short_sequences(attention, feeding):
    random = np.random.default_rng(0)

    def pairs(count):
        sources, targets = [], []
        for length in random.integers(2, 6, count):
            word = random.integers(4, 9, length)
            sources.append(word)
            targets.append([BOS, *word[::-1], EOS])
        return sources, targets

    data = fastcell.data.SequencePairs(*pairs(1500), 50)
    model = Seq2Seq(
        9, 9, 16, 40, attention=attention, input_feeding=feeding, cell="gru", seed=0
    )
    optimizer = fastcell.optim.Adam(model.params, lr=0.01)
    trainer = fastcell.train.Trainer(model, optimizer, clip_norm=1.0, progress=False)
    trainer.fit(data, epochs=8)
    sources, targets = pairs(200)
    asked = fastcell.data.SequencePairs(sources, targets, 200, shuffle=False)
    source, lengths, target, ends = asked[0]
    answers = model.predict(source, lengths, max_length=12)
    right = sum(
        answer == target[1 : ends[b] - 1, b].tolist()
        for b, answer in enumerate(answers)
    )
    assert right >= 180
    beams = model.predict(source, lengths, beam_size=4, max_length=12)
    agree = sum(a == b for a, b in zip(answers, beams, strict=True))
    assert agree >= 170


# ------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "error_type", "words"),
    [
        ({"source_vocab": 0}, ValueError, ["source_vocab", ">= 1"]),
        ({"target_vocab": 1}, ValueError, ["target_vocab", ">= 2"]),
        ({"target_vocab": 3}, ValueError, ["eos", "0 to 2", "got 3"]),
        ({"embedding_dim": 1.5}, TypeError, ["embedding_dim", "integer"]),
        ({"hidden_size": 0}, ValueError, ["hidden_size"]),
        ({"num_layers": 0}, ValueError, ["num_layers"]),
        ({"cell": "transformer"}, ValueError, ["cell", "lstm"]),
        ({"bidirectional": 1}, TypeError, ["bidirectional"]),
        ({"attention": "cosine"}, ValueError, ["attention", "additive", "'cosine'"]),
        ({"attention": "dot"}, ValueError, ["bidirectional", "'dot'", "general"]),
        ({"input_feeding": "yes"}, TypeError, ["input_feeding"]),
        (
            {"input_feeding": True, "attention": None},
            ValueError,
            ["input_feeding", "without attention"],
        ),
        ({"dropout": 1.0}, ValueError, ["dropout", "< 1"]),
        ({"bos": 9}, ValueError, ["bos", "0 to 8"]),
        ({"eos": 2}, ValueError, ["eos", "bos", "2"]),
        ({"bos": -1}, ValueError, ["bos", ">= 0"]),
        ({"dtype": int}, TypeError, ["dtype", "float32 or float64"]),
        ({"seed": -1}, ValueError, ["seed"]),
    ],
)
def test_bad_constructor_arguments_are_named(arguments, error_type, words):
    good = {"source_vocab": 7, "target_vocab": 9, "embedding_dim": 3, "hidden_size": 5}
    refuses(error_type, words, Seq2Seq, **{**good, **arguments})


def changed(place, value):
    """A good batch with one part in place of its own."""
    batch = list(batch_of())
    batch[place] = value(batch[place].copy())
    return tuple(batch)


def put(at, value):
    def edit(array):
        array[at] = value
        return array

    return edit


@pytest.mark.parametrize(
    ("batch", "error_type", "words"),
    [
        (np.zeros((2, 3), int), TypeError, ["batch", "source_lengths", "ndarray"]),
        (batch_of()[:3], TypeError, ["batch", "tuple of 3"]),
        (changed(0, lambda x: x * 1.0), TypeError, ["source", "integers", "float64"]),
        (changed(0, lambda x: x[0]), ValueError, ["source", "(T, B)", "(4,)"]),
        (
            changed(0, put((1, 0), 7)),
            ValueError,
            ["source", "0 to 6", "got 7", "step 1"],
        ),
        (changed(0, put((0, 2), -1)), ValueError, ["source", "got -1", "sequence 2"]),
        (changed(1, put(1, 0)), ValueError, ["source", "1 or more", "one of 0"]),
        (changed(1, put(1, 6)), ValueError, ["source_lengths", "0 to 5", "6"]),
        (changed(1, lambda x: x * 1.0), TypeError, ["lengths", "integers"]),
        (changed(1, lambda x: x[:2]), ValueError, ["lengths", "(4,)", "(2,)"]),
        (changed(2, put((1, 0), 9)), ValueError, ["target", "0 to 8", "got 9"]),
        (changed(2, put((0, 1), 4)), ValueError, ["target", "begin with 2", "got 4"]),
        (changed(2, put((-1, 0), 4)), ValueError, ["target", "end with 3", "got 4"]),
        (changed(2, lambda x: x[:, :2]), ValueError, ["lengths", "(2,)"]),
        (changed(3, put(2, 1)), ValueError, ["target", "2 or more", "one of 1"]),
        (
            (np.zeros((0, 2), int), None, batch_of(2)[2], None),
            ValueError,
            ["source", "1 or more", "one of 0"],
        ),
        (
            (np.zeros((3, 0), int), None, np.zeros((3, 0), int), None),
            ValueError,
            ["source", "1 or more", "none"],
        ),
        (
            (np.zeros((3, 2), int), None, batch_of(3, ragged=False)[2], None),
            ValueError,
            ["target", "2 sequences", "got 3"],
        ),
    ],
)
def test_bad_batches_are_named(batch, error_type, words):
    model = made()
    refuses(error_type, words, model.loss, batch)
    refuses(error_type, words, model.evaluate, batch)


def test_bad_sampling_is_named():
    model = made()
    refuses(
        ValueError, ["sampling", "<= 1", "1.5"], model.loss, batch_of(), sampling=1.5
    )
    for value in (-0.1, np.nan):
        refuses(ValueError, ["sampling"], model.loss, batch_of(), sampling=value)
    refuses(TypeError, ["sampling"], model.loss, batch_of(), sampling="half")
