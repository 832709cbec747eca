"""backward with dy, or a part of dstate, None: the same as zeros."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from oracle import by_name, every_stack, joined, problem
from refusals import refuses

import fastcell
from fastcell.cells import REGISTRY

f32 = np.float32


def gradients(made, dy, dstate, **options):
    options |= made.sequence
    saved = made.layer.forward(made.x, joined(made.state), **options)[2]
    dx, before, grads = made.layer.backward(dy, saved, dstate)
    parts = before if isinstance(before, tuple) else (before,)
    return [dx, *parts, *grads.values()]


def assert_equal(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@every_stack(2)
def test_no_dy_is_a_dy_of_zeros(cell, num_layers, bidirectional, kind):
    made = problem(cell, num_layers=num_layers, bidirectional=bidirectional, kind=kind)
    dstate = joined(made.dstate)
    expected = gradients(made, np.zeros_like(made.dy), dstate)
    assert any(array.any() for array in expected)
    assert_equal(gradients(made, None, dstate), expected)


@pytest.mark.parametrize("budget", [0, 3000])
@by_name
def test_no_dy_with_a_memory_budget(cell, budget):
    made = problem(cell, T=30, kind="everything")
    dstate = joined(made.dstate)
    expected = gradients(made, np.zeros_like(made.dy), dstate)
    got = gradients(made, None, dstate, memory_budget=budget)
    assert_equal(got, expected)


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("cell_name", ["lstm", "lstm_projected"])
def test_a_part_of_dstate_may_be_missing(cell_name, missing):
    made = problem(REGISTRY[cell_name], num_layers=2)
    dstate = list(made.dstate)
    dstate[missing] = np.zeros_like(dstate[missing])
    expected = gradients(made, made.dy, tuple(dstate))
    dstate[missing] = None
    assert_equal(gradients(made, made.dy, tuple(dstate)), expected)
    assert_equal(gradients(made, None, (None, None)), gradients(made, None, None))


@pytest.mark.parametrize("name", [n for n, c in REGISTRY.items() if not c.proj_size])
def test_a_single_step_too(name):
    cell = REGISTRY[name]
    step = cell.cell_class(3, 4, seed=0)
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(f32)
    state = tuple(np.ones((2, 4), f32) for _ in cell.states)
    full = list(state)
    full[1:] = [np.zeros((2, 4), f32) for _ in full[1:]]
    _, saved = step.forward(x, joined(state))
    expected = step.backward(joined(tuple(full)), saved)
    _, saved = step.forward(x, joined(state))
    missing = (state[0], *[None] * (len(state) - 1))
    got = step.backward(joined(missing), saved)
    np.testing.assert_array_equal(got[0], expected[0])
    assert got[0].any()
    for name, grad in expected[2].items():
        np.testing.assert_array_equal(got[2][name], grad)
    _, saved = step.forward(x, joined(state))
    assert not step.backward(None, saved)[0].any()


@pytest.mark.parametrize("first", [[], [fastcell.Embedding(7, 3, seed=1)]])
def test_a_sequential_hands_on_that_there_is_no_dy(first):
    layers = [*first, fastcell.GRU(3, 4, seed=0), fastcell.Linear(4, 2, seed=0)]
    model = fastcell.Sequential(layers)
    x = np.ones((5, 2), int) if first else np.ones((5, 2, 3), f32)
    dstate = np.ones((1, 2, 4), f32)
    y, _, saved = model.forward(x)
    expected = model.backward(np.zeros_like(y), saved, dstate)[2]
    got = model.backward(None, model.forward(x)[2], dstate)[2]
    assert got.keys() == expected.keys() == model.state_dict().keys()
    for name, grad in expected.items():
        np.testing.assert_array_equal(got[name], grad)


def test_a_sequential_without_a_state_needs_dy():
    model = fastcell.Sequential([fastcell.Linear(3, 2)])
    _, saved = model.forward(np.ones((2, 3), f32))
    refuses(TypeError, ["dy", "array", "NoneType"], model.backward, None, saved)


def test_no_zeros_of_the_size_of_y_are_made():
    layer = fastcell.GRU(1, 64, seed=0)
    x, dh = np.ones((300, 8, 1), f32), np.ones((1, 8, 64), f32)

    def peak(dy):
        y, _, saved = layer.forward(x)
        tracemalloc.start()
        layer.backward(dy, saved, dh)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found, y

    _, y = peak(None)
    zeros = np.zeros_like(y)
    given, _ = peak(zeros)
    missing, _ = peak(None)
    assert missing < given + zeros.nbytes // 10
