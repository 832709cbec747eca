"""The fast path of training calls, x (T, B, I) and at most lengths: bits, copies,
refusals; and what a `Sequential` and an optimizer cache of parameters.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from oracle import by_name, same_bits

import fastcell
from fastcell.layers.batches import PLAIN
from fastcell.parameters import Parameters

f32, f64 = np.float32, np.float64
T, B, I, H = 5, 3, 4, 7  # noqa: E741


def arrays_of(width=H, dtype=f32):
    random = np.random.default_rng(0)
    x = random.standard_normal((T, B, I)).astype(dtype)
    return x, random.standard_normal((T, B, width)).astype(dtype)


def apart(array):
    """Return an array of the same numbers that lie apart: it goes the other way."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def flat(values):
    """Return all arrays of a result, in their order."""
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, (tuple, list)):
        return [array for value in values for array in flat(value)]
    return [values]


def trained(layer, x, dy, **sequence):
    """Return what forward and backward do, and whether forward went the quick way."""
    y, state, saved = layer.forward(x, **sequence)
    return flat((y, state, layer.backward(dy, saved))), saved._layout is PLAIN


@pytest.mark.parametrize("lengths", [None, np.array([2, 5, 0])], ids=["full", "ragged"])
@pytest.mark.parametrize("dtype", [f32, f64])
@pytest.mark.parametrize("two", [False, True], ids=["one way", "both"])
@by_name
def test_both_ways_have_the_same_bits(cell, two, dtype, lengths):
    layer = cell.layer(I, H, num_layers=2, bidirectional=two, dtype=dtype, seed=0)
    x, dy = arrays_of(layer.output_size * (1 + two), dtype)
    quick, was_quick = trained(layer, x, dy, lengths=lengths)
    other, was_other = trained(layer, apart(x), apart(dy), lengths=lengths)
    assert was_quick
    assert not was_other
    assert len(quick) == len(other)
    assert all(map(same_bits, quick, other))
    # A dy that lies apart, after the quick way; or none.
    assert all(map(same_bits, trained(layer, x, apart(dy), lengths=lengths)[0], quick))
    zeros = trained(layer, x, np.zeros_like(dy), lengths=lengths)[0]
    assert all(map(same_bits, trained(layer, x, None, lengths=lengths)[0], zeros))


@pytest.mark.parametrize(
    "made, given",
    [
        (dict(dropout=0.5, num_layers=2), {}),
        (dict(batch_first=True), {}),
        ({}, dict(mask=np.ones((T, B), bool))),
        ({}, dict(reset=np.zeros((T, B), bool))),
        ({}, dict(memory_budget=1)),
        ({}, dict(state=np.ones((1, B, H), f32))),
        ({}, dict(lengths=[1, 2, 3])),
        ({}, dict(lengths=np.array([1, 2, 3], np.int32))),
    ],
    ids=lambda value: ", ".join(value) or "-",
)
def test_what_the_quick_way_does_not_know_goes_the_other(made, given):
    layer = fastcell.GRU(I, H, **made, seed=0)
    x, _ = arrays_of()
    if "batch_first" in made:
        x = np.ascontiguousarray(x.swapaxes(0, 1))
    assert layer.forward(x, **given)[2]._layout is not PLAIN


def test_lengths_of_a_quick_call_are_copied():
    layer = fastcell.LSTM(I, H, seed=0)
    x, dy = arrays_of()
    lengths = np.array([2, 5, 1])
    expected, _ = trained(layer, x, dy, lengths=lengths.copy())
    y, state, saved = layer.forward(x, lengths=lengths)
    lengths[:] = T
    assert saved.look()[0].lengths.tolist() == [2, 5, 1]
    assert all(map(same_bits, flat((y, state, layer.backward(dy, saved))), expected))


@pytest.mark.parametrize("lengths", [[2, T + 1, 1], [2, -1, 1], [2, 1]])
def test_wrong_lengths_are_refused_as_ever(lengths):
    layer = fastcell.LSTM(I, H, seed=0)
    with pytest.raises(ValueError, match=r"^lengths must"):
        layer.forward(arrays_of()[0], lengths=np.array(lengths))


