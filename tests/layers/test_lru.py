"""What is the LRU's own: complex units, its eigenvalues and where they begin."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
from refusals import refuses
from tolerances import FORWARD, error

import fastcell

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def complex_parameters(layer, suffix="_l0"):
    """Return B, b, nu, theta and gamma of a layer as the paper has them."""
    w = {name.removesuffix(suffix): array for name, array in layer.params.items()}
    B = w["weight_ih"][::2] + 1j * w["weight_ih"][1::2]
    b = w["bias_ih"][::2] + 1j * w["bias_ih"][1::2]
    nu, theta = w["weight_lambda"].reshape(-1, 2).T
    return B, b, nu, theta, w["weight_gamma"][::2]


def turned(layer, angles):
    """Return lambda: h after one step from 1, without an input."""
    for weight in layer.params.values():
        weight[...] = 0
    layer.params["weight_lambda_l0"][1::2] = angles
    one = np.ones(len(angles), np.result_type(layer.dtype, 1j))
    y, _ = layer(np.zeros((1, 1, 1), layer.dtype), one.view(layer.dtype)[None, None])
    return y.view(one.dtype)[0, 0]


def test_a_sequence_is_the_papers_sum_of_powers():
    """h_t = sum over s <= t of lambda^(t-s) g (B x_s + b), and y = Re(C h)."""
    random = np.random.default_rng(0)
    T, I, N, outputs = 30, 3, 9, 4  # noqa: E741
    layer = fastcell.LRU(I, 2 * N, r_min=0.8, dtype=np.float64, seed=1)
    layer.params["bias_ih_l0"][...] = random.standard_normal(2 * N)
    x = random.standard_normal((T, 2, I))
    B, b, nu, theta, gamma = complex_parameters(layer)
    eigenvalue = np.exp(-np.exp(nu) + 1j * np.exp(theta))
    past = np.subtract.outer(np.arange(T), np.arange(T))
    powers = np.where(past[..., None] < 0, 0, eigenvalue ** abs(past)[..., None])
    inputs = np.exp(gamma) * (x @ B.T + b)
    h = np.einsum("tsn,sbn->tbn", powers, inputs)
    y, final = layer(x)
    assert error(y, h.view(np.float64)) <= FORWARD[np.float64]
    assert np.array_equal(final, y[-1:])
    C = random.standard_normal((outputs, N)) + 1j * random.standard_normal((outputs, N))
    linear = fastcell.Linear(2 * N, outputs, bias=False, dtype=np.float64)
    linear.params["weight"][...] = np.stack([C.real, -C.imag], axis=-1).reshape(4, -1)
    assert error(linear(y), (h @ C.T).real) <= FORWARD[np.float64] * N


@both_types
def test_eigenvalues_are_those_of_the_formula(dtype, isa):
    """Of angles from 0 to many turns, on both sides of each multiple of pi / 2."""
    near = np.concatenate([np.arange(1, 40) * pi / 2 * (1 + e) for e in (-1e-7, 1e-7)])
    plain = np.concatenate([np.linspace(1e-6, 7, 2001), np.geomspace(1e-30, 1e3, 999)])
    angles = np.log(np.concatenate([near, plain])).astype(dtype)
    found = turned(fastcell.LRU(1, 2 * len(angles), dtype=dtype), angles)
    exact = np.longdouble if dtype is np.float64 else np.float64
    theta = np.exp(angles.astype(exact))
    wanted = np.exp(exact(-1)) * np.array([np.cos(theta), np.sin(theta)])
    # Of 1; measured are 0.7 up to 2 pi. NumPy's own float32 is off by 2.0 there.
    allowed = np.finfo(dtype).eps * np.maximum(0.8, theta / 5)
    assert (abs(found.real - wanted[0]) <= allowed).all()
    assert (abs(found.imag - wanted[1]) <= allowed).all()


@both_types
def test_any_parameter_has_a_bounded_eigenvalue(dtype, isa):
    angles = np.array([-np.inf, -1e4, -90, 20, 60, 1e4, np.inf], dtype)
    found = turned(fastcell.LRU(1, 14, dtype=dtype), angles)
    assert (abs(found) <= np.exp(-1) * 1.42).all()
    assert (abs(found[:3] - np.exp(-1)) <= FORWARD[dtype]).all()
    layer = fastcell.LRU(1, 14, dtype=dtype)
    for nu, size in ((-np.inf, 1), (-1e4, 1), (1e4, 0), (np.inf, 0)):
        turned(layer, angles)
        layer.params["weight_lambda_l0"][...] = np.tile([nu, -np.inf], 7)
        h = np.ones((1, 1, 14), dtype)
        assert np.array_equal(layer(np.zeros((1, 1, 1), dtype), h)[0], size * h)
    assert np.isnan(turned(layer, np.full(7, np.nan))).all()


def test_lambda_begins_uniform_on_the_ring():
    layer = fastcell.LRU(
        5, 20_000, r_min=0.6, r_max=0.9, max_phase=1.5, dtype=np.float64, seed=3
    )
    B, b, nu, theta, gamma = complex_parameters(layer)
    size, phase = np.exp(-np.exp(nu)), np.exp(theta)
    for values, low, high in ((size**2, 0.36, 0.81), (phase, 0, 1.5)):
        assert low <= values.min()
        assert values.max() <= high
        # Against the uniform distribution: Kolmogorov's bound of a chance of 1e-6.
        ranks = (np.sort(values) - low) / (high - low)
        assert abs(ranks - (np.arange(10_000) + 0.5) / 10_000).max() <= 2.7 / 100
    assert error(np.exp(gamma) ** 2, 1 - size**2) <= FORWARD[np.float64]
    assert not b.any()
    assert B.real.std() == pytest.approx(1 / 10**0.5, rel=0.02)
    assert B.imag.std() == pytest.approx(1 / 10**0.5, rel=0.02)
    assert not layer.params["weight_gamma_l0"][1::2].any()


@pytest.mark.parametrize("seed", range(3))
def test_h_has_the_size_of_x(seed):
    """|h|^2 is 1 in the mean for white x of variance 1, however long the memory is."""
    layer = fastcell.LRU(8, 256, r_min=0.99, r_max=0.999, seed=seed)
    x = np.random.default_rng(seed).standard_normal((6000, 1, 8)).astype(np.float32)
    h = layer(x)[0].view(np.complex64)
    assert np.mean(abs(h[3000:]) ** 2) == pytest.approx(1, rel=0.1)


def test_the_starts_of_other_layers_leave_lambda():
    plain, glorot = (fastcell.LRU(3, 8, seed=4, init=i) for i in ("uniform", "glorot"))
    assert abs(glorot.params["weight_ih_l0"]).max() <= (6 / 11) ** 0.5
    for layer in (plain, glorot):
        size = np.exp(-np.exp(layer.params["weight_lambda_l0"][::2]))
        gamma = layer.params["weight_gamma_l0"][::2]
        assert error(np.exp(gamma) ** 2, 1 - size**2) <= 1e-6


def test_the_last_unit_of_an_odd_size_is_real(isa):
    layer = fastcell.LRU(3, 5, dtype=np.float64, seed=0)
    x = np.random.default_rng(0).standard_normal((7, 2, 3))
    y, _ = layer(x)
    h, W = np.zeros(2), layer.params["weight_ih_l0"][4]
    nu, gamma = (layer.params[f"weight_{n}_l0"][4] for n in ("lambda", "gamma"))
    for t in range(7):
        h = np.exp(-np.exp(nu)) * h + np.exp(gamma) * (x[t] @ W)
        assert error(y[t, :, 4], h) <= FORWARD[np.float64]


def test_what_is_unread_has_no_gradient():
    layer = fastcell.LRU(3, 7, seed=0)
    y, _, saved = layer.forward(np.ones((9, 2, 3), np.float32))
    _, _, grads = layer.backward(np.ones_like(y), saved)
    assert not grads["weight_gamma_l0"][1::2].any()
    assert grads["weight_gamma_l0"][::2].all()
    assert grads["weight_lambda_l0"].all()


def test_rings_that_are_none_are_refused():
    refuses(
        ValueError, ["r_min", "0.5", "0.7"], fastcell.LRU, 3, 4, r_min=0.7, r_max=0.5
    )
    refuses(ValueError, ["r_min", "less than"], fastcell.LRU, 3, 4, r_min=1.0)
    refuses(ValueError, ["r_max", "1.5"], fastcell.LRU, 3, 4, r_max=1.5)
    refuses(ValueError, ["max_phase", "above 0"], fastcell.LRU, 3, 4, max_phase=0.0)
    refuses(ValueError, ["max_phase", "7"], fastcell.LRUCell, 3, 4, max_phase=7.0)
    again = fastcell.LRU.from_config(fastcell.LRU(3, 4, r_max=0.9, seed=1).config())
    assert again.r_max == 0.9
