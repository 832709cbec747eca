"""Activations by role, and clips: values and gradients, against the formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracle import problem, same_bits, slope_error
from tolerances import DIFFERENCE, FORWARD, error

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY
from fastcell.cells.activations import ACTIVATIONS, Choice
from fastcell.cells.with_options import gru_step, lstm_step, rnn_step

# Parameters of the kinds, none of which is a neutral one.
KINDS = {
    "affine": ("affine", 0.6, -0.2),
    "leaky_relu": ("leaky_relu", -0.3),
    "thresholded_relu": ("thresholded_relu", 0.3),
    "scaled_tanh": ("scaled_tanh", -1.3, 0.6),
    "hard_sigmoid": ("hard_sigmoid", 0.4, 0.45),
    "elu": ("elu", 0.7),
}
USUAL = {
    "rnn_with_options": ("tanh",),
    "gru_with_options": ("sigmoid", "tanh"),
    "gru_reset_before_with_options": ("sigmoid", "tanh"),
    "lstm_with_options": ("sigmoid", "tanh", "tanh"),
}
LSTMS = sorted(name for name in REGISTRY if name.endswith("with_options"))
LSTMS = [name for name in LSTMS if name.startswith("lstm")]
ROLES = [(cell, role) for cell, usual in USUAL.items() for role in range(len(usual))]
by_kind = pytest.mark.parametrize("kind", ACTIVATIONS)
by_role = pytest.mark.parametrize("cell, role", ROLES)
by_options = pytest.mark.parametrize("cell", USUAL)
by_lstm = pytest.mark.parametrize("cell", LSTMS)


def chosen(name, activations=None, **clips):
    """Return the registry's cell with other options, and the step that has them."""
    cell = REGISTRY[name]
    usual = ("sigmoid", "tanh", "tanh") if name in LSTMS else USUAL[name]
    arguments = {"cell_clip": None, "gate_clip": None, **clips}
    choice = Choice.of(usual, activations, **arguments)
    if name in LSTMS:
        step = lstm_step(choice)
    elif name.startswith("gru"):
        step = gru_step(choice, cell.options.get("reset_after", True))
    else:
        step = rnn_step(choice)
    if name not in LSTMS:
        del arguments["cell_clip"]
    options = {**cell.options, "activations": activations, **arguments}
    return replace(cell, step=step, options=options)


def in_role(cell, role, kind):
    activations = list(USUAL[cell])
    activations[role] = KINDS.get(kind, kind)
    return tuple(activations)


def assert_outputs(made, dtype):
    asked = made if dtype is np.float64 else made.as_float32()
    y, final = asked.call()
    y_expected, final_expected = made.expected()
    assert error(y, y_expected) <= FORWARD[dtype]
    for got, expected in zip(final, final_expected, strict=True):
        assert error(got, expected) <= FORWARD[dtype]


def assert_gradients(made):
    errors = slope_error(made, made.train()[2])
    assert max(errors.values()) <= DIFFERENCE, errors


@by_kind
@by_role
def test_gradients_of_a_kind_in_a_role_are_the_differences(cell, role, kind):
    made = problem(chosen(cell, in_role(cell, role, kind)), H=5, T=4)
    assert_gradients(made)


@by_kind
@by_role
def test_a_kind_in_a_role_is_its_formula_under_every_instruction_set(
    cell, role, kind, isa
):
    made = problem(chosen(cell, in_role(cell, role, kind)), H=17, T=3)
    for dtype in (np.float64, np.float32):
        assert_outputs(made, dtype)


