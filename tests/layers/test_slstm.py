"""What is the sLSTM's own: its stabilizer, its forms, and gates of any size."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from tolerances import GRADIENT_FLOAT64, ULP, error

import fastcell
from fastcell.cells.slstm import FORMS

every_form = pytest.mark.parametrize("form", FORMS)
both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def of_gates(hidden, form="floored", dtype=np.float32):
    """Return a layer whose gates are its inputs: x (T, B, 4 H), i f z o."""
    layer = fastcell.SLSTM(4 * hidden, hidden, form=form, dtype=dtype, seed=0)
    for weight in layer.params.values():
        weight[...] = 0
    layer.params["weight_ih_l0"][...] = np.eye(4 * hidden)
    return layer


def states(hidden, rows, dtype, seed=0):
    random = np.random.default_rng(seed)
    h, c, n, m = random.standard_normal((4, 1, rows, hidden)).astype(dtype)
    return h, c, abs(n) + dtype(1), m


@both_types
@every_form
def test_gates_far_from_zero_stay_finite(form, dtype, isa):
    """FlashRNN's own vanilla form divides infinity by infinity in the first step."""
    random = np.random.default_rng(0)
    layer = of_gates(7, form, dtype)
    x = random.choice([-1e4, -30.0, 0.5, 30.0, 1e4], (40, 5, 28)).astype(dtype)
    y, final, saved = layer.forward(x)
    dx, dstate, grads = layer.backward(np.ones_like(y), saved)
    for array in (y, *final, dx, *dstate, *grads.values()):
        assert np.isfinite(array).all()
    assert np.abs(y).max() <= 1
    assert final[2].min() >= 1


@both_types
def test_a_floor_changes_nothing_after_zeros(dtype, isa):
    x = np.random.default_rng(1).standard_normal((50, 3, 5)).astype(dtype) * 9
    found = []
    for form in ("floored", "plain"):
        layer = fastcell.SLSTM(5, 12, num_heads=3, form=form, dtype=dtype, seed=2)
        y, final, saved = layer.forward(x)
        dx, _, grads = layer.backward(y, saved)
        found.append((y, *final, dx, *grads.values()))
    assert all(map(same_bits, *found))


@pytest.mark.parametrize(
    ("form", "forget", "expected"),
    [
        ("plain", 40.0, 0.0),
        ("clamped", 40.0, -np.log1p(np.exp(-15))),
        ("exponential", 40.0, 40.0),
        ("floored", -3.0, -np.log1p(np.exp(3))),
    ],
)
def test_the_forms_differ_in_the_forget_gate(form, forget, expected, isa):
    x = np.full((1, 1, 4), -1e6)
    x[..., 1] = forget
    state = tuple(np.full((1, 1, 1), value) for value in (0.0, 0.5, 2.0, 0.0))
    _, (_, c, n, m) = of_gates(1, form, np.float64)(x, state)
    assert m.item() == pytest.approx(expected, rel=1e-15, abs=1e-17)
    assert c.item() == 0.5
    assert n.item() == 2


@every_form
def test_the_first_step_does_not_depend_on_m(form, isa):
    layer = fastcell.SLSTM(3, 5, form=form, seed=3)
    x = np.random.default_rng(4).standard_normal((6, 2, 3)).astype(np.float32)
    zeros = [np.zeros((1, 2, 5), np.float32) for _ in range(3)]
    y, final = layer(x)
    other, other_final = layer(x, (*zeros, np.full((1, 2, 5), 50, np.float32)))
    assert same_bits(y, other)
    assert all(map(same_bits, final, other_final))


@every_form
def test_h_does_not_depend_on_the_scale_of_c_and_n(form):
    """The state means c exp(m) and n exp(m): scaling c and n, and shifting m by the
    logarithm of the scale in return, changes no loss of y.
    """
    layer = fastcell.SLSTM(3, 5, form=form, dtype=np.float64, seed=5)
    random = np.random.default_rng(6)
    state = states(5, 2, np.float64, 7)
    y, _, saved = layer.forward(random.standard_normal((9, 2, 3)), state)
    _, (_, dc, dn, dm), _ = layer.backward(random.standard_normal(y.shape), saved)
    _, c, n, _ = state
    assert np.abs(dm).max() > 0.01
    assert error(dc * c + dn * n, dm) <= GRADIENT_FLOAT64


def log_sigmoid(x):
    x = x.astype(np.longdouble)
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


@both_types
def test_log_sigmoid_is_right_to_its_last_places(dtype, isa):
    """m is log sigmoid(a_f) where it beats a_i and began with 0."""
    hidden = 4000
    a = np.concatenate([np.linspace(-60, 80, hidden - 4), [0.0, -0.0, -1e30, 1e4]])
    layer = of_gates(1, "plain", dtype)
    x = np.full((1, hidden, 4), -1e35, dtype)
    x[0, :, 1] = a
    zeros, ones = (np.full((1, hidden, 1), value, dtype) for value in (0, 1))
    _, (_, _, _, m) = layer(x, (zeros, zeros, ones, zeros))
    expected = log_sigmoid(x[0, :, 1])
    place = np.spacing(np.abs(expected).astype(dtype)).astype(np.longdouble)
    assert float((np.abs(m[0, :, 0] - expected) / place).max()) <= ULP


def test_wrong_arguments_are_refused():
    refuses(ValueError, ["form", "floored", "soft"], fastcell.SLSTM, 3, 4, form="soft")
    refuses(ValueError, ["num_heads", "4"], fastcell.SLSTM, 3, 4, 3)
    layer = fastcell.SLSTM(3, 4, 2, seed=0)
    x = np.zeros((5, 2, 3), np.float32)
    one = np.zeros((1, 2, 4), np.float32)
    refuses(TypeError, ["state", "(h, c, n, m)", "2"], layer, x, (one, one))
    refuses(ValueError, ["state n"], layer, x, (one, one, one[:, :1], one))


def test_a_file_keeps_form_and_heads(tmp_path):
    model = fastcell.models.LanguageModel(9, 4, 6, cell="slstm_clamped", seed=0)
    fastcell.save(model, tmp_path / "model.safetensors")
    again = fastcell.load(tmp_path / "model.safetensors")
    assert again.cell == "slstm_clamped"
    layer = fastcell.SLSTM(3, 6, num_heads=2, form="exponential", seed=1)
    other = type(layer).from_config(layer.config())
    assert other.form == "exponential"
    assert other.num_heads == 2
