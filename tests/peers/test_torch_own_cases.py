"""Cases of PyTorch's own tests and tools, on classes of fastcell.torch."""

from __future__ import annotations

import copy
import threading
import warnings

import pytest
from tolerances import PEER_FLOAT32

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.peers

from torch.nn.utils import prune  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch_pairs import NAMES, assert_alike, pair, results, tensors_in  # noqa: E402

import fastcell.torch  # noqa: E402

LAYERS = ("RNN", "LSTM", "GRU")
by_name = pytest.mark.parametrize("name", NAMES)
by_layer = pytest.mark.parametrize("name", LAYERS)


def steps_of(name, dtype=torch.float32, seed=3):
    """Return an input of 5 features: (T, B, I) or, for a cell, (B, I)."""
    torch.manual_seed(seed)
    return torch.randn(*((4, 3) if name in LAYERS else (3,)), 5, dtype=dtype)


def first(out):
    """Return the output, or the state, of any module."""
    return tensors_in(out)[0]


# ---------------------------------------------------------------------- arguments


@by_name
@pytest.mark.parametrize("before", [None, torch.float32, torch.float64])
@pytest.mark.parametrize("grad", [True, False])
def test_weights_of_another_dtype_than_the_input_are_refused(name, before, grad):
    for given in (torch.float16, torch.bfloat16, torch.float64, torch.float32):
        peer, own = pair(name, 5, 9)
        x = steps_of(name)
        for module in (peer, own):
            if before is not None:
                module.to(before)(x.to(before))
            module.to(given)
        x = x.double() if given == torch.float32 else x
        with torch.set_grad_enabled(grad):
            with pytest.raises((RuntimeError, ValueError)) as theirs:
                peer(x)
            for _ in range(2):
                with pytest.raises(theirs.type) as ours:
                    own(x)
                assert str(ours.value) == str(theirs.value)
                own(x.to(given))  # packs them


@by_name
def test_weights_of_two_dtypes_are_refused(name):
    for module in pair(name, 5, 9):
        x = steps_of(name)
        module(x)
        key = [key for key, _ in module.named_parameters()][1]
        setattr(module, key, torch.nn.Parameter(getattr(module, key).double()))
        with pytest.raises(RuntimeError):
            module(x)


def test_an_unknown_nonlinearity_is_refused_in_torchs_words():
    for make in (torch.nn.RNN, fastcell.torch.RNN):
        with pytest.raises(ValueError, match=r"Unknown nonlinearity 'sine'\. Select"):
            make(5, 9, nonlinearity="sine")


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [1, 0, "relu"])
def test_cells_take_for_a_bias_what_torch_takes(name, bias):
    peer, own = pair(name, 5, 9, bias)
    x = steps_of(name)
    assert_alike(results(own, x), results(peer, x), PEER_FLOAT32)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_without_units(name):
    for module in pair(name, 5, 0):
        assert first(module(steps_of(name))).shape == (3, 0)


# --------------------------------------------- torch.func and forward mode: by formula


def ensemble(name, n=3):
    """Return modules of different weights, and the stack of those."""
    modules = [pair(name, 5, 9, seed=seed, dtype=torch.float64)[1] for seed in range(n)]
    stacked, _ = torch.func.stack_module_state(modules)
    return modules, stacked


@by_name
@pytest.mark.parametrize("grad", [True, False])
def test_an_ensemble_by_vmap(name, grad):
    modules, stacked = ensemble(name)
    base = copy.deepcopy(modules[0]).to("meta")
    x = steps_of(name, torch.float64)

    def one(parameters, x):
        return first(torch.func.functional_call(base, parameters, (x,)))

    with torch.set_grad_enabled(grad):
        found = torch.func.vmap(one, (0, None))(stacked, x)
    expected = torch.stack([first(module(x)) for module in modules])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    if grad:
        found.square().sum().backward()
        expected.square().sum().backward()
        for key, value in stacked.items():
            each = torch.stack([dict(m.named_parameters())[key].grad for m in modules])
            torch.testing.assert_close(value.grad, each, rtol=0, atol=1e-12)


