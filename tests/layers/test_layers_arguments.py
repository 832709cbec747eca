"""Arguments of layers: what they accept, and errors that name the argument, what was
expected and what was given (DESIGN, promise 4)."""

from __future__ import annotations

import array

import numpy as np
import oracle
import pytest
from oracle import by_name, joined, problem, same_bits, split
from refusals import refuses
from tolerances import GRADIENT_FLOAT32, error

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY

f32, f64 = np.float32, np.float64
X = np.zeros((5, 3, 2), f32)  # T, B, I
H0 = np.zeros((1, 3, 4), f32)


# ---------------------------------------------------------------- constructor

BAD_CONSTRUCTOR = [
    ({"input_size": -1}, ValueError, ["input_size", ">= 0", "-1"]),
    ({"input_size": 2.0}, TypeError, ["input_size", "integer", "2.0"]),
    ({"hidden_size": 0}, ValueError, ["hidden_size", ">= 1", "0"]),
    ({"hidden_size": "8"}, TypeError, ["hidden_size", "integer", "'8'"]),
    ({"hidden_size": True}, TypeError, ["hidden_size", "integer", "True"]),
    ({"num_layers": 0}, ValueError, ["num_layers", ">= 1", "0"]),
    ({"num_layers": None}, TypeError, ["num_layers", "integer", "None"]),
    ({"bias": 1}, TypeError, ["bias", "True or False", "1"]),
    ({"batch_first": "yes"}, TypeError, ["batch_first", "True or False", "'yes'"]),
    ({"bidirectional": 2}, TypeError, ["bidirectional", "True or False", "2"]),
    ({"dropout": -0.1}, ValueError, ["dropout", ">= 0", "-0.1"]),
    ({"dropout": 1.5}, ValueError, ["dropout", "<= 1", "1.5"]),
    ({"dropout": float("nan")}, ValueError, ["dropout", "finite", "nan"]),
    ({"dropout": float("inf")}, ValueError, ["dropout", "finite", "inf"]),
    ({"dropout": "0.5"}, TypeError, ["dropout", "number", "'0.5'"]),
    ({"dtype": np.float16}, TypeError, ["dtype", "float32 or float64", "float16"]),
    ({"dtype": "int32"}, TypeError, ["dtype", "float32 or float64", "int32"]),
    ({"dtype": "floof"}, TypeError, ["dtype", "float32 or float64", "floof"]),
    ({"dtype": None}, TypeError, ["dtype", "float32 or float64", "None"]),
    ({"seed": -1}, ValueError, ["seed", ">= 0", "-1"]),
    ({"seed": 1.5}, TypeError, ["seed", "integer", "1.5"]),
]


@pytest.mark.parametrize("changes, error, words", BAD_CONSTRUCTOR)
@by_name
def test_constructor_refuses(cell, changes, error, words):
    good = {"input_size": 2, "hidden_size": 4, "num_layers": 2, **cell.options}
    if cell.proj_size:
        good["proj_size"] = 2
    refuses(error, words, cell.layer_class, **{**good, **changes})


def test_constructor_refuses_what_only_one_cell_has():
    refuses(
        ValueError,
        ["nonlinearity", '"tanh" or "relu"', "'gelu'"],
        fastcell.RNN,
        2,
        4,
        nonlinearity="gelu",
    )
    refuses(ValueError, ["proj_size", "4", "5"], fastcell.LSTM, 2, 4, proj_size=5)
    refuses(ValueError, ["proj_size", "4"], fastcell.LSTM, 2, 4, proj_size=4)
    refuses(ValueError, ["proj_size", ">= 0", "-1"], fastcell.LSTM, 2, 4, proj_size=-1)
    refuses(
        TypeError, ["reset_after", "True or False"], fastcell.GRU, 2, 4, reset_after=0
    )


@pytest.mark.parametrize("size", [2**31, 2**40, 2**62])
def test_sizes_past_memory_are_refused_without_an_abort(size):
    with pytest.raises((MemoryError, ValueError)):
        fastcell.LSTM(size, size)