@pytest.mark.parametrize(
    "spoil, error, words",
    [
        (lambda dy: dy[1:], ValueError, "^dy must have the shape"),
        (lambda dy: dy[..., 1:], ValueError, "^dy must have the shape"),
        (lambda dy: dy.astype(f64), TypeError, "^dy must be float32"),
    ],
)
def test_a_wrong_dy_leaves_saved_as_it_is(spoil, error, words):
    layer = fastcell.LSTM(I, H, seed=0)
    x, dy = arrays_of()
    expected, _ = trained(layer, x, dy)
    y, state, saved = layer.forward(x)
    with pytest.raises(error, match=words):
        layer.backward(spoil(dy), saved)
    assert all(map(same_bits, flat((y, state, layer.backward(dy, saved))), expected))
    with pytest.raises(ValueError, match="saved was used up"):
        layer.backward(dy, saved)


def test_changes_between_forward_and_backward_are_noticed():
    layer = fastcell.LSTM(I, H, seed=0)
    x, dy = arrays_of()
    _, _, saved = layer.forward(x)
    x += 1
    with pytest.raises(ValueError, match=r"^x was changed"):
        layer.backward(dy, saved)
    _, _, saved = layer.forward(x)
    layer.params["weight_hh_l0"][0, 0] += 1
    with pytest.raises(ValueError, match=r"^a parameter was changed"):
        layer.backward(dy, saved)
    _, _, saved = layer.forward(x)
    layer.to("bf16")
    with pytest.raises(ValueError, match="or in another precision"):
        layer.backward(dy, saved)


def test_the_memory_of_a_call_serves_the_next_that_fits():
    layer = fastcell.LSTM(I, H, seed=0)
    x, dy = arrays_of()
    for rows in (1, B, 2):  # one that is too small, then one that is larger
        own_x, own_dy = x[:, :rows].copy(), dy[:, :rows].copy()
        fresh = fastcell.LSTM(I, H, seed=0)
        assert all(
            map(
                same_bits,
                trained(layer, own_x, own_dy)[0],
                trained(fresh, own_x, own_dy)[0],
            )
        )


# ------------------------------------------------ what is known from step to step


def tower():
    layers = [fastcell.Linear(H, H, seed=seed) for seed in range(2)]
    return fastcell.Sequential([fastcell.GRU(I, H, seed=2), *layers])


def names_of_a_step(model):
    x, dy = arrays_of()
    saved = model.forward(x)[2]
    return list(model.backward(dy, saved)[2])


def test_arrays_that_are_shared_later_have_one_gradient():
    model = tower()
    assert names_of_a_step(model) == list(model.params)
    assert "2.weight" in model.params
    model.params.share("2.weight", "1.weight")
    assert "2.weight" not in model.params
    assert names_of_a_step(model) == list(model.params)


def test_a_layer_put_in_the_place_of_another_has_gradients_of_its_own():
    model = tower()
    model.layers[2].params.share("weight", model.layers[1].params)
    assert "2.weight" not in names_of_a_step(model)
    model.layers[2] = fastcell.Linear(H, H, seed=3)
    assert "2.weight" in names_of_a_step(model)
    assert names_of_a_step(model) == list(model.params)


def test_a_part_put_in_the_place_of_another_has_gradients_of_its_own():
    model = tower()
    outer = fastcell.Sequential([model, fastcell.Linear(H, H, seed=4)])
    model.layers[2].params.share("weight", model.layers[1].params)
    assert "0.2.weight" not in names_of_a_step(outer)
    model.layers[2] = fastcell.Linear(H, H, seed=3)
    assert names_of_a_step(outer) == list(outer.params)
    assert "0.2.weight" in outer.params


def test_another_process_may_have_shared_as_often(monkeypatch):
    model = tower()
    names_of_a_step(model)
    parcel, shares = pickle.dumps(model), Parameters._shares
    monkeypatch.setattr(Parameters, "_shares", shares - 1)  # as in the other process
    other = pickle.loads(parcel)
    other.layers[2].params.share("weight", other.layers[1].params)
    assert Parameters._shares == shares
    assert "2.weight" not in names_of_a_step(other)


def test_parameters_that_were_asked_for_are_those_of_now():
    model = tower()
    params = model.params
    params.arrays()
    other = fastcell.Linear(H, H, seed=7)
    model.layers[2].params.share("weight", other.params)
    assert params.arrays()["2.weight"] is other.params.arrays()["weight"]


@pytest.mark.parametrize(
    "way", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))]
)
def test_parameters_that_were_asked_for_are_copied_with_their_layers(way):
    model = tower()
    model.params.arrays()
    other, params = way((model, model.params))
    held = other.layers[2].params.arrays()["weight"]
    assert params.arrays()["2.weight"] is held
    assert held is not model.layers[2].params.arrays()["weight"]
