"""layer.trace: states and gates of every cell, against its formulas and its call."""

from __future__ import annotations

import numpy as np
import pytest
from gates import expected_trace
from oracle import KINDS, both_ways, by_name, joined, problem, same_bits, split
from refusals import refuses
from tolerances import FORWARD, error

import fastcell
from fastcell.cells import REGISTRY
from fastcell.layers.indexed import IndexedRows

SIZES = [{"T": 5, "B": 3, "I": 3, "H": 7}, {"T": 2, "B": 5, "I": 2, "H": 17}]
by_kind = pytest.mark.parametrize("kind", KINDS)


def traced(made, **changes):
    arguments = {"state": joined(made.state), **made.sequence, **changes}
    return made.layer.trace(made.x, **arguments)


@by_kind
@both_ways
@by_name
def test_states_and_gates_follow_the_formula(cell, bidirectional, kind, isa):
    for seed, size in enumerate(SIZES):
        made = problem(
            cell,
            **size,
            kind=kind,
            seed=seed,
            num_layers=2,
            bidirectional=bidirectional,
        )
        expected = expected_trace(made)
        for dtype, asked in (
            (np.float64, made),
            (np.float32, made.as_float32()),
        ):
            trace = traced(asked)
            assert set(trace.names) == set(expected)
            for name in trace.names:
                assert trace[name].dtype == dtype
                assert trace[name].shape == expected[name].shape
                assert error(trace[name], expected[name]) <= FORWARD[dtype], name


@by_name
def test_every_gate_is_there_in_the_order_of_the_weights(cell):
    layer = cell.layer(3, 6, seed=0)
    trace = layer.trace(np.ones((2, 1, 3), np.float32))
    gates = [gate for gate in layer.gates if gate not in layer.states]
    assert list(trace.gates)[: len(gates)] == gates
    assert tuple(trace.states) == layer.states
    assert len(set(trace.names)) == len(trace.names)
    for name in trace.names:
        whole = trace.states if name in trace.states else trace.gates
        assert trace[name] is whole[name]


@by_kind
@both_ways
@by_name
def test_a_trace_has_the_bits_of_a_call(cell, bidirectional, kind, isa):
    for make in (lambda made: made, lambda made: made.as_float32()):
        made = make(
            problem(cell, B=4, kind=kind, num_layers=2, bidirectional=bidirectional)
        )
        y, final = made.call()
        trace = traced(made)
        assert same_bits(trace.y, y)
        for got, expected in zip(split(trace.state), final, strict=True):
            assert same_bits(got, expected)
        assert same_bits(np.concatenate(list(trace["h"][-1]), axis=-1), y)
        lengths = made.sequence.get("lengths", np.full(4, made.T))
        for row in np.flatnonzero(lengths):
            for d, t in enumerate((lengths[row] - 1, 0)[: 1 + bidirectional]):
                for name, state in zip(trace.states, final, strict=True):
                    mine = state.reshape(2, -1, *state.shape[1:])[:, d, row]
                    assert same_bits(trace[name][:, d, t, row], mine)


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm_with_options", "slstm"])
def test_no_bit_depends_on_threads_or_on_other_rows(name):
    # More rows than a block has, and enough of them to share.
    made = problem(
        REGISTRY[name],
        **{"T": 40, "B": 150, "H": 33, "kind": "everything"},
        num_layers=2,
        bidirectional=True,
    ).as_float32()
    before = fastcell.get_num_threads()
    try:
        traces = []
        for threads in (1, 3):
            fastcell.set_num_threads(threads)
            traces.append(traced(made))
    finally:
        fastcell.set_num_threads(before)
    alone = made.layer.trace(
        made.x[:, 70:75],
        joined(tuple(s[:, 70:75] for s in made.state)),
        **{n: a[..., 70:75] for n, a in made.sequence.items()},
    )
    for of in traces[0].names:
        assert same_bits(traces[0][of], traces[1][of])
        assert same_bits(traces[0][of][:, :, :, 70:75], alone[of])


