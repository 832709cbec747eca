"""Attention: its formula, its gradients, lengths, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import same_bits
from refusals import refuses
from tolerances import DIFFERENCE, DIFFERENCE_STEP, FORWARD, error

import fastcell

f32, f64 = np.float32, np.float64
KINDS = ("additive", "dot", "general")
by_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind, *, T=4, B=3, S=5, Q=7, M=9, dtype=f64, lengths=True, seed=0):
    """A layer, a query, a memory and its lengths."""
    if kind == "dot":
        M = Q
    options = {"attention_size": 6} if kind == "additive" else {}
    layer = fastcell.Attention(Q, M, kind, dtype=dtype, seed=seed, **options)
    random = np.random.default_rng(seed)
    query = random.standard_normal((T, B, Q)).astype(dtype)
    memory = random.standard_normal((S, B, M)).astype(dtype)
    counts = random.integers(0, S + 1, B) if lengths else None
    if lengths:
        counts[0] = 0  # a memory without rows
    return layer, query, memory, counts


def formula(kind, w, query, memory, lengths):
    """Context and weights by the papers' formulas, pair by pair."""
    T, B, _ = query.shape
    S = len(memory)
    context = np.zeros((T, B, memory.shape[-1]))
    weights = np.zeros((T, B, S))
    for b in range(B):
        n = S if lengths is None else lengths[b]
        for t in range(T if n else 0):
            scores = np.empty(n)
            for s in range(n):
                q, m = query[t, b], memory[s, b]
                if kind == "dot":
                    scores[s] = q @ m
                elif kind == "general":
                    scores[s] = q @ w["memory.weight"] @ m
                else:
                    inner = w["query.weight"] @ q + w["memory.weight"] @ m
                    scores[s] = w["score.weight"][0] @ np.tanh(inner + w["memory.bias"])
            a = np.exp(scores - scores.max())
            weights[t, b, :n] = a / a.sum()
            context[t, b] = weights[t, b, :n] @ memory[:n, b]
    return context, weights


@by_kind
@pytest.mark.parametrize("dtype", [f32, f64])
@pytest.mark.parametrize("lengths", [False, True])
def test_attention_is_its_formula(kind, dtype, lengths):
    layer, query, memory, counts = made(kind, dtype=dtype, lengths=lengths)
    w = {name: array.astype(f64) for name, array in layer.state_dict().items()}
    expected = formula(kind, w, query.astype(f64), memory.astype(f64), counts)
    for got, want in zip(layer(query, memory, counts), expected, strict=True):
        assert got.dtype == dtype
        assert error(got, want) <= FORWARD[dtype]


@by_kind
def test_forward_is_the_call_and_one_query_is_a_row_of_many(kind):
    layer, query, memory, counts = made(kind)
    context, weights, _ = layer.forward(query, memory, counts)
    for got, want in zip(layer(query, memory, counts), (context, weights), strict=True):
        assert same_bits(got, want)
    keys = layer.keys(memory, counts)
    for t in range(len(query)):
        one_context, one_weights = layer(query[t], keys)
        assert error(one_context, context[t]) <= FORWARD[f64]
        assert error(one_weights, weights[t]) <= FORWARD[f64]


@by_kind
def test_weights_sum_to_one_and_are_zero_past_the_lengths(kind):
    layer, query, memory, counts = made(kind, S=6, B=5)
    _, weights = layer(query, memory, counts)
    sums = weights.sum(axis=-1)
    assert np.allclose(sums, np.broadcast_to(counts > 0, sums.shape))
    for b, n in enumerate(counts):
        assert not weights[:, b, n:].any()


