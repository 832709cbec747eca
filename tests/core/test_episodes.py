"""Episodes in one sequence, separated by `reset`: the same bits as each alone.

A border is between two steps, and cuts both directions.
"""

from dataclasses import replace

import numpy as np
import pytest
from oracle import Problem, problem, same_bits

from fastcell.cells import REGISTRY

by_name = pytest.mark.parametrize("cell", REGISTRY.values(), ids=REGISTRY)

STARTS = (0, 2, 3, 7)  # of the episodes; the second has one step
T = 11


def made_of(cell, starts=STARTS, mask=None, **arguments) -> Problem:
    """Make a bidirectional stack of two layers, and its batch in float32."""
    arguments = {"num_layers": 2, "bidirectional": True, **arguments}
    made = problem(cell, T=T, B=3, I=5, H=9, **arguments)
    reset = np.zeros((T, 3), bool)
    reset[list(starts)] = True
    sequence = {"reset": reset} if mask is None else {"reset": reset, "mask": mask}
    return replace(made.as_float32(), sequence={**made.sequence, **sequence})


def episode(made: Problem, begin: int, end: int) -> Problem:
    """Return the steps begin .. end-1 alone.

    The last episode of a row has the reverse direction's initial state, and the
    gradient of the forward direction's final one; the first has the gradient of the
    reverse direction's. The forward direction's initial state is dropped by reset[0].
    """
    sequence = {}
    lengths = made.sequence.get("lengths", np.full(made.B, made.T))
    if "lengths" in made.sequence:
        sequence["lengths"] = np.clip(lengths - begin, 0, end - begin)
    if "mask" in made.sequence:
        sequence["mask"] = made.sequence["mask"][begin:end]
    is_last = (begin < lengths) & (lengths <= end)
    is_first, nowhere = np.full(made.B, begin == 0), np.zeros(made.B, bool)
    return replace(
        made,
        x=made.x[begin:end],
        dy=made.dy[begin:end],
        state=tuple(chosen(s, nowhere, is_last) for s in made.state),
        dstate=tuple(chosen(s, is_last, is_first) for s in made.dstate),
        sequence=sequence,
    )


def chosen(states, forward, reverse):
    """Return the states (L D, B, n) of some rows of each direction, and zeros."""
    rows = np.tile([forward, reverse], (len(states) // 2, 1))
    return np.where(rows[:, :, np.newaxis], states, np.zeros_like(states))


def assert_packed_is_separate(made: Problem, starts=STARTS) -> None:
    y, final, gradients = made.train()
    y_inferred, _ = made.call()
    assert same_bits(y_inferred, y)
    for begin, end in zip(starts, (*starts[1:], T), strict=True):
        alone = episode(made, begin, end)
        y_alone, final_alone, gradients_alone = alone.train()
        assert same_bits(y[begin:end], y_alone), begin
        assert same_bits(gradients["x"][begin:end], gradients_alone["x"]), begin
        if begin == 0:  # the reverse direction ends with the first episode
            for got, expected in zip(final, final_alone, strict=True):
                assert same_bits(got[1::2], expected[1::2])
        if end == T and "lengths" not in made.sequence:
            for i, (got, expected) in enumerate(zip(final, final_alone, strict=True)):
                assert same_bits(got[::2], expected[::2])
                name = f"state {i}"
                assert same_bits(gradients[name][1::2], gradients_alone[name][1::2])


@by_name
def test_packed_episodes_are_separate_ones(cell, isa):
    assert_packed_is_separate(made_of(cell))


@by_name
def test_packed_episodes_are_separate_ones_with_lengths(cell):
    # 7 and 2 end on a border: the one after them does not exist.
    made = made_of(cell)
    lengths = np.array([9, 7, 2])
    assert_packed_is_separate(
        replace(made, sequence={**made.sequence, "lengths": lengths})
    )


@by_name
def test_a_border_cuts_before_its_step_whether_or_not_that_is_masked(cell):
    mask = np.ones((T, 3), bool)
    mask[[2, 3, 6, 10]] = False  # the whole second episode; a first and last steps
    mask[7, 1] = False
    assert_packed_is_separate(made_of(cell, mask=mask))


@by_name
def test_recomputed_gates_know_the_borders(cell):
    made = made_of(cell)
    _, _, saved = made.layer.forward(made.x, reset=made.sequence["reset"])
    kept = saved.nbytes
    dx, _, _ = made.layer.backward(made.dy, saved)
    _, _, small = made.layer.forward(
        made.x, reset=made.sequence["reset"], memory_budget=kept - 1
    )
    assert 0 < small.nbytes < kept
    assert same_bits(made.layer.backward(made.dy, small)[0], dx)


@by_name
def test_the_reverse_direction_ends_with_the_state_of_the_first_episode(cell):
    # reset[0] is a border before the first step: the initial state of the forward
    # direction is dropped there, and the reverse direction has already ended.
    # (One layer: a second one would see what the forward direction makes of that.)
    with_first, without = (
        made_of(cell, starts, num_layers=1) for starts in (STARTS, STARTS[1:])
    )
    for got, expected in zip(with_first.call()[1], without.call()[1], strict=True):
        assert same_bits(got[1::2], expected[1::2])
    gradients = with_first.train()[2]
    assert not gradients["state 0"][::2].any()
    assert gradients["state 0"][1::2].any()
