"""Classifier, regressor and tagger: common and individual properties."""

from __future__ import annotations

import json

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from slopes import assert_gradients
from tolerances import DENSE, error

import fastcell
from fastcell.cells import REGISTRY
from fastcell.losses import cross_entropy, mse
from fastcell.models import SequenceClassifier, SequenceRegressor, SequenceTagger
from fastcell.optim import Adam
from fastcell.train import Trainer

f32, f64 = np.float32, np.float64
CELLS = ("rnn", *REGISTRY)
POOLINGS = ("last", "mean", "max", "attention")
I, V, K, T = 4, 9, 3, 6  # noqa: E741  (the letter of DESIGN)
LENGTHS = np.array([4, 6, 1, 0, 5])
B = len(LENGTHS)

KINDS = {
    "classifier": SequenceClassifier,
    "regressor": SequenceRegressor,
    "tagger": SequenceTagger,
}
every_kind = pytest.mark.parametrize("kind", KINDS)
of_ids = pytest.mark.parametrize("ids", [False, True], ids=["features", "ids"])
both_ways = pytest.mark.parametrize("bidirectional", [False, True])


def model_of(kind, ids=False, **options):
    if ids:
        options["embedding_dim"] = I
    return KINDS[kind](V if ids else I, 5, K, **{"dtype": f64, "seed": 1, **options})


def x_of(ids=False, dtype=f64, seed=0):
    random = np.random.default_rng(seed)
    if ids:
        return random.integers(0, V, (T, B))
    return random.standard_normal((T, B, I)).astype(dtype)


def y_of(kind, seed=1):
    random = np.random.default_rng(seed)
    if kind == "regressor":
        return random.standard_normal((B, K))
    shape = (T, B) if kind == "tagger" else (B,)
    return random.integers(0, K, shape)


def batch_of(kind, ids=False, lengths=LENGTHS, dtype=f64):
    return x_of(ids, dtype), lengths, y_of(kind)


# ------------------------------------------------------------------ loss and gradient


@of_ids
@both_ways
@pytest.mark.parametrize("cell", CELLS)
@every_kind
def test_the_gradients_are_the_differences(kind, cell, bidirectional, ids):
    model = model_of(kind, ids, num_layers=2, cell=cell, bidirectional=bidirectional)
    assert_gradients(model, batch_of(kind, ids))


@both_ways
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_the_gradients_of_each_pooling_are_the_differences(
    kind, pooling, bidirectional
):
    model = model_of(kind, pooling=pooling, bidirectional=bidirectional)
    assert_gradients(model, batch_of(kind))
    assert_gradients(model, batch_of(kind, lengths=None))


@every_kind
def test_dropout_is_in_the_gradient(kind):
    model = model_of(kind, True, num_layers=2, dropout=0.3)
    batch = batch_of(kind, True)
    state = model.rng_state()

    class Repeated:
        """The model with the same masks each time."""

        params, state_dict, backward = model.params, model.state_dict, model.backward

        def loss(self, batch):
            model.set_rng_state(state)
            return model.loss(batch)

    assert_gradients(Repeated(), batch)


@both_ways
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_loss_of_a_classifier_is_that_of_its_scores(pooling, bidirectional):
    model = model_of("classifier", pooling=pooling, bidirectional=bidirectional)
    x, lengths, y = batch_of("classifier")
    h, _ = model.encoder(x, lengths=lengths)
    width = h.shape[2] // 2 if bidirectional else h.shape[2]
    last = h[np.maximum(lengths - 1, 0), np.arange(B), :width]
    if pooling == "last":
        pooled = np.concatenate([last, h[0, :, width:]], axis=1)
    elif pooling == "mean":
        pooled = h.sum(axis=0) / np.maximum(lengths, 1)[:, np.newaxis]
    elif pooling == "max":
        past = (np.arange(T)[:, np.newaxis] >= lengths)[..., np.newaxis]
        pooled = np.where(past, -np.inf, h).max(axis=0)
        pooled[lengths == 0] = 0
    else:
        pooled = model.children()["pooling"](h, lengths)
    w = model.state_dict()
    scores = pooled @ w["decoder.weight"].T + w["decoder.bias"]
    assert error(model(x, lengths), scores) <= DENSE[f64]
    assert model.loss((x, lengths, y))[0] == pytest.approx(
        cross_entropy(scores, y)[0], rel=1e-12
    )
    p = model.predict_proba(x, lengths)
    assert error(p, np.exp(scores) / np.exp(scores).sum(1, keepdims=True)) <= DENSE[f64]
    assert model.predict(x, lengths).tolist() == scores.argmax(axis=1).tolist()