@by_name
def test_gradients_of_each_row(name):
    _, own = pair(name, 5, 9, dtype=torch.float64)
    x = torch.stack([steps_of(name, torch.float64, seed) for seed in range(3)])
    parameters = dict(own.named_parameters())

    def loss(parameters, x):
        return first(torch.func.functional_call(own, parameters, (x,))).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for k, row in enumerate(x):
        own.zero_grad()
        first(own(row)).square().sum().backward()
        for key, parameter in own.named_parameters():
            torch.testing.assert_close(each[key][k], parameter.grad)


@by_name
@pytest.mark.parametrize("frozen", [True, False])
def test_jacobians_in_all_ways(name, frozen):
    _, own = pair(name, 5, 2, dtype=torch.float64)
    own.requires_grad_(not frozen)
    x = steps_of(name, torch.float64)

    def call(x):
        return first(own(x))

    plain = torch.autograd.functional.jacobian(call, x)
    found = {
        "at once": torch.autograd.functional.jacobian(call, x, vectorize=True),
        "forward": torch.autograd.functional.jacobian(
            call, x, vectorize=True, strategy="forward-mode"
        ),
        "jacrev": torch.func.jacrev(call)(x),
        "jacfwd": torch.func.jacfwd(call)(x),
    }
    for way, jacobian in found.items():
        torch.testing.assert_close(jacobian, plain, msg=way)


@by_name
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_tangents_are_not_lost(name, grad, frozen):
    _, own = pair(name, 5, 9, dtype=torch.float64)
    own.requires_grad_(not frozen)
    x = steps_of(name, torch.float64)
    along = torch.randn_like(x)
    own(x)  # so that all is packed
    with torch.set_grad_enabled(grad), torch.autograd.forward_ad.dual_level():
        out = first(own(torch.autograd.forward_ad.make_dual(x, along)))
        tangent = torch.autograd.forward_ad.unpack_dual(out).tangent
    step = 1e-6
    with torch.no_grad():
        ends = [first(own(x + sign * step * along)) for sign in (1, -1)]
    expected = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(tangent.detach(), expected, rtol=1e-6, atol=1e-8)


@by_name
def test_tangents_of_weights(name):
    _, own = pair(name, 5, 9, dtype=torch.float64)
    x = steps_of(name, torch.float64)
    parameters = {k: p.detach() for k, p in own.named_parameters()}
    along = {k: torch.randn_like(p) for k, p in parameters.items()}

    def call(parameters):
        return first(torch.func.functional_call(own, parameters, (x,)))

    _, tangent = torch.func.jvp(call, (parameters,), (along,))
    step = 1e-6
    ends = [
        call({k: p + sign * step * along[k] for k, p in parameters.items()})
        for sign in (1, -1)
    ]
    expected = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(tangent, expected.detach(), rtol=1e-6, atol=1e-8)


# ------------------------------------------------- checkpoints and hooks of autograd


@by_name
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints(name, reentrant):
    found = []
    for module in pair(name, 5, 9):
        x = steps_of(name).requires_grad_()

        def checked(x, module=module):
            return checkpoint(module, x, use_reentrant=reentrant)

        checked.zero_grad = module.zero_grad
        checked.named_parameters = module.named_parameters
        found.append(results(checked, x))
    assert_alike(found[1], found[0], PEER_FLOAT32)


