"""The mLSTM against its recurrent formula, step by step, in long double."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import MLSTM, MLSTM_OF_LARGE_GATES

import fastcell

DTYPES = [np.float32, np.float64]


def by_formula(q, k, v, i, f, state=None, scale=None, eps=1e-6):
    """Return outputs and states, (19) to (27) of arXiv:2405.04517, stabilized."""
    q, k, v, i, f = (np.asarray(x, np.longdouble) for x in (q, k, v, i, f))
    (B, H, T, K), N = q.shape, v.shape[-1]
    scale = np.longdouble(K) ** np.longdouble(-0.5) if scale is None else scale
    shapes = (B, H, K, N), (B, H, K), (B, H, 1)
    if state is None:
        c, n, m = (np.zeros(shape, np.longdouble) for shape in shapes)
    else:
        c, n, m = (np.asarray(x, np.longdouble) for x in state)
    y = np.empty((B, H, T, N), np.longdouble)
    with np.errstate(over="ignore"):
        for t in range(T):
            q_t, k_t, v_t = q[:, :, t], k[:, :, t], v[:, :, t]
            i_t, f_t = i[:, :, t, np.newaxis], f[:, :, t, np.newaxis]
            log_f = np.minimum(f_t, 0) - np.log1p(np.exp(-abs(f_t)))
            before, m = m, np.maximum(log_f + m, i_t)
            keep, add = np.exp(log_f + before - m), np.exp(i_t - m)
            outer = k_t[..., :, np.newaxis] * v_t[..., np.newaxis, :]
            c = keep[..., np.newaxis] * c + add[..., np.newaxis] * outer
            n = keep * n + add * k_t
            divisor = abs(scale * (n * q_t).sum(-1, keepdims=True))
            numerator = scale * (c * q_t[..., np.newaxis]).sum(-2)
            y[:, :, t] = numerator / (np.maximum(divisor, np.exp(-m)) + eps)
    return y, (c, n, m)


def by_steps(q, k, v, i, f, state=None, **options):
    y = np.empty_like(v)
    for t in range(q.shape[2]):
        gates = i[:, :, t, np.newaxis], f[:, :, t, np.newaxis]
        y[:, :, t], state = fastcell.mlstm_step(
            q[:, :, t], k[:, :, t], v[:, :, t], *gates, state, **options
        )
    return y, state


def draw(dtype, B=2, H=3, T=57, K=9, N=21, seed=0):
    """Return inputs and a state."""
    r = np.random.default_rng(seed)
    q, k = (r.uniform(-1, 1, (B, H, T, K)).astype(dtype) for _ in range(2))
    v = r.uniform(-1, 1, (B, H, T, N)).astype(dtype)
    i = r.uniform(-4, 4, (B, H, T)).astype(dtype)
    f = r.uniform(-1, 5, (B, H, T)).astype(dtype)
    c, n = (r.uniform(-1, 1, (B, H, K, *e)).astype(dtype) for e in ((N,), ()))
    m = r.uniform(-2, 2, (B, H, 1)).astype(dtype)
    return (q, k, v, i, f), (c, n, m)


def check(got, wanted, tolerance):
    (y, state), (wanted_y, wanted_state) = got, wanted
    for a, b in zip((y, *state), (wanted_y, *wanted_state), strict=True):
        assert a.shape == b.shape
        assert np.isfinite(a).all()
        assert (abs(a - b) / (1 + abs(b))).max(initial=0) <= tolerance


def same(a, b):
    return all(
        np.array_equal(x, y, equal_nan=True)
        for x, y in zip((a[0], *a[1]), (b[0], *b[1]), strict=True)
    )


# Chunks are of up to 48 steps, or of up to 96 without a state before them.
@pytest.mark.parametrize("T", [0, 1, 2, 47, 48, 49, 96, 97, 200])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sequence_is_the_formula(isa, dtype, T):
    for seed, (B, H, K, N) in enumerate([(1, 1, 1, 1), (2, 3, 9, 21), (1, 2, 130, 64)]):
        inputs, state = draw(dtype, B, H, T, K, N, seed)
        for before in (None, state):
            wanted = by_formula(*inputs, before)
            check(fastcell.mlstm(*inputs, before), wanted, MLSTM[dtype])
            if T:
                check(by_steps(*inputs, before), wanted, MLSTM[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_options_are_those_of_the_formula(dtype):
    inputs, state = draw(dtype)
    for options in ({"scale": 0.7}, {"scale": -2}, {"eps": 0.5}, {"eps": 0}):
        wanted = by_formula(*inputs, state, **options)
        check(fastcell.mlstm(*inputs, state, **options), wanted, MLSTM[dtype])
        check(by_steps(*inputs, state, **options), wanted, MLSTM[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gate", [30.0, 300.0, 1e4])
def test_large_gates_are_finite_and_the_formula(isa, dtype, gate):
    (q, k, v, i, f), (c, n, m) = draw(dtype, T=131)
    r = np.random.default_rng(1)
    for x in (i, f):
        which = r.random(x.shape)
        x[which < 0.15] = gate
        x[which > 0.85] = -gate
    # Positive: the divisor has no least where m is large, and must not cancel.
    inputs, state = (abs(q), abs(k), v, i, f), (c, abs(n), m)
    wanted = by_formula(*inputs, state)
    check(fastcell.mlstm(*inputs, state), wanted, MLSTM_OF_LARGE_GATES[dtype])
    check(by_steps(*inputs, state), wanted, MLSTM_OF_LARGE_GATES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_gates_may_be_of_one_extreme(dtype):
    (q, k, v, i, f), state = draw(dtype, T=60)
    for gate_i in (-1e4, 1e4):
        for gate_f in (-1e4, 1e4):
            gates = np.full_like(i, gate_i), np.full_like(f, gate_f)
            inputs = (abs(q), abs(k), v, *gates)
            for run in (fastcell.mlstm, by_steps):
                y, after = run(*inputs, state)
                assert all(np.isfinite(x).all() for x in (y, *after))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_forget_gate_of_minus_infinity_forgets(isa, dtype):
    inputs, state = draw(dtype, T=70)
    inputs[4][:, :, 33] = -np.inf
    y, after = fastcell.mlstm(*inputs, state)
    rest = tuple(x[:, :, 33:] for x in inputs)
    other = tuple(x + 1 for x in state)  # of no influence
    check((y[:, :, 33:], after), by_formula(*rest, other), MLSTM[dtype])
    check((y, after), by_steps(*inputs, state), MLSTM[dtype])


@pytest.mark.parametrize("run", [fastcell.mlstm, by_steps])
@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_head_and_its_future(isa, run, which, value):
    inputs, state = draw(np.float32, T=61)
    clean, _ = run(*inputs, state)
    inputs[which][1, 2, 37, ...] = value
    y, after = run(*inputs, state)
    past = np.zeros(y.shape[:3], bool)
    past[:] = True
    past[1, 2, 37:] = False
    assert np.array_equal(y[past], clean[past])
    if np.isnan(value):
        assert np.isnan(y[1, 2, 37]).all()
        later = 38 if which == 0 else 61  # a query is not kept
        assert np.isnan(y[1, 2, 37:later]).all()
        assert np.isfinite(y[1, 2, later:]).all()
        assert np.isnan(after[0][1, 2]).any() == (which > 0)
        after[0][1, 2] = after[1][1, 2] = after[2][1, 2] = 0
        assert all(np.isfinite(x).all() for x in after)


def test_no_bit_depends_on_threads_or_other_sequences(set_threads):
    inputs, state = draw(np.float32, B=5, H=3, T=100, K=33, N=65)
    results = []
    for threads in (1, 2, 3, 16):
        set_threads(threads)
        results.append((fastcell.mlstm(*inputs, state), by_steps(*inputs, state)))
    assert all(same(r[0], results[0][0]) for r in results)
    assert all(same(r[1], results[0][1]) for r in results)
    alone = fastcell.mlstm(
        *(x[3:4, 1:2] for x in inputs), tuple(x[3:4, 1:2] for x in state)
    )
    y, after = results[0][0]
    assert same(alone, (y[3:4, 1:2], tuple(x[3:4, 1:2] for x in after)))


def test_arrays_of_any_strides_give_the_same_bits():
    inputs, state = draw(np.float32)
    wanted = fastcell.mlstm(*inputs, state)
    q, k, v, i, f = inputs
    transposed = [
        np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for x in (q, k, v, i, f)
    ]
    assert same(fastcell.mlstm(*transposed, state), wanted)
    wide = [np.repeat(x, 2, axis=-1)[..., ::2] for x in inputs]
    wide_state = [np.repeat(x, 2, axis=-1)[..., ::2] for x in state]
    assert same(fastcell.mlstm(*wide, wide_state), wanted)
    backwards = [x[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1] for x in inputs]
    assert same(fastcell.mlstm(*backwards, state), wanted)
    record = np.zeros(i.shape, [("flag", np.int8), ("i", "f4"), ("f", "f4")])
    record["i"], record["f"] = i, f
    assert same(fastcell.mlstm(q, k, v, record["i"], record["f"], state), wanted)
    one = np.broadcast_to(q[:1, :1, :1], q.shape)
    assert same(
        fastcell.mlstm(one, k, v, i, f, state),
        fastcell.mlstm(one.copy(), k, v, i, f, state),
    )


def test_a_sequence_in_parts_is_the_whole():
    inputs, state = draw(np.float64, T=150)
    whole = fastcell.mlstm(*inputs, state)
    outputs = []
    for first, last in ((0, 13), (13, 14), (14, 100), (100, 150)):
        y, state = fastcell.mlstm(*(x[:, :, first:last] for x in inputs), state)
        outputs.append(y)
    check((np.concatenate(outputs, 2), state), whole, MLSTM[np.float64])


def test_without_the_state_the_outputs_are_the_same_bits(isa):
    for T in (0, 1, 60, 130):
        inputs, state = draw(np.float32, T=T)
        for before in (None, state):
            y, _ = fastcell.mlstm(*inputs, before)
            only = fastcell.mlstm(*inputs, before, return_state=False)
            assert np.array_equal(only, y)


def test_a_step_leaves_its_state_or_overwrites_it():
    inputs, state = draw(np.float32)
    q, k, v, i, f = (x[:, :, 0] for x in inputs)
    arguments = q, k, v, i[..., np.newaxis], f[..., np.newaxis]
    kept = tuple(x.copy() for x in state)
    wanted = fastcell.mlstm_step(*arguments, state)
    assert all(np.array_equal(a, b) for a, b in zip(state, kept, strict=True))
    y, after = fastcell.mlstm_step(*arguments, state, in_place=True)
    assert all(a is b for a, b in zip(after, state, strict=True))
    assert same((y, after), wanted)
    assert not np.array_equal(state[0], kept[0])


def test_no_sequences_and_no_heads_are_no_error():
    for B, H in ((0, 2), (2, 0)):
        inputs, state = draw(np.float32, B=B, H=H)
        y, after = fastcell.mlstm(*inputs, state)
        assert y.shape == (B, H, 57, 21)
        assert [x.shape for x in after] == [x.shape for x in state]


def test_errors_name_the_argument():
    (q, k, v, i, f), (c, n, m) = draw(np.float32, B=1, H=2, T=3, K=4, N=5)
    good = {"q": q, "k": k, "v": v, "i": i, "f": f, "state": (c, n, m)}
    wrong = {
        "q": q[0],
        "k": k[..., 1:],
        "v": v[:, :, 1:],
        "i": i[..., np.newaxis],
        "f": f[:, :, :2],
    }
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=rf"^{name} must have the shape \("):
            fastcell.mlstm(**{**good, name: value})
        with pytest.raises(TypeError, match=rf"^{name} must be float32"):
            fastcell.mlstm(**{**good, name: good[name].astype(np.int32)})
    for part, bad in enumerate((c[..., 1:], n[..., 1:], m[..., 0])):
        state = [c, n, m]
        state[part] = bad
        name = "cnm"[part]
        with pytest.raises(ValueError, match=rf"^{name} of state must have the shape"):
            fastcell.mlstm(**{**good, "state": state})
        state[part] = (c, n, m)[part].astype(np.float64)
        with pytest.raises(TypeError, match=rf"^{name} of state must be float32"):
            fastcell.mlstm(**{**good, "state": state})
    with pytest.raises(ValueError, match=r"^state must be \(c, n, m\); got 2 arrays"):
        fastcell.mlstm(**{**good, "state": (c, n)})
    with pytest.raises(TypeError, match=r"^state must be a tuple"):
        fastcell.mlstm(**{**good, "state": c})
    with pytest.raises(ValueError, match=r"^eps must be a finite number >= 0; got -1"):
        fastcell.mlstm(**good, eps=-1)
    with pytest.raises(ValueError, match=r"^scale must be a finite number; got inf"):
        fastcell.mlstm(**good, scale=np.inf)


def test_a_state_to_overwrite_must_be_ones_own():
    (q, k, v, i, f), (c, n, m) = draw(np.float32, B=1, H=2, T=1, K=4, N=5)
    step = [x[:, :, 0] for x in (q, k, v)] + [i, f]
    with pytest.raises(ValueError, match=r"^in_place must be False without a state"):
        fastcell.mlstm_step(*step, in_place=True)
    with pytest.raises(
        TypeError, match=r"^state must be NumPy's arrays.*got memoryview"
    ):
        fastcell.mlstm_step(*step, (c, memoryview(n), m), in_place=True)
    with pytest.raises(
        ValueError, match=r"^state must be contiguous.*got one of strides"
    ):
        strided = np.repeat(c, 2, axis=-1)[..., ::2]
        fastcell.mlstm_step(*step, (strided, n, m), in_place=True)
    n.flags.writeable = False
    with pytest.raises(ValueError, match=r"^state must be contiguous.*got a read-only"):
        fastcell.mlstm_step(*step, (c, n, m), in_place=True)
