"""zero_output_for_mask: y is 0 at masked steps, and its gradient there is ignored."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import by_name, joined, problem, same_bits
from refusals import refuses

import fastcell


def zeroing(made, **changes):
    """The same layer with zero_output_for_mask."""
    config = {**made.layer.config(), "zero_output_for_mask": True, **changes}
    layer = type(made.layer).from_config(config)
    layer.load_state_dict(made.layer.state_dict())
    return layer


def masked(made, array):
    return np.where(made.sequence["mask"][..., np.newaxis], array, 0)


@pytest.mark.parametrize(
    "bidirectional, budget",
    [(False, None), (False, 0), (True, None)],
    ids=["one-way", "segments", "both-ways"],
)
@pytest.mark.parametrize("kind", ["mask", "everything"])
@by_name
def test_masked_outputs_are_zero_and_have_no_gradient(
    cell, kind, bidirectional, budget
):
    made = problem(cell, T=9, num_layers=2, bidirectional=bidirectional, kind=kind)
    assert not made.sequence["mask"].all()
    y, final, saved = made.layer.forward(made.x, joined(made.state), **made.sequence)
    dstate = joined(made.dstate)
    expected = made.layer.backward(masked(made, made.dy), saved, dstate)

    layer = zeroing(made)
    got, got_final, saved = layer.forward(
        made.x, joined(made.state), **made.sequence, memory_budget=budget
    )
    assert same_bits(got, masked(made, y))
    assert same_bits(layer(made.x, joined(made.state), **made.sequence)[0], got)
    for a, b in zip(parts_of(got_final), parts_of(final), strict=True):
        assert same_bits(a, b)
    dy = np.where(made.sequence["mask"][..., np.newaxis], made.dy, np.nan)
    results = layer.backward(dy, saved, dstate)
    assert same_bits(results[0], expected[0])
    for name, grad in expected[2].items():
        assert same_bits(results[2][name], grad), name


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


def test_batch_first_and_without_a_batch():
    made = problem(fastcell.cells.REGISTRY["gru"], kind="mask")
    y, _ = made.layer(made.x, **made.sequence)
    layer, mask = zeroing(made, batch_first=True), made.sequence["mask"]
    got, _ = layer(np.swapaxes(made.x, 0, 1), mask=mask.T)
    assert same_bits(np.ascontiguousarray(got.swapaxes(0, 1)), masked(made, y))
    one, _ = layer(np.ascontiguousarray(made.x[:, 0]), mask=mask[:, 0])
    assert same_bits(one, np.ascontiguousarray(masked(made, y)[:, 0]))


def test_without_a_mask_nothing_changes():
    made = problem(fastcell.cells.REGISTRY["lstm"])
    assert same_bits(zeroing(made)(made.x)[0], made.layer(made.x)[0])


def test_it_is_saved_and_checked(path):
    layer = fastcell.LSTM(2, 3, zero_output_for_mask=True, seed=0)
    fastcell.save(layer, path)
    assert fastcell.load(path).zero_output_for_mask is True
    assert fastcell.LSTM(2, 3).config()["zero_output_for_mask"] is False
    words = ["zero_output_for_mask", "True or False", "1"]
    refuses(TypeError, words, fastcell.GRU, 2, 3, zero_output_for_mask=1)
