"""Sequence models against the same networks in PyTorch: values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import PEER_FLOAT64, error

from fastcell.models import SequenceClassifier, SequenceTagger

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

T, B, V, E, H, K = 7, 5, 11, 4, 6, 3
LENGTHS = np.array([4, 7, 1, 6, 7])


def own_and_peer(make, **options):
    own = make(
        V, H, K, 2, bidirectional=True, embedding_dim=E, dtype=np.float64, **options
    )
    peer = torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(V, E),
            "rnn": torch.nn.LSTM(E, H, 2, bidirectional=True),
            "decoder": torch.nn.Linear(2 * H, K),
        }
    ).double()
    weights = {name: torch.from_numpy(a) for name, a in own.state_dict().items()}
    peer.load_state_dict(weights)
    return own, peer


def outputs(peer, ids):
    """Return h (T, B, 2 H), zeros past the lengths, and the final states."""
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        peer["embedding"](torch.from_numpy(ids)),
        torch.from_numpy(LENGTHS),
        enforce_sorted=False,
    )
    packed, (final, _) = peer["rnn"](packed)
    return torch.nn.utils.rnn.pad_packed_sequence(packed, total_length=T)[0], final


def assert_same(own, peer, batch, logits, scores):
    """Compare scores, loss and all gradients."""
    assert error(scores, logits.detach().numpy()) <= PEER_FLOAT64
    y = torch.from_numpy(batch[2])
    expected = torch.nn.functional.cross_entropy(
        logits.reshape(-1, K), y.reshape(-1), ignore_index=-100
    )
    expected.backward()
    loss, saved = own.loss(batch)
    assert loss == pytest.approx(expected.item(), rel=PEER_FLOAT64)
    for name, grad in own.backward(saved).items():
        layer, _, parameter = name.partition(".")
        peers = getattr(peer[layer], parameter).grad.numpy()
        assert error(grad, peers) <= PEER_FLOAT64, name


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_a_classifier_is_that_of_torch(pooling):
    own, peer = own_and_peer(SequenceClassifier, pooling=pooling)
    random = np.random.default_rng(0)
    ids, y = random.integers(0, V, (T, B)), random.integers(0, K, B)
    h, final = outputs(peer, ids)
    n = torch.from_numpy(LENGTHS)
    if pooling == "last":
        pooled = torch.cat([final[-2], final[-1]], dim=-1)
    elif pooling == "mean":
        pooled = h.sum(0) / n[:, None]
    else:
        past = torch.arange(T)[:, None] >= n
        pooled = h.masked_fill(past[..., None], -torch.inf).max(0).values
    logits = peer["decoder"](pooled)
    assert_same(own, peer, (ids, LENGTHS, y), logits, own(ids, LENGTHS))


def test_a_tagger_is_that_of_torch():
    own, peer = own_and_peer(SequenceTagger)
    random = np.random.default_rng(0)
    ids, y = random.integers(0, V, (T, B)), random.integers(0, K, (T, B))
    past = np.arange(T)[:, np.newaxis] >= LENGTHS
    y[past] = -100
    h, _ = outputs(peer, ids)
    logits = peer["decoder"](h)
    scores = own(ids, LENGTHS)
    scores[past] = logits.detach().numpy()[past]  # torch's bias; ours are zeros
    assert_same(own, peer, (ids, LENGTHS, y), logits, scores)