@by_kind
def test_a_kind_is_its_formula_everywhere(kind, isa):
    # Through an RNN whose pre-activation is x: far from zero, at it, and at no number.
    kind = KINDS.get(kind, kind)
    for dtype, largest in ((np.float32, 80), (np.float64, 700)):
        points = np.linspace(-largest, largest, 1001)
        points = np.concatenate([points, points / largest, points * 1e-6, [0.0]])
        x = points.astype(dtype)
        layer = fastcell.RNN(1, 1, bias=False, activations=(kind,), dtype=dtype)
        for name, value in (("weight_ih_l0", 1), ("weight_hh_l0", 0)):
            layer.params[name][...] = value
        y, _ = layer(x.reshape(1, -1, 1))
        exact = x.astype(np.float64)
        expected = Choice.of(("",), (kind,), None).activate(0, exact)
        if kind == "sigmoid":  # as far from zero as its own formula is not
            expected = np.exp(-np.logaddexp(0, -exact))
        # alpha x + beta may cancel.
        scale = np.abs(expected) + (kind[0] in ("affine", "hard_sigmoid"))
        worst = np.max(np.abs(y.ravel() - expected) / np.maximum(scale, 1e-30))
        assert worst <= 16 * np.finfo(dtype).eps
        y, _ = layer(np.full((1, 1, 1), np.nan, dtype))
        assert np.isnan(y).all()


@pytest.mark.parametrize("kind", ["softsign", "softplus", ("elu", 0.5), "sigmoid"])
def test_the_limits_of_bounded_kinds_are_reached_at_infinity(kind, isa):
    layer = fastcell.RNN(1, 1, bias=False, activations=(kind,))
    for name, value in (("weight_ih_l0", 1), ("weight_hh_l0", 0)):
        layer.params[name][...] = value
    y, _ = layer(np.float32([-np.inf, np.inf]).reshape(1, 2, 1))
    limits = {"softsign": (-1, 1), "softplus": (0, np.inf), "sigmoid": (0, 1)}
    assert tuple(y.ravel()) == limits.get(kind, (-0.5, np.inf))


@by_options
def test_gate_clips_bound_what_activations_are_applied_to(cell, isa):
    made = problem(chosen(cell, gate_clip=0.4), kind="everything", num_layers=2)
    free = problem(chosen(cell), kind="everything", num_layers=2)
    assert error(made.expected()[0], free.expected()[0]) > 0.01  # it is hit
    assert_outputs(made, np.float64)
    assert_outputs(made, np.float32)
    assert_gradients(made)


@by_lstm
def test_cell_clips_bound_the_state(cell, isa):
    made = problem(chosen(cell, cell_clip=0.3), kind="everything", num_layers=2)
    free = problem(chosen(cell), kind="everything", num_layers=2)
    assert error(made.expected()[0], free.expected()[0]) > 0.01
    assert_outputs(made, np.float64)
    assert_outputs(made, np.float32)
    assert_gradients(made)
    plain = problem(chosen(cell, cell_clip=0.3), T=6)
    _, (_, c) = plain.call()
    assert np.abs(c).max() == 0.3


@by_lstm
def test_gate_and_cell_clips_hold_together(cell):
    kinds = ("sigmoid", ("affine", 3.0, 0.0), "tanh")
    made = problem(chosen(cell, kinds, cell_clip=0.5, gate_clip=0.3), T=6)
    _, (_, c) = made.call()
    assert 0.3 < np.abs(c).max() == 0.5  # the gate clip leaves the state
    assert_outputs(made, np.float64)
    assert_gradients(made)


@by_options
def test_clips_that_do_not_hold_change_no_bit(cell, isa):
    wide = {"gate_clip": 1e30}
    if cell in LSTMS:
        wide["cell_clip"] = 1e30
    softsign = in_role(cell, 0, "softsign")
    with_clips = problem(chosen(cell, softsign, **wide)).as_float32()
    without = problem(chosen(cell, softsign)).as_float32()
    for a, b in zip(with_clips.call()[1], without.call()[1], strict=True):
        assert same_bits(a, b)
    gradients, expected = with_clips.train()[2], without.train()[2]
    assert all(same_bits(gradients[name], expected[name]) for name in expected)


@by_options
def test_usual_kinds_are_those_of_the_cell_without_options(cell, isa):
    # Of the core: the layers take the cell without options for these.
    plain = {"rnn_with_options": "rnn_tanh"}.get(
        cell, cell.removesuffix("_with_options")
    )
    made = problem(REGISTRY[plain], kind="everything", num_layers=2)
    y, _, gradients = made.train()
    made.layer._core_cell = cell
    made.layer._set_precision("float64")
    y_again, _, gradients_again = made.train()
    assert error(y_again, y) <= FORWARD[np.float64]
    for name, gradient in gradients.items():
        assert error(gradients_again[name], gradient) <= FORWARD[np.float64] * 10


