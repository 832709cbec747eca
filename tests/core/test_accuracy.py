"""exp, sigmoid and tanh, against long double (DESIGN, promise 2).

A C program tests all float32 values; here are a few million of them, and a sample of
float64.
"""

from __future__ import annotations

import numpy as np
import pytest
from oracle import same_bits
from tolerances import ULP, ULP_FLOAT32

from fastcell import _core

f32, f64 = np.float32, np.float64
LONG = np.longdouble


def exact(function, x):
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        x = x.astype(LONG)
        if function == "exp":
            return np.exp(x)
        if function == "tanh":
            return np.tanh(x)
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e, LONG(1)) / (1 + e)


def ulps(got, wanted, dtype):
    """Return errors in units in the last place of the exact value, rounded to dtype."""
    largest = np.finfo(dtype).max
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        unit = np.spacing(np.minimum(np.abs(wanted), largest).astype(dtype)).astype(
            LONG
        )
        errors = np.abs(got.astype(LONG) - wanted) / unit
    right = (np.isnan(got) & np.isnan(wanted)) | (np.isinf(got) & (wanted > largest))
    return np.where(right, 0, errors)


def values(dtype, n):
    """Return values of all exponents and signs, and many where the functions bend."""
    random = np.random.default_rng(0)
    unsigned = np.uint32 if dtype is f32 else np.uint64
    bits = random.integers(0, np.iinfo(unsigned).max, n, unsigned, endpoint=True)
    near_zero = random.standard_normal(n) * 10.0 ** random.uniform(-9, 0, n)
    far = 110 if dtype is f32 else 760
    return np.concatenate(
        [
            bits.view(dtype),
            random.uniform(-far, far, n).astype(dtype),
            random.uniform(-11, 11, n).astype(dtype),
            near_zero.astype(dtype),
        ]
    )


needs_long_double = pytest.mark.skipif(
    np.finfo(LONG).nmant <= np.finfo(f64).nmant,
    reason="long double is float64 here: nothing to check float64 against",
)


@pytest.mark.parametrize("function", ["exp", "sigmoid", "tanh"])
@pytest.mark.parametrize(
    "dtype, n", [(f32, 250_000), pytest.param(f64, 50_000, marks=needs_long_double)]
)
def test_functions_are_within_3_ulp(function, dtype, n, isa):
    x = values(dtype, n)
    y = _core.elementary(function, x)
    errors = ulps(y, exact(function, x), dtype)
    worst = np.argmax(np.where(np.isnan(errors), np.inf, errors))
    assert errors[worst] <= ULP, (x[worst], y[worst])


@pytest.mark.parametrize("function", ULP_FLOAT32)
def test_float32_functions_are_as_exact_as_measured(function, isa):
    # The binades from 2^-8 to 2^4; beyond them the functions are flat or overflow.
    random = np.random.default_rng(1)
    x = random.uniform(0.5, 1, (12, 50_000)) * 2.0 ** np.arange(-7, 5)[:, np.newaxis]
    x = (x * random.choice([-1, 1], x.shape)).astype(f32).ravel()
    y = _core.elementary(function, x)
    errors = ulps(y, exact(function, x), f32)
    worst = np.argmax(errors)
    assert errors[worst] <= ULP_FLOAT32[function], (x[worst], y[worst])


INF, NAN = np.inf, np.nan
SPECIALS = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (1e4, INF), (-1e4, 0.0)],
    "sigmoid": [
        (0.0, 0.5),
        (-0.0, 0.5),
        (INF, 1.0),
        (-INF, 0.0),
        (1e4, 1.0),
        (-1e4, 0.0),
    ],
    "tanh": [
        (0.0, 0.0),
        (-0.0, -0.0),
        (INF, 1.0),
        (-INF, -1.0),
        (1e4, 1.0),
        (-1e4, -1.0),
    ],
}


@pytest.mark.parametrize("dtype", [f32, f64])
@pytest.mark.parametrize("function", SPECIALS)
def test_special_values_are_exact(function, dtype, isa):
    x, y = np.array([*SPECIALS[function], (NAN, NAN), (-NAN, NAN)], dtype).T
    got = _core.elementary(function, x)
    assert same_bits(got[:-2], y[:-2])
    assert np.isnan(got[-2:]).all()


@pytest.mark.parametrize("dtype", [f32, f64])
@pytest.mark.parametrize("function", SPECIALS)
def test_tails_take_the_same_arithmetic(function, dtype, isa):
    x = np.random.default_rng(0).uniform(-5, 5, 70).astype(dtype)
    whole = _core.elementary(function, x)
    for n in range(70):
        assert same_bits(_core.elementary(function, x[:n]), whole[:n])
        assert same_bits(_core.elementary(function, x[n:]), whole[n:])


@pytest.mark.parametrize("dtype", [f32, f64])
def test_tanh_is_odd_and_sigmoid_stays_in_range(dtype, isa):
    x = values(dtype, 50_000)
    x = x[~np.isnan(x)]
    tanh = _core.elementary("tanh", x)
    assert same_bits(_core.elementary("tanh", -x), -tanh)
    assert (np.abs(tanh) <= 1).all()
    sigmoid = _core.elementary("sigmoid", x)
    assert ((sigmoid >= 0) & (sigmoid <= 1)).all()


def test_elementary_refuses():
    with pytest.raises(ValueError, match="exp, sigmoid or tanh; got 'cosh'"):
        _core.elementary("cosh", np.zeros(3))
    with pytest.raises(TypeError, match="float32 or float64; got int64"):
        _core.elementary("exp", np.zeros(3, int))