@by_name
def test_parts_of_a_sequence_have_the_bits_of_the_whole(cell):
    made = problem(cell, T=7, kind="mask").as_float32()
    whole = traced(made)
    mask = made.sequence["mask"]
    first = made.layer.trace(made.x[:3], joined(made.state), mask=mask[:3])
    second = made.layer.trace(made.x[3:], first.state, mask=mask[3:])
    for name in whole.names:
        parts = np.concatenate([first[name], second[name]], axis=2)
        assert same_bits(parts, whole[name])


def lstm(**options):
    return fastcell.LSTM(3, 5, num_layers=2, bidirectional=True, seed=0, **options)


X = np.random.default_rng(0).standard_normal((6, 4, 3)).astype(np.float32)


def test_arrays_have_the_axes_of_x():
    whole = lstm().trace(X)
    first = lstm(batch_first=True).trace(X.swapaxes(0, 1))
    for name in whole.names:
        assert whole[name].shape == (2, 2, 6, 4, 5)
        assert same_bits(first[name], whole[name].swapaxes(2, 3))
        assert whole[name][:, :, :, 1].shape == lstm().trace(X[:, 1])[name].shape
    one = lstm().trace(X[:, 1])
    assert one.y.shape == (6, 10)
    assert one["c"].shape == (2, 2, 6, 5)
    assert same_bits(one["h"][1, 1], one.y[:, 5:])
    assert whole.y.shape == (6, 4, 10)
    assert repr(whole) == "Trace(h, c, i, f, g, o: (2, 2, 6, 4, 5))"


def test_h_of_a_projection_has_its_size():
    trace = fastcell.LSTM(3, 5, proj_size=2, seed=0).trace(X)
    assert trace["h"].shape == (1, 1, 6, 4, 2)
    assert trace["c"].shape == trace["o"].shape == (1, 1, 6, 4, 5)


def test_a_ragged_batch_is_padded_in_the_arrays_alone():
    lengths = np.array([4, 0, 6, 2])
    ragged = fastcell.Ragged([X[:n, row] for row, n in enumerate(lengths)])
    trace, padded = lstm().trace(ragged), lstm().trace(X, lengths=lengths)
    assert isinstance(trace.y, fastcell.Ragged)
    for name in trace.names:
        assert same_bits(trace[name], padded[name])
    assert same_bits(trace.y[3], padded.y[:2, 3])


def test_a_masked_step_keeps_the_states_and_has_no_gates():
    mask = np.ones((6, 4), bool)
    mask[[0, 3, 4], 2] = False
    layer = fastcell.LSTM(3, 5, seed=0, zero_output_for_mask=True)
    trace = layer.trace(X, mask=mask)
    for name in ("h", "c"):
        of_row = trace[name][0, 0, :, 2]
        assert not of_row[0].any()
        assert same_bits(of_row[3], of_row[2])
        assert same_bits(of_row[4], of_row[2])
        assert of_row[2].any()
    for name in ("i", "f", "g", "o"):
        of_row = trace[name][0, 0, :, 2]
        assert (of_row.any(axis=-1) == mask[:, 2]).all()
    assert (trace.y[:, 2].any(axis=-1) == mask[:, 2]).all()


def test_go_backwards_has_the_order_of_y():
    lengths = np.array([4, 1, 6, 2])
    trace = fastcell.GRU(3, 5, seed=0, go_backwards=True).trace(X, lengths=lengths)
    assert same_bits(trace["h"][0, 0], trace.y)
    forward = fastcell.GRU(3, 5, seed=0).trace(X[::-1, 2:3])
    assert same_bits(trace["z"][:, :, :, 2:3], forward["z"])


@pytest.mark.parametrize("merge", ["sum", "mul", "ave"])
def test_merged_outputs_leave_the_directions_apart(merge):
    layer = fastcell.GRU(3, 5, bidirectional=True, seed=0, merge=merge)
    plain = fastcell.GRU(3, 5, bidirectional=True, seed=0)
    trace, other = layer.trace(X), plain.trace(X)
    assert same_bits(trace.y, layer(X)[0])
    assert same_bits(trace["h"], other["h"])