@by_kind
def test_what_stands_past_the_lengths_does_not_matter(kind):
    layer, query, memory, counts = made(kind)
    before = layer.forward(query, memory, counts)
    dirty = memory.copy()
    for b, n in enumerate(counts):
        dirty[n:, b] = np.nan
    after = layer.forward(query, dirty, counts)
    dcontext = np.ones_like(before[0])
    for got, want in zip(after[:2], before[:2], strict=True):
        assert same_bits(got, want)
    got, want = (layer.backward(dcontext, made[2]) for made in (after, before))
    assert same_bits(got[0], want[0])
    assert same_bits(got[1], want[1])
    for name, grad in want[2].items():
        assert same_bits(got[2][name], grad)
    assert np.isnan(dirty).any()  # the caller's memory is as it was


def slopes(layer, query, memory, counts, dcontext, dweights, gradients):
    """Errors of gradients along random directions, by central differences."""
    random = np.random.default_rng(9)
    values = {"query": query, "memory": memory, **layer.params.arrays()}

    def loss():
        layer.params.changed()
        context, weights = layer(query, memory, counts)
        return float((context * dcontext).sum() + (weights * dweights).sum())

    errors = {}
    for name, array in values.items():
        direction = random.standard_normal(array.shape)
        before = array.copy()
        ends = []
        for sign in (1, -1):
            array[...] = before + sign * DIFFERENCE_STEP * direction
            ends.append(loss())
        array[...] = before
        layer.params.changed()
        expected = (ends[0] - ends[1]) / (2 * DIFFERENCE_STEP)
        got = float((gradients[name] * direction).sum())
        errors[name] = abs(got - expected) / (1 + abs(expected))
    return errors


@by_kind
@pytest.mark.parametrize("lengths", [False, True])
def test_gradients_are_central_differences(kind, lengths):
    layer, query, memory, counts = made(kind, lengths=lengths)
    context, weights, saved = layer.forward(query, memory, counts)
    random = np.random.default_rng(3)
    dcontext = random.standard_normal(context.shape)
    dweights = random.standard_normal(weights.shape)
    dquery, dmemory, grads = layer.backward(dcontext, saved, dweights)
    assert set(grads) == set(layer.state_dict())
    gradients = {"query": dquery, "memory": dmemory, **grads}
    errors = slopes(layer, query, memory, counts, dcontext, dweights, gradients)
    assert max(errors.values()) <= DIFFERENCE, errors


@by_kind
def test_gradients_of_steps_with_shared_keys_are_those_of_one_call(kind):
    layer, query, memory, counts = made(kind)
    context, _, saved = layer.forward(query, memory, counts)
    dcontext = np.random.default_rng(3).standard_normal(context.shape)
    dquery, dmemory, grads = layer.backward(dcontext, saved)
    keys = layer.keys(memory, counts)
    sums = layer.gradient_sums(keys)
    for t in reversed(range(len(query))):
        _, _, step = layer.forward(query[t], keys)
        assert (
            error(layer.backward_step(dcontext[t], step, sums), dquery[t])
            <= FORWARD[f64]
        )
    step_dmemory, step_grads = layer.finish(sums)
    assert error(step_dmemory, dmemory) <= FORWARD[f64]
    assert set(step_grads) == set(grads)
    for name, grad in grads.items():
        assert error(step_grads[name], grad) <= FORWARD[f64]


@by_kind
def test_backward_serves_again_with_the_same_result(kind):
    layer, query, memory, counts = made(kind)
    context, _, saved = layer.forward(query, memory, counts)
    first, second = (layer.backward(np.ones_like(context), saved) for _ in range(2))
    assert same_bits(first[0], second[0])
    assert same_bits(first[1], second[1])


@by_kind
def test_large_scores_do_not_overflow(kind):
    layer, query, memory, counts = made(kind, dtype=f32)
    context, weights = layer(query * f32(1e4), memory * f32(1e4), counts)
    assert np.isfinite(context).all()
    assert np.isfinite(weights).all()


