"""Zoneout, dropout of h, of R and of updates: the formula with the same masks."""

from __future__ import annotations

import copy
import types
import zlib
from functools import partial

import numpy as np
import pytest
from oracle import joined, same_bits, split
from tolerances import DIFFERENCE, DIFFERENCE_STEP, error

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY
from fastcell.cells.activations import Choice

BLOCK = 128  # random numbers that the generator makes at once
WORD = 2**64 - 1
EXACT = 1e-13
ALL = {"zoneout": (0.3, 0.2), "recurrent_dropout": 0.25, "weight_drop": 0.2}


def has_r(cell):
    return "weight_hh" in _core.describe_cell(cell.name)["parameters"]


def has_candidate(cell):
    return _core.describe_cell(cell.name)["takes_update_dropout"]


def named(cells):
    return pytest.mark.parametrize("cell", cells, ids=lambda cell: cell.name)


every_cell = named(REGISTRY.values())
with_r = named([cell for cell in REGISTRY.values() if has_r(cell)])
with_candidate = named([cell for cell in REGISTRY.values() if has_candidate(cell)])


def all_of(cell):
    """Return every regularizer that the cell can have."""
    chosen = dict(ALL) if has_r(cell) else {"zoneout": ALL["zoneout"]}
    if len(cell.states) == 1:
        chosen["zoneout"] = 0.3
    if has_candidate(cell):
        chosen["update_dropout"] = 0.35
    return chosen


def mixed(x: int) -> int:
    """Return the finalizer of SplitMix64."""
    x = (x + 0x9E3779B97F4A7C15) & WORD
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB & WORD
    return x ^ x >> 31


def mask(key, kind, row, t, size, rate):
    """Return 0 for the units that the core's generator drops in pass 0, else 1."""
    key = mixed((mixed(key ^ mixed(0)) + kind) & WORD)
    blocks = -(-size // BLOCK)
    words = np.empty((t + 1) * blocks * BLOCK)
    _core.dropout(rate, mixed((key + row) & WORD), None, words, 1)
    return (words[t * blocks * BLOCK :][:size] != 0).astype(float)


def zeros(layer, B):
    return tuple(
        np.zeros_like(s[0])
        for s in split(layer._states.joined(*layer._states.empty(B)))
    )


class FirstTimes:
    """NumPy, whose function `name` has its first result multiplied."""

    def __init__(self, name, factor):
        self.name, self.factor = name, factor

    def __getattr__(self, name):
        function = getattr(np, name)
        if name != self.name:
            return function
        factor, self.factor = self.factor, 1
        return lambda *a: factor * function(*a)


def step_with(cell, factor, x, state, w):
    """Return the cell's step whose candidate is multiplied.

    That is the first tanh of the step; or the first maximum, of the light GRU.
    """
    if cell.name in ("min_gru", "min_lstm"):  # n is linear: a share of its weights
        gates = len(w["weight_ih"]) // len(factor)
        rows = np.concatenate([np.ones(len(factor))] * (gates - 1) + [factor])
        w = {name: (array.T * rows).T for name, array in w.items()}
        return cell.step(x, state, w)
    if "with_options" in cell.name:
        plain = Choice.activate

        def activate(choice, role, a):
            return plain(choice, role, a) * (factor if role == 1 else 1)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Choice, "activate", activate)
            return cell.step(x, state, w)
    step, given = cell.step, {}
    if isinstance(step, partial):
        step, given = step.func, step.keywords
    first = FirstTimes("maximum" if cell.name == "ligru" else "tanh", factor)
    names = {**step.__globals__, "np": first}
    if cell.name.endswith("positive"):
        candidate = names["positive_candidate"]
        names["positive_candidate"] = lambda a: factor * candidate(a)
    return types.FunctionType(step.__code__, names, None, step.__defaults__)(
        x, state, w, **given
    )


