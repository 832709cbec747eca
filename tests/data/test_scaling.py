"""Means and spreads against exact sums: near constants and at extreme sizes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from tolerances import SCALED

from fastcell.data import log_mel, mean_and_spread, mfcc, normalize

FLOATS = [np.float16, np.float32, np.float64]


def exact(values):
    """Return mean and spread of a row of floats, by fractions up to the root."""
    values = [Fraction(float(v)) for v in values]
    mean = sum(values) / len(values)
    return float(mean), float(sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5


def near(center, spread, dtype, steps=997):
    noise = np.random.default_rng(0).standard_normal((steps, 3))
    return (center + spread * noise).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "center, spread", [(0, 1), (100, 0.02), (-1e6, 3), (1e-30, 1e-34), (1e30, 1e27)]
)
def test_normalized_is_what_exact_sums_give(dtype, center, spread):
    x = near(center, spread, dtype)
    found = normalize(x)
    means, spreads = mean_and_spread(x)
    assert found.dtype == dtype
    assert means.dtype == spreads.dtype == np.float64
    for j, column in enumerate(x.T):
        mean, deviation = exact(column)
        np.testing.assert_allclose(means[j], mean, rtol=1e-15, atol=1e-15 * deviation)
        np.testing.assert_allclose(spreads[j], deviation, rtol=1e-13)
        wanted = (column.astype(np.float64) - mean) / deviation
        np.testing.assert_allclose(found[:, j], wanted, **SCALED[dtype])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [0.1, -0.1, 1.0, 7.7, 0.0, -3e4, 6e-8])
def test_a_constant_becomes_0(dtype, value):
    x = np.full((1001, 2), value, dtype)
    assert not normalize(x).any()
    assert mean_and_spread(x)[0].tolist() == [float(dtype(value))] * 2
    assert not mean_and_spread(x)[1].any()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [0.1, -0.1, 1.0, 1.5, 7.7, -1024.0, 0.0, 6e-8])
@pytest.mark.parametrize("count", [1, 500, 1000])
def test_one_unit_in_the_last_place_is_no_spread(dtype, value, count):
    x = np.full((1000, 2), value, dtype)
    x[:count, 0] = np.nextafter(x[0, 0], dtype(np.inf))
    x[-count:, 1] = np.nextafter(x[-1, 1], dtype(-np.inf))
    assert not normalize(x).any()
    both = np.concatenate([x[:, :1], x[:, 1:]])
    assert not normalize(both).any()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [0.1, 1.0, 1.5, -1024.0, 6e-8])
def test_a_few_units_in_the_last_place_are_a_spread(dtype, value):
    x = np.full((1000, 1), value, dtype)
    for _ in range(5):
        x[::2] = np.nextafter(x[::2], dtype(np.inf))
    np.testing.assert_allclose(np.abs(normalize(x)), 1)


def test_integers_are_as_exact_as_float64():
    x = np.array([[10**9, 7], [10**9 + 1, 7]])
    np.testing.assert_array_equal(normalize(x), [[-1.0, 0.0], [1.0, 0.0]])


@pytest.mark.parametrize("features", [log_mel, mfcc])
@pytest.mark.parametrize("count", [8000, 3333])
def test_silence_becomes_0(features, count):
    assert not normalize(features(np.zeros(count), 8000)).any()


def test_values_whose_squares_overflow_are_normalized():
    x = np.array([[1.5e308, 1e-320], [-1.5e308, 5e-320]])
    np.testing.assert_allclose(normalize(x), [[1, -1], [-1, 1]])
    np.testing.assert_allclose(mean_and_spread(x)[0], [0, 3e-320])


def test_all_axes_but_the_last_are_taken_together():
    x = near(5, 2, np.float32, 60)
    for found, wanted in zip(
        mean_and_spread(x.reshape(3, 4, 5, 3)), mean_and_spread(x), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_features_are_not_written_to():
    x = near(5, 2, np.float64, 7)
    kept = x.copy()
    normalize(x), mean_and_spread(x)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("function", [normalize, mean_and_spread])
@pytest.mark.parametrize(
    "features, error, message",
    [
        (None, TypeError, "features"),
        ("text", TypeError, "features must be real numbers; got dtype <U4"),
        ({}, TypeError, "features"),
        (np.zeros((2, 2), complex), TypeError, "features.*complex128"),
        (np.zeros(3), ValueError, r"features must have the shape.*\(3,\)"),
        (np.zeros((0, 3)), ValueError, r"features must hold a frame.*\(0, 3\)"),
        ([[1.0], [np.nan]], ValueError, "features must be finite"),
        ([[1.0], [-np.inf]], ValueError, "features must be finite"),
    ],
)
def test_bad_features_are_named(function, features, error, message):
    with pytest.raises(error, match=message):
        function(features)


def test_only_frames_of_one_recording_are_normalized():
    with pytest.raises(ValueError, match=r"\(T, F\); got \(2, 2, 2\)"):
        normalize(np.zeros((2, 2, 2)))
