"""LSTM with peepholes, coupled gates or layer normalization, GRU with the latter:
arguments, names, configuration."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import refuses

import fastcell

PEEPHOLES = {"weight_ch": 15}
NORMS = {"weight_ln_ih": 20, "weight_ln_hh": 20, "weight_ln_c": 5, "bias_ln_c": 5}
GRU_NORMS = {"weight_ln_ih": 15, "weight_ln_hh": 15}
FLAGS = ("peephole", "coupled_input_forget", "layer_norm")
by_variant = pytest.mark.parametrize(
    "layer, cell, variant, own",
    [
        (fastcell.LSTM, fastcell.LSTMCell, "peephole", PEEPHOLES),
        (fastcell.LSTM, fastcell.LSTMCell, "coupled_input_forget", {}),
        (fastcell.LSTM, fastcell.LSTMCell, "layer_norm", NORMS),
        (fastcell.GRU, fastcell.GRUCell, "layer_norm", GRU_NORMS),
    ],
)
by_name = pytest.mark.parametrize(
    "named, argument, other",
    [
        (fastcell.PeepholeLSTM, "peephole", "coupled_input_forget"),
        (fastcell.CoupledLSTM, "coupled_input_forget", "peephole"),
    ],
)


@pytest.mark.parametrize(
    "chosen",
    [
        {"layer_norm": True, "proj_size": 2},
        {"layer_norm": True, "peephole": True},
        {"layer_norm": True, "coupled_input_forget": True},
    ],
)
def test_layer_normalization_of_an_lstm_refuses_the_others(chosen):
    given = [f"{name}={value}" for name, value in chosen.items()]
    names = ["proj_size", *FLAGS]
    refuses(ValueError, [*names, *given], fastcell.LSTM, 3, 5, **chosen)


def test_layer_normalization_of_a_gru_refuses_a_reset_before_the_product():
    chosen = {"layer_norm": True, "reset_after": False}
    for made in (fastcell.GRU, fastcell.GRUCell):
        refuses(
            ValueError, ["layer_norm=True", "reset_after=False"], made, 3, 5, **chosen
        )


@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("peephole", [False, True])
def test_the_other_arguments_of_an_lstm_combine(peephole, coupled, proj_size):
    layer = fastcell.LSTM(
        3, 5, proj_size=proj_size, peephole=peephole, coupled_input_forget=coupled
    )
    gates = 3 if coupled else 4
    expected = {
        "weight_ih_l0": (gates * 5, 3),
        "weight_hh_l0": (gates * 5, proj_size or 5),
        "bias_ih_l0": (gates * 5,),
        "bias_hh_l0": (gates * 5,),
    }
    if proj_size:
        expected["weight_hr_l0"] = (2, 5)
    if peephole:
        expected["weight_ch_l0"] = ((gates - 1) * 5,)
    assert {n: a.shape for n, a in layer.state_dict().items()} == expected
    assert layer.gates == ("i", "f", "g", "o")[4 - gates :]


@by_variant
def test_variants_are_flags_by_keyword(layer, cell, variant, own):
    refuses(TypeError, [variant, "'no'"], layer, 3, 5, **{variant: "no"})
    refuses(TypeError, [variant, "'no'"], cell, 3, 5, **{variant: "no"})


@by_variant
def test_a_cell_has_the_parameters_of_its_layer(layer, cell, variant, own):
    made = layer(3, 5, seed=1, **{variant: True}).state_dict()
    weights = cell(3, 5, seed=1, **{variant: True}).state_dict()
    assert list(made) == [f"{name}_l0" for name in weights]
    for name, weight in weights.items():
        assert np.array_equal(weight, made[f"{name}_l0"])


@by_variant
def test_parameters_of_their_own_follow_those_of_torch(layer, cell, variant, own):
    made = layer(3, 5, bidirectional=True, **{variant: True})
    shapes = {name: array.shape for name, array in made.state_dict().items()}
    common = [*layer(3, 5).state_dict()]
    assert list(shapes)[: 4 + len(own)] == [*common, *(f"{name}_l0" for name in own)]
    for name, size in own.items():
        assert shapes[f"{name}_l0"] == shapes[f"{name}_l0_reverse"] == (size,)
    assert len(shapes) == 2 * (4 + len(own))


@by_variant
def test_a_configuration_tells_the_variant_where_there_is_one(
    layer, cell, variant, own
):
    made = layer(3, 5, **{variant: True})
    assert made.config()[variant] is True
    assert not {*FLAGS} & set(layer(3, 5).config())
    again = layer.from_config(made.config())
    assert set(again.state_dict()) == set(made.state_dict())


@by_variant
def test_a_saved_layer_is_the_same_layer(layer, cell, variant, own, tmp_path):
    made = layer(3, 5, num_layers=2, seed=1, **{variant: True})
    x = np.random.default_rng(0).standard_normal((4, 2, 3), np.float32)
    fastcell.save(made, tmp_path / "layer.safetensors")
    loaded = fastcell.load(tmp_path / "layer.safetensors")
    assert np.array_equal(loaded(x)[0], made(x)[0])


def test_a_normalized_layer_does_not_see_the_size_of_its_input():
    # Of W x the mean goes and the scale, but for the epsilon of 1e-5.
    layer = fastcell.LSTM(3, 5, layer_norm=True, dtype=np.float64, seed=1)
    x = np.random.default_rng(0).standard_normal((4, 2, 3)) * 100
    assert np.allclose(layer(x)[0], layer(x * 7)[0], rtol=0, atol=1e-7)
    assert not np.allclose(layer(x)[0], layer(x + 100)[0], rtol=0, atol=1e-3)


def test_a_gru_normalizes_its_candidate_apart():
    layer = fastcell.GRU(3, 5, layer_norm=True, bias=False, dtype=np.float64, seed=1)
    x = np.random.default_rng(0).standard_normal((4, 2, 3)) * 100
    expected, _ = layer(x)
    layer.params["weight_ih_l0"][10:] *= 7  # of n: the norm takes the factor away
    assert np.allclose(layer(x)[0], expected, rtol=0, atol=1e-7)
    layer.params["weight_ih_l0"][:5] *= 7  # of r, which shares a norm with z
    assert not np.allclose(layer(x)[0], expected, rtol=0, atol=1e-3)


def test_a_light_gru_has_no_upper_limit():
    layer = fastcell.LiGRU(3, 5, seed=1)
    x = np.full((30, 1, 3), 100, np.float32)
    assert layer(x)[0].min() >= 0 and layer(x)[0].max() > 50


@by_name
def test_a_named_form_is_the_lstm_with_its_argument(named, argument, other):
    x = np.random.default_rng(0).standard_normal((4, 2, 3), np.float32)
    for options in ({}, {"proj_size": 2}, {other: True, "num_layers": 2}):
        made = named(3, 5, seed=1, **options)
        plain = fastcell.LSTM(3, 5, seed=1, **{argument: True}, **options)
        assert isinstance(made, fastcell.LSTM)
        assert {**made.config(), argument: True} == plain.config()
        assert np.array_equal(made(x)[0], plain(x)[0])
        assert getattr(made, other) is (other in options)


@by_name
def test_a_saved_named_form_is_loaded_under_its_name(named, argument, other, tmp_path):
    made = named(3, 5, seed=1, bidirectional=True)
    x = np.random.default_rng(0).standard_normal((4, 2, 3), np.float32)
    fastcell.save(made, tmp_path / "layer.safetensors")
    loaded = fastcell.load(tmp_path / "layer.safetensors")
    assert type(loaded) is named
    assert np.array_equal(loaded(x)[0], made(x)[0])
