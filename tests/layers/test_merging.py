"""merge: sums, products and means of both directions, forward and backward."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from oracle import KINDS, by_name, joined, problem, same_bits, split
from refusals import refuses
from tolerances import DIFFERENCE, DIFFERENCE_STEP

import fastcell
from fastcell.layers.merging import MERGES

by_merge = pytest.mark.parametrize("merge", MERGES[1:])
FORMULAS = {
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": (lambda a, b: (a + b) / 2),
}


def merging(layer, merge, **changes):
    """The same layer, with another merge."""
    other = type(layer).from_config({**layer.config(), "merge": merge, **changes})
    other.load_state_dict(layer.state_dict())
    return other


@pytest.mark.parametrize("kind", KINDS)
@by_merge
@by_name
def test_outputs_are_those_of_both_directions_by_the_formula(cell, merge, kind):
    made = problem(cell, bidirectional=True, kind=kind)
    y, final = made.call()
    expected = FORMULAS[merge](*np.split(y, 2, axis=-1))
    layer = merging(made.layer, merge)
    got, got_final = layer(made.x, joined(made.state), **made.sequence)
    assert same_bits(got, expected)
    for a, b in zip(split(got_final), final, strict=True):
        assert same_bits(a, b)
    assert same_bits(
        layer.forward(made.x, joined(made.state), **made.sequence)[0], expected
    )
    if "lengths" in made.sequence:
        past = np.arange(made.T)[:, np.newaxis] >= made.sequence["lengths"]
        assert past.any() and not got[past].any()


@pytest.mark.parametrize("kind", ["plain", "everything"])
@by_merge
@by_name
def test_gradients_are_the_slopes(cell, merge, kind):
    made = problem(cell, bidirectional=True, kind=kind)
    layer, dy = merging(made.layer, merge), made.dy[..., : made.dy.shape[2] // 2]

    def loss(x):
        y, final = layer(x, joined(made.state), **made.sequence)
        parts = zip(split(final), made.dstate, strict=True)
        return (y * dy).sum() + sum((s * d).sum() for s, d in parts)

    _, _, saved = layer.forward(made.x, joined(made.state), **made.sequence)
    dx, _, grads = layer.backward(dy, saved, joined(made.dstate))
    step = np.random.default_rng(0).standard_normal(made.x.shape)
    ahead = [loss(made.x + sign * DIFFERENCE_STEP * step) for sign in (1, -1)]
    slope = (ahead[0] - ahead[1]) / (2 * DIFFERENCE_STEP)
    assert abs((dx * step).sum() - slope) < DIFFERENCE * (1 + abs(slope))
    for name in ("weight_ih_l0", "bias_ih_l0_reverse"):
        weight, ahead = layer.params[name], []
        step = np.random.default_rng(1).standard_normal(weight.shape)
        for sign in (1, -2):
            weight += sign * DIFFERENCE_STEP * step
            ahead.append(loss(made.x))
        weight += DIFFERENCE_STEP * step
        slope = (ahead[0] - ahead[1]) / (2 * DIFFERENCE_STEP)
        assert abs((grads[name] * step).sum() - slope) < DIFFERENCE * (1 + abs(slope))


@by_merge
def test_batch_first_and_without_a_batch(merge):
    made = problem(fastcell.cells.REGISTRY["gru"], bidirectional=True)
    y, _ = merging(made.layer, merge)(made.x)
    layer, x = merging(made.layer, merge, batch_first=True), made.x.swapaxes(0, 1)
    got, _, saved = layer.forward(np.ascontiguousarray(x))
    assert got.flags.c_contiguous and got.shape == (made.B, made.T, 7)
    assert same_bits(got.swapaxes(0, 1), y)
    dx = layer.backward(got, saved)[0]
    assert dx.shape == x.shape
    one, _, saved = layer.forward(np.ascontiguousarray(made.x[:, 0]))
    assert same_bits(one, y[:, 0])
    assert same_bits(layer.backward(one, saved)[0], dx[0])


@by_merge
def test_masked_outputs_that_are_zero_stay_zero(merge):
    made = problem(fastcell.cells.REGISTRY["lstm"], bidirectional=True, kind="mask")
    layer = merging(made.layer, merge, zero_output_for_mask=True)
    y, _, saved = layer.forward(made.x, **made.sequence)
    masked = ~made.sequence["mask"]
    assert masked.any() and not y[masked].any() and y[~masked].all()
    dy = np.where(masked[..., np.newaxis], np.nan, y)
    assert np.isfinite(layer.backward(dy, saved)[0]).all()


def test_a_product_keeps_the_factors_until_backward():
    layer = fastcell.GRU(3, 4, bidirectional=True, seed=0)
    x = np.ones((5, 2, 3), np.float32)
    nbytes = {m: merging(layer, m).forward(x)[2].nbytes for m in ("sum", "mul")}
    assert nbytes["mul"] == nbytes["sum"] + 5 * 2 * 8 * 4
    merging_layer = merging(layer, "mul")
    y, _, saved = merging_layer.forward(x)
    y[...] = 0  # the caller's own
    dx = merging_layer.backward(np.ones_like(y), saved)[0]
    assert saved.nbytes == 0 and dx.all()


def test_it_is_in_configurations_files_and_copies(path):
    layer = fastcell.LSTM(3, 4, bidirectional=True, merge="ave", seed=0)
    assert layer.config()["merge"] == "ave"
    assert "merge" not in fastcell.LSTM(3, 4).config()
    fastcell.save(layer, path)
    x = np.ones((5, 2, 3), np.float32)
    for other in (fastcell.load(path), copy.deepcopy(layer)):
        assert same_bits(other(x)[0], layer(x)[0])


def test_a_chain_of_merging_layers_is_a_stack_as_keras_has_it():
    first = fastcell.GRU(3, 4, bidirectional=True, merge="sum", seed=0)
    second = fastcell.GRU(4, 4, bidirectional=True, merge="sum", seed=1)
    model = fastcell.Sequential([first, second])
    x = np.ones((5, 2, 3), np.float32)
    assert same_bits(model(x)[0], second(first(x)[0])[0])


def test_wrong_merges_are_refused():
    both = {"bidirectional": True}
    refuses(ValueError, ["merge", "'add'"], fastcell.GRU, 2, 3, merge="add", **both)
    refuses(ValueError, ["merge", "one direction"], fastcell.RNN, 2, 3, merge="sum")
    refuses(
        ValueError,
        ["merge", "num_layers", "Sequential"],
        fastcell.LSTM,
        2,
        3,
        num_layers=2,
        merge="mul",
        **both,
    )
    layer = fastcell.GRU(2, 3, merge="sum", **both)
    _, _, saved = layer.forward(np.ones((4, 1, 2), np.float32))
    wide = np.ones((4, 1, 6), np.float32)
    refuses(ValueError, ["dy", "(4, 1, 3)", "(4, 1, 6)"], layer.backward, wide, saved)