@by_lstm
def test_no_gradient_passes_a_clipped_state(cell):
    layer = REGISTRY[cell].layer(2, 3, dtype=np.float64, seed=0)
    layer.params["weight_ih_l0"][...] = 1.0
    h, c = np.zeros((1, 1, layer.output_size)), np.full((1, 1, 3), 2.0)
    _, (_, after), saved = layer.forward(np.full((1, 1, 2), 50.0), (h, c))
    assert (after == layer.cell_clip).all()
    _, (dh, dc), grads = layer.backward(None, saved, (h, np.ones_like(c)))
    assert not dh.any() and not dc.any()
    assert not any(gradient.any() for gradient in grads.values())


@pytest.mark.parametrize("dtype, T", [(np.float32, 300), (np.float64, 1200)])
def test_units_that_are_not_there_stay_finite(dtype, T, isa):
    # Of zero the forget gate is 2 and g is 1: c would double in each step. Biases make
    # the gates of the units that there are a half.
    kinds = (("affine", 1, 2), ("affine", 1, 1), "identity")
    layer = fastcell.LSTM(1, 5, activations=kinds, dtype=dtype, seed=0)
    layer.params["weight_hh_l0"][...] *= 0.01
    layer.params["bias_ih_l0"][...] = -1.5
    x = np.zeros((T, 2, 1), dtype)
    y, _, saved = layer.forward(x)
    dx, _, grads = layer.backward(np.ones_like(y), saved)
    assert np.isfinite(y).all() and np.isfinite(dx).all()
    assert all(np.isfinite(gradient).all() for gradient in grads.values())
    if dtype is np.float32:
        for narrow in (layer.quantize(), layer.to("bf16")):
            assert np.isfinite(narrow(x)[0]).all()


@pytest.mark.parametrize(
    "options",
    [
        (0.0, 0.0, (("tanh", 1.0, 0.0),)),  # it takes no alpha
        (0.0, 0.0, (("elu", 1.0, 1.0),)),  # it takes no beta
        (0.0, 0.0, (("elu", np.nan, 0.0),)),
        (0.0, 0.0, (("tanh", 0.0, 0.0), ("tanh", 0.0, 0.0))),  # a role too many
        (1.0, 0.0, ()),  # there is no cell state
        (0.0, -1.0, ()),
        (0.0, np.inf, ()),
        (0.0, 1e-40, ()),  # 0 in float32
    ],
)
def test_the_core_refuses_options_that_the_cell_does_not_take(options):
    sizes = ("float32", 3, 4, 0, 1, 1, 1, (0.0, 0.0, 0.0))
    _core.Stack("rnn_with_options", *sizes, (0.0, 1.0, (("elu", 1.0, 0.0),)))
    with pytest.raises(ValueError):
        _core.Stack("rnn_with_options", *sizes, options)
    with pytest.raises(ValueError):
        _core.Stack("rnn_tanh", *sizes, (0.0, 1.0, ()))


def test_memory_of_other_options_is_refused():
    def stack(alpha, clip):
        sizes = ("float32", 3, 4, 0, 1, 1, 1, (0.0, 0.0, 0.0))
        return _core.Stack(
            "rnn_with_options", *sizes, (0.0, clip, (("elu", alpha, 0.0),))
        )

    weights = [
        tuple(np.zeros(shape, np.float32) for shape in ((4, 3), (4, 4), (4,), (4,)))
    ]
    packed = stack(1.0, 2.0).pack(False, weights, 1)
    batch = _core.Batch(1, 1, np.zeros((1, 1, 3), np.float32), *[None] * 7, 1)
    y = np.zeros((1, 1, 4), np.float32)
    stack(1.0, 2.0).forward(packed, batch, y, None, None, None)
    for other in (stack(1.5, 2.0), stack(1.0, 2.5)):
        with pytest.raises(ValueError):
            other.forward(packed, batch, y, None, None, None)
