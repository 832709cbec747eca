"""outputs="last": the final h of the last layer, with no other outputs stored."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from oracle import KINDS, both_ways, by_name, joined, problem, same_bits, split
from refusals import refuses

import fastcell


def changed(layer, **changes):
    other = type(layer).from_config({**layer.config(), **changes})
    other.load_state_dict(layer.state_dict())
    return other


def finals_of(y, lengths, bidirectional):
    """The output of each row's last step of each direction; None without steps."""
    half = y.shape[2] // (2 if bidirectional else 1)
    for row, n in enumerate(lengths):
        end = y[n - 1, row, :half] if n else None
        begin = y[0, row, half:] if n else None
        yield None if n == 0 else np.concatenate([end, begin])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_layers", [1, 2])
@both_ways
@by_name
def test_they_are_those_of_the_last_steps(cell, bidirectional, num_layers, kind):
    made = problem(cell, num_layers=num_layers, bidirectional=bidirectional, kind=kind)
    y, final = made.call()
    got, got_final = made.call(outputs="last")
    trained = made.layer.forward(
        made.x, joined(made.state), **made.sequence, outputs="last"
    )
    assert same_bits(got, np.concatenate(final[0][-1 - bidirectional :], axis=-1))
    assert same_bits(trained[0], got)
    for a, b, c in zip(got_final, final, split(trained[1]), strict=True):
        assert same_bits(a, b) and same_bits(c, b)
    lengths = made.sequence.get("lengths", np.full(made.B, made.T))
    if "reset" not in made.sequence:  # which may come after a row's last unmasked step
        for row, expected in enumerate(finals_of(y, lengths, bidirectional)):
            assert expected is None or same_bits(got[row], expected)


@pytest.mark.parametrize("kind", ["plain", "everything"])
@pytest.mark.parametrize("num_layers", [1, 2])
@both_ways
@by_name
def test_their_gradient_is_added_to_that_of_the_final_state(
    cell, bidirectional, num_layers, kind
):
    made = problem(cell, num_layers=num_layers, bidirectional=bidirectional, kind=kind)
    dy = made.dy[0]
    dstate = tuple(part.copy() for part in made.dstate)
    P = made.layer.output_size
    for direction in range(1 + bidirectional):
        layer = dstate[0][num_layers * (1 + bidirectional) - 1 - bidirectional :]
        layer[direction] += dy[:, direction * P : (direction + 1) * P]
    saved = made.layer.forward(made.x, joined(made.state), **made.sequence)[2]
    expected = made.layer.backward(None, saved, joined(dstate))
    for budget in (None,) if bidirectional else (None, 0):
        saved = made.layer.forward(
            made.x,
            joined(made.state),
            **made.sequence,
            outputs="last",
            memory_budget=budget,
        )[2]
        given = tuple(part.copy() for part in made.dstate)
        got = made.layer.backward(dy, saved, joined(given))
        assert all(map(same_bits, given, made.dstate))  # not written to
        assert same_bits(got[0], expected[0])
        for a, b in zip(split(got[1]), split(expected[1]), strict=True):
            assert same_bits(a, b)
        for name, grad in expected[2].items():
            assert same_bits(got[2][name], grad), name


def test_without_a_gradient_of_its_own_the_states_is_enough():
    made = problem(fastcell.cells.REGISTRY["lstm"])
    results = []
    for outputs in ("all", "last"):
        saved = made.layer.forward(made.x, outputs=outputs)[2]
        results.append(made.layer.backward(None, saved, made.dstate)[0])
    assert same_bits(*results) and results[0].any()
    saved = made.layer.forward(made.x, outputs="last")[2]
    dy = np.ones((made.B, 7))
    alone = made.layer.backward(dy, saved)[0]  # no dstate
    saved = made.layer.forward(made.x)[2]
    assert same_bits(alone, made.layer.backward(None, saved, (dy[np.newaxis], None))[0])


