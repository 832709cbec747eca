"""Parameters: names, detection of writes, sharing, and state dicts."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import by_name, problem, same_bits

import fastcell
from fastcell.cells import REGISTRY
from fastcell.parameters import ParameterGroup, Parameters


def fresh_result(made):
    """Return y of a new layer with the weights as they are now."""
    layer = type(made.layer).from_config(made.layer.config())
    layer.load_state_dict(made.layer.state_dict())
    return layer(made.x)[0]


def edit_in_place(layer, name):
    layer.params[name][...] *= 2


def edit_one_item(layer, name):
    layer.params[name].reshape(-1)[-1] += 1


def edit_through_a_view(layer, name):
    view = layer.params[name].reshape(-1)[::2]
    layer(np.zeros((1, 1, layer.input_size), layer.dtype))  # the array itself is gone
    view += 1


def assign(layer, name):
    layer.params[name] = layer.params[name] * 2


def write_and_say_so(layer, name):
    layer.params.arrays()[name][...] *= 2
    layer.params.changed()


def load(layer, name):
    layer.load_state_dict({name: layer.state_dict()[name] * 2}, strict=False)


EDITS = [
    edit_in_place,
    edit_one_item,
    edit_through_a_view,
    assign,
    write_and_say_so,
    load,
]


@pytest.mark.parametrize("edit", EDITS)
@by_name
def test_every_edit_of_every_parameter_is_noticed(cell, edit):
    made = problem(cell)
    for name in made.layer.state_dict():
        before = made.layer(made.x)[0]
        edit(made.layer, name)
        after = made.layer(made.x)[0]
        assert not np.array_equal(before, after), name
        assert same_bits(after, fresh_result(made)), name


def test_an_array_that_was_handed_out_is_watched_for_as_long_as_it_is_held():
    made = problem(REGISTRY["lstm"])
    weight = made.layer.params["weight_hh_l0"]
    for factor in (2, 1, -1, 0.5):
        before = made.layer(made.x)[0]
        weight *= factor
        after = made.layer(made.x)[0]
        assert np.array_equal(before, after) == (factor == 1)
        assert same_bits(after, fresh_result(made))


def test_the_watch_ends_when_nobody_holds_the_array():
    made = problem(REGISTRY["lstm"])
    weight = made.layer.params["weight_hh_l0"]
    made.layer(made.x)
    assert set(made.layer.params._copies) == {"weight_hh_l0"}
    del weight
    made.layer(made.x)
    assert not made.layer.params._copies


def test_weights_that_do_not_change_are_packed_once():
    made = problem(REGISTRY["lstm"])
    _ = made.layer.params["weight_hh_l0"]
    packed = made.layer._packed(False)
    made.layer(made.x)
    assert made.layer._packed(False)[1] is packed[1]


def test_edits_are_noticed_by_their_bits():
    layer = fastcell.Linear(1, 1, bias=False, seed=0)
    weight = layer.params["weight"]
    x = np.full((1, 1), -1, np.float32)
    weight[...] = 0.0
    version = layer.params.version()
    weight[...] = -0.0  # compares equal to 0.0
    assert layer.params.version() != version
    weight[...] = np.nan
    assert np.isnan(layer(x)).all()
    version = layer.params.version()
    assert layer.params.version() == version  # NaN does not differ from itself


@by_name
def test_the_cell_class_notices_edits(cell):
    if cell.proj_size:
        return  # cells do not project
    one = cell.cell_class(3, 4, seed=0, **cell.options)
    x = np.ones((2, 3), np.float32)
    for name in one.state_dict():
        before = one(x)
        one.params[name][...] += 1
        expected = type(one)(3, 4, seed=1, **cell.options)
        expected.load_state_dict(one.state_dict())
        after = one(x)
        of_h = ("weight_hh", "weight_ln_hh", "weight_u", "weight_lambda")
        unseen = name in of_h  # state is 0
        assert not np.array_equal(before, after) or unseen
        assert np.array_equal(after, expected(x))


def test_assigning_copies_and_checks():
    params = fastcell.Linear(2, 3, seed=0).params
    value = np.ones((3, 2), np.float32)
    params["weight"] = value
    value[...] = 5
    assert (params["weight"] == 1).all()
    with pytest.raises(TypeError, match="weight must be real numbers; got complex"):
        params["weight"] = np.ones((3, 2), complex)
    with pytest.raises(ValueError, match=r"weight must have the shape \(3, 2\); got"):
        params["weight"] = np.ones((2, 3), np.float32)
    with pytest.raises(KeyError, match="wieght: expected one of weight, bias"):
        params["wieght"] = value
    assert (params["weight"] == 1).all()


def test_assigning_casts_as_a_state_dict_is_cast():
    layers = [fastcell.Linear(2, 3, seed=0), fastcell.GRUCell(2, 3, seed=0)]
    layers += [fastcell.Sequential(layers[:1])]
    for layer in layers:
        for name, array in layer.state_dict().items():
            for value in (np.full(array.shape, 0.1), np.ones(array.shape, np.float16)):
                layer.params[name] = value
                assert (layer.params[name] == value.astype(np.float32)).all()


def test_assigning_takes_a_tensor_that_requires_a_gradient():
    class Tensor:
        requires_grad, dtype = True, "torch.float32"

        def __array__(self, *_, **__):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

        def detach(self):
            return np.full(3, 7.0, np.float32)

    layer = fastcell.Linear(2, 3, seed=0)
    layer.params["bias"] = Tensor()
    assert (layer.params["bias"] == 7).all()


def test_parameters_are_a_mapping_in_the_order_of_the_state_dict():
    layer = fastcell.GRU(2, 3, num_layers=2, seed=0)
    assert list(layer.params) == list(layer.state_dict())
    assert len(layer.params) == 8
    assert "weight_ih_l1" in layer.params
    with pytest.raises(KeyError):
        layer.params["weight_ih_l2"]
    assert "weight_ih_l0: (9, 2)" in repr(layer.params)


@by_name
def test_a_state_dict_is_a_copy(cell):
    layer = cell.layer(3, 4, seed=0)
    before = layer.state_dict()
    for weight in layer.state_dict().values():
        weight[...] = np.nan
    assert all(same_bits(w, before[n]) for n, w in layer.state_dict().items())


BAD_STATE_DICTS = [
    (lambda d: d.pop("bias_hh_l0"), KeyError, ["bias_hh_l0", "missing"]),
    (
        lambda d: d.update(weight_ih_l9=d["weight_ih_l0"]),
        KeyError,
        ["unknown", "weight_ih_l9", "weight_ih_l0"],
    ),
    (
        lambda d: d.update(bias_hh_l0=np.zeros(3, np.float32)),
        ValueError,
        ["bias_hh_l0", "(16,)", "(3,)"],
    ),
    (lambda d: d.update(bias_hh_l0=None), TypeError, ["bias_hh_l0", "None"]),
    (lambda d: d.update(bias_hh_l0="x"), TypeError, ["bias_hh_l0", "<U1"]),
    (lambda d: d.update(bias_hh_l0=np.zeros(16, "c8")), TypeError, ["complex64"]),
]


@pytest.mark.parametrize("spoil, error, words", BAD_STATE_DICTS)
def test_a_refused_state_dict_changes_nothing(spoil, error, words):
    layer = fastcell.LSTM(2, 4, seed=0)
    before = layer.state_dict()
    mapping = {name: w + 1 for name, w in before.items()}
    spoil(mapping)
    with pytest.raises(error) as caught:
        layer.load_state_dict(mapping)
    for word in words:
        assert word in str(caught.value)
    assert all(same_bits(w, before[n]) for n, w in layer.state_dict().items())


def test_a_partial_state_dict_is_taken_when_not_strict():
    layer = fastcell.LSTM(2, 4, seed=0)
    before = layer.state_dict()
    bias = np.arange(16, dtype=np.float32)
    layer.load_state_dict({"bias_hh_l0": bias, "other": 1}, strict=False)
    assert same_bits(layer.params["bias_hh_l0"], bias)
    assert same_bits(layer.params["weight_ih_l0"], before["weight_ih_l0"])


def test_a_shared_array_is_one_under_both_names():
    one, two = fastcell.Linear(2, 3, seed=0), fastcell.Linear(2, 3, seed=1)
    x = np.ones((1, 2), np.float32)
    two(x)
    two.params.share("weight", one.params)
    two.params.share("bias", one.params)
    assert same_bits(one(x), two(x))
    one.params["weight"][...] = 7
    assert same_bits(one(x), two(x))
    two.params["bias"] = np.ones(3, np.float32)
    assert same_bits(one(x), two(x))
    with pytest.raises(ValueError, match=r"weight must have the shape \(3, 2\)"):
        two.params.share("weight", fastcell.Linear(3, 2).params)


def test_a_group_joins_names_and_shows_a_shared_array_once():
    one, two = fastcell.Linear(2, 3, seed=0), fastcell.Linear(2, 3, bias=False, seed=1)
    two.params.share("weight", one.params)
    group = ParameterGroup({"a": one.params, "b": two.params})
    assert list(group) == ["a.weight", "a.bias"]
    assert group.aliases == {"b.weight": "a.weight"}
    nested = ParameterGroup({"model": group})
    assert list(nested) == ["model.a.weight", "model.a.bias"]
    assert nested.aliases == {"model.b.weight": "model.a.weight"}
    x = np.ones((1, 2), np.float32)
    nested["model.a.weight"] = np.full((3, 2), 4, np.float32)
    assert same_bits(two(x), np.full((1, 3), 8, np.float32))
    nested["model.a.bias"][...] = 1
    assert same_bits(one(x), np.full((1, 3), 9, np.float32))
    group.arrays()["a.weight"][...] = 0
    group.changed()
    assert not two(x).any()
    with pytest.raises(KeyError, match=r"b.weight: expected one of a.weight, a.bias"):
        group["b.weight"] = np.zeros((3, 2), np.float32)
    assert len(nested) == 2
    assert "a.weight: (3, 2)" in repr(group)


def test_a_state_dict_may_name_a_shared_array_twice():
    embedding, linear = fastcell.Embedding(5, 3, seed=0), fastcell.Linear(3, 5, seed=0)
    linear.params.share("weight", embedding.params)
    model = fastcell.Sequential([embedding, linear])
    assert list(model.state_dict()) == ["0.weight", "1.bias"]
    weights = model.state_dict()
    model.load_state_dict({**weights, "1.weight": weights["0.weight"]})


def test_parameters_of_nothing_are_empty():
    assert len(Parameters({})) == 0
    assert Parameters({}).version() == 0


def test_parameters_of_a_container_are_one_object_until_layers_share():
    embedding, linear = fastcell.Embedding(4, 3, seed=0), fastcell.Linear(3, 4, seed=1)
    model = fastcell.Sequential([embedding, linear])
    outer = fastcell.Sequential([model])
    before = outer.params
    assert outer.params is before
    assert not before.aliases
    linear.params.share("weight", embedding.params)
    assert outer.params is not before
    assert outer.params.aliases == {"0.1.weight": "0.0.weight"}
    model.layers[1] = fastcell.Linear(3, 4, seed=2)
    assert not outer.params.aliases


def test_an_alias_leads_to_the_first_name_through_containers():
    layer = fastcell.Linear(3, 3, seed=0)
    inner = fastcell.Sequential([layer, layer])
    params = fastcell.Sequential([layer, inner]).params
    assert set(params) == {"0.weight", "0.bias"}
    assert set(params.aliases.values()) == set(params)
    assert "1.1.weight" in params.aliases