def test_the_loss_of_a_regressor_is_the_squared_error_of_its_values():
    model = model_of("regressor")
    x, lengths, y = batch_of("regressor")
    values = model.predict(x, lengths)
    assert values.shape == (B, K)
    assert same_bits(values, model(x, lengths))
    loss, state, scores = model.assess((x, lengths, y))
    assert (loss, state) == (mse(values, y)[0], None)
    assert scores == {"mae": (pytest.approx(np.abs(values - y).sum()), B * K)}
    assert model.count((x, lengths, y)) == B * K


def test_one_value_may_have_an_axis_or_not():
    model = SequenceRegressor(I, 5, dtype=f64, seed=0)
    x = x_of()
    y = np.arange(B, dtype=f64)
    assert model.predict(x).shape == (B,)
    one, other = model.loss((x, None, y)), model.loss((x, None, y[:, np.newaxis]))
    assert one[0] == other[0] == mse(model.predict(x), y)[0]
    assert model.loss((x, None, list(range(B))))[0] == one[0]


def test_a_tagger_reads_each_step_that_exists():
    model = model_of("tagger", bidirectional=True)
    x, lengths, y = batch_of("tagger")
    y[1, 0] = -100
    scores = model(x, lengths)
    assert scores.shape == (T, B, K)
    h, _ = model.encoder(x, lengths=lengths)
    assert error(scores[:4, 0], model.decoder(h[:4, 0])) <= DENSE[f64]
    exists = np.arange(T)[:, np.newaxis] < lengths
    assert not scores[~exists].any()
    counted = exists & (y != -100)
    assert model.count((x, lengths, y)) == counted.sum() == LENGTHS.sum() - 1
    expected, _ = cross_entropy(scores[counted], y[counted])
    loss, _, found = model.assess((x, lengths, y))
    assert loss == pytest.approx(expected, rel=1e-12)
    tags = model.predict(x, lengths)
    right = int((tags == y)[counted].sum())
    assert found == {"accuracy": (right, int(counted.sum()))}
    assert tags[exists].tolist() == scores[exists].argmax(axis=-1).tolist()
    assert (tags[~exists] == -100).all()
    p = model.predict_proba(x, lengths)
    assert error(p.sum(axis=-1), exists) <= DENSE[f64]


def test_tags_past_the_lengths_may_be_anything():
    model = model_of("tagger")
    x, lengths, y = batch_of("tagger")
    other = y.copy()
    other[np.arange(T)[:, np.newaxis] >= lengths] = -100
    assert model.loss((x, lengths, y))[0] == model.loss((x, lengths, other))[0]


def test_classes_that_do_not_count_are_left_out():
    model = model_of("classifier")
    x, _, y = batch_of("classifier")
    y[[0, 2]] = -100
    kept = [1, 3, 4]
    assert model.count((x, None, y)) == 3
    assert model.loss((x, None, y))[0] == pytest.approx(
        model.loss((x[:, kept], None, y[kept]))[0], rel=1e-12
    )
    assert model.assess((x, None, y))[2]["accuracy"][1] == 3


@every_kind
def test_evaluate_equals_loss_without_dropout(kind):
    batch = batch_of(kind)
    plain, dropping = model_of(kind), model_of(kind, dropout=0.5)
    loss, saved = plain.loss(batch)
    assert saved.state is None
    assert plain.evaluate(batch) == (loss, None)
    assert dropping.evaluate(batch) == (loss, None)  # the same initial weights
    assert dropping.loss(batch)[0] != dropping.loss(batch)[0]


@every_kind
def test_saved_values_serve_once(kind):
    model = model_of(kind)
    _, saved = model.loss(batch_of(kind))
    model.backward(saved)
    refuses(ValueError, ["saved"], model.backward, saved)


# ------------------------------------------------------------------ rows, bits, shapes