@by_kind
def test_keys_of_some_sequences(kind):
    layer, query, memory, counts = made(kind)
    chosen = [2, 0]
    some = layer.keys(memory, counts).select(chosen)
    got = layer(np.ascontiguousarray(query[:, chosen]), some)
    for part, whole in zip(got, layer(query, memory, counts), strict=True):
        assert error(part, whole[:, chosen]) <= FORWARD[f64]


@by_kind
def test_empty_batches(kind):
    layer, query, memory, _ = made(kind, lengths=False)
    context, weights = layer(query[:0], memory)
    assert (context.shape, weights.shape) == ((0, 3, memory.shape[-1]), (0, 3, 5))
    context, weights = layer(query, memory[:0])
    assert weights.shape == (4, 3, 0)
    assert not context.any()


@by_kind
def test_saved_attention_loads(kind, path):
    layer, query, memory, counts = made(kind, dtype=f32)
    fastcell.save(layer, path)
    loaded = fastcell.load(path)
    assert loaded.config() == layer.config()
    for got, want in zip(
        loaded(query, memory, counts), layer(query, memory, counts), strict=True
    ):
        assert same_bits(got, want)


def test_attention_refuses():
    make = fastcell.Attention
    refuses(
        ValueError, ["kind", '"additive" or "dot" or', "'cosine'"], make, 3, 3, "cosine"
    )
    refuses(ValueError, ["memory_size", "query_size, 3", "4"], make, 3, 4, "dot")
    refuses(ValueError, ["query_size", ">= 1", "0"], make, 0, 3)
    refuses(TypeError, ["memory_size", "integer", "2.5"], make, 3, 2.5)
    refuses(ValueError, ["attention_size", "'dot'"], make, 3, 3, "dot", 4)
    refuses(ValueError, ["attention_size", ">= 1"], make, 3, 3, "additive", 0)
    refuses(TypeError, ["dtype", "float32 or float64"], make, 3, 3, dtype=int)
    refuses(ValueError, ["seed", ">= 0"], make, 3, 3, seed=-1)
    layer, query, memory, _ = made("general", dtype=f32)
    refuses(
        TypeError, ["query", "float32", "float64"], layer, query.astype(f64), memory
    )
    refuses(ValueError, ["query", "(T, 3, 7)"], layer, query[..., :5], memory)
    refuses(ValueError, ["query", "(T, 3, 7)"], layer, query[:, :2], memory)
    refuses(ValueError, ["memory", "(S, B, 9)"], layer, query, memory[..., :5])
    refuses(
        ValueError, ["lengths", "from 0 to 5", "6"], layer, query, memory, [6, 1, 1]
    )
    refuses(TypeError, ["lengths", "integers"], layer, query, memory, [1.0, 1.0, 1.0])
    keys = layer.keys(memory)
    refuses(ValueError, ["memory_lengths", "Keys"], layer, query, keys, [1, 1, 1])
    context, _, saved = layer.forward(query, memory)
    refuses(ValueError, ["dcontext"], layer.backward, context[:2], saved)
    refuses(
        TypeError, ["dcontext", "float32"], layer.backward, context.astype(f64), saved
    )
    refuses(ValueError, ["dweights"], layer.backward, context, saved, context)


@pytest.mark.parametrize("kind", ["additive", "general"])
def test_keys_of_older_weights_are_refused(kind):
    layer, query, memory, counts = made(kind)
    keys = layer.keys(memory, counts)
    before = layer(query, keys)[0]
    layer.params["memory.weight"][0, 0] += 1
    for call in (layer, layer.forward):
        for held in (keys, keys.select(np.arange(3))):
            refuses(ValueError, ["memory.weight", "keys again"], call, query, held)
    after = layer(query, layer.keys(memory, counts))[0]
    assert not same_bits(before, after)
    # What the score reads of the query is no part of the keys.
    if kind == "additive":
        keys = layer.keys(memory, counts)
        layer.params["query.weight"][0, 0] += 1
        assert same_bits(layer(query, keys)[0], layer(query, memory, counts)[0])
