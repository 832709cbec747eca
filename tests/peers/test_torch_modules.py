"""fastcell.torch against torch.nn: values, gradients, packed sequences, copies."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
from tolerances import PEER_FLOAT32, PEER_FLOAT64

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

from torch.nn.utils.rnn import (  # noqa: E402
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)
from torch_pairs import NAMES, assert_alike, pair, results, tensors_in  # noqa: E402

import fastcell  # noqa: E402
import fastcell.torch  # noqa: E402

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")
TOLERANCES = {torch.float32: PEER_FLOAT32, torch.float64: PEER_FLOAT64}

OPTIONS = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "both directions": {"bidirectional": True},
    "batch first, no bias": {"batch_first": True, "bias": False},
    "all": {
        "num_layers": 3,
        "bidirectional": True,
        "batch_first": True,
        "dropout": 0.4,
    },
}
by_name = pytest.mark.parametrize("name", NAMES)
by_layer = pytest.mark.parametrize("name", LAYERS)
by_cell = pytest.mark.parametrize("name", CELLS)
by_dtype = pytest.mark.parametrize("dtype", TOLERANCES)
by_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@pytest.fixture(params=["quick", "by arrays"], autouse=True)
def way(request, monkeypatch):
    """Tensors have a quick way to the core, which older versions of torch lack."""
    if request.param == "by arrays":
        monkeypatch.setattr("fastcell.torch.weights.EXCHANGE", None)
    else:
        assert fastcell.torch.weights.EXCHANGE is not None


def sequence(module, T=7, B=3, *, batched=True, dtype=torch.float32, state=True):
    """Return an input and a state for a module, which require gradients."""
    torch.manual_seed(5)
    passes = module.num_layers * (2 if module.bidirectional else 1)
    rows = (B,) if batched else ()
    steps = (*rows, T) if module.batch_first else (T, *rows)
    x = torch.randn(*steps, module.input_size, dtype=dtype, requires_grad=True)
    h = torch.randn(
        passes,
        *rows,
        module.proj_size or module.hidden_size,
        dtype=dtype,
        requires_grad=True,
    )
    if not state:
        return (x,)
    if module.mode != "LSTM":
        return x, h
    c = torch.randn(passes, *rows, module.hidden_size, dtype=dtype, requires_grad=True)
    return x, (h, c)


@by_options
@by_dtype
@by_layer
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("state", [True, False])
def test_layers_give_torchs_numbers(name, dtype, options, batched, state):
    peer, own = pair(name, 5, 9, dtype=dtype, **options)
    arguments = sequence(peer, dtype=dtype, batched=batched, state=state)
    assert_alike(results(own, *arguments), results(peer, *arguments), TOLERANCES[dtype])
    with torch.no_grad():
        assert_alike(
            results(own.eval(), *arguments),
            results(peer.eval(), *arguments),
            TOLERANCES[dtype],
        )


@by_dtype
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_nonlinearities(nonlinearity, dtype):
    peer, own = pair("RNN", 5, 9, 2, nonlinearity, dtype=dtype)
    arguments = sequence(peer, dtype=dtype)
    assert_alike(results(own, *arguments), results(peer, *arguments), TOLERANCES[dtype])


@by_dtype
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_projections(options, dtype):
    peer, own = pair("LSTM", 5, 9, proj_size=4, dtype=dtype, **options)
    arguments = sequence(peer, dtype=dtype)
    assert_alike(results(own, *arguments), results(peer, *arguments), TOLERANCES[dtype])


@by_cell
@by_dtype
@pytest.mark.parametrize("rows", [(), (1,), (4,)])
@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_give_torchs_numbers(name, dtype, rows, state, bias):
    peer, own = pair(name, 5, 9, bias=bias, dtype=dtype)
    torch.manual_seed(5)
    x = torch.randn(*rows, 5, dtype=dtype, requires_grad=True)
    parts = [
        torch.randn(*rows, 9, dtype=dtype, requires_grad=True)
        for _ in range(2 if name == "LSTMCell" else 1)
    ]
    hx = (tuple(parts) if len(parts) == 2 else parts[0]) if state else None
    assert_alike(results(own, x, hx), results(peer, x, hx), TOLERANCES[dtype])
    with torch.inference_mode():
        assert_alike(results(own, x, hx), results(peer, x, hx), TOLERANCES[dtype])


@by_layer
@by_options
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences(name, options, enforce_sorted):
    peer, own = pair(name, 5, 9, dtype=torch.float64, **options)
    lengths = [7, 5, 5, 1] if enforce_sorted else [1, 5, 7, 5]
    x, state = sequence(peer, T=7, B=4, dtype=torch.float64)

    def packed():
        return pack_padded_sequence(
            x, lengths, batch_first=peer.batch_first, enforce_sorted=enforce_sorted
        )

    found = []
    for module in (own, peer):
        x.grad = None
        result = results(module, packed(), state)
        result["gradient of the padded input"] = x.grad.clone()
        found.append(result)
    assert_alike(*found, PEER_FLOAT64)
    y, _ = own(packed(), state)
    again, counts = pad_packed_sequence(y, batch_first=peer.batch_first)
    assert counts.tolist() == lengths
    assert again.shape[:2] == x.shape[:2]


def test_packed_sequences_of_one_step_and_of_lists():
    peer, own = pair("GRU", 5, 9)
    for sizes in ([1, 1, 1], [3], [4, 2, 2]):
        packed = pack_sequence([torch.randn(n, 5) for n in sizes])
        assert_alike(results(own, packed), results(peer, packed), PEER_FLOAT32)


@by_name
def test_a_step_of_rows_that_lie_apart_is_quick(monkeypatch, name):
    peer, own = pair(name, 3, 5)
    found = []
    for module in (peer, own):
        torch.manual_seed(0)
        x = torch.randn(4, 6, 3, requires_grad=True)  # (B, T, I), as programs keep it
        step = x.swapaxes(0, 1)[2]
        out = module(step if name.endswith("Cell") else step.unsqueeze(0))
        sum((t * t).sum() for t in tensors_in(out)).backward()
        gradients = {key: p.grad for key, p in module.named_parameters()}
        found.append({"x": x.grad, **gradients})
        if fastcell.torch.weights.EXCHANGE is not None:  # the other way costs more
            monkeypatch.setattr("fastcell.torch.layers.called", None)
            monkeypatch.setattr("fastcell.torch.cells.called", None)
    assert_alike(found[1], found[0], PEER_FLOAT32)


@pytest.mark.parametrize("name", ["LSTM", "LSTMCell"])
@pytest.mark.parametrize("grad", [True, False])
def test_states_in_a_list(monkeypatch, name, grad):
    peer, own = pair(name, 3, 5)
    steps, passes = ((), ()) if name == "LSTMCell" else ((4,), (1,))
    x = torch.randn(*steps, 2, 3)
    state = [torch.randn(*passes, 2, 5) for _ in range(2)]
    # torch.nn takes lists, too; what it takes, it must not have to compute.
    expected = results(peer, x, state)
    monkeypatch.delattr(own._peer, "forward")
    with torch.set_grad_enabled(grad):
        found = results(own, x, state)
    if not grad:
        expected = {k: v for k, v in expected.items() if k.startswith("output")}
    assert_alike(found, expected, PEER_FLOAT32)


@by_layer
def test_lengths_are_what_packing_is(name):
    peer, own = pair(name, 5, 9, 2, bidirectional=True, dtype=torch.float64)
    x, state = sequence(peer, T=7, B=4, dtype=torch.float64)
    lengths = [1, 5, 7, 5]
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    y, hn = peer(packed, state)
    expected = pad_packed_sequence(y)[0]
    for given in (lengths, torch.tensor(lengths), np.array(lengths)):
        y, own_hn = own(x, state, lengths=given)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(own_hn, hn, rtol=0, atol=1e-12)


@by_layer
def test_masks_resets_and_nothing_at_all(name):
    _, own = pair(name, 5, 9, 2, bidirectional=True, dtype=torch.float64)
    layer = getattr(fastcell, name)(5, 9, 2, bidirectional=True, dtype=np.float64)
    layer.load_state_dict(own.state_dict())
    random = np.random.default_rng(0)
    x = random.standard_normal((7, 4, 5))
    mask, reset = random.random((2, 7, 4)) < 0.6
    lengths = [0, 7, 3, 5]
    expected, _ = layer(x, lengths=lengths, mask=mask, reset=reset)
    for kind in (np.asarray, torch.tensor):
        y, _ = own(
            torch.tensor(x),
            lengths=kind(lengths),
            mask=kind(mask),
            reset=kind(reset),
        )
        assert (y.detach().numpy() == expected).all()
    # No steps: the state stays, and has its gradient.
    x, state = sequence(own, T=0, dtype=torch.float64)
    y, hn = own(x, state)
    assert y.shape == (0, 3, 18)
    parts = hn if name == "LSTM" else (hn,)
    given = state if name == "LSTM" else (state,)
    assert all((p == s).all() for p, s in zip(parts, given, strict=True))
    sum(p.sum() for p in parts).backward()
    assert all((s.grad == 1).all() for s in given)


@by_name
def test_construction_printing_and_state_dicts(name):
    peer, own = pair(name, 5, 9)
    assert str(own) == str(peer)
    assert list(own.state_dict()) == list(peer.state_dict())
    assert all(
        (a == b).all() for a, b in zip(own.parameters(), peer.parameters(), strict=True)
    )
    own.load_state_dict({k: v + 1 for k, v in peer.state_dict().items()})
    peer.load_state_dict(own.state_dict())
    x = torch.randn(4, 3, 5) if name in LAYERS else torch.randn(3, 5)
    assert_alike(results(own, x), results(peer, x), PEER_FLOAT32)
    torch.manual_seed(3)
    own.reset_parameters()
    torch.manual_seed(3)
    peer.reset_parameters()
    assert_alike(results(own, x), results(peer, x), PEER_FLOAT32)


@by_name
def test_copies_and_pickles(name, tmp_path):
    _, own = pair(name, 5, 9)
    x = torch.randn(4, 3, 5) if name in LAYERS else torch.randn(3, 5)
    expected = results(own, x)
    buffer = io.BytesIO()
    torch.save(own, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    others = [copy.deepcopy(own), pickle.loads(pickle.dumps(own)), loaded]
    for other in others:
        assert_alike(results(other, x), expected, 0)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        assert_alike(results(own, x), expected, 0)
    own.share_memory()
    assert_alike(results(own, x), expected, 0)


@by_name
def test_every_write_to_the_weights_is_seen(name):
    peer, own = pair(name, 5, 9)
    x = torch.randn(4, 3, 5) if name in LAYERS else torch.randn(3, 5)

    def alike():
        with torch.no_grad():
            assert_alike(results(own, x), results(peer, x), PEER_FLOAT32)
        assert_alike(results(own, x), results(peer, x), PEER_FLOAT32)

    alike()
    key = next(k for k in peer.state_dict() if k.startswith("weight_hh"))
    for module in (own, peer):
        weight = getattr(module, key)
        with torch.no_grad():
            weight[0, 0] += 1  # one number, counted
    alike()
    for module in (own, peer):
        getattr(module, key).data.mul_(0.5)  # all numbers, not counted
    alike()
    for module in (own, peer):
        weight = getattr(module, key)
        weight.data = torch.full_like(weight, 0.1)  # other memory
    alike()
    for module in (own, peer):
        setattr(module, key, torch.nn.Parameter(getattr(module, key) * 2))
    alike()
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.1) for m in (own, peer)]
    for _ in range(3):
        for module, optimizer in zip((own, peer), optimizers, strict=True):
            results(module, x)
            optimizer.step()
        alike()
    for module in (own, peer):
        module.load_state_dict({k: v * 0.9 for k, v in module.state_dict().items()})
    alike()
    for module in (own, peer):
        module.to(torch.float64).to(torch.float32)
    alike()
    with torch.inference_mode():
        replaced = {k: v * 1.1 for k, v in peer.state_dict().items()}
        for module in (own, peer):
            torch.func.functional_call(module, replaced, (x,))
    ours, theirs = (torch.func.functional_call(m, replaced, (x,)) for m in (own, peer))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    alike()


@by_name
def test_strides_frozen_weights_and_unneeded_gradients(name):
    peer, own = pair(name, 5, 9, dtype=torch.float64)
    shape = (4, 3) if name in LAYERS else (3,)
    wide = torch.randn(*shape, 10, dtype=torch.float64)
    inputs = [
        wide[..., ::2],
        wide[..., 1:2].expand(*shape, 5),
        torch.randn(5, *reversed(shape), dtype=torch.float64).permute(
            *range(len(shape), -1, -1)
        ),
    ]
    for x in inputs:
        assert x.shape == (*shape, 5)
        assert_alike(results(own, x), results(peer, x), PEER_FLOAT64)
    x = inputs[0].clone().requires_grad_()
    for module in (own, peer):
        for key, parameter in module.named_parameters():
            parameter.requires_grad_("hh" in key)
    assert_alike(results(own, x), results(peer, x), PEER_FLOAT64)
    for module in (own, peer):
        module.requires_grad_(False)
    assert_alike(results(own, x), results(peer, x), PEER_FLOAT64)


@by_name
@pytest.mark.parametrize("bias", [True, False])
def test_one_weight_alone_gets_the_gradient_that_it_has_among_all(name, bias):
    options = {"num_layers": 2, "bidirectional": True} if name in LAYERS else {}
    if name == "LSTM":
        options["proj_size"] = 4
    torch.manual_seed(0)
    module = getattr(fastcell.torch, name)(5, 9, bias=bias, **options)
    x = torch.randn(*((7, 3) if name in LAYERS else (3,)), 5)

    def gradients():
        module.zero_grad(set_to_none=True)
        sum(t.square().sum() for t in tensors_in(module(x))).backward()
        return {key: p.grad for key, p in module.named_parameters()}

    among_all = gradients()
    for key in among_all:
        for other, parameter in module.named_parameters():
            parameter.requires_grad_(other == key)
        alone = gradients()
        assert torch.equal(alone.pop(key), among_all[key])
        assert set(alone.values()) == {None}


@by_name
def test_gradients_by_differences(name):
    arguments = {"proj_size": 2} if name == "LSTM" else {}
    _, own = pair(name, 3, 4, dtype=torch.float64, **arguments)
    layers = name in LAYERS
    shape = (3, 2) if layers else (2,)
    x = torch.randn(*shape, 3, dtype=torch.float64, requires_grad=True)
    weights = [p.detach().clone().requires_grad_() for p in own.parameters()]
    keys = [key for key, _ in own.named_parameters()]

    def call(x, *weights):
        out = torch.func.functional_call(
            own, dict(zip(keys, weights, strict=True)), (x,)
        )
        return out if isinstance(out, torch.Tensor) else out[0]

    assert torch.autograd.gradcheck(call, (x, *weights))
    assert torch.autograd.gradgradcheck(call, (x, *weights))


@by_layer
@pytest.mark.parametrize(
    "extra",
    [
        {"lengths": [3, 1]},
        {"mask": [[True, False], [False, True], [True, True]]},
        {"reset": [[False, True], [True, False], [False, False]]},
        {
            "lengths": [3, 2],
            "mask": [[True, False], [True, True], [True, True]],
            "reset": [[False, False], [False, True], [True, True]],
        },
    ],
)
def test_second_gradients_with_lengths_masks_and_resets(name, extra):
    _, own = pair(name, 3, 4, bidirectional=True, dtype=torch.float64)
    extra = {key: torch.tensor(value) for key, value in extra.items()}
    x = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)

    def call(x):
        return own(x, **extra)[0]

    assert torch.autograd.gradcheck(call, (x,))
    assert torch.autograd.gradgradcheck(call, (x,))


@by_name
def test_backward_twice_and_refused_writes(name):
    peer, own = pair(name, 5, 9)
    x = torch.randn(*((4, 3) if name in LAYERS else (3,)), 5, requires_grad=True)
    found = []
    for module in (own, peer):
        out = module(x)
        y = out if isinstance(out, torch.Tensor) else out[0]
        grads = [
            torch.autograd.grad(y.sum(), (x, *module.parameters()), retain_graph=retain)
            for retain in (True, False)
        ]
        found.append(
            {f"{k} {i}": g for k, gs in enumerate(grads) for i, g in enumerate(gs)}
        )
        y = module(x)
        y = y if isinstance(y, torch.Tensor) else y[0]
        with torch.no_grad():
            next(module.parameters()).add_(0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
    assert_alike(*found, PEER_FLOAT32)


@by_name
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes(name, dtype):
    peer, own = pair(name, 5, 9)
    x = torch.randn(*((4, 3) if name in LAYERS else (3,)), 5)
    exact = results(peer.to(dtype).float(), x.to(dtype).float())
    found = results(own.to(dtype), x.to(dtype))
    for key, value in exact.items():
        assert found[key].dtype == dtype
        scale = max(1.0, float(value.abs().max()))
        # Rounded once at the end, where torch rounds every step.
        assert float((found[key].float() - value).abs().max()) < 0.01 * scale, key


def test_autocast_narrows_the_output():
    peer, own = pair("LSTM", 5, 9)
    x = torch.randn(4, 3, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs, ours = peer(x)[0], own(x)[0]
    assert ours.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)
    ours.sum().backward()
    assert own.weight_ih_l0.grad.dtype == torch.float32


@by_layer
def test_parametrizations_and_weight_norm(name):
    peer, own = pair(name, 5, 9)
    x = torch.randn(4, 3, 5)
    for module in (own, peer):
        torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    assert_alike(results(own, x), results(peer, x), PEER_FLOAT32)
    peer, own = pair(name, 5, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in (own, peer):
            torch.nn.utils.weight_norm(module, "weight_hh_l0")
    for _ in range(2):
        assert_alike(results(own, x), results(peer, x), PEER_FLOAT32)


def test_other_devices_are_refused():
    own = fastcell.torch.LSTM(5, 9)
    with pytest.raises(TypeError, match="input must be a tensor; got ndarray"):
        own(np.zeros((4, 3, 5), np.float32))

    class Elsewhere:
        type = "cuda"

        def __str__(self):
            return "cuda:0"

    from fastcell.torch.weights import check_on_cpu

    class Tensor(torch.Tensor):
        device = Elsewhere()

    with pytest.raises(RuntimeError, match=r"on the CPU; got a tensor on cuda:0"):
        check_on_cpu("LSTM", torch.zeros(3).as_subclass(Tensor))


def test_threads_are_torchs_unless_set(monkeypatch):
    monkeypatch.setattr("fastcell.threads._threads", None)
    monkeypatch.delenv("FASTCELL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            assert fastcell.get_num_threads() == n
        fastcell.set_num_threads(3)
        assert fastcell.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
