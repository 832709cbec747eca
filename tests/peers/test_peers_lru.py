"""LRU against lru-pytorch, in float64: values and all gradients."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import PEER_FLOAT64, error

import fastcell

torch = pytest.importorskip("torch")
package = pytest.importorskip("LRU_pytorch")
pytestmark = pytest.mark.peers

T, B, I, N, OUTPUTS = 11, 3, 5, 6, 4  # noqa: E741  (the letter of the docs)


@pytest.fixture
def double():
    """Make float64 the default of torch: the peer allocates its outputs by that."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def in_turns(numbers):
    """Return the real and the imaginary parts of rows as rows, in turns."""
    parts = np.stack([numbers.real, numbers.imag], axis=1)
    return parts.reshape(-1, *numbers.shape[1:])


def array(tensor):
    return tensor.detach().numpy()


def test_values_and_gradients_are_those_of_lru_pytorch(double):
    torch.manual_seed(0)
    peer = package.LRU(I, OUTPUTS, N, rmin=0.5, rmax=0.99)
    layer = fastcell.LRU(I, 2 * N, bias=False, dtype=np.float64)
    params = layer.params
    params["weight_ih_l0"][...] = in_turns(array(peer.B))
    params["weight_lambda_l0"][::2] = array(peer.nu_log)
    params["weight_lambda_l0"][1::2] = array(peer.theta_log)
    params["weight_gamma_l0"][::2] = array(peer.gamma_log)
    C = in_turns(array(peer.C).conj().T).T  # Re C, -Im C, in turns
    x = torch.randn(B, T, I, requires_grad=True)
    dy = torch.randn(B, T, OUTPUTS)
    wanted = peer(x)
    wanted.backward(dy)

    x_own, dy_own = array(x).swapaxes(0, 1), array(dy).swapaxes(0, 1)
    h, _, saved = layer.forward(x_own)
    y = h @ C.T + x_own @ array(peer.D).T
    assert error(y.swapaxes(0, 1), array(wanted)) <= PEER_FLOAT64
    dx, _, grads = layer.backward(dy_own @ C, saved)
    dx = dx + dy_own @ array(peer.D)
    assert error(dx.swapaxes(0, 1), array(x.grad)) <= PEER_FLOAT64
    for name, expected in (
        ("weight_ih_l0", in_turns(array(peer.B.grad))),
        (
            "weight_lambda_l0",
            in_turns(array(peer.nu_log.grad + 1j * peer.theta_log.grad)),
        ),
        ("weight_gamma_l0", in_turns(array(peer.gamma_log.grad + 0j))),
    ):
        assert error(grads[name], expected) <= PEER_FLOAT64, name
