"""Models with weighted, probabilistic or missing targets, and Huber's error."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from slopes import assert_gradients

import fastcell
from fastcell import losses
from fastcell.data import Sequences
from fastcell.models import (
    FeedForward,
    Forecaster,
    FrameModel,
    SequenceClassifier,
    SequenceRegressor,
    SequenceTagger,
)
from fastcell.optim import SGD, Adam
from fastcell.train import Trainer
from fastcell.train.checkpoint import read_checkpoint, write_checkpoint

f32, f64 = np.float32, np.float64
T, B, I, H, K = 6, 5, 2, 5, 3  # noqa: E741  (the letter of DESIGN)
LENGTHS = np.array([4, 6, 1, 2, 5])
SHARED = {"dtype": f64, "seed": 1}
CLASS_WEIGHT = [0.5, 2.0, 1.25]
OF_ROWS = np.array([1.0, 0.25, 3.0, 0.0, 2.0])
OF_STEPS = np.linspace(0, 2, T * B).reshape(T, B)

MODELS = {
    "classifier": lambda **o: SequenceClassifier(I, H, K, **SHARED, **o),
    "tagger": lambda **o: SequenceTagger(I, H, K, **SHARED, **o),
    "regressor": lambda **o: SequenceRegressor(I, H, K, **SHARED, **o),
    "forecaster": lambda **o: Forecaster(I, H, **SHARED, **o),
    "bernoulli": lambda **o: FrameModel(I, H, **SHARED, **o),
    "mixture": lambda **o: FrameModel(I, H, head="mixture", mixtures=2, **SHARED, **o),
    "values": lambda **o: FrameModel(I, H, head="values", **SHARED, **o),
}
IN_STEP = ("tagger", "forecaster", "bernoulli", "mixture", "values")
OF_VALUES = ("regressor", "forecaster", "values")
WITH_GAPS = (*OF_VALUES, "bernoulli", "mixture")

every_kind = pytest.mark.parametrize("kind", MODELS)
of_values = pytest.mark.parametrize("kind", OF_VALUES)
of_classes = pytest.mark.parametrize("kind", ["classifier", "tagger"])
with_gaps = pytest.mark.parametrize("kind", WITH_GAPS)


def y_of(kind, seed=1):
    random = np.random.default_rng(seed)
    if kind in ("classifier", "tagger"):
        return random.integers(0, K, (B,) if kind == "classifier" else (T, B))
    if kind == "bernoulli":
        return random.integers(0, 2, (T, B, I)).astype(f64)
    return random.standard_normal((B, K) if kind == "regressor" else (T, B, I))


def batch_of(kind, weights=None, lengths=LENGTHS):
    x = np.random.default_rng(0).standard_normal((T, B, I))
    batch = x, lengths, y_of(kind)
    return batch if weights is None else (*batch, weights)


def weight_of(saved):
    """Return what the trainer takes for the weight of a batch."""
    return saved.count if saved.weight is None else saved.weight


def with_holes(kind):
    """Return a batch with gaps: elements, a whole frame, all of a sequence."""
    batch = batch_of(kind)
    y = batch[2]
    if kind == "regressor":
        y[0, 1] = y[4, 2] = np.nan
        y[2] = np.nan
    else:
        y[0, 0, 1] = y[1, 0] = y[0, 4, 0] = np.nan
        y[:, 1] = np.nan
    return batch


# ------------------------------------------------------------------------- gradients


@every_kind
def test_weights_are_in_the_gradient(kind):
    assert_gradients(MODELS[kind](), batch_of(kind, OF_ROWS))
    if kind in IN_STEP:
        assert_gradients(MODELS[kind](), batch_of(kind, OF_STEPS))


@of_classes
def test_the_weights_of_classes_are_in_the_gradient(kind):
    model = MODELS[kind](class_weight=CLASS_WEIGHT)
    assert_gradients(model, batch_of(kind))
    assert_gradients(model, batch_of(kind, OF_ROWS))


@of_classes
def test_probabilities_are_in_the_gradient(kind):
    x, lengths, y = batch_of(kind)
    p = np.random.default_rng(0).dirichlet(np.ones(K), y.shape)
    assert_gradients(MODELS[kind](class_weight=CLASS_WEIGHT), (x, lengths, p, OF_ROWS))


@of_values
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_each_error_is_in_the_gradient(kind, loss):
    delta = {"delta": 0.7} if loss == "huber" else {}
    assert_gradients(MODELS[kind](loss=loss, **delta), batch_of(kind, OF_ROWS))


@with_gaps
@pytest.mark.parametrize("weights", [None, OF_ROWS], ids=["plain", "weighted"])
def test_gaps_are_in_the_gradient(kind, weights):
    batch = with_holes(kind)
    batch = batch if weights is None else (*batch, weights)
    assert_gradients(MODELS[kind](ignore_nan=True), batch)


@pytest.mark.parametrize("weight", [2.5, [0.5, 3.0]])
def test_the_weight_of_ones_is_in_the_gradient(weight):
    model = MODELS["bernoulli"](pos_weight=weight)
    assert_gradients(model, batch_of("bernoulli"))
    assert_gradients(model, batch_of("bernoulli", OF_STEPS))


# ------------------------------------------------------------------------- the losses


@of_classes
def test_the_loss_is_that_of_the_scores_and_the_weights(kind):
    model = MODELS[kind](class_weight=CLASS_WEIGHT)
    x, lengths, y, weights = batch_of(kind, OF_ROWS)
    scores = model(x, lengths)
    if kind == "tagger":
        y[np.arange(T)[:, np.newaxis] >= lengths] = -100
    expected, _ = losses.cross_entropy(
        scores, y, weight=CLASS_WEIGHT, sample_weight=weights
    )
    assert model.loss((x, lengths, y, weights))[0] == pytest.approx(expected)
    p = np.eye(K)[np.maximum(y, 0)]
    past = np.where(y == -100, 0.0, weights)
    expected, _ = losses.cross_entropy(
        scores, p, weight=CLASS_WEIGHT, sample_weight=past
    )
    assert model.loss((x, lengths, p, weights))[0] == pytest.approx(expected)


@of_values
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_the_loss_is_the_error_of_the_values_and_the_weights(kind, loss):
    model = MODELS[kind](loss=loss, **({"delta": 0.7} if loss == "huber" else {}))
    x, lengths, y, weights = batch_of(kind, OF_ROWS)
    predicted = model.predict(x, *([T] if kind == "forecaster" else []), lengths)
    w = np.broadcast_to(weights[:, np.newaxis], y.shape)
    if kind == "values":
        past = np.arange(T)[:, np.newaxis] >= lengths
        w = np.where(past[..., np.newaxis], 0, w)
    options = {"delta": 0.7} if loss == "huber" else {}
    expected, _ = getattr(losses, loss)(predicted, y, weight=w, **options)
    assert model.loss((x, lengths, y, weights))[0] == pytest.approx(expected)


def test_the_weight_of_ones_is_that_of_binary_cross_entropy():
    model, weight = MODELS["bernoulli"](pos_weight=[0.5, 3.0]), [0.5, 3.0]
    x, _, y = batch_of("bernoulli")
    p = model.predict(x)
    expected, _ = losses.binary_cross_entropy(
        np.log(p / (1 - p)), y, pos_weight=weight, reduction="sum"
    )
    assert model.loss((x, None, y))[0] == pytest.approx(expected / (T * B))
    loss, _, scores = model.assess((x, None, y))
    assert loss == pytest.approx(expected / (T * B))
    plain = MODELS["bernoulli"]()
    assert scores == plain.assess((x, None, y))[2]  # a likelihood has no weights
    assert same_bits(
        model.log_likelihood((x, None, y)), plain.log_likelihood((x, None, y))
    )


@every_kind
def test_a_weight_of_two_counts_as_two_sequences(kind):
    model = MODELS[kind]()
    weights = np.array([1, 2, 0, 1, 3])
    index = np.repeat(np.arange(B), weights)
    x, lengths, y = batch_of(kind)
    axis = 0 if kind in ("classifier", "regressor") else 1
    repeated = x[:, index], lengths[index], y.take(index, axis)
    loss, saved = model.loss((x, lengths, y, weights))
    expected, other = model.loss(repeated)
    assert loss == pytest.approx(expected)
    assert weight_of(saved) == pytest.approx(model.total_weight(repeated))
    grads, others = model.backward(saved), model.backward(other)
    for name, grad in grads.items():
        assert grad == pytest.approx(others[name], abs=1e-12), name
    assert model.evaluate((x, lengths, y, weights))[0] == pytest.approx(expected)


@every_kind
def test_a_target_of_weight_zero_is_left_out(kind):
    model = MODELS[kind]()
    weights = np.array([1, 1, 0, 1, 0])
    kept = weights > 0
    x, lengths, y = batch_of(kind)
    axis = 0 if kind in ("classifier", "regressor") else 1
    rest = x[:, kept], lengths[kept], y.compress(kept, axis)
    _, _, scores = model.assess((x, lengths, y, weights))
    _, _, expected = model.assess(rest)
    assert {n: v[1] for n, v in scores.items()} == {
        n: v[1] for n, v in expected.items()
    }
    for name, (value, _) in expected.items():
        assert scores[name][0] == pytest.approx(value)
    assert model.count((x, lengths, y, weights)) == model.count(rest)


@with_gaps
def test_gaps_are_left_out(kind):
    model = MODELS[kind](ignore_nan=True)
    batch = with_holes(kind)
    loss, saved = model.loss(batch)
    assert math.isfinite(loss)
    assert model.evaluate(batch)[0] == pytest.approx(loss)
    x, lengths, y = batch_of(kind)
    plain = MODELS[kind]()
    assert model.loss((x, lengths, y))[0] == pytest.approx(
        plain.loss((x, lengths, y))[0]
    )
    # What has nothing in it has no part: the loss is that of the others.
    gone = 2 if kind == "regressor" else 1
    index = [row for row in range(B) if row != gone]
    axis = 0 if kind == "regressor" else 1
    rest = x[:, index], lengths[index], batch[2].take(index, axis)
    assert model.loss(rest)[0] == pytest.approx(loss)
    assert model.count(rest) == model.count(batch) < plain.count((x, lengths, y))
    assert model.total_weight(rest) == weight_of(saved)


@of_values
def test_the_error_of_values_with_gaps_is_that_of_the_others(kind):
    model = MODELS[kind](ignore_nan=True)
    x, lengths, y = with_holes(kind)
    predicted = model.predict(x, *([T] if kind == "forecaster" else []), lengths)
    there = ~np.isnan(y)
    if kind == "values":
        there &= (np.arange(T)[:, np.newaxis] < lengths)[..., np.newaxis]
    expected, _ = losses.mse(predicted[there], y[there])
    assert model.loss((x, lengths, y))[0] == pytest.approx(expected)
    _, _, scores = model.assess((x, lengths, y))
    total = np.abs(predicted[there] - y[there]).sum()
    assert scores == {"mae": (pytest.approx(total), there.sum())}


@pytest.mark.parametrize("correlated", [False, True])
def test_the_density_of_a_frame_with_a_gap_is_that_of_the_rest(correlated):
    """Summed over a grid of what may be in the gap."""
    model = MODELS["mixture"](correlated=correlated, ignore_nan=True)
    x = np.random.default_rng(0).standard_normal((1, 1, I))
    step = 0.02
    line = np.arange(-12, 12, step)
    for gap in range(I):
        y = np.full((1, len(line), I), 0.3)
        y[0, :, gap] = line
        density = np.exp(model.log_likelihood((x.repeat(len(line), 1), None, y)))
        y[0, :, gap] = np.nan
        rest = np.exp(model.log_likelihood((x.repeat(len(line), 1), None, y)))[0]
        assert density.sum() * step == pytest.approx(rest, rel=1e-4)


@of_classes
def test_the_accuracy_of_probabilities_is_of_the_likeliest(kind):
    model = MODELS[kind]()
    x, lengths, y = batch_of(kind)
    p = np.full((*y.shape, K), 0.2)
    np.put_along_axis(p, y[..., np.newaxis], 0.6, axis=-1)
    assert model.assess((x, lengths, p))[2] == model.assess((x, lengths, y))[2]
    assert model.count((x, lengths, p)) == model.count((x, lengths, y))
    assert model.total_weight((x, lengths, p)) == model.count((x, lengths, p))


def test_other_models_take_probabilities_too():
    model = FeedForward(I, [4], K, **SHARED)
    x, p = np.ones((2, I)), np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    expected, _ = losses.cross_entropy(model(x), p)
    assert model.loss((x, p))[0] == expected
    assert_gradients(model, (x, p))


# ------------------------------------------------------------------------- training


@pytest.mark.parametrize(
    "kind, options",
    [
        ("classifier", {"class_weight": CLASS_WEIGHT}),
        ("tagger", {"class_weight": CLASS_WEIGHT}),
        ("regressor", {"ignore_nan": True}),
        ("forecaster", {"ignore_nan": True}),
        ("bernoulli", {"ignore_nan": True}),
        ("mixture", {}),
        ("values", {"ignore_nan": True}),
    ],
)
def test_the_loss_of_a_data_set_is_weighted_over_all_of_it(kind, options):
    model = MODELS[kind](**options)
    gaps = "ignore_nan" in options
    x, lengths, y, weights = (*(with_holes(kind) if gaps else batch_of(kind)), OF_ROWS)
    axis = 0 if kind in ("classifier", "regressor") else 1
    data = [
        (x[:, part], lengths[part], y.take(part, axis), weights[part])
        for part in ([0, 1], [2], [3, 4])
    ]
    expected, _ = model.evaluate((x, lengths, y, weights))
    trainer = Trainer(model, SGD(model.params, lr=1e-30), progress=False)
    assert trainer.evaluate(data) == pytest.approx(expected)
    record = trainer.fit(data, data)[-1]
    assert record["train_loss"] == pytest.approx(expected)
    assert record["valid_loss"] == pytest.approx(expected)


@pytest.mark.parametrize("rare", [0, 1])
def test_a_class_that_weighs_more_is_told_more_often(rare):
    random = np.random.default_rng(0)
    x = random.standard_normal((4, 400, 1)).astype(f32)
    y = (x[0, :, 0] + random.standard_normal(400) > 0).astype(int)
    found = []
    for weight in (1, 5):
        weights = [1, 1]
        weights[rare] = weight
        model = SequenceClassifier(1, 8, 2, class_weight=weights, seed=0)
        trainer = Trainer(model, Adam(model.params, lr=0.05), progress=False)
        trainer.fit([(x, None, y)], epochs=40)
        found.append(int((model.predict(x) == rare).sum()))
    assert found[1] > 1.3 * found[0]


def test_a_regressor_learns_in_spite_of_gaps():
    random = np.random.default_rng(0)
    sequences = [random.random((n, 1)) for n in random.integers(1, 6, 64)]
    targets = np.array([[s.sum(), len(s)] for s in sequences])
    targets[random.random(targets.shape) < 0.4] = np.nan
    data = Sequences(sequences, targets, check_finite=False)
    model = SequenceRegressor(1, 16, 2, ignore_nan=True, seed=0)
    trainer = Trainer(model, Adam(model.params, lr=0.02), progress=False)
    history = trainer.fit(data, data, epochs=150)
    assert history[-1]["valid_loss"] < 0.05 < 0.1 * np.nanvar(targets)


def test_outliers_pull_hubers_error_less():
    x = np.zeros((1, 40, 1), f32)
    y = np.zeros(40, f32)
    y[:4] = 50
    found = {}
    for loss in ("mse", "huber"):
        model = SequenceRegressor(1, 2, loss=loss, seed=0)
        trainer = Trainer(model, Adam(model.params, lr=0.1), progress=False)
        trainer.fit([(x, None, y)], epochs=300)
        found[loss] = float(model.predict(x)[0])
    assert found["mse"] == pytest.approx(5, abs=0.2)
    assert abs(found["huber"]) < 0.3


def test_sequences_have_their_weights_in_each_epoch():
    sequences = [np.full((n, 1), n) for n in (1, 2, 3, 4, 5)]
    weights = np.array([0.5, 1, 0, 2, 4])
    data = Sequences(sequences, [0, 1, 0, 1, 0], batch_size=2, weights=weights)
    for n in (0, 1):
        for x, _, y, w in data.epoch(n):
            places = x[0, :, 0].astype(int) - 1
            assert w.tolist() == weights[places].tolist()
            assert y.tolist() == (places % 2).tolist()


@pytest.mark.parametrize(
    "weights, targets, error, words",
    [
        ([1, 2, 3], [0, 1], ValueError, ["weights", "(2,)", "(3,)"]),
        ([1, -1], [0, 1], ValueError, ["weights", "-1"]),
        (["a", "b"], [0, 1], TypeError, ["weights", "real"]),
        ([1, 1], None, ValueError, ["weights", "targets"]),
    ],
)
def test_bad_weights_of_sequences_are_named(weights, targets, error, words):
    sequences = [np.zeros((2, 1))] * 2
    refuses(error, words, Sequences, sequences, targets, weights=weights)


def test_a_run_with_weights_goes_on_as_if_not_interrupted(tmp_path):
    path = tmp_path / "run.checkpoint"
    batches = [(*batch_of("classifier"), OF_ROWS * n) for n in (1, 2, 3, 4)]

    def trainer():
        model = MODELS["classifier"](class_weight=CLASS_WEIGHT)
        return Trainer(model, SGD(model.params, lr=0.1), progress=False)

    whole = trainer().fit(batches, epochs=1)
    trainer().fit(batches, steps=2, epochs=1, checkpoint=path)
    tree = read_checkpoint(path)
    tree["history"] = []  # as if it had been interrupted between two records
    weight = sum(MODELS["classifier"]().total_weight(batch) for batch in batches[:2])
    tree["position"]["weight_sum"], tree["position"]["num_targets"] = weight, 8
    tree["position"]["loss_sum"] = 2 * weight
    write_checkpoint(path, tree)
    history = trainer().resume(path).fit(batches, epochs=1)
    last, state = [], trainer()
    for batch in batches:
        loss, saved = state.model.loss(batch)
        last.append((loss, saved.weight))
        state.optimizer.step(state.model.backward(saved))
    total = 2 * weight + sum(loss * n for loss, n in last[2:])
    assert history[-1]["train_loss"] == pytest.approx(
        total / (weight + sum(n for _, n in last[2:]))
    )
    assert whole[-1]["train_loss"] == pytest.approx(
        sum(loss * n for loss, n in last) / sum(n for _, n in last)
    )


def test_a_checkpoint_without_weights_counts_its_targets(tmp_path):
    """As earlier versions wrote it."""
    path = tmp_path / "run.checkpoint"
    batches = [batch_of("classifier")] * 3

    def trainer():
        model = MODELS["classifier"]()
        return Trainer(model, SGD(model.params, lr=1e-30), progress=False)

    loss = trainer().evaluate(batches)
    trainer().fit(batches, steps=1, checkpoint=path)
    tree = read_checkpoint(path)
    tree["history"] = []
    del tree["position"]["weight_sum"]
    tree["position"]["num_targets"], tree["position"]["loss_sum"] = B, B * 4 * loss
    write_checkpoint(path, tree)
    history = trainer().resume(path).fit(batches, epochs=1)
    assert history[-1]["train_loss"] == pytest.approx((4 + 1 + 1) * loss / 3)


# ------------------------------------------------------------ files, and bad arguments

OPTIONS = [
    ("classifier", {"class_weight": CLASS_WEIGHT}),
    ("tagger", {"class_weight": CLASS_WEIGHT}),
    ("regressor", {"loss": "huber", "delta": 0.5, "ignore_nan": True}),
    ("forecaster", {"loss": "mae", "ignore_nan": True}),
    ("forecaster", {"loss": "huber", "delta": 2.0}),
    ("bernoulli", {"pos_weight": [0.5, 3.0], "ignore_nan": True}),
    ("mixture", {"ignore_nan": True}),
    ("values", {"loss": "huber", "delta": 0.5, "ignore_nan": True}),
]


@pytest.mark.parametrize("kind, options", OPTIONS)
def test_a_file_keeps_what_the_loss_is(kind, options, path):
    model = MODELS[kind](**options)
    fastcell.save(model, path)
    loaded = fastcell.load(path)
    config = loaded.config()
    assert config == model.config() == json.loads(json.dumps(model.config()))
    assert {name: config[name] for name in options} == options
    batch = with_holes(kind) if options.get("ignore_nan") else batch_of(kind)
    assert loaded.loss(batch)[0] == model.loss(batch)[0]


@pytest.mark.parametrize("kind", ["classifier", "tagger", "regressor", "values"])
def test_files_of_the_usual_loss_are_those_of_earlier_versions(kind):
    config = MODELS[kind]().config()
    new = {"class_weight", "loss", "delta", "ignore_nan", "pos_weight"}
    assert not new & set(config)


@of_classes
@pytest.mark.parametrize(
    "weight, error, words",
    [
        ([1, 2], ValueError, ["class_weight", "(3,)", "(2,)"]),
        ([1, -1, 1], ValueError, ["class_weight", "-1"]),
        ([1, np.nan, 1], ValueError, ["class_weight", "nan"]),
        ([0, 0, 0], ValueError, ["class_weight", "above 0"]),
        ("balanced", TypeError, ["class_weight", "real"]),
        ({0: 1, 1: 2, 2: 3}, TypeError, ["class_weight"]),
    ],
)
def test_bad_weights_of_classes_are_named(kind, weight, error, words):
    refuses(error, words, MODELS[kind], class_weight=weight)


@of_values
def test_bad_errors_are_named(kind):
    make = MODELS[kind]
    refuses(ValueError, ["loss", "mse", "huber", "'rmse'"], make, loss="rmse")
    refuses(ValueError, ["delta", "> 0"], make, loss="huber", delta=0)
    refuses(ValueError, ["delta", "left out", "mse"], make, delta=1.0)
    refuses(TypeError, ["ignore_nan"], make, ignore_nan=1)


def test_bad_options_of_heads_are_named():
    for kind, options, words in [
        ("bernoulli", {"loss": "mse"}, ["loss", "left out", "bernoulli"]),
        ("mixture", {"delta": 1.0}, ["delta", "left out", "mixture"]),
        ("values", {"pos_weight": 2}, ["pos_weight", "left out", "values"]),
        ("bernoulli", {"pos_weight": -1}, ["pos_weight", "-1"]),
        ("bernoulli", {"pos_weight": [1, 2, 3]}, ["pos_weight", "(2,)", "(3,)"]),
    ]:
        refuses(ValueError, words, MODELS[kind], **options)


BAD_WEIGHTS = [
    (np.ones(B + 1), ValueError, ["weights", "(5,)", "(6,)"]),
    (np.full(B, -1.0), ValueError, ["weights", "-1"]),
    (np.full(B, np.nan), ValueError, ["weights", "nan"]),
    (["a"] * B, TypeError, ["weights", "real"]),
    (np.ones((B, T, 1)), ValueError, ["weights", "(5, 6, 1)"]),
]


@pytest.mark.parametrize("weights, error, words", BAD_WEIGHTS)
@every_kind
def test_bad_weights_of_a_batch_are_named(kind, weights, error, words):
    model = MODELS[kind]()
    for call in (model.loss, model.evaluate, model.count, model.total_weight):
        refuses(error, words, call, batch_of(kind, weights))


@every_kind
def test_weights_may_be_none(kind):
    model, batch = MODELS[kind](), batch_of(kind)
    assert model.loss((*batch, None))[0] == model.loss(batch)[0]


@every_kind
def test_weights_have_a_name_where_the_other_parts_have(kind):
    model, batch = MODELS[kind](), batch_of(kind, OF_ROWS)
    named = dict(zip(("x", "lengths", "y", "weights"), batch, strict=True))
    assert model.loss(named)[0] == model.loss(batch)[0]
    assert model.total_weight(named) == model.total_weight(batch)


@with_gaps
def test_gaps_are_refused_where_they_are_not_ignored(kind):
    refuses(ValueError, ["y"], MODELS[kind]().loss, with_holes(kind))
    batch = with_holes(kind)
    batch[2][0, 0] = np.inf
    refuses(ValueError, ["y", "inf"], MODELS[kind](ignore_nan=True).loss, batch)


@of_classes
def test_bad_probabilities_are_named(kind):
    model = MODELS[kind]()
    x, lengths, y = batch_of(kind)
    for p, error, words in [
        (np.full((*y.shape, K), 1.5), ValueError, ["y", "0 to 1", "1.5"]),
        (np.full((*y.shape, K), np.nan), ValueError, ["y", "0 to 1", "nan"]),
        (np.ones((*y.shape, K + 1)), TypeError, ["y", "integers"]),
    ]:
        refuses(error, words, model.loss, (x, lengths, p))
