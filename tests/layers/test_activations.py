"""The arguments activations, cell_clip and gate_clip: configuration, files, errors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from refusals import refuses

import fastcell

HARD = ("hard_sigmoid", 0.2, 0.5)
GIVEN = [
    (fastcell.RNN, {"activations": ("softsign",)}),
    (fastcell.RNN, {"activations": (("elu", 0.5),), "gate_clip": 2.0}),
    (fastcell.RNN, {"nonlinearity": "relu", "gate_clip": 2.0}),
    (fastcell.GRU, {"activations": (HARD, "tanh"), "reset_after": False}),
    (fastcell.GRU, {"gate_clip": 0.5}),
    (fastcell.LSTM, {"activations": (HARD, "relu", "identity"), "cell_clip": 3.0}),
    (fastcell.LSTM, {"cell_clip": 1.0, "proj_size": 2}),
    (fastcell.LSTM, {"gate_clip": 1.0, "peephole": True, "coupled_input_forget": True}),
    (fastcell.PeepholeLSTM, {"cell_clip": 1.0}),
    (fastcell.CoupledLSTM, {"activations": ("sigmoid", "softsign", "tanh")}),
]
CELLS = {
    fastcell.RNN: fastcell.RNNCell,
    fastcell.GRU: fastcell.GRUCell,
    fastcell.LSTM: fastcell.LSTMCell,
}
by_given = pytest.mark.parametrize("cls, given", GIVEN)


def y_of(layer):
    return layer(np.random.default_rng(0).standard_normal((6, 2, 3), np.float32) * 2)[0]


@by_given
def test_a_configuration_has_what_was_chosen(cls, given):
    layer = cls(3, 5, **given, seed=0)
    again = cls.from_config(layer.config())
    assert again.config() == layer.config()
    assert (y_of(again) == y_of(layer)).all()
    for name in ("activations", "cell_clip", "gate_clip"):
        if name in given:
            assert getattr(again, name) == given[name]


@by_given
def test_files_and_copies_keep_what_was_chosen(cls, given, path):
    layer = cls(3, 5, **given, seed=0)
    fastcell.save(layer, path)
    for copy in (fastcell.load(path), pickle.loads(pickle.dumps(layer))):
        assert (y_of(copy) == y_of(layer)).all()


@pytest.mark.parametrize(
    "cls, given", [(c, g) for c, g in GIVEN if c in CELLS and "proj_size" not in g]
)
def test_a_single_cell_takes_what_its_layer_takes(cls, given):
    layer = cls(3, 5, **given, seed=0)
    cell = CELLS[cls](3, 5, **given, seed=0)
    x = np.float32([[1, -2, 3]])
    state = cell(x)
    h = state[0] if isinstance(state, tuple) else state
    assert (h == layer(x[None])[0][0]).all()


@pytest.mark.parametrize(
    "cls, given, core",
    [
        (fastcell.RNN, {"activations": ("tanh",)}, "rnn_tanh"),
        (fastcell.RNN, {"activations": ("relu",)}, "rnn_relu"),
        (fastcell.GRU, {"activations": ["sigmoid", "tanh"]}, "gru"),
        (fastcell.LSTM, {"activations": ("sigmoid", "tanh", "tanh")}, "lstm"),
        (fastcell.LSTM, {"cell_clip": None, "layer_norm": True}, "lstm_layer_norm"),
    ],
)
def test_what_the_plain_cell_has_takes_the_plain_cell(cls, given, core):
    layer = cls(3, 5, **given)
    assert layer._core_cell == core
    assert not set(layer.config()) & {"activations", "cell_clip", "gate_clip"}


@pytest.mark.parametrize(
    "activations, error, words",
    [
        ("tanh", TypeError, ["activations must be a tuple of 3 kinds", "'tanh'"]),
        (("sigmoid", "tanh"), ValueError, ["activations", "3 kinds", "got 2"]),
        (("sigmoid", "tan", "tanh"), ValueError, ["activations[1]", "softsign", "tan"]),
        (("sigmoid", "tanh", 3), TypeError, ["activations[2]", "a name", "got 3"]),
        (("sigmoid", (), "tanh"), TypeError, ["activations[1]", "got ()"]),
        (("elu", "tanh", "tanh"), ValueError, ["activations[0]", '("elu", alpha)']),
        ((("tanh", 1.0), "tanh", "tanh"), ValueError, ["activations[0]", '"tanh"']),
        (
            (("affine", 1.0), "tanh", "tanh"),
            ValueError,
            ["activations[0]", '("affine", alpha, beta)'],
        ),
        (
            ("sigmoid", ("affine", 1.0, "x"), "tanh"),
            TypeError,
            ["activations[1] beta", "'x'"],
        ),
        (
            ("sigmoid", ("elu", np.nan), "tanh"),
            ValueError,
            ["activations[1] alpha", "nan"],
        ),
    ],
)
def test_wrong_activations_are_refused(activations, error, words):
    for made in (fastcell.LSTM, fastcell.LSTMCell):
        refuses(error, words, made, 3, 5, activations=activations)


@pytest.mark.parametrize("clip", [-1.0, 0, np.nan, np.inf, 1e-40])
@pytest.mark.parametrize("name", ["cell_clip", "gate_clip"])
def test_clips_that_are_not_above_zero_are_refused(name, clip):
    refuses(ValueError, [name, str(clip)], fastcell.LSTM, 3, 5, **{name: clip})
    refuses(TypeError, [name, "'1'"], fastcell.LSTM, 3, 5, **{name: "1"})


@pytest.mark.parametrize(
    "cls, given, words",
    [
        (fastcell.LSTM, {"layer_norm": True, "cell_clip": 1.0}, ["cell_clip=1.0"]),
        (fastcell.GRU, {"layer_norm": True, "gate_clip": 1.0}, ["gate_clip=1.0"]),
        (
            fastcell.LSTM,
            {"proj_size": 2, "peephole": True, "gate_clip": 1.0},
            ["proj_size=2", "peephole=True", "gate_clip=1.0"],
        ),
        (
            fastcell.RNN,
            {"nonlinearity": "relu", "activations": ("elu",)},
            ["activations[0]"],
        ),
        (
            fastcell.RNN,
            {"nonlinearity": "relu", "activations": ("tanh",)},
            ["nonlinearity", "'relu'"],
        ),
    ],
)
def test_what_does_not_combine_is_refused(cls, given, words):
    refuses(ValueError, words, cls, 3, 5, **given)