def formula(cell, layer, x, key):
    """Return y and the final states of one layer in one direction, by NumPy.

    key None: of inference.
    """
    rates = layer._regularizers
    (of_h, of_c), drop = rates.zoneout, rates.recurrent_dropout
    update = rates.update_dropout
    w = {n.removesuffix("_l0"): a for n, a in layer.state_dict().items()}
    state, out = zeros(layer, x.shape[1]), []
    for t, x_t in enumerate(x):
        rows = []
        for row in range(x.shape[1]):
            old, of_row = tuple(s[row : row + 1] for s in state), w
            if drop and key is not None:  # R (m h) is (R m) h
                m = mask(key, 2, row, 0, old[0].shape[-1], drop) / (1 - drop)
                of_row = {**w, "weight_hh": w["weight_hh"] * m}
            if update and key is not None:
                d = mask(key, 3, row, t, layer.hidden_size, update) / (1 - update)
                new = step_with(cell, d, x_t[row : row + 1], old, of_row)
            else:
                new = cell.step(x_t[row : row + 1], old, of_row)
            kept = []
            for i, (fresh, before) in enumerate(zip(new, old, strict=True)):
                rate = of_c if i else of_h
                if key is None:
                    kept.append(fresh + rate * (before - fresh))
                else:
                    m = mask(key, min(i, 1), row, t, fresh.shape[-1], rate)
                    kept.append(np.where(m, fresh, before))
            rows.append(kept)
        state = tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))
        out.append(state[0])
    return np.stack(out), state


def problem(cell, H=9, T=6, B=3, I=4, **options):  # noqa: E741
    layer = cell.layer(I, H, dtype=np.float64, seed=0, **options)
    return layer, np.random.default_rng(1).standard_normal((T, B, I))


def assert_follows(cell, layer, x, y, final, key):
    expected, last = formula(cell, layer, x, key)
    assert error(y, expected) <= EXACT
    for got, wanted in zip(split(final), last, strict=True):
        assert error(got[0], wanted) <= EXACT


@every_cell
def test_zoneout_is_the_formula(cell, isa):
    # 150 units: more than a block of random numbers.
    layer, x = problem(cell, H=150, zoneout=all_of(cell)["zoneout"])
    y, final, saved = layer.forward(x)
    assert_follows(cell, layer, x, y, final, saved.look()[0].key)
    assert not same_bits(layer.forward(x)[0], y)  # another key
    assert_follows(cell, layer, x, *layer(x), None)


@with_r
def test_recurrent_dropout_is_the_formula(cell, isa):
    layer, x = problem(cell, H=150, recurrent_dropout=0.4)
    y, final, saved = layer.forward(x)
    assert_follows(cell, layer, x, y, final, saved.look()[0].key)
    plain, _ = problem(cell, H=150)
    assert same_bits(layer(x)[0], plain(x)[0])  # inference has none


@with_candidate
def test_update_dropout_is_the_formula(cell, isa):
    layer, x = problem(cell, H=150, update_dropout=0.4)
    y, final, saved = layer.forward(x)
    assert_follows(cell, layer, x, y, final, saved.look()[0].key)
    plain, _ = problem(cell, H=150)
    assert same_bits(layer(x)[0], plain(x)[0])  # inference has none


def test_a_dropped_update_leaves_what_the_forget_gate_keeps():
    layer = fastcell.LSTM(2, 1000, update_dropout=0.25, seed=0)
    random = np.random.default_rng(0)
    x = random.standard_normal((1, 4, 2)).astype(np.float32)
    c0 = np.full((1, 4, 1000), 0.5, np.float32)
    state = (np.zeros_like(c0), c0)
    _, (_, c), _ = layer.forward(x, state)
    w = layer.state_dict()
    w["weight_ih_l0"][2000:3000] = w["weight_hh_l0"][2000:3000] = 0
    w["bias_ih_l0"][2000:3000] = w["bias_hh_l0"][2000:3000] = 0
    layer.load_state_dict(w)  # g is 0
    _, (_, kept) = layer(x, state)
    assert 0.22 < (c == kept).mean() < 0.28


@with_r
def test_weight_drop_is_a_layer_with_other_weights(cell, isa):
    layer, x = problem(cell, num_layers=2, bidirectional=True, weight_drop=0.4)
    other, _ = problem(cell, num_layers=2, bidirectional=True)
    assert same_bits(layer(x)[0], other(x)[0])  # inference has none
    y, _, saved = layer.forward(x)
    key = saved.look()[0].key
    weights, masks = layer.state_dict(), {}
    for name, weight in weights.items():
        if name.startswith("weight_hh"):
            masks[name] = np.empty_like(weight)
            own = key ^ zlib.crc32(name.encode())
            _core.dropout(0.4, own, None, masks[name], 1)
            weights[name] = weight * masks[name]
    assert len({m.tobytes() for m in masks.values()}) == 4
    other.load_state_dict(weights)
    y_other, _, saved_other = other.forward(x)
    assert same_bits(y, y_other)
    dx, _, grads = layer.backward(y, saved)
    dx_other, _, grads_other = other.backward(y, saved_other)
    assert same_bits(dx, dx_other)
    for name, grad in grads_other.items():
        wanted = grad * masks[name] if name in masks else grad
        assert np.array_equal(grads[name], wanted)  # a zero has either sign