@pytest.mark.parametrize("dtype", [f32, f64])
@of_ids
@both_ways
@pytest.mark.parametrize("pooling", [*POOLINGS, None])
def test_a_sequence_does_not_depend_on_its_batch(pooling, bidirectional, ids, dtype):
    kind, options = ("tagger", {}) if pooling is None else ("classifier", {})
    if pooling:
        options["pooling"] = pooling
    model = model_of(kind, ids, bidirectional=bidirectional, dtype=dtype, **options)
    x = x_of(ids, dtype)
    p = model.predict_proba(x, LENGTHS)
    assert p.dtype == dtype
    for row, n in enumerate(LENGTHS):
        alone = model.predict_proba(x[:n, [row]])
        assert same_bits(alone, p[:n, [row]] if kind == "tagger" else p[[row]])


@every_kind
def test_empty_batches_are_legal(kind):
    model = model_of(kind)
    shape = {"classifier": (0,), "regressor": (0, K), "tagger": (T, 0)}[kind]
    y = np.zeros(shape, f64 if kind == "regressor" else int)
    batch = np.zeros((T, 0, I)), None, y
    loss, saved = model.loss(batch)
    assert loss == 0.0
    assert not any(grad.any() for grad in model.backward(saved).values())
    assert model.predict(batch[0]).shape == shape
    assert model.count(batch) == 0


# -------------------------------------------------------------------- the parameters


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@every_kind
def test_parameters_have_the_names_of_their_layers(kind, dropout):
    model = model_of(kind, True, dropout=dropout)
    assert list(model.state_dict()) == [
        "embedding.weight",
        "rnn.weight_ih_l0",
        "rnn.weight_hh_l0",
        "rnn.bias_ih_l0",
        "rnn.bias_hh_l0",
        "decoder.weight",
        "decoder.bias",
    ]


def test_attention_has_parameters_of_its_own():
    model = model_of("classifier", pooling="attention")
    assert list(model.state_dict())[-5:] == [
        "pooling.hidden.weight",
        "pooling.hidden.bias",
        "pooling.score.weight",
        "decoder.weight",
        "decoder.bias",
    ]


@every_kind
def test_equal_seeds_give_equal_weights(kind):
    one, same, other = (model_of(kind, seed=s).state_dict() for s in (3, 3, 4))
    for name in one:
        assert same_bits(one[name], same[name])
        assert (one[name] != other[name]).any()


@of_ids
@pytest.mark.parametrize("cell", CELLS)
@every_kind
def test_a_saved_model_loads(kind, cell, ids, path):
    options = {} if kind == "regressor" else {"classes": ["ž", "a", "b"]}
    if kind != "tagger":
        options["pooling"] = "attention"
    model = model_of(
        kind, ids, cell=cell, bidirectional=True, dropout=0.25, dtype=f32, **options
    )
    fastcell.save(model, path)
    loaded = fastcell.load(path)
    assert type(loaded) is type(model)
    assert loaded.config() == model.config() == json.loads(json.dumps(model.config()))
    x = x_of(ids, f32)
    assert same_bits(loaded(x, LENGTHS), model(x, LENGTHS))
    assert loaded.predict(x, LENGTHS).tolist() == model.predict(x, LENGTHS).tolist()


@pytest.mark.parametrize(
    "classes", [["no", "yes", "so"], [7, 5, 9], np.array([7, 5, 9]), ("a", "b", "c")]
)
def test_predictions_are_the_labels(classes):
    named, plain = (model_of("classifier", classes=c) for c in (classes, None))
    x = x_of()
    expected = [list(classes)[k] for k in plain.predict(x, LENGTHS)]
    assert named.predict(x, LENGTHS).tolist() == expected
    tagger, plain = (model_of("tagger", classes=c) for c in (classes, None))
    tags = tagger.predict(x, LENGTHS)
    for t, row in np.ndindex(T, B):
        number = plain.predict(x, LENGTHS)[t, row]
        assert tags[t, row] == (None if number == -100 else list(classes)[number])


@every_kind
def test_other_precisions_compute_nearly_the_same(kind):
    model = model_of(kind, dtype=f32)
    x = x_of(dtype=f32)
    scores = model(x, LENGTHS)
    assert 0 < error(model.quantize()(x, LENGTHS), scores) < 0.05
    assert 0 < error(model.to("bf16")(x, LENGTHS), scores) < 0.05


# ------------------------------------------------------------------------- training