# ---------------------------------------------------------------------- calls

BAD_CALLS = [
    ({"x": np.zeros((5, 3, 9), f32)}, ValueError, ["x", "(T, B, I)", "2", "(5, 3, 9)"]),
    ({"x": np.zeros(2, f32)}, ValueError, ["x", "(T, B, I)", "(2,)"]),
    ({"x": np.zeros((1, 5, 3, 2), f32)}, ValueError, ["x", "(1, 5, 3, 2)"]),
    ({"x": f32(1)}, ValueError, ["x", "(T, B, I)", "()"]),
    ({"x": X.astype(f64)}, TypeError, ["x", "float32", "float64"]),
    ({"x": X.astype(np.int64)}, TypeError, ["x", "float32", "int64"]),
    ({"x": X.astype(np.float16)}, TypeError, ["x", "float32", "float16"]),
    ({"x": X.astype(np.complex64)}, TypeError, ["x", "float32", "complex64"]),
    ({"x": X.astype(">f4")}, TypeError, ["x", "float32", ">f4"]),
    ({"x": [[[1.0, 2.0]]]}, TypeError, ["x", "float32", "float64"]),
    ({"x": None}, TypeError, ["x", "array", "NoneType"]),
    ({"x": [[1], [2, 3]]}, TypeError, ["x", "array", "list"]),
    ({"x": "text"}, TypeError, ["x", "float32"]),
    ({"lengths": [1, 2]}, ValueError, ["lengths", "(3,)", "(2,)"]),
    ({"lengths": 2}, ValueError, ["lengths", "(3,)", "()"]),
    ({"lengths": [[1, 2, 3]]}, ValueError, ["lengths", "(3,)", "(1, 3)"]),
    ({"lengths": [1, 2, 6]}, ValueError, ["lengths", "0 to 5", "6", "row 2"]),
    ({"lengths": [1, -1, 5]}, ValueError, ["lengths", "0 to 5", "-1", "row 1"]),
    ({"lengths": [2**62, 1, 1]}, ValueError, ["lengths", "0 to 5", str(2**62)]),
    ({"lengths": [2**64, 1, 1]}, TypeError, ["lengths"]),
    (
        {"lengths": np.array([2**63, 1, 1], np.uint64)},
        ValueError,
        ["lengths", "0 to 5", str(2**63)],
    ),
    ({"lengths": [1.0, 2.0, 3.0]}, TypeError, ["lengths", "integers", "float64"]),
    ({"lengths": [True, True, False]}, TypeError, ["lengths", "integers", "bool"]),
    ({"lengths": "abc"}, TypeError, ["lengths", "integers"]),
    ({"mask": np.ones((5, 3))}, TypeError, ["mask", "bool", "float64"]),
    ({"mask": np.ones((5, 3), np.uint8)}, TypeError, ["mask", "bool", "uint8"]),
    ({"mask": np.ones((3, 5), bool)}, ValueError, ["mask", "(5, 3)", "(3, 5)"]),
    ({"mask": np.ones(5, bool)}, ValueError, ["mask", "(5, 3)", "(5,)"]),
    ({"reset": np.ones((5, 3), int)}, TypeError, ["reset", "bool", "int64"]),
    ({"reset": np.ones((3, 5), bool)}, ValueError, ["reset", "(5, 3)", "(3, 5)"]),
]
WHEN = ["call", "forward"]


def method(layer, when):
    return layer if when == "call" else getattr(layer, when)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("changes, error, words", BAD_CALLS)
def test_calls_refuse(changes, error, words, when):
    layer = fastcell.LSTM(2, 4, seed=0)
    refuses(error, words, method(layer, when), **{"x": X, **changes})


