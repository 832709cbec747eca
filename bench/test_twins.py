"""A twin gives the loss and the gradients of its model."""

from __future__ import annotations

import numpy as np
import pytest

from fastcell.models import SequenceClassifier, SequenceRegressor, SequenceTagger

pytest.importorskip("torch")
pytestmark = pytest.mark.peers

T, B, V, E, H, K = 7, 5, 11, 4, 6, 3
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


#: A model without dropout, and a batch of it.
CASES = {
    **{
        f"classifier, {pooling}": (
            SequenceClassifier(
                V, H, K, 2, bidirectional=True, embedding_dim=E, pooling=pooling, seed=0
            ),
            (ids(), LENGTHS, one_class_each()),
        )
        for pooling in ("last", "mean", "max", "attention")
    },
    "classifier of features": (
        SequenceClassifier(E, H, K, cell="gru", seed=0),
        (features(), None, one_class_each()),
    ),
    "attention over steps that are all there": (
        SequenceClassifier(E, H, K, cell="gru", pooling="attention", seed=0),
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