@by_name
def test_hooks_take_all_that_is_kept(name):
    _, own = pair(name, 5, 9)
    x = steps_of(name).requires_grad_()
    expected = results(own, x)
    seen = []

    def pack(tensor):
        seen.append(tensor.nbytes)
        return tensor.detach().clone()

    def saved_by_hooks(x):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            return own(x)

    saved_by_hooks.zero_grad = own.zero_grad
    saved_by_hooks.named_parameters = own.named_parameters
    assert_alike(results(saved_by_hooks, x), expected, 0)
    gates = own.weight_hh_l0 if name in LAYERS else own.weight_hh
    pairs = x.numel() // 5
    without = x.nbytes + sum(p.nbytes for p in own.parameters())
    assert sum(seen) >= without + pairs * len(gates) * 4
    with torch.autograd.graph.save_on_cpu():
        y = first(own(x))
    found = [torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for _ in range(2)]
    (again,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert (found[0] == found[1]).all()
    torch.testing.assert_close(again, found[0])


# ----------------------------------------------------------------- narrow numbers


@by_name
def test_second_gradients_of_what_autocast_narrowed(name):
    found = []
    for module in pair(name, 5, 9):
        x = steps_of(name).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = first(module(x))
        (dx,) = torch.autograd.grad(y.float().square().sum(), x, create_graph=True)
        dx.square().sum().backward()
        found.append(torch.cat([dx.flatten(), x.grad.flatten()]))
    theirs, ours = (part.detach() for part in found)
    assert ours.dtype == torch.float32
    assert float((ours - theirs).abs().max()) < 0.03 * float(theirs.abs().max())


@by_name
def test_half_precision_trains(name):
    _, own = pair(name, 5, 9)
    exact = copy.deepcopy(own)
    own.half()
    exact.load_state_dict(own.state_dict())
    optimizers = [torch.optim.SGD(module.parameters(), 0.1) for module in (own, exact)]
    x = steps_of(name).half()
    for _ in range(3):
        for module, optimizer, given in zip(
            (own, exact), optimizers, (x, x.float()), strict=True
        ):
            optimizer.zero_grad()
            y = first(module(given))
            assert y.dtype == given.dtype
            y.float().square().sum().backward()
            optimizer.step()
    for ours, theirs in zip(own.parameters(), exact.parameters(), strict=True):
        assert ours.dtype == torch.float16
        torch.testing.assert_close(ours.float(), theirs, rtol=0, atol=2e-3)


# -------------------------------------------------- packed sequences that are traced


class Packing(torch.nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, lengths, hx):
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, lengths, self.rnn.batch_first, enforce_sorted=False
        )
        y, hn = self.rnn(packed, hx)
        return torch.nn.utils.rnn.pad_packed_sequence(y, self.rnn.batch_first)[0], hn


def packing_of(name, batch_first, T, lengths):
    """Return torch's model and ours, and arguments for lengths in any order."""
    models = [Packing(module) for module in pair(name, 5, 9, batch_first=batch_first)]
    B = len(lengths)
    x = torch.randn(*((B, T) if batch_first else (T, B)), 5, requires_grad=True)
    h = torch.randn(1, B, 9, requires_grad=True)
    state = (h, h + 1) if name == "LSTM" else h
    return *models, (x, torch.tensor(lengths), state)


