"""memory_budget: less saved memory, recomputation in backward, the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import by_name, same_bits

import fastcell

T, B, I, H = 300, 9, 5, 21  # noqa: E741  # more pairs than two chunks hold


def gradients(layer, x, budget, **sequence):
    y, state, saved = layer.forward(x, memory_budget=budget, **sequence)
    nbytes = saved.nbytes
    dx, dstate, grads = layer.backward(np.cos(y), saved, dstate=state)
    states = (*state, *dstate) if isinstance(state, tuple) else (state, dstate)
    return nbytes, [y, *states, dx, *grads.values()]


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])
@by_name
def test_the_bits_are_those_without_a_budget(cell, bidirectional, set_threads):
    layer = cell.layer(I, H, num_layers=2, bidirectional=bidirectional, seed=0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((T, B, I), np.float32)
    sequence = {
        "lengths": rng.integers(0, T + 1, B),
        "mask": rng.random((T, B)) < 0.9,
        "reset": rng.random((T, B)) < 0.02,
    }
    set_threads(1)
    free, expected = gradients(layer, x, None, **sequence)
    for threads in (1, 2):
        set_threads(threads)
        kept, got = gradients(layer, x, free - 1, **sequence)
        assert kept < free
        assert all(same_bits(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_gather_path_and_bf16_too(precision):
    model = fastcell.Sequential(
        [fastcell.Embedding(11, I, seed=0), fastcell.LSTM(I, H, seed=1)]
    ).to(precision)
    ids = np.random.default_rng(0).integers(0, 11, (T, B))
    found = []
    for budget in (None, 10**6):
        y, _, saved = model.forward(ids, memory_budget=budget)
        found.append(model.backward(np.cos(y), saved)[2])
    for name, grad in found[0].items():
        assert same_bits(grad, found[1][name]), name


def test_an_lstm_keeps_about_a_third():
    layer, x = fastcell.LSTM(64, 256, seed=0), np.zeros((50, 8, 64), np.float32)
    free = layer.forward(x)[2].nbytes
    kept = layer.forward(x, memory_budget=free // 2)[2].nbytes
    assert 0.3 < kept / free < 0.4
    assert layer.forward(x, memory_budget=free)[2].nbytes == free


def test_too_small_a_budget_is_refused():
    layer, x = fastcell.LSTM(I, H, bidirectional=True), np.zeros((4, 2, I), "f4")
    with pytest.raises(ValueError, match="memory_budget must be at least"):
        layer.forward(x, memory_budget=100)
    with pytest.raises(ValueError, match="memory_budget"):
        layer.forward(x, memory_budget=-1)
    with pytest.raises(TypeError, match="memory_budget"):
        layer.forward(x, memory_budget=0.5)
