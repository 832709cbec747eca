"""What PyTorch's own tests and its tools ask of recurrent modules: fastcell.torch."""

from __future__ import annotations

import copy
import threading
import warnings

import pytest
from tolerances import PEER_FLOAT32, PEER_FLOAT64

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

from torch_pairs import NAMES, assert_alike, pair, results, tensors_in  # noqa: E402

import fastcell.torch  # noqa: E402

LAYERS = ("RNN", "LSTM", "GRU")
by_name = pytest.mark.parametrize("name", NAMES)
by_layer = pytest.mark.parametrize("name", LAYERS)


def steps_of(name, dtype=torch.float32, seed=3):
    """Return an input of 5 features: (T, B, I) or, for a cell, (B, I)."""
    torch.manual_seed(seed)
    return torch.randn(*((4, 3) if name in LAYERS else (3,)), 5, dtype=dtype)


def first(out):
    """Return the output, or the state, of any module."""
    return tensors_in(out)[0]


# ---------------------------------------------------------------------- arguments


@by_name
@pytest.mark.parametrize("before", [None, torch.float32, torch.float64])
@pytest.mark.parametrize("grad", [True, False])
def test_weights_of_another_dtype_than_the_input_are_refused(name, before, grad):
    for given in (torch.float16, torch.bfloat16, torch.float64, torch.float32):
        peer, own = pair(name, 5, 9)
        x = steps_of(name)
        for module in (peer, own):
            if before is not None:
                module.to(before)(x.to(before))
            module.to(given)
        x = x.double() if given == torch.float32 else x
        with torch.set_grad_enabled(grad):
            with pytest.raises((RuntimeError, ValueError)) as theirs:
                peer(x)
            for _ in range(2):
                with pytest.raises(theirs.type) as ours:
                    own(x)
                assert str(ours.value) == str(theirs.value)
                own(x.to(given))  # packs them


@by_name
def test_weights_of_two_dtypes_are_refused(name):
    for module in pair(name, 5, 9):
        x = steps_of(name)
        module(x)
        key = [key for key, _ in module.named_parameters()][1]
        setattr(module, key, torch.nn.Parameter(getattr(module, key).double()))
        with pytest.raises(RuntimeError):
            module(x)


def test_an_unknown_nonlinearity_is_refused_in_torchs_words():
    for make in (torch.nn.RNN, fastcell.torch.RNN):
        with pytest.raises(ValueError, match="Unknown nonlinearity 'sine'. Select"):
            make(5, 9, nonlinearity="sine")


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_without_units(name):
    for module in pair(name, 5, 0):
        assert first(module(steps_of(name))).shape == (3, 0)