BAD_STATES_OF_AN_LSTM = [
    (H0, TypeError, ["state", "(h, c)", "ndarray"]),
    ((H0,), TypeError, ["state", "(h, c)"]),
    ((H0, H0, H0), TypeError, ["state", "(h, c)"]),
    ((H0, H0[:, :2]), ValueError, ["state c", "(1, 3, 4)", "(1, 2, 4)"]),
    ((H0[:, :, :3], H0), ValueError, ["state h", "(1, 3, 4)", "(1, 3, 3)"]),
    ((H0[0], H0), ValueError, ["state h", "(1, 3, 4)", "(3, 4)"]),
    ((H0, H0.astype(f64)), TypeError, ["state c", "float32", "float64"]),
    ((H0, None), TypeError, ["state c", "array", "NoneType"]),
]


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("state, error, words", BAD_STATES_OF_AN_LSTM)
def test_calls_refuse_states_of_an_lstm(state, error, words, when):
    refuses(error, words, method(fastcell.LSTM(2, 4), when), X, state)


@pytest.mark.parametrize("layer_class", [fastcell.GRU, fastcell.RNN])
def test_calls_refuse_states_of_one_part(layer_class):
    layer = layer_class(2, 4)
    refuses(ValueError, ["state h", "(1, 3, 4)", "(3, 4)"], layer, X, H0[0])
    refuses(ValueError, ["state h", "(1, 3, 4)", "(2, 1, 3, 4)"], layer, X, (H0, H0))
    refuses(TypeError, ["state h", "float32", "float64"], layer, X, H0.astype(f64))


def test_a_projected_lstm_has_states_of_two_widths():
    layer = fastcell.LSTM(2, 4, proj_size=3)
    refuses(ValueError, ["state h", "(1, 3, 3)", "(1, 3, 4)"], layer, X, (H0, H0))
    y, (h, c) = layer(X, (H0[:, :, :3], H0))
    assert (y.shape, h.shape, c.shape) == ((5, 3, 3), (1, 3, 3), (1, 3, 4))


BAD_DY = [
    (np.zeros((5, 3, 5), f32), ValueError, ["dy", "(5, 3, 4)", "(5, 3, 5)"]),
    (np.zeros((4, 3, 4), f32), ValueError, ["dy", "(5, 3, 4)", "(4, 3, 4)"]),
    (np.zeros((5, 3, 4)), TypeError, ["dy", "float32", "float64"]),
]


@pytest.mark.parametrize("dy, error, words", BAD_DY)
def test_backward_refuses_and_the_saved_can_still_be_used(dy, error, words):
    layer = fastcell.GRU(2, 4)
    y, _, saved = layer.forward(X)
    refuses(error, words, layer.backward, dy, saved)
    layer.backward(np.ones_like(y), saved)


def test_backward_refuses_a_wrong_dstate():
    layer = fastcell.LSTM(2, 4)
    y, _, saved = layer.forward(X)
    refuses(
        ValueError,
        ["dstate h", "(1, 3, 4)", "(1, 2, 4)"],
        layer.backward,
        y,
        saved,
        (H0[:, :2], H0),
    )
    refuses(TypeError, ["dstate", "(h, c)"], layer.backward, y, saved, H0)


@by_name
def test_gradients_are_added_to_those_of_another_call(cell):
    made = problem(cell)
    y, _, saved = made.layer.forward(made.x)
    dx, dstate, one = made.layer.backward(y, saved)
    sums = {name: np.full_like(grad, 2) for name, grad in one.items()}
    _, _, saved = made.layer.forward(made.x)
    again, dstate_again, grads = made.layer.backward(y, saved, add_to=sums)
    assert grads is sums
    assert same_bits(again, dx)
    assert all(map(same_bits, split(dstate_again), split(dstate)))
    for name, grad in one.items():
        assert error(sums[name], grad + 2) <= GRADIENT_FLOAT32


