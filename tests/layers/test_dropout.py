"""Dropout, as a layer and between recurrent layers."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from oracle import by_name, problem, same_bits
from refusals import refuses
from tolerances import DENSE, DIFFERENCE, STANDARD_ERRORS, error

import fastcell

f32, f64 = np.float32, np.float64

# --------------------------------------------------------------------- Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [f32, f64])
def test_dropout_drops_its_share_and_keeps_the_mean(p, dtype):
    n = 200_000
    layer = fastcell.Dropout(p, seed=0)
    y, saved = layer.forward(np.ones((n // 100, 100), dtype))
    assert y.dtype == dtype
    assert set(np.unique(y)) == {0, dtype(1 / (1 - p))}
    dropped = (y == 0).mean()
    assert abs(dropped - p) <= STANDARD_ERRORS * (p * (1 - p) / n) ** 0.5
    spread = (p / (1 - p) / n) ** 0.5
    assert abs(y.mean(dtype=f64) - 1) <= STANDARD_ERRORS * spread
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    dx, grads = layer.backward(dy, saved)
    assert np.array_equal(dx, dy * y)  # x is 1: y is what it was multiplied with
    assert grads == {}


def test_dropout_of_what_is_not_contiguous():
    x = np.random.default_rng(0).standard_normal((40, 30)).astype(f32)
    turned = fastcell.Dropout(0.5, seed=0).forward(x.T)[0]
    straight = fastcell.Dropout(0.5, seed=0).forward(np.ascontiguousarray(x.T))[0]
    assert turned.shape == (30, 40)
    assert same_bits(turned, straight)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_dropout_of_one_number_and_of_no_number(shape):
    layer, x = fastcell.Dropout(0.5, seed=0), np.ones(shape, f32)
    y, saved = layer.forward(x)
    assert y.shape == shape
    assert same_bits(layer.backward(x, saved)[0], y)


def test_dropout_of_none_or_all():
    x = np.ones(1000, f32)
    assert same_bits(fastcell.Dropout(0).forward(x)[0], x)
    assert not fastcell.Dropout(1).forward(x)[0].any()


def test_dropout_is_for_training_only_and_repeats_by_seed():
    x = np.ones(1000, f32)
    one, two, other = (fastcell.Dropout(0.5, seed=s) for s in (1, 1, 2))
    assert one(x) is x
    first, second = one.forward(x)[0], one.forward(x)[0]
    assert same_bits(first, two.forward(x)[0])
    assert same_bits(second, two.forward(x)[0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other.forward(x)[0])
    state = one.rng_state()
    third = one.forward(x)[0]
    one.set_rng_state(state)
    assert same_bits(one.forward(x)[0], third)


def test_dropout_refuses():
    refuses(ValueError, ["p", "<= 1", "1.5"], fastcell.Dropout, 1.5)
    refuses(ValueError, ["p", ">= 0", "-0.5"], fastcell.Dropout, -0.5)
    refuses(ValueError, ["p", "finite", "nan"], fastcell.Dropout, float("nan"))
    refuses(TypeError, ["p", "number"], fastcell.Dropout, "0.5")
    layer = fastcell.Dropout(0.5, seed=0)
    refuses(
        TypeError, ["x", "float32 or float64", "int64"], layer.forward, np.arange(3)
    )
    _, saved = layer.forward(np.ones(4, f32))
    refuses(ValueError, ["dy", "(4,)", "(3,)"], layer.backward, np.ones(3, f32), saved)
    refuses(TypeError, ["dy", "float32", "float64"], layer.backward, np.ones(4), saved)
    refuses(TypeError, ["x", "float32 or float64", "int64"], layer, np.arange(3))


def test_the_gradient_has_the_share_of_its_forward():
    layer, x = fastcell.Dropout(0.25, seed=0), np.ones(1000, f32)
    y, saved = layer.forward(x)
    layer.p = 0.75
    assert same_bits(layer.backward(x, saved)[0], y)


# ------------------------------------------- dropout between recurrent layers


@pytest.mark.parametrize("bidirectional", [False, True])
@by_name
def test_dropout_between_layers_and_its_gradient(cell, bidirectional):
    made = problem(
        cell,
        T=6,
        B=4,
        H=9,
        num_layers=3,
        bidirectional=bidirectional,
        dropout=0.4,
        kind="lengths",
    )
    layer = made.layer
    state = layer.rng_state()
    masks = layer._dropout_masks(made.T, made.B)
    assert masks.shape == (2, made.T, made.B, made.dy.shape[-1])
    assert set(np.unique(masks)) == {0, 1 / (1 - 0.4)}
    layer.set_rng_state(state)
    y, final, gradients = made.train()
    made.sequence["dropout"] = masks  # for the oracle
    y_expected, final_expected = made.expected()
    assert error(y, y_expected) <= DENSE[f64]
    for got, expected in zip(final, final_expected, strict=True):
        assert error(got, expected) <= DENSE[f64]
    errors = oracle.slope_error(made, gradients)
    assert max(errors.values()) <= DIFFERENCE, errors


@by_name
def test_dropout_between_layers_repeats_by_seed_and_rests_in_inference(cell):
    def made(seed, dropout=0.5, num_layers=2):
        return cell.layer(3, 8, num_layers=num_layers, dropout=dropout, seed=seed)

    x = np.ones((9, 4, 3), f32)
    one, two = made(1), made(1)
    first, second = one.forward(x)[0], one.forward(x)[0]
    assert same_bits(first, two.forward(x)[0])
    assert same_bits(second, two.forward(x)[0])
    assert not np.array_equal(first, second)
    plain = made(1, dropout=0.0)
    assert same_bits(one(x)[0], plain(x)[0])
    assert same_bits(made(1, num_layers=1).forward(x)[0], made(1, 0.0, 1)(x)[0])
    nothing = made(1, dropout=1.0).forward(x)[0]
    assert np.isfinite(nothing).all()
    assert same_bits(nothing[:, 0], nothing[:, 1])
