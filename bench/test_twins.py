"""A twin gives the loss and the gradients of its model."""

from __future__ import annotations

import numpy as np
import pytest

from fastcell.models import (
    Captioner,
    Seq2Seq,
    SequenceClassifier,
    SequenceRegressor,
    SequenceTagger,
    SpeechRecognizer,
)

pytest.importorskip("torch")
pytestmark = pytest.mark.peers

T, B, V, E, H, K = 7, 5, 11, 4, 6, 3
BOS, EOS = 2, 3
LENGTHS = np.array([4, 7, 1, 6, 7])


def random():
    return np.random.default_rng(0)


def ids():
    return random().integers(0, V, (T, B))


def features():
    return random().standard_normal((T, B, E), np.float32)


def one_class_each():
    return random().integers(0, K, B)


def tags():
    y = random().integers(0, K, (T, B))
    y[np.arange(T)[:, np.newaxis] >= LENGTHS] = -100
    return y


def values():
    return random().standard_normal((B, K), np.float32)


def translations(ragged=True):
    source, target = ids(), random().integers(4, V, (T + 1, B))
    target[0] = BOS
    if not ragged:
        target[-1] = EOS
        return source, None, target, None
    ends = LENGTHS[::-1] + 1
    target[ends - 1, np.arange(B)] = EOS
    return source, LENGTHS, target, ends


def captions(ragged=True):
    _, _, words, ends = translations(ragged)
    return words, ends, random().standard_normal((B, E), np.float32)


def utterances(ragged=True):
    labels = random().integers(1, K + 1, (B, 3))
    if not ragged:
        labels[:, 1] = labels[:, 0]  # a blank between them
        return features(), None, labels, None
    return features(), LENGTHS, labels, np.array([1, 3, 0, 2, 3])


#: Of `Seq2Seq`: attention, input feeding, both ways.
DECODERS = [
    (None, False, True),
    ("additive", False, True),
    ("additive", True, True),
    ("general", False, True),
    ("general", True, False),
    ("dot", False, False),
    ("dot", True, False),
]

#: A model without dropout, and a batch of it.
CASES = {
    **{
        f"classifier, {pooling}": (
            SequenceClassifier(
                V, H, K, 2, bidirectional=True, embedding_dim=E, pooling=pooling, seed=0
            ),
            (ids(), LENGTHS, one_class_each()),
        )
        for pooling in ("last", "mean", "max")
    },
    "classifier of features": (
        SequenceClassifier(E, H, K, cell="gru", seed=0),
        (features(), None, one_class_each()),
    ),
    "regressor": (
        SequenceRegressor(E, H, K, cell="rnn", seed=0),
        (features(), LENGTHS, values()),
    ),
    "tagger": (
        SequenceTagger(V, H, K, embedding_dim=E, bidirectional=True, seed=0),
        (ids(), LENGTHS, tags()),
    ),
    **{
        f"seq2seq, {attention}, fed {feeding}, both ways {both}, {cell}": (
            Seq2Seq(V, V + 1, E, H, 2, cell, both, attention, feeding, seed=0),
            translations(ragged),
        )
        for attention, feeding, both in DECODERS
        for cell, ragged in (("gru", True), ("lstm", False))
    },
    **{
        f"captioner, {cell}": (
            Captioner(E, V, E + 1, H, 2, cell, seed=0),
            captions(ragged),
        )
        for cell, ragged in (("lstm", True), ("gru", True), ("rnn", False))
    },
    **{
        f"speech, {'ragged' if ragged else 'full'}": (
            SpeechRecognizer(E, H, K, 2, bidirectional=ragged, seed=0),
            utterances(ragged),
        )
        for ragged in (True, False)
    },
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_the_same(name):
    from twins import twin_of

    model, batch = CASES[name]
    twin = twin_of(model)
    expected, _ = twin.loss(batch)
    expected.backward()
    loss, saved = model.loss(batch)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    grads = model.backward(saved)
    parameters = dict(twin.named_parameters())
    assert set(grads) == set(parameters)
    for key, grad in grads.items():
        other = parameters[key].grad.numpy()
        np.testing.assert_allclose(grad, other, rtol=1e-4, atol=1e-6, err_msg=key)


def test_weights_go_to_the_twin_and_back():
    from twins import twin_of

    model, _ = CASES["tagger"]
    twin = twin_of(model)
    other = SequenceTagger(V, H, K, embedding_dim=E, bidirectional=True, seed=1)
    twin.give(other)
    for key, weight in model.state_dict().items():
        assert (other.state_dict()[key] == weight).all()