@pytest.mark.parametrize("pooling", POOLINGS)
@both_ways
def test_a_classifier_learns_which_sequences_hold_a_token(pooling, bidirectional):
    random = np.random.default_rng(0)
    data = []
    for _ in range(8):
        x = random.integers(1, 6, (8, 16))
        lengths = random.integers(1, 9, 16)
        y = np.arange(16) % 2
        x[random.integers(0, lengths), np.arange(16)] *= 1 - y  # id 0 is the token
        data.append((x, lengths, y))
    model = SequenceClassifier(
        6, 12, 2, 1, "gru", bidirectional, pooling, embedding_dim=6, seed=0
    )
    before = model.evaluate(data[0])[0]
    trainer = Trainer(model, Adam(model.params, lr=0.02), progress=False)
    history = trainer.fit(data, data, epochs=25)
    assert before > 0.6
    assert history[-1]["valid_loss"] < 0.1
    assert history[-1]["valid_accuracy"] == 1.0
    x, lengths, y = data[0]
    assert (model.predict(x, lengths) == y).all()


def test_a_tagger_learns_the_parity_so_far():
    random = np.random.default_rng(0)
    bits = random.integers(0, 2, (12, 40))
    batch = bits, None, bits.cumsum(axis=0) % 2
    model = SequenceTagger(2, 16, 2, embedding_dim=4, seed=0)
    trainer = Trainer(model, Adam(model.params, lr=0.03), progress=False)
    history = trainer.fit([batch], [batch], epochs=150)
    assert history[-1]["valid_accuracy"] == 1.0


def test_a_regressor_learns_the_sum():
    random = np.random.default_rng(0)
    x = random.random((7, 64, 1)).astype(f32)
    lengths = random.integers(1, 8, 64)
    y = np.array([x[:n, row].sum() for row, n in enumerate(lengths)], f32)
    model = SequenceRegressor(1, 16, seed=0)
    trainer = Trainer(model, Adam(model.params, lr=0.02), progress=False)
    history = trainer.fit([(x, lengths, y)], [(x, lengths, y)], epochs=300)
    assert history[-1]["valid_loss"] < 0.01 < 0.1 * y.var()
    assert history[-1]["valid_mae"] < 0.1


def test_data_of_one_class_are_learned_and_no_trouble():
    x = x_of(dtype=f32)
    batch = x, LENGTHS, np.full(B, 1)
    model = model_of("classifier", dtype=f32)
    trainer = Trainer(model, Adam(model.params, lr=0.1), progress=False)
    history = trainer.fit([batch], [batch], epochs=60)
    assert history[-1]["valid_loss"] < 0.01
    assert (model.predict(x, LENGTHS) == 1).all()


# ------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"input_size": 0}, ValueError, ["input_size"]),
        ({"hidden_size": 2.0}, TypeError, ["hidden_size"]),
        ({"num_layers": 0}, ValueError, ["num_layers"]),
        ({"cell": "transformer"}, ValueError, ["cell", "lstm"]),
        ({"bidirectional": 1}, TypeError, ["bidirectional"]),
        ({"dropout": 1.0}, ValueError, ["dropout"]),
        ({"embedding_dim": 0}, ValueError, ["embedding_dim"]),
        ({"dtype": np.int32}, TypeError, ["dtype"]),
        ({"seed": -1}, ValueError, ["seed"]),
    ],
)
@every_kind
def test_bad_constructor_arguments_are_named(kind, arguments, error, words):
    sizes = {"regressor": {"output_size": K}}.get(kind, {"num_classes": K})
    good = {"input_size": I, "hidden_size": 5, **sizes}
    refuses(error, words, lambda: KINDS[kind](**{**good, **arguments}))


@pytest.mark.parametrize("make", [SequenceClassifier, SequenceTagger])
def test_bad_classes_are_named(make):
    refuses(ValueError, ["num_classes", ">= 2", "1"], make, I, 5, 1)
    refuses(TypeError, ["num_classes"], make, I, 5, 2.5)
    for classes, kind, words in [
        (["a", "b"], ValueError, ["classes", "num_classes = 3", "2"]),
        (["a", "b", "a"], ValueError, ["classes", "3, 2 of them different"]),
        ("abc", TypeError, ["classes", "'abc'"]),
        (["a", 1, "b"], TypeError, ["classes", "int, str"]),
        ([0.5, 1.5, 2.5], TypeError, ["classes", "float"]),
    ]:
        refuses(kind, words, make, I, 5, 3, classes=classes)


def test_bad_arguments_of_one_model_are_named():
    refuses(ValueError, ["output_size"], SequenceRegressor, I, 5, 0)
    refuses(
        ValueError, ["pooling", "'median'"], SequenceRegressor, I, 5, pooling="median"
    )


def with_nan(t=2, row=1):
    x = x_of()
    x[t, row, 3] = np.nan
    return x


