"""memory_budget below the states: segments in time, the same bits."""

from __future__ import annotations

import tracemalloc
from math import isqrt
from typing import Any

import numpy as np
import pytest
from oracle import by_name, joined, same_bits, split

import fastcell
from fastcell import _core
from fastcell.layers.segments import Segments


def outcome(layer: Any, x: Any, budget: int | None, **sequence: Any) -> tuple:
    """Return `saved` as forward left it, its bytes, and all results."""
    y, state, saved = layer.forward(x, memory_budget=budget, **sequence)
    kept, nbytes = saved.look()[1], saved.nbytes
    dx, dstate, grads = layer.backward(np.cos(y), saved, dstate=state)
    return kept, nbytes, [y, *split(state), dx, *split(dstate), *grads.values()]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(same_bits(one, other) for one, other in zip(a, b, strict=True))


def random_case(cell: Any, rng: np.random.Generator) -> tuple[Any, Any, dict]:
    """Return how to make a layer, and a batch for it."""
    T, B = int(rng.integers(2, 61)), int(rng.choice([1, 2, 7, 13, 40]))
    I, H, L = (int(n) for n in rng.integers([1, 2, 1], [9, 30, 4]))  # noqa: E741
    batch_first = bool(rng.integers(2))
    precision = str(rng.choice(["float32", "float64", "bf16"]))
    dtype = np.float64 if precision == "float64" else np.float32
    dropout = float(rng.choice([0, 0.3]))

    def make() -> Any:
        layer = cell.layer(
            I,
            H,
            num_layers=L,
            batch_first=batch_first,
            dropout=dropout,
            bias=T % 3 > 0,
            dtype=dtype,
            seed=1,
        )
        return layer if precision == "float64" else layer.to(precision)

    axes = (B, T) if batch_first else (T, B)
    sequence: dict[str, Any] = {}
    if rng.random() < 0.5:
        sequence["lengths"] = rng.integers(0, T + 1, B)
    if rng.random() < 0.5:
        sequence["mask"] = rng.random(axes) < 0.8
    if rng.random() < 0.5:
        sequence["reset"] = rng.random(axes) < 0.1
    if rng.random() < 0.7:
        shapes = [part.shape for part in split(make()(np.zeros((*axes, I), dtype))[1])]
        sequence["state"] = joined(
            tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)
        )
    return make, rng.standard_normal((*axes, I)).astype(dtype), sequence


@pytest.mark.parametrize("seed", range(8))
@by_name
def test_the_bits_are_those_of_the_whole(cell, seed, isa, set_threads):
    rng = np.random.default_rng([seed, *map(ord, cell.name)])
    make, x, sequence = random_case(cell, rng)
    set_threads(1)
    kept, free, expected = outcome(make(), x, None, **sequence)
    assert not isinstance(kept, Segments)
    for threads in (1, 2):
        set_threads(threads)
        budget = int(free * rng.uniform(0, 0.25))
        kept, nbytes, got = outcome(make(), x, budget, **sequence)
        assert isinstance(kept, Segments) or nbytes <= budget
        assert same(got, expected)


# More pairs than several blocks of weight gradients, and than a chunk of gates.
LONG = {"T": 400, "B": 9, "I": 5, "H": 21}


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("length", [7, 128, 399])
@pytest.mark.parametrize("recompute", [False, True], ids=["gates", "recompute"])
def test_borders_may_cut_blocks_anywhere(length, recompute, precision, monkeypatch):
    layer = fastcell.LSTM(LONG["I"], LONG["H"], 2, seed=0).to(precision)
    x = np.random.default_rng(0).standard_normal(
        (LONG["T"], LONG["B"], LONG["I"]), np.float32
    )
    expected = outcome(layer, x, None)[2]

    def cut(stack, call, states, budget):
        pairs = np.arange(call.steps + 1) * call.rows
        return Segments(stack, call, states, pairs, length, recompute)

    monkeypatch.setattr("fastcell.layers.recurrent.cut", cut)
    kept, _, got = outcome(layer, x, 0)
    assert isinstance(kept, Segments)
    assert same(got, expected)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_gather_path_too(precision, set_threads):
    model = fastcell.Sequential(
        [fastcell.Embedding(11, 5, seed=0), fastcell.GRU(5, 21, 2, seed=1)]
    ).to(precision)
    rng = np.random.default_rng(0)
    ids, lengths = rng.integers(0, 11, (300, 9)), rng.integers(0, 301, 9)
    found = []
    for budget, threads in ((None, 1), (10**5, 1), (10**5, 2)):
        set_threads(threads)
        y, _, saved = model.forward(ids, lengths=lengths, memory_budget=budget)
        assert budget is None or saved[1].nbytes < budget
        found.append([y, *model.backward(np.cos(y), saved)[2].values()])
    assert same(found[1], found[0])
    assert same(found[2], found[0])


