"""Calls of GRUCell, LSTMCell and RNNCell: their fast path has the layer's bits."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses

import fastcell
from fastcell.cells import REGISTRY
from fastcell.layers.recurrent import Recurrent

f32 = np.float32
I, H = 5, 9  # noqa: E741  (the letter of DESIGN)
every_cell = pytest.mark.parametrize(
    "name", [name for name, cell in REGISTRY.items() if not cell.proj_size]
)


def cell_of(name, dtype=f32):
    cell = REGISTRY[name]
    return cell.cell_class(I, H, seed=0, dtype=dtype, **cell.options)


def arrays(name, rows, dtype=f32):
    random = np.random.default_rng(rows)
    shape = () if rows == 0 else (rows,)
    x = random.standard_normal((*shape, I)).astype(dtype)
    parts = [
        random.standard_normal((*shape, H)).astype(dtype) for _ in REGISTRY[name].states
    ]
    if len(parts) > 2:
        parts[2] = abs(parts[2])  # n is positive
    return x, tuple(parts) if len(parts) > 1 else parts[0]


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


def by_layer(cell, x, state):
    """The same step as a sequence of one."""
    if state is not None:
        added = tuple(part[np.newaxis] for part in parts_of(state))
        state = added if isinstance(state, tuple) else added[0]
    return tuple(part[0] for part in parts_of(cell._layer(x[np.newaxis], state)[1]))


def assert_step(cell, x, state, expected):
    got = cell(x, state)
    assert isinstance(got, tuple) == (len(expected) > 1)
    for a, b in zip(parts_of(got), expected, strict=True):
        assert a.shape == b.shape
        assert same_bits(np.ascontiguousarray(a), np.ascontiguousarray(b))
        assert a.flags.c_contiguous
        assert a.flags.writeable


@pytest.mark.parametrize("precision", ["float32", "float64", "bf16", "int8"])
@every_cell
def test_a_step_has_the_bits_of_a_sequence_of_one(name, precision, isa):
    dtype = np.float64 if precision == "float64" else f32
    cell = cell_of(name, dtype)
    if precision == "bf16":
        cell.to("bf16")
    elif precision == "int8":
        cell._layer = cell._layer.quantize()
    for rows in (0, 1, 2, 3, 7, 17):  # 0: without an axis of rows
        x, state = arrays(name, rows, dtype)
        assert_step(cell, x, state, by_layer(cell, x, state))
        assert_step(cell, x, None, by_layer(cell, x, None))


@pytest.mark.parametrize("rows", [0, 1, 3])
@every_cell
def test_usual_calls_take_the_quick_way(name, rows, monkeypatch):
    cell = cell_of(name)
    x, state = arrays(name, rows)
    expected = by_layer(cell, x, state), by_layer(cell, x, None)
    monkeypatch.setattr(Recurrent, "__call__", None)
    assert_step(cell, x, state, expected[0])
    assert_step(cell, x, None, expected[1])


@every_cell
def test_other_calls_have_the_same_bits(name):
    cell = cell_of(name)
    x, state = arrays(name, 3)
    expected = by_layer(cell, x, state)

    def spread(array):
        return np.repeat(array, 2, axis=-1)[..., ::2]

    assert_step(cell, spread(x), state, expected)
    assert_step(cell, np.asfortranarray(x), state, expected)
    strided = tuple(map(spread, parts_of(state)))
    assert_step(cell, x, strided if len(strided) > 1 else strided[0], expected)
    if len(strided) > 1:
        assert_step(cell, x, list(state), expected)
    empty = cell(x[:0])
    assert all(part.shape == (0, H) for part in parts_of(empty))


@every_cell
def test_a_changed_weight_counts_in_the_next_step(name):
    cell = cell_of(name)
    x, state = arrays(name, 2)
    before = parts_of(cell(x, state))[0]
    cell.params["weight_ih"][...] *= 2
    assert not same_bits(parts_of(cell(x, state))[0], before)
    assert_step(cell, x, state, by_layer(cell, x, state))


def test_wrong_arguments_are_refused_by_the_axes_that_a_cell_has():
    cell, lstm = fastcell.GRUCell(I, H), fastcell.LSTMCell(I, H)
    x, h = np.zeros((2, I), f32), np.zeros((2, H), f32)
    refuses(ValueError, ["state h", "(2, 9)"], cell, x, h[:1])
    refuses(ValueError, ["state h", "(2, 9)"], cell, x, h[:, :-1].copy())
    refuses(ValueError, ["state h", "(2, 9)"], cell, x, h[0])
    refuses(ValueError, ["state h", "(9,)"], cell, x[0], h)
    for call in (cell, cell.forward):
        wrong = x[:, :-1].copy()
        refuses(ValueError, ["x", "(B, I) or (I,)", str(I)], call, wrong, h)
        refuses(ValueError, ["x", "(B, I) or (I,)"], call, x[np.newaxis], h)
    refuses(TypeError, ["state h", "float64"], cell, x, h.astype(float))
    refuses(TypeError, ["x", "float64"], cell, x.astype(float), h)
    refuses(TypeError, ["state", "(h, c)"], lstm, x, h)
    refuses(TypeError, ["state", "(h, c)"], lstm, x, (h, h, h))
    refuses(ValueError, ["state c"], lstm, x, (h, h[:1]))
    saved = lstm.forward(x)[1]
    for bad in ((h[:1], None), (None, h[:, :1])):
        refuses(ValueError, ["dstate", "(2, 9)"], lstm.backward, bad, saved)
    refuses(TypeError, ["dstate", "(h, c)"], lstm.backward, h, saved)
    lstm.backward((None, h), saved)  # which no error has used up


def test_a_sequence_of_torch_is_no_step():
    packed = namedtuple("PackedSequence", "data batch_sizes")(np.zeros((2, I)), [2])
    cell = fastcell.GRUCell(I, H)
    refuses(TypeError, ["x", "(B, I) or (I,)", "PackedSequence"], cell, packed)
