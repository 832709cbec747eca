"""Large vocabularies: scores in blocks, and the sampled softmax."""

from __future__ import annotations

import json

import numpy as np
import pytest
from model_slopes import slope_errors
from oracle import same_bits
from tolerances import DENSE, DIFFERENCE, STANDARD_ERRORS, error

import fastcell
from fastcell.data import TextStreams
from fastcell.losses import cross_entropy
from fastcell.models import LanguageModel
from fastcell.models.heads import softmax as softmax_loss
from fastcell.models.heads.sampled_softmax import SampledSoftmax
from fastcell.optim import SGD, Adam
from fastcell.train import Trainer

T, B, V, H = 6, 5, 23, 7


@pytest.fixture
def few_rows(monkeypatch):
    """Let each block have four rows."""
    monkeypatch.setattr(softmax_loss, "MOST_SCORES", 1)
    monkeypatch.setattr(softmax_loss, "LEAST_ROWS", 4)


def batch_of(seed=0, ignored=True):
    random = np.random.default_rng(seed)
    inputs, targets = random.integers(0, V, (2, T, B))
    if ignored:
        targets[1:3, 2] = -100
    return inputs, targets


def made(tied=False, dtype=np.float64, **options):
    return LanguageModel(V, H, H, 2, tie_weights=tied, dtype=dtype, seed=1, **options)


def layer_and_rows(dtype=np.float32):
    random = np.random.default_rng(0)
    layer = fastcell.Linear(H, V, dtype=dtype, seed=2)
    labels = random.integers(0, V, (T, B))
    labels[2, 1:3] = -100
    return layer, random.standard_normal((T, B, H)).astype(dtype), labels


# --------------------------------------------------------------------------- blocks


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 1000])
def test_blocks_cover_all_rows_once(rows):
    for scores in (7, 65536, 10**6):
        covered = [i for b in softmax_loss.blocks(rows, scores) for i in range(rows)[b]]
        assert covered == list(range(rows))


def test_blocks_are_small_but_never_of_few_rows():
    most, least = softmax_loss.MOST_SCORES, softmax_loss.LEAST_ROWS
    (first, *_) = softmax_loss.blocks(10**6, 1000)
    assert first.stop == most // 1000
    (first, *_) = softmax_loss.blocks(10**6, 10**7)
    assert first.stop == least


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_block_has_the_bits_of_the_whole(dtype):
    layer, h, labels = layer_and_rows(dtype)
    logits, saved = layer.forward(h)
    expected, dlogits = cross_entropy(logits, labels)
    dh, grads = layer.backward(dlogits, saved)
    loss, got, got_grads = softmax_loss.softmax_loss(layer, h, labels)
    assert loss == expected
    assert same_bits(got, dh)
    for name, grad in grads.items():
        assert same_bits(got_grads[name], grad), name
    right = int((logits.argmax(-1) == labels).sum())
    assert softmax_loss.softmax_assess(layer, h, labels) == (expected, right, 28)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_blocks_have_the_loss_of_one_and_the_same_bits_each_time(
    dtype, monkeypatch
):
    layer, h, labels = layer_and_rows(dtype)
    expected, dh, grads = softmax_loss.softmax_loss(layer, h, labels)
    assessed = softmax_loss.softmax_assess(layer, h, labels)
    monkeypatch.setattr(softmax_loss, "MOST_SCORES", 1)
    monkeypatch.setattr(softmax_loss, "LEAST_ROWS", 4)
    loss, got, got_grads = softmax_loss.softmax_loss(layer, h, labels)
    _, again, grads_again = softmax_loss.softmax_loss(layer, h, labels)
    assert loss == expected
    assert softmax_loss.softmax_assess(layer, h, labels) == assessed
    assert same_bits(got, dh)
    assert same_bits(got, again)
    for name, grad in grads.items():
        assert same_bits(got_grads[name], grads_again[name]), name
        assert error(got_grads[name], grad) <= DENSE[dtype], name