@by_layer
@pytest.mark.parametrize("batch_first", [True, False])
def test_models_that_pack_can_be_traced(name, batch_first):
    peer, own, arguments = packing_of(name, batch_first, 4, [2, 4, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that pack_padded_sequence looks at
        program = torch.jit.trace(own, arguments)
    for T, lengths in ((4, [2, 4, 1]), (6, [1, 5, 6])):
        _, _, arguments = packing_of(name, batch_first, T, lengths)
        found = [results(module, *arguments) for module in (program, peer)]
        assert_alike(*found, PEER_FLOAT32)


@by_layer
def test_models_that_pack_can_be_compiled(name):
    torch._dynamo.reset()
    peer, own, arguments = packing_of(name, False, 4, [2, 4, 1])
    compiled = torch.compile(own, backend="aot_eager")
    compiled.zero_grad, compiled.named_parameters = own.zero_grad, own.named_parameters
    assert_alike(results(compiled, *arguments), results(peer, *arguments), PEER_FLOAT32)
    torch._dynamo.reset()


# --------------------------------------------------------------- scripts and shapes


@by_name
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripts_are_refused(name):
    _, own = pair(name, 5, 9)
    model = torch.nn.Sequential(own)
    with pytest.raises(RuntimeError, match=rf"fastcell.torch.{name}: use torch.jit.tr"):
        torch.jit.script(model)
    fastcell.torch.restore(model)
    x = steps_of(name)
    torch.testing.assert_close(torch.jit.script(model)(x), model(x))


@by_name
def test_shapes_under_a_fake_mode(name):
    from torch._subclasses.fake_tensor import FakeTensorMode

    found = []
    for kind in (torch.nn, fastcell.torch):
        with FakeTensorMode():
            module = getattr(kind, name)(5, 9)
            x = torch.randn(*((4, 3) if name in LAYERS else (3,)), 5)
            out = module(x.requires_grad_())
            first(out).sum().backward()
            shapes = [t.shape for t in tensors_in(out)]
            shapes += [p.grad.shape for p in (x, *module.parameters())]
        found.append(shapes)
    assert found[0] == found[1]


# ---------------------------------------------------------- tools that watch modules


@by_name
def test_pruned_weights(name):
    found = []
    for module in pair(name, 5, 9):
        key = next(k for k, _ in module.named_parameters() if "weight_hh" in k)
        torch.manual_seed(0)
        prune.random_unstructured(module, key, 0.5)
        pruned = results(module, steps_of(name))
        assert (getattr(module, key) == 0).any()
        assert (pruned[f"gradient of {key}_orig"] == 0).any()
        prune.remove(module, key)
        after = results(module, steps_of(name))
        found.append({**pruned, **{f"{k}, removed": v for k, v in after.items()}})
    assert_alike(found[1], found[0], PEER_FLOAT32)


@by_name
def test_modes_that_see_operators_change_nothing(name):
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    class Passing(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    _, own = pair(name, 5, 9)
    x = steps_of(name).requires_grad_()
    expected = results(own, x)
    for mode in (Passing(), FlopCounterMode(display=False)):
        with mode:
            assert_alike(results(own, x), expected, 0)
            with torch.no_grad():
                assert (first(own(x)) == expected["output 0"]).all()


def test_operations_are_counted_as_those_of_torch():
    from torch.utils.flop_counter import FlopCounterMode

    def counted(make, needed, options, batch_first):
        module = make(5, 7, batch_first=batch_first, **options)
        x = torch.randn(4, 11, 5, requires_grad=needed)
        with FlopCounterMode(display=False) as forward:
            y = module(x)[0]
        with FlopCounterMode(display=False) as backward:
            y.sum().backward()
        return forward.get_total_flops(), backward.get_total_flops()

    deep = {"num_layers": 2, "bidirectional": True}
    # PyTorch counts nothing of LSTMs that oneDNN computes: those with a projection are
    # not among them.
    cases = (("GRU", {}), ("GRU", deep), ("RNN", deep), ("LSTM", {"proj_size": 3}))
    for name, options in cases:
        for needed in (False, True):
            for batch_first in (False, True):
                own, expected = (
                    counted(getattr(of, name), needed, options, batch_first)
                    for of in (fastcell.torch, torch.nn)
                )
                assert own == expected, (name, needed, batch_first)
                assert expected[0] > 0


@by_name
def test_averaged_models(name):
    found = []
    for module in pair(name, 5, 9):
        averaged = torch.optim.swa_utils.AveragedModel(module)
        out = {}
        for k in range(3):
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.add_(0.1)
            averaged.update_parameters(module)
            out[f"{k}"] = first(averaged(steps_of(name))).detach()
        found.append(out)
    assert_alike(found[1], found[0], PEER_FLOAT32)


@by_name
def test_a_copy_between_forward_and_backward(name):
    found = []
    for module in pair(name, 5, 9):
        x = steps_of(name).requires_grad_()
        y = first(module(x))
        other = copy.deepcopy(module)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.mul_(2)
        first(other(x)).sum().backward()
        y.square().sum().backward()
        grads = {"x": x.grad}
        for k, each in enumerate((module, other)):
            grads |= {f"{k} {key}": p.grad for key, p in each.named_parameters()}
        found.append(grads)
    assert_alike(found[1], found[0], PEER_FLOAT32)


@by_name
def test_hooks_of_modules(name):
    found = []
    for module in pair(name, 5, 9):
        seen = {}
        module.register_forward_pre_hook(lambda _, given: (given[0] * 2, *given[1:]))
        module.register_forward_hook(
            lambda _, given, out, seen=seen: seen.update(out=first(out).detach())
        )
        module.register_full_backward_pre_hook(
            lambda _, dout: tuple(d if d is None else d * 3 for d in dout)
        )
        module.register_full_backward_hook(
            lambda _, dx, dout, seen=seen: seen.update(dx=dx[0], dy=dout[0])
        )
        found.append({**results(module, steps_of(name).requires_grad_()), **seen})
    assert {"out", "dx", "dy"} < found[0].keys()
    assert_alike(found[1], found[0], PEER_FLOAT32)


@by_name
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_anomaly_mode(name):
    _, own = pair(name, 5, 9)
    x = steps_of(name).requires_grad_()
    expected = results(own, x)
    with torch.autograd.set_detect_anomaly(True):
        assert_alike(results(own, x), expected, 0)
        y = first(own(x * float("nan")))
        with pytest.raises(RuntimeError, match=r"Recurrence.* returned nan"):
            y.sum().backward()


@by_name
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
def test_two_threads_call_one_module(name, mode):
    _, own = pair(name, 5, 9)
    inputs = [steps_of(name, seed=seed) for seed in range(2)]
    expected = [results(own, x) for x in inputs]
    wrong = []

    def work(x, expected):
        with mode():
            for _ in range(100):
                y = first(own(x))
                if not (y == expected["output 0"]).all():
                    wrong.append(y)
                if y.requires_grad:
                    weight = next(own.parameters())
                    torch.autograd.grad(y.sum(), weight)

    pairs = zip(inputs, expected, strict=True)
    threads = [threading.Thread(target=work, args=both) for both in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("lengths", [None, [4, 2, 1]])
def test_backward_has_the_weights_of_its_own_call(name, lengths):
    torch.manual_seed(0)
    module = getattr(fastcell.torch, name)(3, 5)
    x = torch.randn(4, 3, 3, requires_grad=True)
    weights = dict(module.named_parameters())
    others = {k: (2 * w).detach().requires_grad_() for k, w in weights.items()}
    options = {} if lengths is None else {"lengths": lengths}

    def loss(held):
        return torch.func.functional_call(module, held, (x,), options)[0].sum()

    alone = torch.autograd.grad(loss(weights), [x, *weights.values()])
    first = loss(weights)
    second = loss(others)
    after = torch.autograd.grad(first, [x, *weights.values()])
    assert all(map(torch.equal, alone, after))
    assert not torch.equal(torch.autograd.grad(second, x)[0], alone[0])


@pytest.mark.parametrize("name", ["LSTM", "GRUCell"])
def test_a_module_that_was_called_computes_in_the_dtype_it_gets(name):
    torch.manual_seed(0)
    module = getattr(fastcell.torch, name)(3, 5)
    peer = getattr(torch.nn, name)(3, 5)
    peer.load_state_dict(module.state_dict())
    x = torch.randn(4, 3) if name == "GRUCell" else torch.randn(4, 2, 3)
    module(x)
    found, expected = (m.double()(x.double()) for m in (module, peer))
    if name == "LSTM":
        found, expected = found[0], expected[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_end_of_a_swap_leaves_what_was_fastcells_before():
    model = torch.nn.ModuleList([fastcell.torch.LSTM(3, 4), torch.nn.GRU(3, 4)])
    with fastcell.torch.accelerate(model):
        assert type(model[1]) is not torch.nn.GRU
    assert [type(m) for m in model] == [fastcell.torch.LSTM, torch.nn.GRU]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_session_has_the_weights_of_now(name):
    torch.manual_seed(0)
    module = getattr(fastcell.torch, name)(3, 5)
    x = torch.randn(3)
    session = module.session()
    session.step(x)
    session.reset()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
        expected = module(x.view(1, 1, 3))[0][0, 0]
    torch.testing.assert_close(session.step(x), expected)
    session.reset()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    stepped = session.step(x)
    with torch.no_grad():
        torch.testing.assert_close(stepped, module(x.view(1, 1, 3))[0][0, 0])