def test_a_trace_has_no_dropout_and_zoneout_by_shares():
    options = {"dropout": 0.5, "zoneout": 0.3, "recurrent_dropout": 0.2}
    layer = lstm(**options, weight_drop=0.1)
    first, second = layer.trace(X), layer.trace(X)
    y, (h, c) = layer(X)
    assert same_bits(first.y, y)
    assert same_bits(first.state[0], h)
    assert same_bits(first.state[1], c)
    assert same_bits(np.concatenate(list(first["h"][1]), axis=-1), y)
    for name in first.names:
        assert same_bits(first[name], second[name])
    # c is a share of the old one and of what the gates make.
    i, f, g = (first[name][0, 0] for name in "ifg")
    c = first["c"][0, 0]
    made = 0.3 * c[:-1] + 0.7 * (f[1:] * c[:-1] + i[1:] * g[1:])
    assert error(c[1:], made) <= FORWARD[np.float32]


def test_ids_are_traced_as_their_vectors():
    embedding = fastcell.Embedding(7, 3, seed=0)
    ids = np.random.default_rng(1).integers(0, 7, (6, 4))
    layer = lstm()
    rows = IndexedRows(embedding.params["weight"], ids.astype(np.int32))
    by_ids, by_vectors = layer.trace(rows), layer.trace(embedding(ids))
    for name in by_ids.names:
        assert error(by_ids[name], by_vectors[name]) <= FORWARD[np.float32]
    assert same_bits(by_ids.y, layer(rows)[0])


@by_name
def test_bf16_is_traced_and_int8_is_not(cell):
    made = problem(cell, kind="lengths", H=20).as_float32()
    made.layer.to("bf16")
    y, _ = made.call()
    trace = traced(made)
    assert same_bits(trace.y, y)
    assert same_bits(trace["h"][0, 0], y)
    assert all(trace[name].dtype == np.float32 for name in trace.names)
    with pytest.raises(RuntimeError, match="precision int8 keeps no gates"):
        problem(cell).as_float32().layer.quantize().trace(made.x)


@pytest.mark.parametrize(("T", "B"), [(0, 3), (4, 0), (0, 0)])
def test_a_batch_without_steps_or_rows_has_empty_arrays(T, B):
    trace = lstm().trace(np.zeros((T, B, 3), np.float32))
    for name in trace.names:
        assert trace[name].shape == (2, 2, T, B, 5)


@by_name
def test_a_layer_trains_as_before_after_a_trace(cell):
    made = problem(cell, num_layers=2, kind="everything")
    expected = made.train()[2]
    traced(made)
    for name, gradient in made.train()[2].items():
        assert same_bits(gradient, expected[name])


def test_a_forward_between_is_not_disturbed():
    layer = fastcell.LSTM(3, 5, seed=0)
    y, _, saved = layer.forward(X)
    expected = layer.backward(np.ones_like(y), saved)[2]
    y, _, saved = layer.forward(X)
    layer.trace(2 * X)
    got = layer.backward(np.ones_like(y), saved)[2]
    for name in expected:
        assert same_bits(got[name], expected[name])


def test_errors_name_the_argument():
    layer = lstm()
    refuses(ValueError, ["x must"], layer.trace, X[..., :2])
    refuses(TypeError, ["state must"], layer.trace, X, X)
    refuses(ValueError, ["lengths"], layer.trace, X, lengths=[7, 1, 1, 1])
    refuses(ValueError, ["mask must"], layer.trace, X, mask=np.ones(3, bool))
    refuses(TypeError, ["reset must"], layer.trace, X, reset=np.ones((6, 4)))
    with pytest.raises(ValueError, match=r"name must be one of .*'?f'?.*got 'q'"):
        layer.trace(X)["q"]


def test_a_trace_cannot_be_changed():
    trace = lstm().trace(X)
    with pytest.raises(AttributeError):
        trace.y = None
