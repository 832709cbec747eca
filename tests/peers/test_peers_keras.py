"""Directions, merges, masks and initial weights against Keras, on PyTorch."""

from __future__ import annotations

import os

import numpy as np
import pytest
from tolerances import DENSE, PEER_FLOAT32, error

import fastcell

torch = pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.peers

T, B, I, H = 7, 3, 4, 5  # noqa: E741  (the letter of DESIGN)
X = np.random.default_rng(0).standard_normal((B, T, I)).astype(np.float32)
MASK = np.random.default_rng(1).random((B, T)) < 0.7
MASK[:, 0] = True

# Keras' gates: i f g o, as ours; z r n, where ours are r z n.
KINDS = {
    "LSTM": (fastcell.LSTM, [0, 1, 2, 3]),
    "GRU": (fastcell.GRU, [1, 0, 2]),
    "SimpleRNN": (fastcell.RNN, [0]),
}
by_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _on_torch():
    if keras.backend.backend() != "torch":
        pytest.skip("Keras uses another backend")


def parameters(layer, order, suffix=""):
    """Weights of a layer of Keras by our names."""
    W, R, b = (np.asarray(weight) for weight in layer.get_weights())
    biases = b if b.ndim == 2 else (b, 0 * b)

    def ours(array):
        parts = np.split(array, len(order), axis=-1)
        return np.concatenate([parts[k] for k in order], axis=-1).T

    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {
        f"{name}_l0{suffix}": ours(array)
        for name, array in zip(names, (W, R, *biases), strict=True)
    }


def trained(layer, mask, dy):
    """y and the gradient of x of a layer of Keras."""
    x = torch.from_numpy(X.copy()).requires_grad_()
    y = layer(x, mask=None if mask is None else torch.from_numpy(mask))
    y.backward(torch.from_numpy(dy))
    return y.detach().numpy(), x.grad.numpy()


def drawn(layer):
    """Draw biases, which begin with zeros, as the weights."""
    random = np.random.default_rng(2)
    layer.set_weights(
        [w + random.uniform(-0.3, 0.3, w.shape) for w in layer.get_weights()]
    )


def same(mine, mask, outputs, keras_layer, dy):
    y, dx = trained(keras_layer, mask, dy)
    got, _, saved = mine.forward(X, mask=mask, outputs=outputs)
    assert error(got, y) < PEER_FLOAT32
    assert error(mine.backward(dy, saved)[0], dx) < PEER_FLOAT32


@pytest.mark.parametrize("mask", [None, MASK], ids=["plain", "mask"])
@pytest.mark.parametrize("outputs", ["all", "last"])
@by_kind
def test_a_layer_that_goes_backwards(kind, outputs, mask):
    make, order = KINDS[kind]
    other = getattr(keras.layers, kind)(
        H, return_sequences=outputs == "all", go_backwards=True
    )
    other.build(X.shape)
    drawn(other)
    mine = make(I, H, batch_first=True, go_backwards=True)
    mine.load_state_dict(parameters(other, order))
    shape = (B, T, H) if outputs == "all" else (B, H)
    dy = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    same(mine, mask, outputs, other, dy)


@pytest.mark.parametrize("mask", [None, MASK], ids=["plain", "mask"])
@pytest.mark.parametrize("outputs", ["all", "last"])
@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
@by_kind
def test_merged_directions(kind, merge, outputs, mask):
    make, order = KINDS[kind]
    inner = getattr(keras.layers, kind)(H, return_sequences=outputs == "all")
    other = keras.layers.Bidirectional(inner, merge_mode=merge)
    other.build(X.shape)
    drawn(other)
    mine = make(
        I,
        H,
        batch_first=True,
        bidirectional=True,
        merge=merge,
        zero_output_for_mask=True,
    )
    mine.load_state_dict(
        parameters(other.forward_layer, order)
        | parameters(other.backward_layer, order, "_reverse")
    )
    width = 2 * H if merge == "concat" else H
    shape = (B, T, width) if outputs == "all" else (B, width)
    dy = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    same(mine, mask, outputs, other, dy)


@by_kind
def test_initial_weights_are_of_the_same_distribution(kind):
    make, order = KINDS[kind]
    other = getattr(keras.layers, kind)(64)
    other.build((1, 1, 32))
    theirs = parameters(other, order)
    ours = make(32, 64, init="keras", seed=0).state_dict()
    W, mine = theirs["weight_ih_l0"], ours["weight_ih_l0"]
    limit = np.abs(W).max()  # of 2048 values and more: within 1 % of the limit
    assert abs(np.abs(mine).max() / limit - 1) < 0.01
    assert abs(mine.std() / W.std() - 1) < 5 / np.sqrt(W.size)
    for weights in (theirs, ours):
        R = weights["weight_hh_l0"]
        assert np.abs(R.T @ R - np.eye(64)).max() < DENSE[np.float32]
    mine, bias = (w["bias_ih_l0"] + w["bias_hh_l0"] for w in (ours, theirs))
    np.testing.assert_array_equal(mine, bias)
