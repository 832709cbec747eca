"""Operators of fastcell.torch in torch.compile, torch.export, opcheck, torch.func."""

from __future__ import annotations

import pytest
from tolerances import PEER_FLOAT32

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

from torch_pairs import NAMES, assert_alike, pair, results  # noqa: E402

import fastcell.torch  # noqa: E402


class Model(torch.nn.Module):
    """Embedding, LSTM, linear."""

    def __init__(self, name="LSTM", **options):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 5)
        self.rnn = getattr(fastcell.torch, name)(5, 9, **options)
        width = 9 * (2 if options.get("bidirectional") else 1)
        self.linear = torch.nn.Linear(width, 3)

    def forward(self, ids, lengths=None):
        y, _ = self.rnn(self.embedding(ids), lengths=lengths)
        return self.linear(y)


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_modules_compile_whole(name, backend):
    peer, own = pair(name, 5, 9)
    x = torch.randn(*((4, 3) if "Cell" not in name else (3,)), 5, requires_grad=True)
    compiled = torch.compile(own, fullgraph=True, backend=backend)
    compiled.zero_grad = own.zero_grad
    compiled.named_parameters = own.named_parameters
    assert_alike(results(compiled, x), results(peer, x), PEER_FLOAT32)
    with torch.no_grad():
        assert_alike(results(compiled, x), results(peer, x), PEER_FLOAT32)


@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}],
)
def test_a_model_trains_the_same_compiled(options):
    ids = torch.randint(0, 11, (4, 6))
    found = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = Model(**options)
        call = torch.compile(model, fullgraph=True, backend="aot_eager")
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = (call if compiled else model)(ids).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        found.append(losses)
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[0][-1] < found[0][0]


def test_lengths_are_arguments_of_the_graph():
    model = Model()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    ids = torch.randint(0, 11, (6, 4))
    for lengths in ([6, 0, 3, 1], [1, 2, 3, 4]):
        lengths = torch.tensor(lengths)
        torch.testing.assert_close(compiled(ids, lengths), model(ids, lengths))


def test_inductor_compiles_and_runs():
    model = Model()
    ids = torch.randint(0, 11, (6, 4))
    compiled = torch.compile(model, fullgraph=True)
    ours = compiled(ids)
    torch.testing.assert_close(ours, model(ids))
    ours.square().sum().backward()
    grads = {k: p.grad.clone() for k, p in model.named_parameters()}
    model.zero_grad()
    model(ids).square().sum().backward()
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(grads[key], parameter.grad)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_exported_programs(name):
    model = Model(name).eval()
    ids = torch.randint(0, 11, (6, 4))
    program = torch.export.export(model, (ids,))
    torch.testing.assert_close(program.module()(ids), model(ids))
    steps = torch.export.Dim("steps", min=2, max=50)
    program = torch.export.export(model, (ids,), dynamic_shapes=({0: steps},))
    more = torch.randint(0, 11, (9, 4))
    torch.testing.assert_close(program.module()(more), model(more))


@pytest.mark.parametrize("grad", [True, False])
def test_traced_programs_compute_and_hold_no_constants(grad):
    model = Model().eval()
    ids = torch.randint(0, 11, (6, 4))
    with torch.set_grad_enabled(grad):
        model(ids)
        program = torch.jit.trace(model, (ids,))
        other = torch.randint(0, 11, (6, 4))
        torch.testing.assert_close(program(other), model(other))


def test_shapes_of_models_without_numbers():
    model = Model().to("meta")
    y = model(torch.zeros(6, 4, dtype=torch.long, device="meta"))
    assert y.is_meta
    assert y.shape == (6, 4, 3)


def operator(mode, keep):
    """An operator and its arguments up to lengths."""
    torch.manual_seed(0)
    gates = {"LSTM": 4, "GRU": 3}.get(mode, 1)
    x = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=keep)
    h0 = torch.randn(1, 3, 9, dtype=torch.float64, requires_grad=keep)
    c0 = h0.detach().clone().requires_grad_(keep) if mode == "LSTM" else None
    weights = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=keep)
        for shape in ((gates * 9, 5), (gates * 9, 9), (gates * 9,), (gates * 9,))
    ]
    return getattr(torch.ops.fastcell, mode.lower()).default, (x, h0, c0, weights)


SIZES = [5, 9, 1, 1, 0, 0]
MODES = ["LSTM", "GRU", "RNN_TANH", "RNN_RELU"]
SOME_STEPS = pytest.mark.parametrize("lengths", [None, [4, 2, 1]])


def tensor_of(lengths):
    return lengths if lengths is None else torch.tensor(lengths)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("keep", [True, False])
@SOME_STEPS
def test_opcheck(mode, keep, lengths):
    op, tensors = operator(mode, keep)
    extras = (tensor_of(lengths), None, None, None)
    torch.library.opcheck(op, (*tensors, *extras, SIZES, False, keep))


@pytest.mark.parametrize("mode", MODES)
@SOME_STEPS
def test_gradients_of_an_operator_are_the_same_a_second_time(mode, lengths):
    op, (x, h0, c0, weights) = operator(mode, True)
    extras = (tensor_of(lengths), None, None, None)
    y, h, *_ = op(x, h0, c0, weights, *extras, SIZES, False, True)
    leaves = [t for t in (x, h0, c0, *weights) if t is not None]
    loss = y.square().sum() + h.sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    for again in range(2):
        second = torch.autograd.grad(loss, leaves, retain_graph=again == 0)
        for one, other in zip(first, second, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("shift", [0, 8])
def test_backward_of_an_operator_from_a_copy_of_what_was_kept(shift):
    op, (x, h0, c0, weights) = operator("LSTM", True)
    none = (None,) * 4
    y, *_ = op(x, h0, c0, weights, *none, SIZES, False, True)
    expected = torch.autograd.grad(y.sum(), (x, h0, c0, *weights))
    y, *_, saved = op(x, h0, c0, weights, *none, SIZES, False, True)
    copy = torch.empty(len(saved) + shift, dtype=torch.uint8)[shift:]
    copy[:] = saved.detach()
    back = torch.ops.fastcell.lstm_backward.default
    dout = (torch.ones_like(y), None, None)
    inputs = (x, h0, c0, weights, *none, SIZES, False)
    with torch.no_grad():
        found = back(*dout, *inputs, copy, [True] * 7)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_functional_gradients_per_module():
    peer, own = pair("GRU", 5, 9, dtype=torch.float64)
    x = torch.randn(4, 3, 5, dtype=torch.float64)

    def loss(module):
        def of(parameters):
            return torch.func.functional_call(module, parameters, (x,))[0].sum()

        return of

    parameters = dict(peer.named_parameters())
    ours = torch.func.grad(loss(own))(parameters)
    theirs = torch.func.grad(loss(peer))(parameters)
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value)
