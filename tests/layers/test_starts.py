"""Initial parameters of recurrent layers: init, forget_bias and chrono_steps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from oracle import by_name
from refusals import refuses
from tolerances import DENSE

import fastcell
from fastcell.layers.starts import INITS

I, H = 5, 8  # noqa: E741  (the letter of DESIGN)
RNN, LSTM, GRU = fastcell.RNN, fastcell.LSTM, fastcell.GRU


def weights(make, **arguments):
    return make(I, H, dtype=np.float64, seed=0, **arguments).state_dict()


def gate_parts(array, count):
    return np.split(array, count)


def orthonormal(matrix, tolerance=DENSE[np.float64]):
    """Whether a matrix has orthonormal columns, or rows if there are fewer."""
    tall = matrix if len(matrix) >= matrix.shape[1] else matrix.T
    return bool(np.abs(tall.T @ tall - np.eye(tall.shape[1])).max() < tolerance)


def within(array, limit):
    """Whether values are in +-limit, with some in its outer tenth on both sides."""
    return bool(
        -limit <= array.min() < -0.9 * limit and 0.9 * limit < array.max() <= limit
    )


def test_uniform_draws_what_torch_draws_in_the_order_of_the_parameters():
    random, limit = np.random.default_rng(0), H**-0.5
    for name, array in weights(LSTM, init="uniform").items():
        np.testing.assert_array_equal(array, random.uniform(-limit, limit, array.shape))
        np.testing.assert_array_equal(array, weights(LSTM)[name])


@pytest.mark.parametrize("make, gates", [(RNN, 1), (LSTM, 4), (GRU, 3)])
def test_orthogonal_is_orthogonal_in_each_gate_with_weights_of_glorot(make, gates):
    w = weights(make, init="orthogonal")
    parts = gate_parts(w["weight_hh_l0"], gates)
    assert all(orthonormal(part) for part in parts)
    assert len({part.tobytes() for part in parts}) == gates
    assert within(w["weight_ih_l0"], np.sqrt(6 / (I + H)))
    assert not w["bias_ih_l0"].any() and not w["bias_hh_l0"].any()


def test_orthogonal_of_a_projection_has_orthonormal_columns():
    w = weights(LSTM, init="orthogonal", proj_size=3)
    assert all(orthonormal(part) for part in gate_parts(w["weight_hh_l0"], 4))
    assert within(w["weight_hr_l0"], np.sqrt(6 / (3 + H)))


def test_each_head_has_its_own_block():
    """R of heads: the blocks of each gate, (H / K, H / K), one below the other."""
    for init, together in (("orthogonal", 1), ("keras", 3), ("glorot", None)):
        R = weights(GRU, init=init, num_heads=2)["weight_hh_l0"]
        blocks = R.reshape(3, 2, H // 2, H // 2)
        if together is None:
            assert within(R, np.sqrt(6 / (H // 2 + H // 2)))
        for head in range(2) if together else ():
            for gate in range(0, 3, together):
                block = blocks[gate : gate + together, head].reshape(-1, H // 2)
                assert orthonormal(block)


def test_orthogonal_is_as_likely_a_reflection_as_a_rotation():
    signs = [
        np.sign(
            np.linalg.det(RNN(1, 3, init="orthogonal", seed=s).params["weight_hh_l0"])
        )
        for s in range(40)
    ]
    # A Q without the signs of R has always the same determinant.
    assert 8 < signs.count(1) < 32


def test_glorot_counts_the_units_of_a_gate():
    w = weights(LSTM, init="glorot", bidirectional=True, num_layers=2)
    assert within(w["weight_ih_l0"], np.sqrt(6 / (I + H)))
    assert within(w["weight_ih_l1_reverse"], np.sqrt(6 / (2 * H + H)))
    assert within(w["weight_hh_l1"], np.sqrt(6 / (H + H)))
    assert not any(w[name].any() for name in w if name.startswith("bias"))


@pytest.mark.parametrize("make, gates", [(RNN, 1), (LSTM, 4), (GRU, 3)])
def test_keras_counts_all_gates_at_once(make, gates):
    w = weights(make, init="keras")
    assert within(w["weight_ih_l0"], np.sqrt(6 / (I + gates * H)))
    assert orthonormal(w["weight_hh_l0"])  # as a whole
    bias = np.zeros(gates * H)
    if make is LSTM:  # unit_forget_bias
        bias[H : 2 * H] = 1
    np.testing.assert_array_equal(w["bias_ih_l0"], bias)
    assert not w["bias_hh_l0"].any()


def test_keras_without_biases_has_none():
    assert set(weights(LSTM, init="keras", bias=False)) == {
        "weight_ih_l0",
        "weight_hh_l0",
    }


def test_chrono_draws_the_forget_biases_of_an_lstm_and_negates_them_for_the_input():
    w = LSTM(I, 400, init="chrono", chrono_steps=50, seed=0).state_dict()
    i, f, g, o = gate_parts(w["bias_ih_l0"], 4)
    np.testing.assert_array_equal(i, -f)
    assert not g.any() and not o.any() and not w["bias_hh_l0"].any()
    u = np.exp(f)  # uniform from 1 to T_max - 1, to the rounding of float32
    assert 1 <= u.min() * 1.000001 < 2 and 48 < u.max() < 49.0001
    assert abs(u.mean() - 25) < 5 * 48 / np.sqrt(12 * 400)
    assert within(w["weight_hh_l0"], np.sqrt(6 / (400 + 400)))


def test_chrono_draws_the_update_biases_of_a_gru():
    w = weights(GRU, init="chrono", chrono_steps=100)
    r, z, n = gate_parts(w["bias_ih_l0"], 3)
    assert z.min() >= 0 and len(set(z)) == H and z.max() <= np.log(99)
    assert not r.any() and not n.any() and not w["bias_hh_l0"].any()


@pytest.mark.parametrize("init", ["uniform", "orthogonal", "glorot", "keras"])
@pytest.mark.parametrize("make, gate, count", [(LSTM, 1, 4), (GRU, 1, 3)])
def test_forget_bias_is_the_sum_of_both_biases(make, gate, count, init):
    arguments = {"num_layers": 2, "bidirectional": True, "init": init}
    w = weights(make, forget_bias=-2.5, **arguments)
    without = weights(make, **arguments)
    for name, array in w.items():
        parts, others = (gate_parts(a, count) for a in (array, without[name]))
        if name.startswith("bias"):
            value = -2.5 if "_ih" in name else 0
            np.testing.assert_array_equal(parts.pop(gate), np.full(H, value))
            others.pop(gate)
        for part, other in zip(parts, others, strict=True):
            np.testing.assert_array_equal(part, other)


@by_name
def test_a_cell_keeps_its_share_of_the_state_or_refuses_the_argument(cell):
    """With zero input and state h the gate that keeps is sigmoid(forget_bias)."""
    if not cell.layer_class._keeping_gates:
        words = ["forget_bias", "gate that keeps"]
        refuses(ValueError, words, cell.layer, I, H, forget_bias=1.0)
        refuses(ValueError, ["init", "chrono"], cell.layer, I, H, init="chrono")
        return
    layer = cell.layer(I, H, seed=0, dtype=np.float64, forget_bias=1.5)
    array = layer.state_dict()["bias_ih_l0"]
    gate, sign = next(
        (g, s) for g, s in cell.layer_class._keeping_gates.items() if g in cell.gates
    )
    part = gate_parts(array, len(cell.gates))[cell.gates.index(gate)]
    np.testing.assert_array_equal(part, np.full(H, sign * 1.5))


@by_name
def test_parameters_of_a_cells_own_begin_as_ever(cell):
    made = cell.layer(I, 100, init="glorot", seed=0).state_dict()
    for name, array in made.items():
        if name.startswith("weight_ln"):
            assert (array == 1).all()
        elif name.startswith("weight_c"):
            assert within(array, 0.1)


@pytest.mark.parametrize("init", INITS)
def test_a_start_goes_into_configuration_files_and_copies(path, init):
    chosen = {"chrono_steps": 30} if init == "chrono" else {"forget_bias": 2.0}
    layer = LSTM(I, H, init=init, seed=3, **chosen)
    config = layer.config()
    assert {name: config[name] for name in chosen} == chosen
    assert config.get("init", "uniform") == init
    fastcell.save(layer, path)
    for other in (fastcell.load(path), copy.deepcopy(layer), LSTM.from_config(config)):
        assert other.config() == config
        assert repr(other) == repr(layer)
        for name, array in layer.state_dict().items():
            np.testing.assert_array_equal(other.state_dict()[name], array)


def test_the_default_adds_nothing_to_a_configuration():
    assert not {"init", "forget_bias", "chrono_steps"} & set(LSTM(I, H).config())


@pytest.mark.parametrize("make", [fastcell.LSTMCell, fastcell.GRUCell])
def test_a_single_cell_begins_as_its_layer(make):
    chosen = {"init": "keras", "forget_bias": 0.5, "seed": 1}
    layer = {fastcell.LSTMCell: LSTM, fastcell.GRUCell: GRU}[make](I, H, **chosen)
    cell = make(I, H, **chosen)
    assert make.from_config(cell.config()).config() == cell.config()
    for name, array in cell.state_dict().items():
        np.testing.assert_array_equal(array, layer.state_dict()[f"{name}_l0"])


def test_wrong_starts_are_refused_by_name():
    refuses(ValueError, ["init", "orthogonal", "'xavier'"], LSTM, I, H, init="xavier")
    refuses(ValueError, ["init", "None"], GRU, I, H, init=None)
    refuses(TypeError, ["forget_bias", "'1'"], LSTM, I, H, forget_bias="1")
    refuses(ValueError, ["forget_bias", "1000000.0"], LSTM, I, H, forget_bias=1e6)
    without = {"bias": False, "forget_bias": 1.0}
    refuses(ValueError, ["forget_bias", "bias=False"], GRU, I, H, **without)
    chrono = {"init": "chrono", "chrono_steps": 9}
    refuses(ValueError, ["init", "bias=False"], GRU, I, H, bias=False, **chrono)
    refuses(ValueError, ["forget_bias", "1.0"], LSTM, I, H, forget_bias=1.0, **chrono)
    refuses(ValueError, ["chrono_steps", "None"], LSTM, I, H, init="chrono")
    refuses(
        ValueError, ["chrono_steps", ">= 2"], LSTM, I, H, **chrono | {"chrono_steps": 1}
    )
    refuses(ValueError, ["chrono_steps", "'uniform'"], LSTM, I, H, chrono_steps=9)
    refuses(ValueError, ["init", "gate that keeps"], RNN, I, H, init="chrono")
