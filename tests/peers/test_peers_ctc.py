"""CTC loss and gradient against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import PEER_FLOAT64

from fastcell.losses import ctc

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers


def by_torch(logits, labels, lengths, label_lengths, **options):
    z = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.ctc_loss(
        torch.log_softmax(z, -1),
        torch.tensor(labels),
        torch.tensor(lengths),
        torch.tensor(label_lengths),
        **options,
    )
    loss.backward()
    return loss.item(), z.grad.numpy()


def draw(seed, spread):
    """Return ragged cases: T of 1, repeated, no, and too many labels among them."""
    rng = np.random.default_rng(seed)
    T, B, V, L = (int(rng.integers(*r)) for r in ((1, 40), (1, 6), (2, 7), (1, 12)))
    blank = int(rng.integers(V))
    labels = rng.choice([k for k in range(V) if k != blank], (B, L))
    lengths = rng.integers(1, T + 1, B)
    return (
        spread * rng.standard_normal((T, B, V)),
        labels,
        lengths,
        rng.integers(0, L + 1, B),
        blank,
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("spread", [1, 10, 100])
def test_values_and_gradients_are_those_of_torch(reduction, zero_infinity, spread):
    infinite = 0
    for seed in range(60):
        logits, labels, lengths, label_lengths, blank = draw(seed, spread)
        rest = logits, labels, lengths, label_lengths
        options = {
            "blank": blank,
            "reduction": reduction,
            "zero_infinity": zero_infinity,
        }
        loss, dlogits = ctc(*rest, **options)
        wanted, dwanted = by_torch(*rest, **options)
        infinite += np.isnan(dwanted).any()
        assert loss == pytest.approx(wanted, rel=PEER_FLOAT64)
        np.testing.assert_array_equal(np.isnan(dlogits), np.isnan(dwanted))
        scale = max(np.nanmax(np.abs(dwanted), initial=0), 1 / logits.shape[1])
        difference = np.nanmax(np.abs(dlogits - dwanted), initial=0)
        assert difference <= PEER_FLOAT64 * scale
    assert (infinite > 0) == (not zero_infinity)


def test_labels_as_long_as_their_steps_are_those_of_torch():
    logits = np.random.default_rng(0).standard_normal((7, 2, 4))
    labels = np.array([[1, 2, 3, 1, 2, 3, 1], [1, 1, 1, 1, 0, 0, 0]])
    rest = logits, labels, np.array([7, 7]), np.array([7, 4])
    loss, dlogits = ctc(*rest)
    wanted, dwanted = by_torch(*rest)
    assert loss == pytest.approx(wanted, rel=PEER_FLOAT64)
    assert np.abs(dlogits - dwanted).max() <= PEER_FLOAT64