def test_backward_refuses_sums_that_do_not_fit():
    layer = fastcell.GRU(2, 4)
    y, _, saved = layer.forward(X)
    good = {name: np.zeros_like(a) for name, a in layer.state_dict().items()}
    name = "weight_hh_l0"
    for wrong, kind, words in [
        ({}, ValueError, ["add_to", name]),
        ({**good, "decoder": good[name]}, ValueError, ["add_to", "decoder"]),
        ({**good, name: good[name][:3]}, ValueError, ["add_to", name, "(12, 4)"]),
        ({**good, name: good[name].astype(float)}, TypeError, ["add_to", "float64"]),
        ({**good, name: good[name].T.copy().T}, ValueError, ["add_to", "contiguous"]),
    ]:
        refuses(kind, words, layer.backward, y, saved, add_to=wrong)
    layer.backward(y, saved, add_to=good)


@by_name
def test_saved_serves_one_backward(cell):
    made = problem(cell)
    y, _, saved = made.layer.forward(made.x)
    assert saved.nbytes > y.nbytes
    made.layer.backward(y, saved)
    assert saved.nbytes == 0
    refuses(ValueError, ["saved", "used up"], made.layer.backward, y, saved)


def test_a_freed_saved_is_used_up():
    layer = fastcell.GRU(2, 4)
    y, _, saved = layer.forward(X)
    saved.free()
    refuses(ValueError, ["saved", "used up"], layer.backward, y, saved)


def test_backward_refuses_what_is_not_its_own():
    layer = fastcell.GRU(2, 4)
    y, _, saved = fastcell.GRU(2, 4).forward(X)
    refuses(ValueError, ["saved", "another layer"], layer.backward, y, saved)
    refuses(TypeError, ["saved", "forward", "NoneType"], layer.backward, y, None)


@by_name
def test_backward_refuses_weights_that_changed_since_forward(cell):
    made = problem(cell)
    y, _, saved = made.layer.forward(made.x)
    made.layer.params["weight_ih_l0"][0, 0] += 1
    refuses(ValueError, ["parameter", "changed"], made.layer.backward, y, saved)


def test_a_refused_call_changes_nothing():
    layer = fastcell.LSTM(2, 4, num_layers=2, dropout=0.5, seed=0)
    before, random = layer.state_dict(), layer.rng_state()
    refuses(ValueError, ["lengths"], layer.forward, X, lengths=[9, 9, 9])
    assert layer.rng_state() == random
    assert all(same_bits(w, before[n]) for n, w in layer.state_dict().items())


def test_batches_past_memory_are_refused_without_an_abort():
    huge = np.broadcast_to(np.zeros((1, 1, 2), f32), (2**30, 2**20, 2))
    layer = fastcell.LSTM(2, 4)
    with pytest.raises(MemoryError):
        layer(huge)
    with pytest.raises(MemoryError):
        layer.forward(huge)


# -------------------------------------------------------------- legal extremes


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("T, B", [(0, 3), (5, 0), (0, 0)])
@by_name
def test_without_steps_or_rows_state_out_is_state_in(cell, T, B, bidirectional, isa):
    made = problem(cell, T=T, B=B, num_layers=2, bidirectional=bidirectional)
    y, final = made.call()
    assert y.shape == made.dy.shape
    assert all(map(same_bits, final, made.state))
    _, final, gradients = made.train()
    assert all(map(same_bits, final, made.state))
    for i, dstate in enumerate(made.dstate):
        assert same_bits(gradients[f"state {i}"], dstate)
    for name, gradient in gradients.items():
        assert name.startswith("state") or not gradient.any()


@by_name
def test_a_sequence_of_length_zero_keeps_its_state(cell):
    made = problem(cell, B=3, num_layers=2, bidirectional=True)
    made.sequence = {"lengths": np.array([5, 0, 2])}
    y, final, gradients = made.train()
    assert not y[:, 1].any()
    for before, after in zip(made.state, final, strict=True):
        assert same_bits(before[:, 1], after[:, 1])
        assert not np.array_equal(before[:, 0], after[:, 0])
    for i, dstate in enumerate(made.dstate):
        assert same_bits(gradients[f"state {i}"][:, 1], dstate[:, 1])
    assert not gradients["x"][:, 1].any()


