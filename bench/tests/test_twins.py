"""Tests of the PyTorch twins: losses and gradients equal to the models'."""

from __future__ import annotations

import numpy as np
import pytest

from fastcell.models import (
    Captioner,
    Forecaster,
    FrameModel,
    LanguageModel,
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


LANGUAGE_MODELS = {
    "LSTM": LanguageModel(V, E, H, 2, seed=0),
    "GRU": LanguageModel(V, E, H, cell="gru", seed=0),
    "RNN, tied": LanguageModel(V, H, H, cell="rnn", tie_weights=True, seed=0),
}


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


def continuations():
    return random().standard_normal((K, B, E), np.float32)


def values():
    return random().standard_normal((B, K), np.float32)


def windows():
    """Return two windows of the same streams; one target of the second is ignored."""
    tokens = random().integers(0, V, (2 * T + 1, B))
    targets = tokens[1:].copy()
    targets[T + 2, 1] = -100
    return [(tokens[at : at + T], targets[at : at + T]) for at in (0, T)]


def frames(lengths, size=E):
    """Return frames of bits and the frames that follow them, as float arrays."""
    y = (features() > 0)[..., :size].astype(np.float32)
    return np.concatenate([np.zeros_like(y[:1]), y[:-1]]), lengths, y


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
        labels[:, 1] = labels[:, 0]  # equal labels need a blank between them
        return features(), None, labels, None
    return features(), LENGTHS, labels, np.array([1, 3, 0, 2, 3])


#: Options of `Seq2Seq`: attention, input feeding, and a bidirectional encoder.
DECODERS = [
    (None, False, True),
    ("additive", False, True),
    ("additive", True, True),
    ("general", False, True),
    ("general", True, False),
    ("dot", False, False),
    ("dot", True, False),
]

#: A model without dropout, and a batch for it.
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
    **{
        f"frames, {cell}, {options}": (
            FrameModel(2, H, 2, cell, seed=0, **options),
            frames(lengths, 2),
        )
        for cell, lengths, options in (
            ("gru", LENGTHS, {"head": "bernoulli"}),
            ("rnn", None, {"head": "bernoulli"}),
            ("lstm", LENGTHS, {"head": "mixture", "mixtures": 3}),
            ("lstm", None, {"head": "mixture", "residual": True, "min_scale": 0.1}),
            ("lstm", LENGTHS, {"head": "mixture", "correlated": False}),
            ("lstm", LENGTHS, {"head": "values", "residual": True}),
        )
    },
    "tagger": (
        SequenceTagger(V, H, K, embedding_dim=E, bidirectional=True, seed=0),
        (ids(), LENGTHS, tags()),
    ),
    **{
        f"language model, {name}": (model, windows()[0])
        for name, model in LANGUAGE_MODELS.items()
    },
    "language model of whole sequences": (
        LANGUAGE_MODELS["LSTM"],
        (ids(), LENGTHS, tags()),
    ),
    "forecaster": (
        Forecaster(E, H, 2, seed=0),
        (features(), LENGTHS, continuations()),
    ),
    "forecaster without residual": (
        Forecaster(E, H, cell="gru", residual=False, loss="mae", seed=0),
        (features(), None, continuations()),
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


#: Cases that read an LSTM's c at the ends of sequences, which padding does not give.
PACKED_ONLY = {"forecaster"}
WAYS = [
    (name, way)
    for name in CASES
    for way in ("padded", "packed")
    if name not in PACKED_ONLY or way == "packed"
]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_loss_and_gradients_are_the_same(name, way):
    from twins import twin_of

    model, batch = CASES[name]
    twin = twin_of(model, way)
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


@pytest.mark.parametrize("name", PACKED_ONLY)
def test_a_model_that_cannot_be_padded_is_refused(name):
    from twins import twin_of
    from twins.ragged import NotPadded

    model, batch = CASES[name]
    with pytest.raises(NotPadded, match="c at the ends"):
        twin_of(model, "padded").loss(batch)


def test_an_unknown_way_is_refused():
    from twins import twin_of

    with pytest.raises(ValueError, match="way must be one of padded, packed; got 'x'"):
        twin_of(CASES["tagger"][0], "x")


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("given", [False, True])
def test_padded_is_packed_in_outputs_last_states_and_gradients(
    kind, layers, both, given
):
    import torch
    from twins.ragged import Layers

    rnn = getattr(torch.nn, kind)(E, H, layers, bidirectional=both)
    lengths = torch.from_numpy(LENGTHS)
    there = (torch.arange(T)[:, None] < lengths)[..., None]
    random = torch.Generator().manual_seed(0)
    directions = 2 if both else 1
    first = torch.randn(2, layers * directions, B, H, generator=random)
    state = (tuple(first) if kind == "LSTM" else first[0]) if given else None
    dy = torch.randn(T, B, directions * H, generator=random) * there
    dh = torch.randn(layers * directions, B, H, generator=random)
    found = {}
    for way in ("padded", "packed"):
        run = Layers(rnn)
        run.way = way
        x = torch.from_numpy(features()).requires_grad_()
        y, last = run(x, lengths, state, final="h")
        h = last[0] if kind == "LSTM" else last
        loss = (y * dy).sum() + (h * dh).sum()
        grads = torch.autograd.grad(loss, (x, *rnn.parameters()))
        found[way] = [y * there, h, *grads]
        assert run.ragged
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=1e-4, atol=1e-6)


def test_sequences_of_one_length_are_not_ragged():
    import torch
    from twins.ragged import Layers

    run = Layers(torch.nn.GRU(E, H))
    y, h = run(torch.from_numpy(features()), torch.full((B,), T))
    assert not run.ragged
    assert (y[-1] == h[-1]).all()


def test_weights_go_to_the_twin_and_back():
    from twins import twin_of

    model, _ = CASES["tagger"]
    twin = twin_of(model)
    other = SequenceTagger(V, H, K, embedding_dim=E, bidirectional=True, seed=1)
    twin.give(other)
    for key, weight in model.state_dict().items():
        assert (other.state_dict()[key] == weight).all()


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_the_state_is_carried_and_gradients_are_not(name):
    from twins import twin_of

    model = LANGUAGE_MODELS[name]
    twin = twin_of(model)
    state = twin_state = None
    for batch in windows():
        loss, saved = model.loss(batch, state)
        state = saved.state
        expected, twin_state = twin.loss(batch, twin_state)
        assert loss == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    grads = model.backward(saved)
    for key, parameter in twin.named_parameters():
        np.testing.assert_allclose(
            grads[key], parameter.grad.numpy(), rtol=1e-4, atol=1e-6, err_msg=key
        )


def test_dropout_stands_where_it_does_in_the_model():
    from twins import twin_of

    model = LanguageModel(V, E, H, 2, dropout=0.4, seed=0)
    twin = twin_of(model)
    dropped = []
    twin.dropout.register_forward_hook(lambda _, x, y: dropped.append(tuple(y.shape)))
    batch = windows()[0]
    assert twin.loss(batch)[0] != twin.loss(batch)[0]
    assert dropped[:2] == [(T, B, E), (T, B, H)]
    assert (twin.dropout.p, twin.rnn.dropout) == (0.4, 0.4)
    twin.eval()
    assert twin.loss(batch)[0].item() == pytest.approx(model.evaluate(batch)[0], 1e-5)


def test_tied_weights_go_back_tied():
    from twins import twin_of

    model, batch = CASES["language model, RNN, tied"]
    other = LanguageModel.from_config({**model.config(), "seed": 5})
    twin_of(model).give(other)
    assert other.evaluate(batch)[0] == model.evaluate(batch)[0]


def test_an_estimated_loss_has_no_twin():
    from twins import twin_of

    with pytest.raises(ValueError, match="sampled_softmax must be None; got 2"):
        twin_of(LanguageModel(V, E, H, sampled_softmax=2))


def test_a_twin_of_frames_hands_its_state_on():
    from twins import twin_of

    model, (x, _, y) = CASES["frames, rnn, {'head': 'bernoulli'}"]
    twin = twin_of(model)
    loss, state, own = None, None, None
    for part in (slice(0, 3), slice(3, T)):
        batch = x[part], None, y[part]
        loss, state = twin.loss(batch, state)
        expected, own = model.evaluate(batch, own)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert not state.requires_grad
    np.testing.assert_allclose(state.numpy(), own, rtol=1e-4, atol=1e-6)