@pytest.mark.parametrize("merge", ["sum", "mul", "ave"])
def test_merged_last_outputs(merge):
    made = problem(fastcell.cells.REGISTRY["gru"], bidirectional=True, kind="lengths")
    layer = changed(made.layer, merge=merge)
    whole, _, saved = made.layer.forward(made.x, **made.sequence, outputs="last")
    a, b = np.split(whole, 2, axis=-1)
    y, _, kept = layer.forward(made.x, **made.sequence, outputs="last")
    assert same_bits(y, {"sum": a + b, "mul": a * b, "ave": (a + b) / 2}[merge])
    d = made.dy[0, :, :7]
    parts = {"sum": (d, d), "mul": (d * b, d * a), "ave": (d / 2, d / 2)}[merge]
    expected = made.layer.backward(np.concatenate(parts, axis=-1), saved)[0]
    assert same_bits(layer.backward(d, kept)[0], expected)


def test_batch_first_and_without_a_batch():
    made = problem(fastcell.cells.REGISTRY["gru"])
    y, _ = made.layer(made.x, outputs="last")
    layer = changed(made.layer, batch_first=True)
    got, _, saved = layer.forward(
        np.ascontiguousarray(made.x.swapaxes(0, 1)), outputs="last"
    )
    assert same_bits(got, y)
    dx = layer.backward(got, saved)[0]
    one, _, saved = layer.forward(np.ascontiguousarray(made.x[:, 0]), outputs="last")
    assert one.shape == (7,) and same_bits(one, y[0])
    assert same_bits(layer.backward(one, saved)[0], dx[0])


def test_sequences_without_steps():
    layer = fastcell.GRU(3, 4, seed=0)
    x, h0 = np.ones((5, 2, 3), np.float32), np.ones((1, 2, 4), np.float32)
    for steps, lengths in ((5, [0, 5]), (0, None)):
        y, _ = layer(x[:steps], h0, lengths=lengths, outputs="last")
        assert (y[0] == 1).all()
        zeroing = changed(layer, zero_length="zero")
        y, _ = zeroing(x[:steps], h0, lengths=lengths, outputs="last")
        assert not y[0].any()
    y, _, saved = layer.forward(x[:, :0], outputs="last")
    assert y.shape == (0, 4)
    assert layer.backward(y, saved)[0].shape == (5, 0, 3)


def test_the_outputs_of_other_steps_are_not_stored():
    layer = fastcell.LSTM(1, 64, seed=0)
    x = np.ones((2000, 2, 1), np.float32)
    peaks = []
    for outputs in ("all", "last"):
        layer(x, outputs=outputs)  # scratch memory is there from now on
        tracemalloc.start()
        layer(x, outputs=outputs)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > 2000 * 2 * 64 * 4 > 20 * peaks[1]


def test_in_a_chain_only_the_last_recurrent_layer_does_so():
    first, second = (
        fastcell.GRU(3, 4, bidirectional=True, seed=0),
        fastcell.LSTM(8, 5, seed=1),
    )
    head = fastcell.Linear(5, 2, seed=2)
    model = fastcell.Sequential([first, second, head])
    x, lengths = np.ones((6, 2, 3), np.float32), np.array([6, 3])
    x += np.arange(6, dtype=np.float32)[:, np.newaxis, np.newaxis] / 6
    between, _ = first(x, lengths=lengths)
    _, (h, _) = second(between, lengths=lengths)
    y, _ = model(x, lengths=lengths, outputs="last")
    assert same_bits(y, head(h[0]))
    got, _, saved = model.forward(x, lengths=lengths, outputs="last")
    assert same_bits(got, y)
    assert model.backward(got, saved)[0].shape == x.shape


def test_wrong_arguments_are_refused_by_name():
    layer, x = fastcell.GRU(3, 4, seed=0), np.ones((5, 2, 3), np.float32)
    for call in (layer, layer.forward):
        refuses(
            ValueError,
            ["outputs", '"all" or "last"', "'lest'"],
            call,
            x,
            outputs="lest",
        )
        refuses(ValueError, ["outputs", "None"], call, x, outputs=None)
    y, _, saved = layer.forward(x, outputs="last")
    refuses(
        ValueError,
        ["dy", "(2, 4)", "(5, 2, 4)"],
        layer.backward,
        np.ones((5, 2, 4), "f4"),
        saved,
    )
    assert layer.backward(y, saved)[0].shape == x.shape  # refused without a trace