@by_name
def test_full_lengths_and_a_full_mask_are_none(cell):
    made = problem(cell, num_layers=2, bidirectional=True)
    y, final = made.call()
    for sequence in (
        {"lengths": np.full(made.B, made.T)},
        {"mask": np.ones((made.T, made.B), bool)},
        {"reset": np.zeros((made.T, made.B), bool)},
    ):
        y_same, final_same = made.call(**sequence)
        assert same_bits(y, y_same)
        assert all(map(same_bits, final, final_same))


@by_name
def test_no_input_features_are_legal(cell):
    made = problem(cell, I=0)
    dx = made.train()[2]["x"]
    assert dx.shape == (5, 3, 0)
    assert made.call()[0].any()


@pytest.mark.parametrize(
    "lengths",
    [
        [5, 0, 2],
        (5, 0, 2),
        np.array([5, 0, 2], np.int8),
        np.array([5, 0, 2], np.uint64),
        np.array([5, 9, 0, 9, 2])[::2],
        array.array("i", [5, 0, 2]),
    ],
    ids=["list", "tuple", "int8", "uint64", "strided", "buffer"],
)
def test_lengths_may_be_any_integers(lengths):
    made = problem(REGISTRY["gru"])
    expected = made.call(lengths=np.array([5, 0, 2]))[0]
    assert same_bits(made.call(lengths=lengths)[0], expected)


def test_lengths_of_no_rows_may_be_an_empty_list():
    made = problem(REGISTRY["gru"], B=0)
    assert made.call(lengths=[])[0].shape == (5, 0, 7)


@by_name
def test_one_unbatched_sequence_is_a_batch_of_one(cell):
    made = problem(cell, B=1, kind="everything", num_layers=2, bidirectional=True)
    y, final, gradients = made.train()
    layer = made.layer
    sequence = {n: a if n == "lengths" else a[:, 0] for n, a in made.sequence.items()}
    flat_state = joined(tuple(s[:, 0] for s in made.state))
    flat_y, flat_final, saved = layer.forward(made.x[:, 0], flat_state, **sequence)
    dx, dstate, grads = layer.backward(
        made.dy[:, 0], saved, joined(tuple(d[:, 0] for d in made.dstate))
    )
    assert same_bits(flat_y, y[:, 0])
    assert same_bits(dx, gradients["x"][:, 0])
    for i, (got, expected) in enumerate(zip(split(flat_final), final, strict=True)):
        assert same_bits(got, expected[:, 0])
        assert same_bits(split(dstate)[i], gradients[f"state {i}"][:, 0])
    assert all(same_bits(grad, gradients[name]) for name, grad in grads.items())


def test_an_unbatched_sequence_refuses_arrays_with_a_batch_axis():
    layer = fastcell.LSTM(2, 4)
    x = X[:, 0]
    refuses(ValueError, ["state h", "(1, 4)", "(1, 3, 4)"], layer, x, (H0, H0))
    refuses(
        ValueError, ["mask", "(5,)", "(5, 1)"], layer, x, mask=np.ones((5, 1), bool)
    )


