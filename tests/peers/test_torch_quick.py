"""Fast path of fastcell.torch: changes that each call must detect."""

from __future__ import annotations

import pytest
from tolerances import PEER_FLOAT32

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

from torch_pairs import pair  # noqa: E402

CLOSE = {"rtol": PEER_FLOAT32, "atol": PEER_FLOAT32}
CELLS = pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])


@CELLS
def test_steps_of_other_numbers_of_rows_one_after_the_other(name):
    peer, own = pair(name, 5, 9)
    with torch.no_grad():
        for rows in (4, 2, 7, 4):
            x = torch.randn(rows, 5)
            torch.testing.assert_close(own(x), peer(x), **CLOSE)


@CELLS
def test_a_write_that_changes_one_number_of_a_large_weight(name):
    peer, own = pair(name, 5, 80)  # weight_hh is larger than what is looked at whole
    x = torch.ones(3, 5)
    hx = torch.ones(3, 80)
    state = (hx, hx) if name == "LSTMCell" else hx
    with torch.no_grad():
        for index in range(1, 80, 13):
            for module in (peer, own):
                module(x, state)
                module.weight_hh[index, index + 1 - 2 * (index % 2)] += 3.0
            found, expected = own(x, state), peer(x, state)
            torch.testing.assert_close(found, expected, **CLOSE)


@CELLS
@pytest.mark.parametrize("shape", [(4, 8), (3, 9), (36,)])
def test_a_state_of_another_shape_is_refused(name, shape):
    peer, own = pair(name, 5, 9)
    x = torch.randn(4, 5)
    hx = torch.randn(*shape)
    state = (hx, hx) if name == "LSTMCell" else hx
    with torch.no_grad():
        own(x)  # so that the weights are packed
        for module in (peer, own):
            with pytest.raises(RuntimeError):
                module(x, state)
