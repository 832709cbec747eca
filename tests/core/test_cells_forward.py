"""Outputs and final states of every cell, against its own NumPy step."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from oracle import by_name, every_stack, joined, problem, problems
from tolerances import FORWARD, error

from fastcell import _core
from fastcell.cells import REGISTRY

# Odd on purpose: below, at and past the edges of vectors (2 to 16 lanes) and tiles.
SIZES = [
    {"T": 5, "B": 3, "I": 3, "H": 7},
    {"T": 2, "B": 7, "I": 16, "H": 9},
    {"T": 5, "B": 2, "I": 1, "H": 17},
    {"T": 1, "B": 13, "I": 19, "H": 33},
    {"T": 9, "B": 1, "I": 5, "H": 1},
    {"T": 5, "B": 6, "I": 0, "H": 5},
]


def assert_right(made, dtype=np.float64):
    asked = made if dtype is np.float64 else made.as_float32()
    y, final = asked.call()
    y_expected, final_expected = made.expected()
    assert y.dtype == dtype
    assert error(y, y_expected) <= FORWARD[dtype]
    for got, expected in zip(final, final_expected, strict=True):
        assert error(got, expected) <= FORWARD[dtype]


def test_the_registry_is_that_of_the_core():
    assert sorted(REGISTRY) == sorted(_core.cells())


@by_name
def test_a_layer_is_what_the_core_says_of_its_cell(cell):
    described = _core.describe_cell(cell.name)
    layer = cell.layer(3, 7, num_layers=2, bidirectional=True, seed=0)
    assert layer.gates == cell.gates == described["gates"]
    assert layer.states == cell.states == described["states"]
    assert (layer.proj_size > 0) == described["projects"] == bool(cell.proj_size)
    lengths = {"GH": 7 * len(cell.gates), "I": 2 * layer.output_size, "H": 7}
    lengths["P"] = lengths["P/K"] = layer.output_size
    lengths |= {f"{n}H": n * 7 for n in range(1, 5)}
    state = layer.state_dict()
    for name, axes in described["parameters"].items():
        assert state[f"{name}_l1_reverse"].shape == tuple(lengths[a] for a in axes)
    lengths["I"] = 3
    for name, axes in described["parameters"].items():
        assert state[f"{name}_l0"].shape == tuple(lengths[a] for a in axes)
    assert len(state) == 4 * len(described["parameters"])
    without = cell.layer(3, 7, bias=False, seed=0).state_dict()
    named = set(described["parameters"]) - set(described["bias_of"])
    assert set(without) == {f"{name}_l0" for name in named}


def test_the_core_describes_the_lstm():
    assert _core.describe_cell("lstm_projected") == {
        "name": "lstm_projected",
        "gates": ("i", "f", "g", "o"),
        "states": ("h", "c"),
        "traced": ("i", "f", "g", "o"),
        "slots": 5,
        "projects": True,
        "takes_heads": False,
        "roles": 0,
        "clips_cell": False,
        "takes_update_dropout": True,
        "parameters": {
            "weight_ih": ("GH", "I"),
            "weight_hh": ("GH", "P/K"),
            "bias_ih": ("GH",),
            "bias_hh": ("GH",),
            "weight_hr": ("P", "H"),
        },
        "bias_of": {"bias_ih": "weight_ih", "bias_hh": "weight_hh"},
        "initial": dict.fromkeys(
            ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"), "drawn"
        ),
    }
    layer_norm = _core.describe_cell("lstm_layer_norm")
    assert layer_norm["parameters"]["weight_ln_ih"] == ("4H",)
    assert layer_norm["initial"]["weight_ln_ih"] == "ones"
    assert layer_norm["initial"]["bias_ln_c"] == "zeros"
    with pytest.raises(ValueError, match=r"cell must be one of .*lstm.*got 'LTSM'"):
        _core.describe_cell("LTSM")


@every_stack(most_layers=3)
def test_layers_follow_the_formula(cell, num_layers, bidirectional, kind, isa):
    for made in problems(
        cell, SIZES, kind=kind, num_layers=num_layers, bidirectional=bidirectional
    ):
        assert_right(made)
        assert_right(made, np.float32)


@pytest.mark.parametrize("B", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11])
@by_name
def test_every_tile_of_many_units_follows_the_formula(cell, B, isa):
    # 4 panels of 4 vectors of 16 lanes are 256 columns, and then come the edges.
    made = problem(cell, T=2, B=B, I=7, H=275 if len(cell.gates) == 1 else 99, seed=B)
    assert_right(made)
    assert_right(made, np.float32)


@by_name
def test_many_steps_and_rows_follow_the_formula(cell, isa):
    # Several chunks of input products, and more pairs than a block of rows.
    made = problem(cell, T=60, B=9, I=33, H=20, kind="lengths", seed=1)
    assert_right(made)
    assert_right(made, np.float32)


@by_name
def test_a_layer_without_bias_follows_the_formula(cell, isa):
    assert_right(problem(cell, bias=False, num_layers=2, bidirectional=True))


@by_name
def test_a_layer_without_bias_is_one_with_a_bias_of_zero(cell):
    bare = problem(cell, bias=False)
    full = problem(cell)
    weights = bare.layer.state_dict()
    full.layer.load_state_dict(
        {
            n: weights.get(n, np.zeros_like(w))
            for n, w in full.layer.state_dict().items()
        }
    )
    assert np.array_equal(bare.call()[0], full.call(x=bare.x, state=bare.state)[0])


@by_name
def test_no_state_is_a_state_of_zeros(cell):
    made = problem(cell, num_layers=2, bidirectional=True)
    zeros = tuple(np.zeros_like(s) for s in made.state)
    assert np.array_equal(made.call(state=zeros)[0], made.layer(made.x)[0])


@by_name
def test_training_and_inference_give_the_same_bits(cell, isa):
    for kind in oracle.KINDS:
        made = problem(cell, kind=kind, num_layers=2, bidirectional=True, T=7)
        y, final = made.call()
        y_trained, final_trained, _ = made.train()
        assert np.array_equal(y, y_trained)
        assert all(map(np.array_equal, final, final_trained))


@by_name
def test_the_cell_class_is_one_step_of_the_layer(cell):
    if cell.proj_size:
        with pytest.raises(TypeError, match="proj_size"):
            cell.cell_class(3, 7, proj_size=3)  # as in torch: cells do not project
        return
    one = cell.cell_class(3, 7, dtype=np.float64, seed=5, **cell.options)
    made = problem(cell, T=1)
    state = one(made.x[0], joined(tuple(s[0] for s in made.state)))
    expected = cell.step(made.x[0], tuple(s[0] for s in made.state), one.state_dict())
    for got, wanted in zip(oracle.split(state), expected, strict=True):
        assert error(got, wanted) <= FORWARD[np.float64]
    unbatched = one(made.x[0, 1], joined(tuple(s[0, 1] for s in made.state)))
    for got, wanted in zip(oracle.split(unbatched), expected, strict=True):
        assert error(got, wanted[1]) <= FORWARD[np.float64]