def test_a_sequence_without_a_batch_axis_too():
    layer = fastcell.GRU(3, 5, seed=0)
    x = np.random.default_rng(0).standard_normal((50, 3), np.float32)
    kept, _, got = outcome(layer, x, 0)
    assert isinstance(kept, Segments)
    assert same(got, outcome(layer, x, None)[2])


@pytest.mark.parametrize(("T", "B"), [(0, 2), (1, 2), (2, 1), (5, 0)])
def test_short_and_empty_batches_too(T, B):
    layer, x = fastcell.LSTM(3, 5, 2, seed=0), np.ones((T, B, 3), np.float32)
    assert same(outcome(layer, x, 0)[2], outcome(layer, x, None)[2])


# ---------------------------------------------------------------------- memory

WIDE = np.zeros((400, 8, 16), np.float32)


def test_the_budget_holds():
    layer = fastcell.LSTM(16, 64, 2, seed=0)
    free = layer.forward(WIDE)[2].nbytes
    for share in (4, 8, 16, 20):
        kept, nbytes, _ = outcome(layer, WIDE, free // share)
        assert isinstance(kept, Segments)
        assert nbytes == kept.nbytes < kept.peak_bytes <= free // share


def test_no_more_is_held_than_nbytes_says():
    layer = fastcell.LSTM(16, 64, 2, seed=0)
    budget = layer.forward(WIDE)[2].nbytes // 16
    y, state, saved = layer.forward(WIDE, memory_budget=budget)
    del y, state, saved
    tracemalloc.start()
    y, state, saved = layer.forward(WIDE, memory_budget=budget)
    del y, state
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    overhead = 50_000  # the segments themselves, pairs before each time
    assert saved.nbytes <= held <= saved.nbytes + overhead < budget


def test_segments_are_as_few_as_fit():
    layer = fastcell.LSTM(16, 64, 2, seed=0)
    free = layer.forward(WIDE)[2].nbytes
    found = [layer.forward(WIDE, memory_budget=free // n)[2] for n in (5, 8, 12)]
    held = [saved.nbytes for saved in found]
    assert held == sorted(held)
    call, fewest = found[0].look()
    one_less = (len(fewest._bounds) - 2) or 1
    longer = Segments(
        layer._stack,
        call,
        layer._states,
        np.arange(401) * 8,
        -(-400 // one_less),
        fewest._recompute,
    )
    assert longer.peak_bytes > free // 5


def test_where_nothing_fits_there_are_about_sqrt_t_segments():
    layer = fastcell.LSTM(16, 64, 2, seed=0)
    saved = layer.forward(WIDE, memory_budget=0)[2]
    states = 2 * 8 * (64 + 64) * 4
    assert saved.nbytes == (isqrt(400) - 1) * states
    saved.free()
    assert saved.nbytes == 0


# ---------------------------------------------------------------------- errors


def cut_in_time() -> tuple[Any, np.ndarray, Any]:
    layer = fastcell.GRU(3, 5, seed=0)
    y, _, saved = layer.forward(np.ones((9, 2, 3), np.float32), memory_budget=0)
    assert isinstance(saved.look()[1], Segments)
    return layer, np.ones_like(y), saved


def test_saved_serves_one_backward():
    layer, dy, saved = cut_in_time()
    layer.backward(dy, saved)
    with pytest.raises(ValueError, match="used up"):
        layer.backward(dy, saved)


def test_changed_parameters_are_noticed():
    layer, dy, saved = cut_in_time()
    layer.params["weight_hh_l0"] += 1
    with pytest.raises(ValueError, match="changed between"):
        layer.backward(dy, saved)


@pytest.mark.skipif(len(_core.isas()) < 2, reason="one instruction set")
def test_another_instruction_set_is_noticed():
    before = _core.isa()
    layer, dy, saved = cut_in_time()
    try:
        _core.select_isa(next(name for name in _core.isas() if name != before))
        with pytest.raises(RuntimeError, match="instruction set"):
            layer.backward(dy, saved)
    finally:
        _core.select_isa(before)
    layer.backward(dy, saved)


def test_a_bidirectional_layer_cannot_be_cut():
    layer = fastcell.GRU(3, 5, bidirectional=True)
    with pytest.raises(ValueError, match=r"memory_budget must be at least .* in time"):
        layer.forward(np.ones((9, 2, 3), np.float32), memory_budget=100)


def test_the_core_checks_the_carry():
    layer, dy, saved = cut_in_time()
    call, stack = saved.look()[0], layer._stack
    kept = _core.aligned_empty(stack.saved_size(call))
    with pytest.raises(ValueError, match="carry must have"):
        stack.backward(
            layer._packed(True)[1],
            layer._packed(False)[1],
            call,
            dy,
            *(None,) * 6,
            kept,
            (0, 0, 0, _core.aligned_empty(8)),
        )