def loss_of(layer, x, state, sequence, weights, random):
    """Return the loss of a call whose masks are those of the first."""
    layer.set_rng_state(random)
    y, final, saved = layer.forward(x, joined(tuple(state)), **sequence)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    dstate = [np.sin(np.arange(s.size)).reshape(s.shape) for s in split(final)]
    loss = (dy * y).sum()
    loss += sum((d * s).sum() for d, s in zip(dstate, split(final), strict=True))
    return loss, dy, dstate, saved


@pytest.mark.parametrize("kind", ["plain", "ragged", "budget", "segments"])
@every_cell
def test_gradients_agree_with_finite_differences(cell, kind, isa):
    ways = kind != "segments"
    layer, x = problem(
        cell, H=7, T=7, num_layers=2, bidirectional=ways, dropout=0.2, **all_of(cell)
    )
    random = np.random.default_rng(2)
    passes = 4 if ways else 2
    shapes = [layer.output_size] + [7] * (len(cell.states) - 1)
    state = [random.standard_normal((passes, 3, n)) for n in shapes]
    if cell.admissible:
        state = list(cell.admissible(tuple(state)))
    sequence = {}
    if kind == "ragged":
        sequence["lengths"] = np.array([7, 3, 5])
        sequence["mask"] = random.random((7, 3)) < 0.7
        sequence["reset"] = random.random((7, 3)) < 0.3
    elif kind != "plain":
        _, _, saved = layer.forward(x)
        sequence["memory_budget"] = saved.nbytes - 1 if kind == "budget" else 0
    begin = layer.rng_state()
    _, dy, dstate, saved = loss_of(layer, x, state, sequence, None, begin)
    dx, dstate_in, grads = layer.backward(dy, saved, joined(tuple(dstate)))
    values = {"x": x, **{f"state {i}": s for i, s in enumerate(state)}}
    found = {"x": dx, **{f"state {i}": s for i, s in enumerate(split(dstate_in))}}
    values |= {name: layer.params[name] for name in grads}
    found |= grads
    for name, value in values.items():
        direction = random.standard_normal(value.shape)
        losses = []
        for steps in (1, -1, 2, -2):
            value += steps * DIFFERENCE_STEP * direction
            losses.append(loss_of(layer, x, state, sequence, None, begin)[0])
            value -= steps * DIFFERENCE_STEP * direction
        # Of fourth order: where dropout leaves the units of a row nearly the same, the
        # losses of cells with layer normalization bend much.
        near, far = losses[0] - losses[1], losses[2] - losses[3]
        slope = (8 * near - far) / (12 * DIFFERENCE_STEP)
        got = (found[name] * direction).sum()
        assert abs(got - slope) / (1 + abs(slope)) <= DIFFERENCE, name


def trained(layer, x, **sequence):
    y, final, saved = layer.forward(x, **sequence)
    dx, dstate, grads = layer.backward(np.cos(y), saved)
    return [y, *split(final), dx, *split(dstate), *grads.values()]


def assert_same(one, other):
    assert all(map(same_bits, one, other))


