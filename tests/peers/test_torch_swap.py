"""accelerate and restore, sessions and pools of fastcell.torch."""

from __future__ import annotations

import copy

import pytest
from tolerances import PEER_FLOAT32

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

from torch_pairs import NAMES, assert_alike, pair, results  # noqa: E402

import fastcell.torch  # noqa: E402


class Own(torch.nn.LSTM):
    """A subclass with code of its own."""


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(5, 9, 2, batch_first=True)
        self.again = self.lstm  # registered twice
        self.inner = torch.nn.Sequential(torch.nn.Linear(9, 9), torch.nn.GRUCell(9, 4))
        self.own = Own(4, 4)
        self.held = [self.lstm]  # known to plain Python too

    def forward(self, x):
        y, _ = self.held[0](x)
        y = self.inner(y[:, -1])
        return self.own(y)[0]


def test_a_model_is_swapped_in_place_and_back():
    torch.manual_seed(0)
    model = Model()
    reference = copy.deepcopy(model)
    calls = []
    model.lstm.register_forward_hook(lambda *_: calls.append(1))
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    keys = list(model.state_dict())
    x = torch.randn(3, 6, 5, requires_grad=True)
    report = fastcell.torch.accelerate(model)
    assert list(report.swapped) == ["lstm", "again", "inner.1"]
    assert list(report.skipped) == ["own"]
    assert "class of its own" in report.skipped["own"]
    assert model.lstm is model.again is model.held[0]
    assert isinstance(model.lstm, fastcell.torch.LSTM)
    assert isinstance(model.lstm, torch.nn.LSTM)
    assert str(model) == str(reference)
    assert list(model.state_dict()) == keys
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert_alike(results(model, x), results(reference, x), PEER_FLOAT32)
    assert calls
    optimizer.step()
    with torch.no_grad():
        for p in reference.parameters():
            p -= 0.1 * p.grad
    assert_alike(results(model, x), results(reference, x), PEER_FLOAT32)
    again = fastcell.torch.accelerate(model)
    assert again.swapped == report.swapped
    assert_alike(results(copy.deepcopy(model), x), results(reference, x), PEER_FLOAT32)
    fastcell.torch.restore(model)
    assert type(model.lstm) is torch.nn.LSTM
    assert type(model.inner[1]) is torch.nn.GRUCell
    assert_alike(results(model, x), results(reference, x), PEER_FLOAT32)


def test_a_with_statement_restores():
    model = Model()
    with fastcell.torch.accelerate(model) as report:
        assert isinstance(model.lstm, fastcell.torch.LSTM)
        assert "lstm: LSTM(5, 9, num_layers=2, batch_first=True)" in str(report)
        assert "own: left, " in str(report)
    assert type(model.lstm) is torch.nn.LSTM


@pytest.mark.parametrize("name", NAMES)
def test_the_model_may_be_the_module(name, capsys):
    peer, _ = pair(name, 5, 9)
    own = copy.deepcopy(peer)
    x = torch.randn(*((4, 3) if "Cell" not in name else (3,)), 5)
    fastcell.torch.accelerate(own, verbose=True)
    assert capsys.readouterr().out == f"(model): {name}(5, 9)\n"
    assert type(own).__module__.startswith("fastcell.torch")
    assert_alike(results(own, x), results(peer, x), PEER_FLOAT32)
    assert str(type(own)(5, 9)) == str(peer)  # some programs make more of a class
    loaded = copy.deepcopy(own)
    assert_alike(results(loaded, x), results(own, x), 0)


def test_what_is_left_and_why():
    model = torch.nn.ModuleDict({"a": torch.nn.LSTM(5, 9), "b": torch.nn.GRU(5, 9)})
    model["a"].forward = model["a"].forward
    report = fastcell.torch.accelerate(model)
    assert report.skipped == {"a": "its forward was replaced"}
    assert list(report.swapped) == ["b"]
    with pytest.raises(TypeError, match=r"a torch\.nn\.Module; got int"):
        fastcell.torch.accelerate(3)
    with pytest.raises(TypeError, match=r"a torch\.nn\.Module; got int"):
        fastcell.torch.restore(3)
    assert str(fastcell.torch.accelerate(torch.nn.ReLU())) == "no recurrent modules"


