"""Heads of frame models: samples, and extreme floating-point values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from slopes import assert_slopes
from tolerances import STANDARD_ERRORS

from fastcell.models.heads.base import BernoulliHead, sigmoid
from fastcell.models.heads.mixture import MixtureHead

f32, f64 = np.float32, np.float64
both_dtypes = pytest.mark.parametrize("dtype", [f32, f64])


def mixture(size=2, count=1, correlated=True, floor=0.0, dtype=f64):
    return MixtureHead(size, count, correlated, floor, np.dtype(dtype))


@both_dtypes
def test_bits_of_large_logits_have_finite_losses(dtype):
    head = BernoulliHead(2, np.dtype(dtype))
    z = np.array([[1e4, -1e4], [-1e4, 1e4], [100, 100]], dtype)
    y = np.array([[1, 0], [1, 1], [1, 1]], dtype)
    assert head.nll(z, y).tolist() == [0, 1e4, 0]
    loss, dz = head.loss(z, y)
    assert loss == pytest.approx(1e4 / 3)
    assert dz == pytest.approx(np.array([[0, 0], [-1, 0], [0, 0]]) / 3, abs=1e-7)
    assert sigmoid(z).tolist() == [[1, 0], [0, 1], [1, 1]]


@both_dtypes
def test_a_frame_far_from_all_components_has_a_finite_loss(dtype):
    head = mixture(1, 2, False, dtype=dtype)
    outputs = np.array([[0, 0, -1, 1, 0, 0]], dtype)  # at -1 and 1, scale 1
    y = np.array([[1000]], dtype)
    loss, d = head.loss(outputs, y)
    # The nearer component has all of the frame: its density and its weight.
    expected = 999**2 / 2 + math.log(2 * math.sqrt(2 * math.pi))
    assert loss == pytest.approx(expected)
    assert d == pytest.approx(np.array([[0.5, -0.5, 0, -999, 0, 1 - 999**2]]))
    assert head.nll(outputs, y) == pytest.approx([expected])


@both_dtypes
@pytest.mark.parametrize("sign", [1, -1])
def test_a_correlation_of_one_to_the_bit_has_a_finite_loss(dtype, sign):
    """Where tanh is 1, 1 - rho^2 is not 0 but 4 e^(-2 r)."""
    head = mixture(dtype=dtype)
    r = 20
    outputs = np.array([[0, 0, 0, 0, 0, sign * r]], dtype)
    assert abs(np.tanh(outputs[0, -1])) == 1
    y = np.array([[0.5, sign * 0.5]], dtype)  # on the line
    loss, d = head.loss(outputs, y)
    rest = math.log(4) - 2 * r
    expected = 0.125 + rest / 2 + math.log(2 * math.pi)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(d).all()


def test_a_floor_bounds_the_density():
    outputs = np.array([[0, 3.0, -800.0]])
    y = np.array([[3.0]])
    head = mixture(1, 1, False, 0.1)
    loss, d = head.loss(outputs, y)
    assert loss == pytest.approx(math.log(0.1 * math.sqrt(2 * math.pi)))
    assert not d.any()


@pytest.mark.parametrize("size, correlated", [(1, False), (3, False), (2, True)])
@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_the_gradient_of_each_output_is_the_difference(size, correlated, floor):
    head = mixture(size, 3, correlated, floor)
    random = np.random.default_rng(0)
    outputs = random.standard_normal((7, head.outputs))
    y = random.standard_normal((7, size))
    grads = {"outputs": head.loss(outputs, y)[1]}
    assert_slopes(
        lambda: head.loss(outputs, y)[0], {"outputs": outputs}, grads, directions=20
    )


def test_the_density_is_one_in_all():
    """Summed over a grid of the plane."""
    head = mixture(2, 2, True)
    outputs = np.random.default_rng(3).standard_normal((1, head.outputs)) / 4
    step = 0.05
    line = np.arange(-12, 12, step)
    y = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    nll = head.nll(np.broadcast_to(outputs, (len(y), head.outputs)), y)
    assert np.exp(-nll).sum() * step**2 == pytest.approx(1, abs=1e-4)


def test_draws_have_the_spread_and_the_correlation_that_is_said():
    count = 20_000
    head = mixture()
    scales, rho = np.array([0.5, 3.0]), -0.8
    outputs = np.array([[0, 1, 2, *np.log(scales), np.arctanh(rho)]])
    outputs = np.repeat(outputs, count, axis=0)
    z = (head.sample(outputs, 1.0, np.random.default_rng(0)) - [1, 2]) / scales
    for values, expected in ((z**2, 1), (z.prod(axis=1), rho)):
        bound = STANDARD_ERRORS * values.std(axis=0) / math.sqrt(count)
        assert (np.abs(values.mean(axis=0) - expected) < bound).all()
    cold = head.sample(outputs, 0.25, np.random.default_rng(0))
    assert ((cold - [1, 2]) / scales).std() == pytest.approx(z.std() / 2)
    assert (head.sample(outputs, 0, np.random.default_rng(0)) == [1, 2]).all()


def test_components_are_drawn_by_their_weights():
    count = 20_000
    head = mixture(1, 2, False)
    outputs = np.array([[math.log(3), 0, -10, 10, 0, 0]])
    outputs = np.repeat(outputs, count, axis=0)
    bound = STANDARD_ERRORS * math.sqrt(0.25 / count)
    for temperature, expected in ((1, 0.75), (0.5, 0.9)):
        drawn = head.sample(outputs, temperature, np.random.default_rng(0))
        assert abs((drawn < 0).mean() - expected) < bound


def test_bits_are_drawn_by_their_probabilities():
    count = 20_000
    head = BernoulliHead(1, np.dtype(f64))
    z = np.full((count, 1), math.log(3))
    bound = STANDARD_ERRORS * math.sqrt(0.25 / count)
    for temperature, expected in ((1, 0.75), (0.5, 0.9)):
        drawn = head.sample(z, temperature, np.random.default_rng(0))
        assert abs(drawn.mean() - expected) < bound