def test_no_label_that_counts_is_a_loss_of_zero():
    layer, h, labels = layer_and_rows()
    sampler = SampledSoftmax(V, 3, seed=0)
    labels[:] = -100
    for loss_of in (softmax_loss.softmax_loss, sampler.loss):
        loss, dh, grads = loss_of(layer, h, labels)
        assert loss == 0
        assert not dh.any()
        assert not any(grad.any() for grad in grads.values())


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("options", [{}, {"dropout": 0.3}])
def test_gradients_of_many_blocks_are_the_slopes(few_rows, tied, options):
    for name, value in slope_errors(made(tied, **options), batch_of()).items():
        assert value <= DIFFERENCE, name


def test_many_blocks_change_no_evaluation(monkeypatch):
    model, batch = made(dtype=np.float32), batch_of()
    expected, _ = model.evaluate(batch)
    monkeypatch.setattr(softmax_loss, "MOST_SCORES", 1)
    monkeypatch.setattr(softmax_loss, "LEAST_ROWS", 4)
    assert model.evaluate(batch)[0] == expected
    assert model.loss(batch)[0] == expected


MEMORY = """
import numpy as np
from fastcell.models import LanguageModel

T, B, V = 64, 16, 20_000
model = LanguageModel(V, 16, 16, tie_weights=True, seed=0)
ids = np.random.default_rng(0).integers(0, V, (T + 1, B))
small = ids[:3], ids[1:4]
_, saved = model.loss(small)
model.backward(saved)
before = peak()
batch = ids[:-1], ids[1:]
_, saved = model.loss(batch)
model.backward(saved)
model.evaluate(batch)
after = peak()
model.predict(batch[0])
print(before, after, peak())
"""


def test_memory_does_not_hold_the_scores(run_python_with_peak):
    done = run_python_with_peak(MEMORY, FASTCELL_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    before, after, predicted = map(float, done.stdout.split())
    scores = 64 * 16 * 20_000 * 4 / 2**20  # MiB: 78
    assert after - before < scores / 2
    assert predicted - after > scores / 2  # the measure does see them


# ------------------------------------------------------------------ sampled softmax


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("count", [1, 6, 400])
def test_sampled_gradients_are_the_slopes(tied, count):
    model = made(tied, sampled_softmax=count)
    for name, value in slope_errors(model, batch_of()).items():
        assert value <= DIFFERENCE, name


def test_sampled_gradients_of_many_blocks_are_the_slopes(few_rows):
    for name, value in slope_errors(made(sampled_softmax=6), batch_of()).items():
        assert value <= DIFFERENCE, name


def proposal():
    return np.log(np.arange(2, V + 2) / np.arange(1, V + 1)) / np.log(V + 1)


def test_the_estimate_of_the_normalizer_is_right_on_average():
    layer, h, labels = layer_and_rows(np.float64)
    h, label = 3 * h[0, :1], labels[0, :1]
    scores, count = layer(h)[0], 5
    sampler = SampledSoftmax(V, count, seed=0)
    own = np.exp(scores[label[0]])
    estimates = np.array(
        [
            np.exp(sampler.loss(layer, h, label)[0]) * own * (count + 1)
            - own / proposal()[label[0]]
            for _ in range(1000)
        ]
    )
    margin = STANDARD_ERRORS * estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - count * np.exp(scores).sum()) < margin
    assert estimates.std() > 0.1  # an estimate, not the sum itself


@pytest.mark.parametrize("right", [True, False])
def test_gradients_vanish_on_average_at_the_true_distribution_and_only_there(right):
    times = np.random.default_rng(0).permutation(np.arange(V)) + 1
    labels = np.repeat(np.arange(V), times)
    layer = fastcell.Linear(1, V, dtype=np.float64)
    layer.params["bias"] = np.log(times) if right else np.zeros(V)
    sampler = SampledSoftmax(V, 2, seed=0)
    found = np.array(
        [
            sampler.loss(layer, np.zeros((len(labels), 1)), labels)[2]["bias"]
            for _ in range(1000)
        ]
    )
    margin = STANDARD_ERRORS * found.std(axis=0) / len(found) ** 0.5
    assert (abs(found.mean(axis=0)) < margin).all() == right