def test_parametrized_modules_are_swapped():
    peer, _ = pair("LSTM", 5, 9)
    torch.nn.utils.parametrizations.weight_norm(peer, "weight_hh_l0")
    own = copy.deepcopy(peer)
    x = torch.randn(4, 3, 5)
    fastcell.torch.accelerate(own)
    assert isinstance(own, fastcell.torch.LSTM)
    assert_alike(results(own, x), results(peer, x), PEER_FLOAT32)
    fastcell.torch.restore(own)
    assert not isinstance(own, fastcell.torch.LSTM)
    assert_alike(results(own, x), results(peer, x), 0)


def test_swapped_for_a_whole_graph():
    torch._dynamo.reset()
    model = torch.nn.Sequential(torch.nn.Embedding(11, 5), torch.nn.LSTM(5, 9))
    ids = torch.randint(0, 11, (6, 4))
    expected = model(ids)[0]
    fastcell.torch.accelerate(model, fullgraph=True)
    assert not isinstance(model[1], torch.nn.LSTM)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(ids)[0], expected)
    torch._dynamo.reset()


# -------------------------------------------------------------- one step at a time


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_sessions(name):
    torch.manual_seed(0)
    module = getattr(fastcell.torch, name)(5, 9, 2)
    x = torch.randn(6, 3, 5)
    session = module.session(3)
    with torch.no_grad():
        y, hn = module(x)
        assert all((session.step(x[t]) == y[t]).all() for t in range(6))
        parts = zip(
            hn if name == "LSTM" else (hn,),
            session.state if name == "LSTM" else (session.state,),
            strict=True,
        )
        assert all((a == b).all() for a, b in parts)
        other = session.fork()
        state = session.state
        session.reset([0])
        session.reset()
        assert (session.step(x[0]) == y[0]).all()
        session.state = state
        for p in module.parameters():
            p.mul_(0.5)
        session.reset()
        y, _ = module(x)
        assert all((session.step(x[t]) == y[t]).all() for t in range(6))
        module(x, state)
        assert (other.step(x[0]) == module(x[:1], state)[0][0]).all()
    with pytest.raises(ValueError, match="bidirectional"):
        getattr(fastcell.torch, name)(5, 9, bidirectional=True).session()


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_sessions_and_pools_of_cells(name):
    torch.manual_seed(0)
    cell = getattr(fastcell.torch, name)(5, 9)
    x = torch.randn(6, 3, 5)
    session, pool = cell.session(3), fastcell.torch.StreamPool(cell)
    ids = pool.open(3)
    state = None
    with torch.inference_mode():
        for t in range(6):
            state = cell(x[t], state)
            h = state[0] if name == "LSTMCell" else state
            assert (session.step(x[t]) == h).all()
            assert (pool.step(ids, x[t]) == h).all()
    parts = session.state if name == "LSTMCell" else (session.state,)
    expected = state if name == "LSTMCell" else (state,)
    assert all((a[0] == b).all() for a, b in zip(parts, expected, strict=True))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_pools(name):
    torch.manual_seed(0)
    module = getattr(fastcell.torch, name)(5, 9)
    x = torch.randn(4, 3, 5)
    pool = fastcell.torch.StreamPool(module, capacity=2)
    ids = pool.open(3)
    assert len(pool) == 3
    with torch.no_grad():
        y, hn = module(x)
        assert all((pool.step(ids, x[t]) == y[t]).all() for t in range(4))
        h = pool.state(ids)
        assert (
            (h[0] if name == "LSTM" else h) == (hn[0] if name == "LSTM" else hn)
        ).all()
        pool.reset(ids[1:])
        pool.set_state(ids, h)
        pool.reset(ids)
        assert (pool.step(ids, x[0]) == y[0]).all()
        pool.close(ids[:1])
        assert len(pool) == 2
    with pytest.raises(
        TypeError, match=r"module must be .* of fastcell.torch, .*; got GRU"
    ):
        fastcell.torch.StreamPool(torch.nn.GRU(5, 9))
