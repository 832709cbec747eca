"""State dicts from elsewhere: other dtypes, prefixes, missing names."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import refuses

import fastcell
from fastcell._state_dicts import IncompatibleKeys


def same(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


class BFloat16:
    """What fastcell sees of a tensor of bfloat16: NumPy has no such dtype."""

    dtype = "torch.bfloat16"
    requires_grad = False

    def __init__(self, values):
        self._values = values

    def detach(self):
        return self

    def float(self):
        return self._values

    def __array__(self, *args, **named):
        raise TypeError("Got unsupported ScalarType BFloat16")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1", "?"])
@pytest.mark.parametrize("own", [np.float32, np.float64])
def test_real_numbers_of_any_dtype_are_cast(dtype, own):
    layer = fastcell.Linear(3, 2, dtype=own, seed=0)
    weight = np.array([[0, 1, 0], [1, 1, 0]], dtype)
    layer.load_state_dict({"weight": weight, "bias": np.array([1, 0], dtype)})
    assert same(layer.params["weight"], weight.astype(own))


def test_numbers_are_rounded_to_the_dtype_of_the_parameter():
    layer = fastcell.Linear(1, 1, seed=0)
    layer.load_state_dict({"weight": np.array([[0.1]])}, strict=False)
    assert layer.params["weight"][0, 0] == np.float32(0.1)


def test_bfloat16_is_taken_exactly():
    layer = fastcell.Linear(2, 1, seed=0)
    values = np.array([[0.5, -3.0]], np.float32)
    layer.load_state_dict({"weight": BFloat16(values)}, strict=False)
    assert same(layer.params["weight"], values)
    refuses(TypeError, ["x", "bfloat16", "x.float()"], layer, BFloat16(values))


def test_what_is_missing_and_what_is_not_used_is_told():
    layer = fastcell.Linear(2, 1, seed=0)
    weight = np.ones((1, 2), np.float32)
    found = layer.load_state_dict({"weight": weight, "scale": 1}, strict=False)
    assert found == IncompatibleKeys(["bias"], ["scale"])
    assert found.missing_keys == ["bias"]
    assert found.unexpected_keys == ["scale"]
    assert layer.load_state_dict(layer.state_dict()) == ([], [])


def test_a_name_of_a_shared_array_is_not_unexpected():
    embedding, linear = fastcell.Embedding(5, 3, seed=0), fastcell.Linear(3, 5, seed=0)
    linear.params.share("weight", embedding.params)
    model = fastcell.Sequential([embedding, linear])
    weights = model.state_dict()
    names = {**weights, "1.weight": weights["0.weight"]}
    assert model.load_state_dict(names, strict=False) == ([], [])


@pytest.mark.parametrize("prefix", ["module.", "lstm.", "model.encoder.lstm."])
def test_a_prefix_of_all_names_is_told(prefix):
    layer = fastcell.LSTM(2, 3, seed=0)
    weights = {prefix + name: w for name, w in layer.state_dict().items()}
    weights["decoder.bias"] = np.zeros(3)
    with pytest.raises(KeyError) as caught:
        layer.load_state_dict(weights)
    text = str(caught.value)
    for word in ("weight_ih_l0", f"{prefix}weight_ih_l0", f"begin with {prefix!r}"):
        assert word in text
    # What the error says to do is enough.
    advice = text[text.index("say {") + 4 :]
    layer.load_state_dict(eval(advice, {"mapping": weights}))


def test_a_prefix_that_lacks_is_told():
    model = fastcell.models.SequenceClassifier(2, 3, 2)
    weights = fastcell.LSTM(2, 3, seed=0).state_dict()
    with pytest.raises(KeyError) as caught:
        model.load_state_dict(weights)
    text = str(caught.value)
    assert "names lack 'rnn.'" in text
    advice = text[text.index("say {") + 4 :]
    found = model.load_state_dict(eval(advice, {"mapping": weights}), strict=False)
    assert found == (["decoder.weight", "decoder.bias"], [])


def test_other_names_are_given_no_advice():
    layer = fastcell.Linear(2, 3)
    with pytest.raises(ValueError) as caught:
        layer.load_state_dict({"kernel": np.ones((3, 2))})
    assert str(caught.value) == (
        "mapping must have the names weight, bias; missing weight, bias; unknown kernel"
    )


def test_long_lists_of_names_are_cut():
    layer = fastcell.Linear(2, 3)
    with pytest.raises(KeyError) as caught:
        layer.load_state_dict({f"name{i}": 0 for i in range(1000)})
    assert "name7 and 992 more" in str(caught.value)


def test_a_bad_state_of_a_generator_changes_nothing():
    layer = fastcell.Sequential([fastcell.Dropout(0.5, seed=0) for _ in range(2)])
    states = layer.rng_state()
    others = fastcell.Sequential([fastcell.Dropout(0.5) for _ in range(2)]).rng_state()
    others["1"] = {"bit_generator": "PCG64"}
    with pytest.raises(ValueError, match=r"states\['1'\] must be the state"):
        layer.set_rng_state(others)
    assert layer.rng_state() == states
