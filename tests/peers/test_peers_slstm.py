"""sLSTM against FlashRNN, TiRex and xlstm, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import PEER_FLOAT64, error

from fastcell.cells.slstm import step

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

T, B, HEADS, D = 9, 3, 2, 5
H = HEADS * D


def draw(seed=0):
    """Return Wx (B, T, 4, heads, D), R (4, heads, D, D), b and states with n > 0."""
    random = np.random.default_rng(seed)
    states = random.standard_normal((4, B, H))
    states[2] = np.abs(states[2]) / 2  # below FlashRNN's bound, where the forms differ
    Wx = 3 * random.standard_normal((B, T, 4, HEADS, D))
    Wx[:, 3, 1] = 40  # beyond TiRex' clamp
    R = random.standard_normal((4, HEADS, D, D))
    return Wx, R, random.standard_normal((4, HEADS, D)), states


def by_steps(Wx, R, b, states, form):
    """Return all states (4, T, B, H) of the formula."""
    weights = {
        "weight_ih": np.eye(4 * H),
        "weight_hh": R.reshape(4 * H, D),
        "bias_hh": b.reshape(-1),
    }
    now, found = tuple(states), []
    for t in range(T):
        now = step(Wx[:, t].reshape(B, -1), now, weights, form)
        found.append(np.stack(now))
    return np.stack(found, 1)


def by_flashrnn(Wx, R, b, states):
    package = pytest.importorskip("flashrnn")
    given = torch.tensor(states).reshape(4, B, 1, HEADS, D)
    found, _ = package.flashrnn(
        *map(torch.tensor, (Wx, R, b)), given, function="slstm", backend="vanilla"
    )
    return found.reshape(4, B, T, H).transpose(1, 2).numpy()


def by_xlstm(Wx, R, b, states):
    package = pytest.importorskip("xlstm.blocks.slstm.src.vanilla")
    found, _, _ = package.slstm_forward(
        torch.tensor(Wx).transpose(0, 1).reshape(T, B, -1),
        torch.tensor(states),
        torch.tensor(R).transpose(0, 1).reshape(HEADS, 4 * D, D),
        torch.tensor(b).reshape(-1),
        package.slstm_pointwise_function_registry["slstm"],
    )
    return found[:, 1:].numpy()


def by_tirex(Wx, R, b, states):
    package = pytest.importorskip("tirex.models.slstm.cell")
    found = []
    now = list(torch.tensor(states))
    kernel = torch.tensor(R).permute(1, 3, 0, 2).reshape(HEADS, D, 4 * D)
    for x in torch.tensor(Wx).transpose(0, 1).reshape(T, B, -1):
        product = now[0].reshape(B, HEADS, 1, D) @ kernel
        product = product.reshape(B, HEADS, 4, D).transpose(1, 2).reshape(B, -1)
        now = package.sLSTMCellTorch.slstm_forward_pointwise(
            x, product, torch.tensor(b).reshape(-1), now
        )
        found.append(torch.stack(now))
    return torch.stack(found, 1).numpy()


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given states"])
@pytest.mark.parametrize(
    ("peer", "form"),
    [(by_flashrnn, "floored"), (by_xlstm, "plain"), (by_tirex, "clamped")],
)
def test_the_formula_has_the_states_of_the_peer(peer, form, given):
    Wx, R, b, states = draw()
    states = states * given
    expected = peer(Wx, R, b, states)
    assert error(by_steps(Wx, R, b, states, form), expected) < PEER_FLOAT64