@pytest.mark.parametrize("kind", oracle.KINDS)
@by_name
def test_batch_first_is_a_transpose(cell, kind):
    made = problem(cell, kind=kind, num_layers=2, bidirectional=True)
    y, final, gradients = made.train()
    config = {**made.layer.config(), "batch_first": True}
    layer = type(made.layer).from_config(config)
    layer.load_state_dict(made.layer.state_dict())
    sequence = {n: a if n == "lengths" else a.T for n, a in made.sequence.items()}
    x = np.ascontiguousarray(made.x.swapaxes(0, 1))
    dy = np.ascontiguousarray(made.dy.swapaxes(0, 1))
    y_first, final_first, saved = layer.forward(x, joined(made.state), **sequence)
    dx, dstate, grads = layer.backward(dy, saved, joined(made.dstate))
    assert same_bits(y_first.swapaxes(0, 1), y)
    assert y_first.flags.c_contiguous
    assert same_bits(dx.swapaxes(0, 1), gradients["x"])
    for i, (got, expected) in enumerate(zip(split(final_first), final, strict=True)):
        assert same_bits(got, expected)
        assert same_bits(split(dstate)[i], gradients[f"state {i}"])
    assert all(same_bits(grad, gradients[name]) for name, grad in grads.items())


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a):
    memory = np.empty(a.nbytes + 1, np.uint8)[1:]
    view = memory.view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def field_of_records(a):
    records = np.zeros(a.shape, [("flag", "u1"), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


def every_second(a):
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def padded_rows(a):
    wide = np.full((*a.shape[:-1], a.shape[-1] + 3), np.nan, a.dtype)
    wide[..., 1:-2] = a
    return wide[..., 1:-2]


class OnlyDlpack:
    def __init__(self, a):
        self.__dlpack__, self.__dlpack_device__ = a.__dlpack__, a.__dlpack_device__


class OnlyArray:
    def __init__(self, a):
        self._a = a

    def __array__(self, dtype=None, copy=None):
        return self._a


LAYOUTS = {
    "fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "reversed features": lambda a: a[..., ::-1].copy()[..., ::-1],
    "batch first in memory": lambda a: a.swapaxes(0, 1).copy().swapaxes(0, 1),
    "read-only": read_only,
    "unaligned": unaligned,
    "record field": field_of_records,
    "every second": every_second,
    "padded rows": padded_rows,
    "dlpack": OnlyDlpack,
    "__array__": OnlyArray,
    "buffer": memoryview,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    "cell", [REGISTRY["lstm"], REGISTRY["gru"]], ids=["lstm", "gru"]
)
def test_any_layout_in_memory_gives_the_same_bits(cell, layout):
    made = problem(cell, num_layers=2, bidirectional=True)
    y, final, gradients = made.train()
    state = joined(tuple(layout(s) for s in made.state))
    y_laid, final_laid, saved = made.layer.forward(layout(made.x), state)
    dx, dstate, grads = made.layer.backward(
        layout(made.dy), saved, joined(tuple(layout(d) for d in made.dstate))
    )
    assert same_bits(y_laid, y)
    assert all(map(same_bits, split(final_laid), final))
    assert same_bits(dx, gradients["x"])
    for i, part in enumerate(split(dstate)):
        assert same_bits(part, gradients[f"state {i}"])
    assert all(same_bits(grad, gradients[name]) for name, grad in grads.items())


def test_a_broadcast_input_is_its_copy():
    layer = fastcell.GRU(2, 4, seed=0)
    x = np.broadcast_to(np.array([1, 2], f32), (5, 3, 2))
    assert same_bits(layer(x)[0], layer(x.copy())[0])


@by_name
def test_no_argument_is_written_to(cell):
    made = problem(cell, kind="everything", num_layers=2, bidirectional=True)
    arrays = [made.x, *made.state, made.dy, *made.dstate, *made.sequence.values()]
    weights = made.layer.state_dict()
    before = [a.copy() for a in arrays]
    made.call()
    made.train()
    assert all(map(same_bits, arrays, before))
    assert all(same_bits(w, weights[n]) for n, w in made.layer.state_dict().items())


@by_name
def test_results_are_arrays_of_their_own(cell):
    made = problem(cell)
    first = made.train()
    kept = [a.copy() for a in (first[0], *first[1], *first[2].values())]
    made.train()
    made.call()
    assert all(map(same_bits, kept, (first[0], *first[1], *first[2].values())))


def test_shapes_are_those_of_torch():
    layer = fastcell.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)
    y, (h, c) = layer(np.zeros((5, 7, 3), f32))
    assert (y.shape, h.shape, c.shape) == ((5, 7, 4), (4, 7, 2), (4, 7, 4))
    shapes = {n: w.shape for n, w in layer.state_dict().items()}
    assert list(shapes)[:6] == [
        "weight_ih_l0",
        "weight_hh_l0",
        "bias_ih_l0",
        "bias_hh_l0",
        "weight_hr_l0",
        "weight_ih_l0_reverse",
    ]
    assert shapes["weight_ih_l1_reverse"] == (16, 4)
    assert shapes["weight_hh_l1"] == (16, 2)
    assert shapes["weight_hr_l1"] == (2, 4)


@by_name
def test_a_seed_fixes_the_weights_and_they_are_bounded(cell):
    one, two, other = (cell.layer(9, 16, seed=s).state_dict() for s in (1, 1, 2))
    begins = _core.describe_cell(cell.name)["initial"]
    for name, weight in one.items():
        assert same_bits(weight, two[name])
        begin = begins[name.removesuffix("_l0")]
        if cell.name == "lru":
            continue  # it begins as its paper says: test_lru.py
        if begin == "fractions":
            assert 0 <= weight.min() < 0.3 < 0.7 < weight.max() < 1
            continue
        if begin != "drawn":
            assert np.all(weight == {"ones": 1, "zeros": 0}[begin])
            continue
        assert not np.array_equal(weight, other[name])
        assert 0.2 < np.abs(weight).max() <= 0.25


@by_name
def test_a_configuration_makes_the_layer_again(cell):
    layer = cell.layer(3, 6, num_layers=2, bias=False, dropout=0.25, seed=3)
    again = type(layer).from_config(layer.config())
    assert again.config() == layer.config()
    assert again._core_cell == layer._core_cell == cell.name
    assert all(
        same_bits(w, layer.state_dict()[n]) for n, w in again.state_dict().items()
    )
    assert f"{cell.layer_class.__name__}(input_size=3" in repr(layer)


BAD_CELL_CALLS = [
    (np.zeros((1, 3, 2), f32), None, ValueError, ["x", "(B, I) or (I,)", "(1, 3, 2)"]),
    (np.zeros((3, 2)), None, TypeError, ["x", "float32", "float64"]),
    (np.zeros((3, 2), f32), (H0[0], H0[0, :1]), ValueError, ["state c"]),
    (np.zeros((3, 2), f32), H0[0], TypeError, ["state", "(h, c)"]),
]


@pytest.mark.parametrize("x, state, error, words", BAD_CELL_CALLS)
def test_cell_classes_refuse(x, state, error, words):
    refuses(error, words, fastcell.LSTMCell(2, 4), x, state)


def every_saved():
    """Return layers of all kinds, an output and a saved of each."""
    x, query = np.ones((3, 2, 4), np.float32), np.ones((2, 4), np.float32)
    made = [
        (fastcell.GRU(4, 4), (x,)),
        (fastcell.GRUCell(4, 4), (query,)),
        (fastcell.Linear(4, 4), (x,)),
        (fastcell.LayerNorm(4), (x,)),
        (fastcell.Dropout(0.5), (x,)),
        (fastcell.Embedding(4, 4), (np.ones((3, 2), int),)),
        (fastcell.layers.Activation("tanh"), (x,)),
        (fastcell.layers.Pooling(4, "mean"), (x,)),
        (fastcell.layers.Pooling(4, "attention"), (x,)),
        (fastcell.Attention(4, 4), (query, x)),
        (fastcell.Sequential([fastcell.Linear(4, 4)]), (x,)),
    ]
    for layer, arguments in made:
        y, *_, saved = layer.forward(*arguments)
        yield layer, y, saved


def test_what_another_layer_saved_is_refused():
    found = list(every_saved())
    for layer, y, mine in found:
        for _, _, saved in found:
            if saved is not mine:
                with pytest.raises((TypeError, ValueError), match="saved"):
                    layer.backward(y, saved)
        layer.backward(y, mine)  # which stays of use
