"""Tensors, packed sequences and loaders of PyTorch as arguments."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import refuses

import fastcell
from fastcell.models import LanguageModel
from fastcell.optim import SGD, clip_grad_norm
from fastcell.train import Trainer

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("own", ["float32", "float64"])
def test_weights_are_cast_as_torch_casts_them(dtype, own):
    source = torch.nn.LSTM(3, 4, dtype=getattr(torch, dtype))
    twin = torch.nn.LSTM(3, 4, dtype=getattr(torch, own))
    twin.load_state_dict(source.state_dict())
    layer = fastcell.LSTM(3, 4, dtype=own)
    # Parameters require a gradient, state dicts do not.
    for mapping in (source.state_dict(), dict(source.named_parameters())):
        layer.load_state_dict(mapping)
        for name, wanted in twin.state_dict().items():
            assert layer.params[name].tobytes() == wanted.numpy().tobytes()


def test_values_too_large_become_infinite_as_in_torch_with_a_warning():
    layer = fastcell.Linear(1, 1)
    weight = torch.tensor([[1e300]], dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match="overflow"):
        layer.load_state_dict({"weight": weight}, strict=False)
    assert layer.params["weight"][0, 0] == np.inf


def test_names_of_a_parallel_model_are_told():
    peer = torch.nn.DataParallel(torch.nn.LSTM(2, 3))
    layer = fastcell.LSTM(2, 3)
    refuses(KeyError, ["'module.'", "removeprefix"], layer.load_state_dict,
            peer.state_dict())  # fmt: skip


def test_a_tensor_that_requires_grad_says_detach():
    x = torch.ones(4, 2, 3, requires_grad=True)
    layer, model = fastcell.GRU(3, 2), LanguageModel(4, 2, 3)
    for call in (layer, layer.forward, fastcell.Linear(3, 2)):
        refuses(TypeError, ["x must be an array; got Tensor", "x.detach()"], call, x)
    refuses(TypeError, ["ids", "ids.detach()"], model.predict, x)
    refuses(TypeError, ["grads['w']", "Tensor"], clip_grad_norm, {"w": x}, 1.0)
    assert layer(x.detach())[0].shape == (4, 2, 2)


def test_a_packed_sequence_says_lengths():
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.ones(4, 2, 3), [4, 2])
    refuses(TypeError, ["x", "PackedSequence", "lengths="], fastcell.GRU(3, 2), packed)


def test_training_data_may_be_a_loader_or_a_list_of_it():
    ids = torch.tensor([[0, 1], [1, 2], [2, 0]])
    batches = [(ids[:-1], ids[1:])] * 2
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    losses = []
    for data in (loader, list(loader)):
        model = LanguageModel(3, 2, 4, seed=0)
        trainer = Trainer(model, SGD(model.params, lr=0.1), progress=False)
        history = trainer.fit(data, loader, epochs=1)
        assert history[-1]["step"] == 2
        losses.append(history[-1]["valid_loss"])
    assert losses[0] == losses[1]
    once = iter(loader)
    refuses(TypeError, ["train_data", "list(train_data)"], trainer.fit, once)
