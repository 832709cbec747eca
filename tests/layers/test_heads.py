"""Heads: an R with blocks along its diagonal, of which the rest is zero."""

import numpy as np
import pytest
from tolerances import FORWARD, GRADIENT_FLOAT32, error

import fastcell
from fastcell.cells import REGISTRY

WITH_HEADS = [
    c for c in REGISTRY.values() if fastcell._core.describe_cell(c.name)["takes_heads"]
]
with_heads = pytest.mark.parametrize("cell", WITH_HEADS, ids=lambda cell: cell.name)
# Roundings of gradients in another order.
GRADIENT = {np.float32: GRADIENT_FLOAT32, np.float64: 1e-14}
# Heads of whole vectors on every set, on some, and on none.
sizes = pytest.mark.parametrize(
    ("hidden", "heads"), [(64, 4), (24, 3), (15, 5), (32, 2)]
)


def whole_r(blocks: np.ndarray, gates: int) -> np.ndarray:
    """Return R (G H, H) from its blocks (G H, H / K)."""
    hidden, head = len(blocks) // gates, blocks.shape[1]
    whole = np.zeros((len(blocks), hidden), blocks.dtype)
    for row, block in enumerate(blocks):
        first = row % hidden // head * head
        whole[row, first : first + head] = block
    return whole


def blocks_of(whole: np.ndarray, gates: int, head: int) -> np.ndarray:
    hidden = len(whole) // gates
    rows = np.arange(len(whole))
    first = rows % hidden // head * head
    return whole[rows[:, None], first[:, None] + np.arange(head)]


def pair(cell, hidden, heads, **options):
    """Return a layer with heads, and the same one with the whole R."""
    one = cell.layer(5, hidden, num_heads=heads, seed=0, **options)
    other = cell.layer(5, hidden, seed=1, **options)
    state = one.state_dict()
    for name in state:
        if name.startswith("weight_hh"):
            state[name] = whole_r(state[name], len(cell.gates))
    other.load_state_dict(state)
    return one, other


@with_heads
@sizes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_heads_are_a_whole_r_with_zeros(cell, hidden, heads, dtype, isa):
    options = {"num_layers": 2, "bidirectional": True, "dtype": dtype}
    one, other = pair(cell, hidden, heads, **options)
    random = np.random.default_rng(2)
    x = random.standard_normal((6, 3, 5)).astype(dtype)
    lengths = np.array([6, 2, 4])
    y, _, saved = one.forward(x, lengths=lengths)
    y_whole, _, saved_whole = other.forward(x, lengths=lengths)
    assert error(y, y_whole.astype(np.float64)) <= FORWARD[dtype]
    dy = random.standard_normal(y.shape).astype(dtype)
    dx, _, grads = one.backward(dy, saved)
    dx_whole, _, grads_whole = other.backward(dy, saved_whole)
    assert error(dx, dx_whole.astype(np.float64)) <= GRADIENT[dtype]
    for name, expected in grads_whole.items():
        if name.startswith("weight_hh"):
            expected = blocks_of(expected, len(cell.gates), hidden // heads)
        assert error(grads[name], expected.astype(np.float64)) <= GRADIENT[dtype], name


@with_heads
@sizes
def test_a_session_has_the_bits_of_the_sequence(cell, hidden, heads, isa):
    layer = cell.layer(5, hidden, num_heads=heads, num_layers=2, seed=0)
    x = np.random.default_rng(3).standard_normal((7, 3, 5)).astype(np.float32)
    y, _ = layer(x)
    session = layer.session(3)
    assert all(
        np.array_equal(session.step(x_t), y_t) for x_t, y_t in zip(x, y, strict=True)
    )


@with_heads
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_narrow_weights(cell, precision):
    one, other = pair(cell, 64, 4)
    x = np.random.default_rng(4).standard_normal((5, 2, 5)).astype(np.float32)
    wide, _ = one(x)
    if precision == "int8":
        one, other = one.quantize(), other.quantize()
    else:
        one.to(precision), other.to(precision)
    narrow, _ = one(x)
    assert 0 < np.abs(narrow - wide).max() < 0.05
    if precision == "bf16":  # the rows of int8 have another scale
        assert error(narrow, other(x)[0].astype(np.float64)) <= 1e-6


def test_a_head_reads_nothing_of_another():
    layer = fastcell.LSTM(3, 64, num_heads=4, seed=0)
    x = np.random.default_rng(5).standard_normal((4, 1, 3)).astype(np.float32)
    h = np.zeros((1, 1, 64), np.float32)
    other = h.copy()
    other[..., 16:32] = 1
    c = np.zeros_like(h)
    same = (layer(x, (h, c))[0] == layer(x, (other, c))[0]).all(axis=(0, 1))
    assert same.tolist() == [True] * 16 + [False] * 16 + [True] * 32


def test_heads_in_files(tmp_path):
    layer = fastcell.GRU(3, 6, num_heads=2, seed=0)
    fastcell.save(layer, tmp_path / "gru.safetensors")
    again = fastcell.load(tmp_path / "gru.safetensors")
    x = np.ones((4, 1, 3), np.float32)
    assert again.num_heads == 2
    assert np.array_equal(again(x)[0], layer(x)[0])


def test_refusals():
    with pytest.raises(ValueError, match="num_heads must divide hidden_size, 6; got 4"):
        fastcell.LSTM(3, 6, num_heads=4)
    for options in ({"proj_size": 2}, {"layer_norm": True}):
        with pytest.raises(ValueError, match="num_heads must be 1 for the cell lstm_"):
            fastcell.LSTM(3, 6, num_heads=2, **options)
    with pytest.raises(ValueError, match="num_heads must be an integer >= 1; got 0"):
        fastcell.GRU(3, 6, num_heads=0)
