"""accelerate and restore on sLSTM modules of TiRex, TiRex-2 and xlstm."""

from __future__ import annotations

import copy
import pickle

import pytest
from tolerances import PEER_FLOAT32

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

import fastcell.torch  # noqa: E402
from fastcell.torch import xlstm  # noqa: E402

WIDTH, HEADS, B, T = 64, 4, 3, 17


def tirex_layer():
    package = pytest.importorskip("tirex.models.slstm.layer")
    return package.sLSTMLayer(package.sLSTMBlockConfig(WIDTH, HEADS), "torch")


def tirex2_layer():
    package = pytest.importorskip("tirex2.model.component.flashrnn_slstm")
    pytest.importorskip("flashrnn")
    config = package.FlashRNNLayerConfig(
        embedding_dim=WIDTH,
        num_heads=HEADS,
        backend="vanilla",
        recurrent_shape="HPGD",
        bias_shape="HGD",
    )
    return package.sLSTMFlashRNNLayer(config, 0, 1)


def xlstm_layer(function="slstm"):
    package = pytest.importorskip("xlstm.blocks.slstm.layer")
    config = package.sLSTMLayerConfig(
        embedding_dim=WIDTH,
        num_heads=HEADS,
        backend="vanilla",
        function=function,
        conv1d_kernel_size=0,
        dtype="float32",
    )
    return package.sLSTMLayer(config)


def xlstm_lstm_layer():
    return xlstm_layer("lstm")


MAKERS = (tirex_layer, tirex2_layer, xlstm_layer, xlstm_lstm_layer)
every_module = pytest.mark.parametrize("make", MAKERS)


@pytest.fixture
def in_float32(monkeypatch):
    """Let TiRex' cell keep float32: its own results are those of bfloat16."""
    narrow = torch.bfloat16
    monkeypatch.setattr(torch, "bfloat16", torch.float32)
    yield narrow


def made(make):
    torch.manual_seed(0)
    layer = make()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer


def results(layer, x):
    """Return the output, and the gradients of x and of all parameters."""
    x = x.detach().requires_grad_()
    y = layer(x)
    torch.manual_seed(1)
    loss = (y * torch.randn(y.shape)).sum()
    names, parameters = zip(*layer.named_parameters(), strict=True)
    grads = torch.autograd.grad(loss, [x, *parameters])
    return {"y": y.detach(), "x": grads[0], **dict(zip(names, grads[1:], strict=True))}


def worst(got, expected):
    assert got.keys() == expected.keys()
    return max(
        float((got[name] - value).abs().max() / value.abs().max().clamp(min=1))
        for name, value in expected.items()
    )


@every_module
def test_a_layer_is_swapped_and_back(make, in_float32):
    layer = made(make)
    reference = copy.deepcopy(layer)
    x = torch.randn(B, T, WIDTH)
    expected = results(reference, x)
    keys, parameters = list(layer.state_dict()), list(layer.parameters())
    report = fastcell.torch.accelerate(layer)
    assert report.swapped
    assert not report.skipped
    assert any(isinstance(module, xlstm.Served) for module in layer.modules())
    assert list(layer.state_dict()) == keys
    assert all(map(lambda a, b: a is b, layer.parameters(), parameters))
    assert worst(results(layer, x), expected) < PEER_FLOAT32
    assert fastcell.torch.accelerate(layer).swapped == report.swapped
    with torch.no_grad():
        for own, other in zip(parameters, reference.parameters(), strict=True):
            own.mul_(0.9)
            other.mul_(0.9)
        assert worst({"y": layer(x)}, {"y": reference(x)}) < PEER_FLOAT32
    fastcell.torch.restore(layer)
    assert not any(isinstance(module, xlstm.Served) for module in layer.modules())
    with torch.no_grad():
        assert torch.equal(layer(x), reference(x))


@every_module
def test_copies_and_pickles_stay_swapped(make):
    layer = made(make)
    fastcell.torch.accelerate(layer)
    x = torch.randn(B, T, WIDTH)
    with torch.no_grad():
        expected = layer(x)
        copies = [copy.deepcopy(layer)]
        if make in (tirex_layer, tirex2_layer):  # xlstm's own cells have no pickles
            copies.append(pickle.loads(pickle.dumps(layer)))
        for again in copies:
            assert any(isinstance(module, xlstm.Served) for module in again.modules())
            assert torch.equal(again(x), expected)
            fastcell.torch.restore(again)
            assert type(again) is type(made(make))


def test_tirex_is_nearer_to_float64_than_its_bfloat16():
    layer = made(tirex_layer)
    x = torch.randn(B, T, WIDTH)
    wide = copy.deepcopy(layer).double()
    fastcell.torch.accelerate(wide)
    with torch.no_grad():
        exact = wide(x.double())
        narrow = (layer(x) - exact).abs().max()
        fastcell.torch.accelerate(layer)
        ours = (layer(x) - exact).abs().max()
    assert ours < narrow / 100


@every_module
def test_states_continue(make, in_float32):
    """What a cell returns as its state goes on where it was."""
    layer = made(make)
    fastcell.torch.accelerate(layer)
    names = {"sLSTMCell", "sLSTMCell_vanilla", "sLSTMFlashRNNLayer"}
    (cell,) = (m for m in layer.modules() if type(m).__name__ in names)
    assert isinstance(cell, xlstm.Served)
    if make is tirex2_layer:
        Wx = torch.randn(B, T, 4, HEADS, WIDTH // HEADS)

        def call(Wx, state):
            y, state = cell.recurrence(Wx, state)
            return y[0], state

        with torch.no_grad():
            whole, _ = call(Wx, None)
            first, state = call(Wx[:, :5], None)
            rest, _ = call(Wx[:, 5:], state)
        assert torch.equal(torch.cat([first, rest], 1), whole)
        return
    x = torch.randn(B, T, 4 * WIDTH)
    with torch.no_grad():
        whole, _ = cell(x, None)
        first, state = cell(x[:, :5], None)
        rest, _ = cell(x[:, 5:], state)
    assert torch.equal(torch.cat([first, rest], 2), whole)


def test_what_cannot_be_served_is_skipped_with_a_reason():
    package = pytest.importorskip("tirex.models.slstm.layer")
    layer = package.sLSTMLayer(package.sLSTMBlockConfig(WIDTH, HEADS), "cuda")
    report = fastcell.torch.accelerate(layer)
    assert "slstm_cell" not in report.swapped
    assert "backend" in report.skipped["slstm_cell"]

    class Own(package.sLSTMCell):
        pass

    report = fastcell.torch.accelerate(Own(package.sLSTMBlockConfig(8, 2), "torch"))
    assert "class of its own" in report.skipped[""]