@every_cell
def test_masks_depend_on_nothing_but_key_row_step_and_unit(cell):
    layer, x = problem(cell, H=40, T=50, B=6, num_layers=2, **all_of(cell))
    begin = layer.rng_state()

    def again(x, **sequence):
        layer.set_rng_state(begin)
        return trained(layer, x, **sequence)

    whole = again(x)
    # Chunks that compute gates again, and segments.
    layer.set_rng_state(begin)
    nbytes = layer.forward(x)[2].nbytes
    for budget in (nbytes - 1, nbytes // 4, 0):
        assert_same(again(x, memory_budget=budget), whole)
    # Threads, which share rows, or units.
    before = fastcell.get_num_threads()
    try:
        for threads in (1, 4):
            fastcell.set_num_threads(threads)
            assert_same(again(x), whole)
            assert_same(again(x[:, :1])[:1], [whole[0][:, :1]])
    finally:
        fastcell.set_num_threads(before)
    # Batch mates, and steps that come later.
    other = x.copy()
    other[:, 3:] = 0
    assert same_bits(again(other)[0][:, :3], whole[0][:, :3])
    assert same_bits(again(x[:20])[0], whole[0][:20])
    # A copy goes on as the original does.
    layer.set_rng_state(begin)
    assert_same(trained(copy.deepcopy(layer), x), whole)


@every_cell
def test_sessions_and_pools_keep_the_expected_share(cell, isa):
    layer, x = problem(cell, H=21, num_layers=2, **all_of(cell))
    y, final = layer(x)
    session = layer.session(3)
    assert all(same_bits(session.step(a), b) for a, b in zip(x, y, strict=True))
    assert_same(split(session.state), split(final))
    pool = layer.session_pool(4) if hasattr(layer, "session_pool") else None
    pool = pool or fastcell.StreamPool(layer, 4)
    ids = pool.open(3)
    assert all(same_bits(pool.step(ids, a), b) for a, b in zip(x, y, strict=True))


@every_cell
def test_a_team_keeps_the_expected_share(cell):
    layer = cell.layer(5, 200, seed=0, **all_of(cell))
    x = np.random.default_rng(3).standard_normal((60, 1, 5)).astype(np.float32)
    before = fastcell.get_num_threads()
    try:
        fastcell.set_num_threads(1)
        alone = layer(x)[0]
        fastcell.set_num_threads(4)
        assert same_bits(layer(x)[0], alone)
    finally:
        fastcell.set_num_threads(before)


def test_rates():
    layer = fastcell.LSTM(2, 1000, zoneout=(0.25, 0.5), seed=0)
    x = np.ones((2, 4, 2), np.float32)
    h0 = np.full((1, 4, 1000), 0.123, np.float32)
    c0 = np.full((1, 4, 1000), 0.456, np.float32)
    y, (_, c), _ = layer.forward(x[:1], (h0, c0))
    assert 0.22 < (y == h0[0]).mean() < 0.28
    assert 0.47 < (c == c0).mean() < 0.53


def test_files(tmp_path):
    layer = fastcell.LSTM(3, 4, seed=0, update_dropout=0.1, **ALL)
    fastcell.save(layer, tmp_path / "layer.safetensors")
    again = fastcell.load(tmp_path / "layer.safetensors")
    assert again.config() == layer.config()
    assert again._regularizers == layer._regularizers
    assert not fastcell.GRU(3, 4, zoneout=0.5).config().get("weight_drop")


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (fastcell.LSTM, {"zoneout": 1.0}, r"zoneout must be below 1; got 1.0"),
        (fastcell.LSTM, {"zoneout": -0.1}, r"zoneout must be .*; got -0.1"),
        (fastcell.LSTM, {"zoneout": (0.1, 0.1, 0.1)}, r"zoneout must be .*; got 3"),
        (fastcell.GRU, {"zoneout": (0.1, 0.2)}, r"zoneout must be a number .* is h"),
        (fastcell.GRU, {"weight_drop": 1}, r"weight_drop must be below 1; got 1"),
        (fastcell.MinGRU, {"weight_drop": 0.1}, r"weight_drop must be 0 .* min_gru;"),
        (fastcell.GRU, {"update_dropout": 1.0}, r"update_dropout must be below 1;"),
        (fastcell.RNN, {"update_dropout": 0.1}, r"a candidate, such as rnn_tanh; got"),
        (
            fastcell.IndRNN,
            {"update_dropout": 0.1},
            r"update_dropout must be 0 .* indrnn",
        ),
        (
            fastcell.IndRNN,
            {"recurrent_dropout": 0.1},
            r"recurrent_dropout must be 0 .* indrnn_relu; got 0.1",
        ),
    ],
)
def test_refusals(make, options, words):
    with pytest.raises(ValueError, match=words):
        make(3, 4, **options)


def test_an_argument_that_no_layer_has():
    with pytest.raises(
        TypeError, match=r"LSTM takes no argument 'zone_out'; .*zoneout"
    ):
        fastcell.LSTM(3, 4, zone_out=0.5)
    with pytest.raises(TypeError, match=r"GRU takes no argument 'proj_size'; of all"):
        fastcell.GRU(3, 4, proj_size=2)
