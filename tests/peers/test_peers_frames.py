"""Losses of frame models against PyTorch's distributions."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import PEER_FLOAT64, error

from fastcell.models.heads.base import BernoulliHead
from fastcell.models.heads.mixture import MixtureHead

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

N, M = 9, 4


def peer_of(outputs, size, correlated, floor):
    """Return the mixture as PyTorch has it."""
    d = torch.distributions
    logits, means, scales, rho = outputs.split(
        [M, M * size, M * size, M * correlated], dim=1
    )
    means = means.view(N, M, size)
    scales = scales.exp().view(N, M, size) + floor
    if correlated:
        across = torch.tanh(rho) * scales.prod(-1)
        covariance = torch.diag_embed(scales**2)
        covariance = covariance + across[..., None, None] * (1 - torch.eye(2))
        parts = d.MultivariateNormal(means, covariance)
    else:
        parts = d.Independent(d.Normal(means, scales), 1)
    return d.MixtureSameFamily(d.Categorical(logits=logits), parts)


@pytest.mark.parametrize(
    "size, correlated", [(1, False), (2, False), (2, True), (5, False)]
)
@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_the_mixture_is_that_of_torch(size, correlated, floor):
    head = MixtureHead(size, M, correlated, floor, np.dtype(float))
    random = np.random.default_rng(0)
    outputs = random.standard_normal((N, head.outputs))
    y = 2 * random.standard_normal((N, size))
    theirs = torch.tensor(outputs, requires_grad=True)
    peer = peer_of(theirs, size, correlated, floor)
    nll = -peer.log_prob(torch.from_numpy(y))
    nll.mean().backward()
    assert error(head.nll(outputs, y), nll.detach().numpy()) <= PEER_FLOAT64
    loss, gradient = head.loss(outputs, y)
    assert loss == pytest.approx(nll.mean().item(), rel=PEER_FLOAT64)
    assert error(gradient, theirs.grad.numpy()) <= PEER_FLOAT64
    assert error(head.mean(outputs), peer.mean.detach().numpy()) <= PEER_FLOAT64


def test_bits_are_those_of_torch():
    head = BernoulliHead(7, np.dtype(float))
    random = np.random.default_rng(0)
    z = 3 * random.standard_normal((N, 7))
    y = random.integers(0, 2, (N, 7)).astype(float)
    theirs = torch.tensor(z, requires_grad=True)
    nll = -torch.distributions.Bernoulli(logits=theirs).log_prob(torch.from_numpy(y))
    nll.sum(1).mean().backward()
    assert error(head.nll(z, y), nll.sum(1).detach().numpy()) <= PEER_FLOAT64
    loss, gradient = head.loss(z, y)
    assert loss == pytest.approx(nll.sum(1).mean().item(), rel=PEER_FLOAT64)
    assert error(gradient, theirs.grad.numpy()) <= PEER_FLOAT64
