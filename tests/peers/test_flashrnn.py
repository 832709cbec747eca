"""fastcell.torch.flashrnn against the package, and against itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from refusals import refuses
from tolerances import PEER_FLOAT32, PEER_FLOAT64

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

import fastcell.torch  # noqa: E402
from fastcell.torch import flash  # noqa: E402
from fastcell.torch.flash import FUNCTIONS, flashrnn  # noqa: E402
from fastcell.torch.flash_formula import by_formula  # noqa: E402

TOLERANCE = {torch.float64: PEER_FLOAT64, torch.float32: PEER_FLOAT32}
T, B, HEADS, D = 7, 3, 2, 5

every_function = pytest.mark.parametrize("function", FUNCTIONS)
both_types = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def draw(function, dtype=torch.float64, seed=0, steps=T, given=True):
    """Return Wx, R, b and states in the usual order of axes; n is positive."""
    torch.manual_seed(seed)
    of = FUNCTIONS[function]
    states = torch.randn(of.states, B, 1, HEADS, D, dtype=dtype) * given
    if of.states > 2:
        states[2] = states[2].abs()
    found = (
        torch.randn(B, steps, of.x_gates, HEADS, D, dtype=dtype),
        torch.randn(of.r_gates, HEADS, D, D, dtype=dtype) / 2,
        torch.randn(of.biases, HEADS, D, dtype=dtype),
        states,
    )
    return [tensor.requires_grad_() for tensor in found]


def gradients(out, tensors, seed=1, inner=True):
    """Return those of a random loss: of h, or of all states, and of the last ones."""
    torch.manual_seed(seed)
    weights = [torch.randn(part.shape, dtype=part.dtype) for part in out]
    if not inner:
        weights[0][1:] = 0
    loss = sum((part * weight).sum() for part, weight in zip(out, weights, strict=True))
    return torch.autograd.grad(loss, tensors, retain_graph=True)


def assert_close(got, expected, tolerance):
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        scale = max(1.0, float(b.detach().abs().max())) if b.numel() else 1.0
        difference = (a - b).detach().abs().max() if b.numel() else 0
        assert float(difference) <= tolerance * scale


@both_types
@every_function
def test_results_and_gradients_are_those_of_the_package(function, dtype):
    package = pytest.importorskip("flashrnn")
    tensors = draw(function, dtype)
    expected = package.flashrnn(*tensors, function=function, backend="vanilla")
    got = flashrnn(*tensors, function=function)
    tolerance = TOLERANCE[dtype]
    assert_close(got, expected, tolerance)
    for inner in (False, True):
        assert_close(
            gradients(got, tensors, inner=inner),
            gradients(expected, tensors, inner=inner),
            tolerance,
        )


@every_function
def test_without_states_they_are_zeros(function):
    package = pytest.importorskip("flashrnn")
    *tensors, states = draw(function, given=False)
    expected = package.flashrnn(*tensors, function=function, backend="vanilla")
    got = flashrnn(*tensors, function=function)
    assert_close(got, expected, PEER_FLOAT64)
    assert_close(flashrnn(*tensors, states, function=function), got, 0)
    expected = gradients(expected, tensors)
    assert_close(gradients(got, tensors), expected, PEER_FLOAT64)


@every_function
def test_axes_are_those_of_the_configuration(function):
    package = pytest.importorskip("flashrnn")
    Wx, R, b, states = draw(function)
    config = package.FlashRNNConfig(
        head_dim=D,
        num_heads=HEADS,
        function=function,
        backend="vanilla",
        input_shape="TBGHD",
        output_shape="STBHD",
        recurrent_shape="HPGD",
        bias_shape="HGD",
    )
    tensors = (
        Wx.transpose(0, 1),
        R.permute(1, 3, 0, 2),
        b.transpose(0, 1),
        states.transpose(1, 2),
    )
    expected = package.flashrnn(*tensors, config=config)
    got = flashrnn(*tensors, config=config)
    assert_close(got, expected, PEER_FLOAT64)
    leaves = (Wx, R, b, states)
    assert_close(gradients(got, leaves), gradients(expected, leaves), PEER_FLOAT64)


def by_own_formula(function, Wx, R, b, states):
    of = FUNCTIONS[function]
    found, last = by_formula(of.cell, Wx.transpose(0, 1), states[:, :, 0], R, b)
    return found.transpose(1, 2), last.unsqueeze(2)


@every_function
def test_results_are_those_of_the_formula(function):
    """So this file tests something where the package is not installed."""
    tensors = draw(function)
    expected = by_own_formula(function, *tensors)
    got = flashrnn(*tensors, function=function)
    assert_close(got, expected, PEER_FLOAT64)
    for inner in (False, True):
        assert_close(
            gradients(got, tensors, inner=inner),
            gradients(expected, tensors, inner=inner),
            PEER_FLOAT64,
        )


@every_function
def test_gradients_of_gradients(function):
    tensors = draw(function, steps=3)

    def call(*tensors):
        return flashrnn(*tensors, function=function)

    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)


@every_function
def test_a_graph_can_be_used_twice(function):
    tensors = draw(function)
    out = flashrnn(*tensors, function=function)
    first = gradients(out, tensors, inner=False)
    assert_close(gradients(out, tensors, inner=False), first, 0)


@every_function
def test_changed_weights_count(function):
    Wx, R, b, states = (tensor.detach() for tensor in draw(function))
    before, _ = flashrnn(Wx, R, b, states, function=function)
    for tensor in (R, b):
        tensor *= 2
        after, _ = flashrnn(Wx, R, b, states, function=function)
        assert not torch.equal(after[0], before[0])
        fresh, _ = flashrnn(Wx, R.clone(), b.clone(), states, function=function)
        assert torch.equal(after, fresh)
        before = after


@every_function
def test_without_gradients_the_bits_are_the_same(function):
    tensors = draw(function, torch.float32)
    expected = flashrnn(*tensors, function=function)
    with torch.no_grad():
        got = flashrnn(*tensors, function=function)
    assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("steps, rows", [(0, 3), (5, 0)])
@every_function
def test_no_steps_and_no_rows(function, steps, rows):
    Wx, R, b, states = draw(function, steps=steps)
    found, last = flashrnn(Wx[:rows], R, b, states[:, :rows], function=function)
    assert found.shape == (len(states), rows, steps, HEADS, D)
    assert torch.equal(last, states[:, :rows]) or steps
    grads = torch.autograd.grad(found.sum() + last.sum(), (R, b, states))
    assert not grads[0].any()
    assert not grads[1].any()


def test_narrow_tensors_are_computed_in_float32():
    narrow = [t.detach().to(torch.bfloat16) for t in draw("slstm", torch.float32)]
    found, last = flashrnn(*narrow, function="slstm")
    assert found.dtype == last.dtype == torch.bfloat16
    wide, _ = flashrnn(*(t.float() for t in narrow), function="slstm")
    assert torch.equal(found, wide.to(torch.bfloat16))


@every_function
def test_gradients_within_the_recurrence_are_clipped(function):
    """What h of the first step gets from the second is at most the clip."""
    clip = 0.05
    Wx, R, b, states = draw(function, steps=2)
    config = SimpleNamespace(function=function, gradient_recurrent_clipval=clip)
    found, _ = flashrnn(Wx, R, b, states, config=config)
    plain, _ = flashrnn(Wx, R, b, states, function=function)
    assert_close([found], [plain], PEER_FLOAT64)
    (got,) = torch.autograd.grad(1e3 * found[0, :, 1].sum(), Wx)

    first, _ = flashrnn(Wx[:, :1], R, b, states, function=function)
    middle = first.detach().requires_grad_()
    second, _ = flashrnn(Wx[:, 1:], R, b, middle, function=function)
    (dmiddle,) = torch.autograd.grad(1e3 * second[0].sum(), middle)
    assert dmiddle[0].abs().max() > clip
    dmiddle[0].clamp_(-clip, clip)
    (expected,) = torch.autograd.grad(first, Wx, dmiddle)
    assert_close([got[:, 0]], [expected[:, 0]], PEER_FLOAT64)


@every_function
def test_the_clip_is_that_of_hooks_between_steps(function):
    clip = 0.05
    tensors = draw(function, steps=5)
    Wx, R, b, states = tensors
    config = SimpleNamespace(function=function, gradient_recurrent_clipval=clip)
    found, last = flashrnn(Wx, R, b, states, config=config)
    weights, last_weights = torch.randn_like(found[0]), torch.randn_like(last)
    loss = (found[0] * weights).sum() + (last * last_weights).sum()
    got = torch.autograd.grad(loss, tensors)

    loss, now = 0.0, states
    for t in range(5):
        step, now = flashrnn(Wx[:, t : t + 1], R, b, now, function=function)
        loss = loss + (step[0] * weights[:, t : t + 1]).sum()
        if t < 4:
            h = now[:1].clone()
            h.register_hook(lambda d: d.clamp(-clip, clip))
            now = torch.cat([h, now[1:]])
    loss = loss + (now * last_weights).sum()
    expected = torch.autograd.grad(loss, tensors)
    assert_close(got, expected, PEER_FLOAT64)
    plain, _ = flashrnn(Wx, R, b, states, function=function)
    (dWx,) = torch.autograd.grad((plain[0] * weights).sum(), Wx)
    assert not torch.allclose(got[0], dWx)


@every_function
def test_the_core_clips_as_the_formula(function):
    tensors = draw(function, steps=4)
    config = SimpleNamespace(function=function, gradient_recurrent_clipval=0.05)
    weights = None
    grads = []
    for graph in (False, True):  # the core, then the formula
        found, last = flashrnn(*tensors, config=config)
        if weights is None:
            weights = torch.randn_like(found[0])
        loss = (found[0] * weights).sum() + last.sum()
        grads.append(torch.autograd.grad(loss, tensors, create_graph=graph))
    assert_close(grads[0], grads[1], PEER_FLOAT64)


@every_function
def test_a_cut_stops_gradients_through_r(function):
    Wx, R, b, states = draw(function)
    config = SimpleNamespace(function=function, gradient_recurrent_cut=True)
    found, _ = flashrnn(Wx, torch.zeros_like(R), b, states, config=config)
    plain, _ = flashrnn(Wx, torch.zeros_like(R), b, states, function=function)
    (expected,) = torch.autograd.grad(plain[0].sum(), Wx)
    assert_close(torch.autograd.grad(found[0].sum(), Wx), [expected], PEER_FLOAT64)
    found, _ = flashrnn(Wx, R, b, states, config=config)
    plain, _ = flashrnn(Wx, R, b, states, function=function)
    assert_close([found], [plain], PEER_FLOAT64)
    (cut,) = torch.autograd.grad(found[0].sum(), Wx)
    (whole,) = torch.autograd.grad(plain[0].sum(), Wx)
    assert not torch.allclose(cut, whole)


def test_gates_far_from_zero_stay_finite():
    Wx = 1e4 * torch.randn(B, T, 4, HEADS, D)
    R, b = torch.zeros(4, HEADS, D, D), torch.zeros(4, HEADS, D)
    found, last = flashrnn(Wx, R, b, function="slstm")
    assert torch.isfinite(found).all()
    assert torch.isfinite(last).all()


def test_it_is_compiled_around():
    tensors = draw("slstm", torch.float32)

    def call(Wx, R, b, states):
        return flashrnn(2 * Wx, R, b, states, function="slstm")[0][0] + 1

    compiled = torch.compile(call, backend="eager")
    assert torch.equal(compiled(*tensors), call(*tensors))


def test_packed_weights_end_with_their_tensor():
    tensors = [t.detach() for t in draw("lstm")]
    before = len(flash._held)
    flashrnn(*tensors, function="lstm")
    assert len(flash._held) == before + 1
    del tensors
    assert len(flash._held) == before


def test_wrong_arguments_are_refused():
    Wx, R, b, states = (t.detach() for t in draw("lstm"))
    call = fastcell.torch.flashrnn
    refuses(TypeError, ["Wx", "tensor", "list"], call, [1], R, b)
    refuses(TypeError, ["R", "int64"], call, Wx, R.long(), b)
    refuses(ValueError, ["Wx", "BTGHD"], call, Wx[0], R, b)
    refuses(ValueError, ["Wx", "(3, 7, 4, 2, 5)"], call, Wx[:, :, :3], R, b)
    refuses(ValueError, ["R", "(4, 2, 5, 5)"], call, Wx, R[:3], b)
    refuses(ValueError, ["b", "(4, 2, 5)"], call, Wx, R, b[:, :1])
    refuses(ValueError, ["states", "(2, 3, 1, 2, 5)"], call, Wx, R, b, states[:1])
    refuses(ValueError, ["function", "elman"], call, Wx, R, b, function="mlstm")
    refuses(ValueError, ["backend"], call, Wx, R, b, backend="tpu")
    for name, value in (
        ("input_shape", "BTGH"),
        ("forward_clipval", 1.0),
        ("gradient_recurrent_clipval", -1.0),
    ):
        config = SimpleNamespace(function="lstm", **{name: value})
        refuses(ValueError, [f"config.{name}"], call, Wx, R, b, config=config)
