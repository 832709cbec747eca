"""Gradients of every cell, against central differences of its NumPy step."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from oracle import (
    by_name,
    every_stack,
    joined,
    problem,
    problems,
    slope_error,
    split,
)
from tolerances import DIFFERENCE, DIFFERENCE_STEP, GRADIENT_FLOAT32, error

SIZES = [
    {"T": 5, "B": 3, "I": 3, "H": 7},
    {"T": 2, "B": 7, "I": 17, "H": 9},
    {"T": 1, "B": 2, "I": 1, "H": 33},
    {"T": 5, "B": 1, "I": 2, "H": 17},
    {"T": 4, "B": 2, "I": 0, "H": 1},
]


def assert_right(made):
    _, _, gradients = made.train()
    errors = slope_error(made, gradients)
    assert max(errors.values()) <= DIFFERENCE, errors


@every_stack(most_layers=2)
def test_gradients_are_the_differences(cell, num_layers, bidirectional, kind):
    for made in problems(
        cell, SIZES, kind=kind, num_layers=num_layers, bidirectional=bidirectional
    ):
        assert_right(made)


@by_name
def test_gradients_are_the_differences_under_every_instruction_set(cell, isa):
    assert_right(
        problem(cell, kind="everything", num_layers=3, bidirectional=True, H=9)
    )


@by_name
def test_gradients_without_bias_are_the_differences(cell):
    assert_right(problem(cell, bias=False, num_layers=2))


@by_name
def test_gradients_of_many_units_are_the_differences(cell, isa):
    # More units than the 240 that a weight gradient transposes at a time.
    assert_right(problem(cell, T=2, B=4, I=5, H=251))


@by_name
def test_gradients_of_many_pairs_are_the_differences(cell, isa):
    # More pairs than two blocks of 256 of a weight gradient, and than the 128 rows of
    # an input gradient.
    made = problem(
        cell, T=120, B=9, I=5, H=6, kind="lengths", bidirectional=True, seed=1
    )
    assert made.sequence["lengths"].sum() > 520
    assert_right(made)


@pytest.mark.parametrize("kind", ["plain", "everything"])
@by_name
def test_gradients_of_float32_are_those_of_float64(cell, kind, isa):
    for sizes in ({"H": 7}, {"T": 40, "B": 9, "I": 19, "H": 33}):
        made = problem(cell, kind=kind, num_layers=2, bidirectional=True, **sizes)
        _, _, expected = made.train()
        _, _, got = made.as_float32().train()
        for name, gradient in got.items():
            assert gradient.dtype == np.float32
            assert error(gradient, expected[name]) <= GRADIENT_FLOAT32, name


@by_name
def test_no_gradient_of_the_final_state_is_one_of_zeros(cell):
    made = problem(cell, num_layers=2, bidirectional=True)
    zeros = tuple(np.zeros_like(s) for s in made.dstate)
    gradients = []
    for dstate in (joined(zeros), None):
        _, _, saved = made.layer.forward(made.x, joined(made.state))
        gradients.append(made.layer.backward(made.dy, saved, dstate))
    assert np.array_equal(gradients[0][0], gradients[1][0])
    assert all(map(np.array_equal, split(gradients[0][1]), split(gradients[1][1])))
    for name, gradient in gradients[0][2].items():
        assert np.array_equal(gradient, gradients[1][2][name])


@by_name
def test_gradients_are_keyed_like_the_state_dict(cell):
    made = problem(cell, num_layers=2, bidirectional=True)
    _, _, saved = made.layer.forward(made.x)
    _, _, grads = made.layer.backward(made.dy, saved)
    shapes = {name: w.shape for name, w in made.layer.state_dict().items()}
    assert {name: g.shape for name, g in grads.items()} == shapes


@by_name
def test_gradients_do_not_accumulate_over_calls(cell):
    made = problem(cell)
    first, second = made.train()[2], made.train()[2]
    for name, gradient in first.items():
        assert np.array_equal(gradient, second[name])


@by_name
def test_steps_past_a_length_have_no_gradient(cell):
    made = problem(cell, kind="lengths", bidirectional=True, T=9, B=7)
    dx = made.train()[2]["x"]
    past = np.arange(made.T)[:, np.newaxis] >= made.sequence["lengths"]
    assert past.any()
    assert not dx[past].any()
    made.dy[past] = np.nan  # never read
    assert np.array_equal(made.train()[2]["x"], dx)


@by_name
def test_gradients_of_the_cell_class_are_the_differences(cell):
    if cell.proj_size:
        return  # cells do not project: test_cells_forward
    made = problem(cell, T=1)
    one = cell.cell_class(3, 7, dtype=np.float64, seed=5, **cell.options)
    x, state = made.x[0], tuple(s[0] for s in made.state)
    weights = tuple(d[0] for d in made.dstate)
    _, saved = one.forward(x, joined(state))
    dx, dstate, grads = one.backward(joined(weights), saved)
    gradients = {"x": dx, **oracle.named(split(dstate)), **grads}
    values = {"x": x, **oracle.named(state), **one.state_dict()}

    def loss(values):
        state = tuple(values[f"state {i}"] for i in range(len(made.state)))
        final = cell.step(values["x"], state, values)
        return sum((f * w).sum() for f, w in zip(final, weights, strict=True))

    random = np.random.default_rng(0)
    for name, value in values.items():
        direction = random.standard_normal(value.shape)
        ahead, behind = (
            loss({**values, name: value + sign * DIFFERENCE_STEP * direction})
            for sign in (1, -1)
        )
        expected = (ahead - behind) / (2 * DIFFERENCE_STEP)
        got = (gradients[name] * direction).sum()
        assert abs(got - expected) <= DIFFERENCE * (1 + abs(expected)), name