def test_the_loss_becomes_the_true_one_with_many_tokens():
    layer, h, labels = layer_and_rows(np.float64)
    expected, dh, grads = softmax_loss.softmax_loss(layer, h, labels)
    loss, got, got_grads = SampledSoftmax(V, 10**6, seed=0).loss(layer, h, labels)
    # Of a million draws, a token's share is off by up to some thousandths.
    assert loss == pytest.approx(expected, rel=0.01)
    np.testing.assert_allclose(got, dh, atol=0.01 * abs(dh).max())
    for name, grad in grads.items():
        np.testing.assert_allclose(got_grads[name], grad, atol=0.01 * abs(grad).max())


def test_tokens_are_drawn_log_uniformly():
    count, shares = 40000, np.zeros(V)
    sampler = SampledSoftmax(V, count, seed=0)
    tokens, times = sampler.draw()
    shares[tokens] = times / count
    p = proposal()
    np.testing.assert_allclose(np.exp(sampler.log_proposal(np.arange(V))), p)
    assert p.sum() == pytest.approx(1)
    assert shares.sum() == pytest.approx(1)
    margin = STANDARD_ERRORS * np.sqrt(p * (1 - p) / count)
    assert (abs(shares - p) < margin).all()


def test_evaluation_is_exact():
    sampled, plain = made(sampled_softmax=4), made()
    batch = batch_of()
    assert sampled.evaluate(batch)[0] == plain.evaluate(batch)[0]
    assert sampled.loss(batch)[0] != plain.loss(batch)[0]


def test_only_labels_and_drawn_tokens_have_gradients():
    model, batch = made(sampled_softmax=2), batch_of()
    _, saved = model.loss(batch)
    grads = model.backward(saved)
    there = np.flatnonzero(grads["decoder.bias"])
    targets = set(batch[1][batch[1] >= 0].tolist())
    assert targets <= set(there.tolist())
    assert len(there) <= len(targets) + 2
    assert not grads["decoder.weight"][grads["decoder.bias"] == 0].any()


def test_a_sampled_model_learns():
    ids = np.tile([3, 17, 8, 8, 40, 2], 60)
    streams = TextStreams(ids, 3, 10)
    model = LanguageModel(50, 16, 24, sampled_softmax=8, seed=0)
    trainer = Trainer(model, Adam(model.params, lr=0.02), progress=False)
    history = trainer.fit(streams, streams, epochs=30)
    assert history[-1]["valid_loss"] < 0.1  # of log 50, 3.9
    said = model.generate(ids[:12], 6, temperature=0)
    assert said.tolist() == ids[:6].tolist()


def test_a_resumed_run_draws_the_same_tokens(tmp_path):
    streams = TextStreams(np.random.default_rng(0).integers(0, V, 200), 4, 7)

    def trainer():
        model = made(dtype=np.float32, sampled_softmax=3)
        return Trainer(model, SGD(model.params, lr=0.1), progress=False)

    whole, first = trainer(), trainer()
    whole.fit(streams, steps=9)
    first.fit(streams, steps=4, checkpoint=tmp_path / "run")
    second = trainer().resume(tmp_path / "run")
    second.fit(streams, steps=9)
    expected = whole.model.state_dict()
    for name, array in second.model.state_dict().items():
        assert same_bits(array, expected[name]), name


def test_the_number_of_tokens_is_saved(path):
    fastcell.save(made(dtype=np.float32, sampled_softmax=3), path)
    assert fastcell.load(path).sampled_softmax == 3
    config = json.loads(json.dumps(made().config()))
    del config["sampled_softmax"]  # a file from before there was such a thing
    assert LanguageModel.from_config(config).sampled_softmax is None


@pytest.mark.parametrize(
    ("value", "kind"), [(0, ValueError), (-3, ValueError), (2.5, TypeError)]
)
def test_a_bad_number_of_tokens_is_named(value, kind):
    with pytest.raises(kind, match="sampled_softmax"):
        made(sampled_softmax=value)