BAD_X = [
    (x_of()[..., :3], LENGTHS, ValueError, ["x", "(T, B, 4)", "(6, 5, 3)"]),
    (x_of()[0], LENGTHS, ValueError, ["x", "(T, B, 4)", "(5, 4)"]),
    (x_of(dtype=f32), LENGTHS, TypeError, ["x", "float64", "float32"]),
    (with_nan(), LENGTHS, ValueError, ["x", "finite", "nan", "step 2 of row 1", "3"]),
    (with_nan(), None, ValueError, ["x", "finite", "nan"]),
    (x_of(), [1, 2], ValueError, ["lengths", "(5,)"]),
    (x_of(), [7] * 5, ValueError, ["lengths", "0 to 6", "7"]),
    (x_of(), [1.0] * 5, TypeError, ["lengths", "integers"]),
    ("text", None, TypeError, ["x"]),
]


@pytest.mark.parametrize("x, lengths, error, words", BAD_X)
@every_kind
def test_bad_sequences_are_named(kind, x, lengths, error, words):
    model = model_of(kind)
    refuses(error, words, model.loss, (x, lengths, y_of(kind)))
    refuses(error, words, model.evaluate, (x, lengths, y_of(kind)))
    refuses(error, words, model.predict, x, lengths)
    refuses(error, words, model, x, lengths)


def test_nan_past_the_lengths_is_no_trouble():
    model = model_of("classifier")
    _, lengths, y = batch_of("classifier")
    loss, saved = model.loss((with_nan(4, 0), lengths, y))
    other, other_saved = model.loss((x_of(), lengths, y))
    assert loss == other
    grads, others = model.backward(saved), model.backward(other_saved)
    assert all(same_bits(grads[name], others[name]) for name in grads)


BAD_IDS = [
    (np.full((T, B), V), ValueError, ["x", "0 to 8", "got 9"]),
    (np.full((T, B), -1), ValueError, ["x", "0 to 8", "got -1"]),
    (x_of(), TypeError, ["x", "integers", "float64"]),
    (np.zeros((T, B, 1), int), ValueError, ["x", "(T, B)", "(6, 5, 1)"]),
]


@pytest.mark.parametrize("x, error, words", BAD_IDS)
@every_kind
def test_bad_ids_are_named(kind, x, error, words):
    model = model_of(kind, True)
    refuses(error, words, model.loss, (x, LENGTHS, y_of(kind)))
    refuses(error, words, model.predict, x, LENGTHS)


BAD_Y = [
    ("classifier", [0, 1, 2, 0], ValueError, ["y", "(5,)", "(4,)"]),
    ("classifier", [0, 1, 2, 3, 0], ValueError, ["y", "0 to 2", "got 3"]),
    ("classifier", [0, 1, 2, -1, 0], ValueError, ["y", "0 to 2", "got -1"]),
    ("classifier", [0.0] * 5, TypeError, ["y", "integers", "float64"]),
    ("classifier", ["a"] * 5, TypeError, ["y", "integers"]),
    ("classifier", None, TypeError, ["y"]),
    ("tagger", [0] * 5, ValueError, ["y", "(6, 5)", "(5,)"]),
    ("tagger", np.full((T, B), 3), ValueError, ["y", "0 to 2", "got 3"]),
    ("regressor", np.zeros((5, 2)), ValueError, ["y", "(5, 3)", "(5, 2)"]),
    ("regressor", np.zeros(5), ValueError, ["y", "(5, 3)", "(5,)"]),
    ("regressor", np.full((5, 3), np.nan), ValueError, ["y", "finite", "nan"]),
    ("regressor", np.full((5, 3), "a"), TypeError, ["y", "real numbers"]),
]


@pytest.mark.parametrize("kind, y, error, words", BAD_Y)
def test_bad_targets_are_named(kind, y, error, words):
    model = model_of(kind)
    refuses(error, words, model.loss, (x_of(), LENGTHS, y))
    refuses(error, words, model.count, (x_of(), LENGTHS, y))


@pytest.mark.parametrize("batch", [x_of(), (x_of(), y_of("classifier")), None])
@every_kind
def test_a_batch_is_three_things(kind, batch):
    model = model_of(kind)
    refuses(TypeError, ["batch", "(x, lengths, y)"], model.loss, batch)
    refuses(TypeError, ["batch", "(x, lengths, y)"], model.evaluate, batch)
