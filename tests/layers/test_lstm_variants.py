"""LSTM with peepholes or layer normalization: arguments, names, configuration."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import refuses

import fastcell

PEEPHOLES = {"weight_ch": 15}
NORMS = {"weight_ln_ih": 20, "weight_ln_hh": 20, "weight_ln_c": 5, "bias_ln_c": 5}
by_variant = pytest.mark.parametrize(
    "variant, own", [("peephole", PEEPHOLES), ("layer_norm", NORMS)]
)


@pytest.mark.parametrize(
    "chosen",
    [
        {"peephole": True, "layer_norm": True},
        {"peephole": True, "proj_size": 2},
        {"layer_norm": True, "proj_size": 2},
    ],
)
def test_variants_refuse_each_other(chosen):
    given = [f"{name}={value}" for name, value in chosen.items()]
    names = ["proj_size", "peephole", "layer_norm"]
    refuses(ValueError, [*names, *given], fastcell.LSTM, 3, 5, **chosen)


@by_variant
def test_variants_are_flags_by_keyword(variant, own):
    refuses(TypeError, [variant, "'no'"], fastcell.LSTM, 3, 5, **{variant: "no"})
    refuses(TypeError, [variant, "'no'"], fastcell.LSTMCell, 3, 5, **{variant: "no"})


@by_variant
def test_parameters_of_their_own_follow_those_of_torch(variant, own):
    layer = fastcell.LSTM(3, 5, bidirectional=True, **{variant: True})
    shapes = {name: array.shape for name, array in layer.state_dict().items()}
    common = [*fastcell.LSTM(3, 5).state_dict()]
    assert list(shapes)[: 4 + len(own)] == [*common, *(f"{name}_l0" for name in own)]
    for name, size in own.items():
        assert shapes[f"{name}_l0"] == shapes[f"{name}_l0_reverse"] == (size,)
    assert len(shapes) == 2 * (4 + len(own))


@by_variant
def test_a_configuration_tells_the_variant_where_there_is_one(variant, own):
    layer = fastcell.LSTM(3, 5, **{variant: True})
    assert layer.config()[variant] is True
    assert not {"peephole", "layer_norm"} & set(fastcell.LSTM(3, 5).config())
    again = fastcell.LSTM.from_config(layer.config())
    assert set(again.state_dict()) == set(layer.state_dict())


@by_variant
def test_a_saved_layer_is_the_same_layer(variant, own, tmp_path):
    layer = fastcell.LSTM(3, 5, num_layers=2, seed=1, **{variant: True})
    x = np.random.default_rng(0).standard_normal((4, 2, 3), np.float32)
    fastcell.save(layer, tmp_path / "layer.safetensors")
    loaded = fastcell.load(tmp_path / "layer.safetensors")
    assert np.array_equal(loaded(x)[0], layer(x)[0])


def test_a_normalized_layer_does_not_see_the_size_of_its_input():
    # Of W x the mean goes and the scale, but for the epsilon of 1e-5.
    layer = fastcell.LSTM(3, 5, layer_norm=True, dtype=np.float64, seed=1)
    x = np.random.default_rng(0).standard_normal((4, 2, 3)) * 100
    assert np.allclose(layer(x)[0], layer(x * 7)[0], rtol=0, atol=1e-7)
    assert not np.allclose(layer(x)[0], layer(x + 100)[0], rtol=0, atol=1e-3)
