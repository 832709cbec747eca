"""Parts shared by all twins: recurrent layers with a model's weights, sequences."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch

from fastcell.module import Module
from twins.ragged import Layers

RECURRENT = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "RNN": torch.nn.RNN}


class Twin(torch.nn.Module):
    """The network of a fastcell model in PyTorch, as its users would write it.

    A subclass is constructed from the model. Its parameters have the names of the
    model's, so that ``state_dict()`` copies weights between both; its dropouts are at
    the same places.
    """

    @abstractmethod
    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Return the mean loss of a batch of the model, and the state after it.

        The batch holds arrays, or tensors (`tensors`). The state is detached; it is
        None if batches do not continue one another.
        """

    def take(self, model: Module) -> None:
        """Copy the weights from the model."""
        weights = {n: torch.from_numpy(a) for n, a in model.state_dict().items()}
        self.load_state_dict(weights)

    def give(self, model: Module) -> None:
        """Give the weights to the model."""
        model.load_state_dict({n: a.numpy() for n, a in self.state_dict().items()})


def tensor(array: Any) -> torch.Tensor:
    """Return an array as a tensor, integers as int64; a tensor itself."""
    if isinstance(array, torch.Tensor):
        return array
    array = np.ascontiguousarray(array)
    if array.dtype.kind in "iu":
        array = array.astype(np.int64, copy=False)
    elif array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    return torch.from_numpy(array)


def tensors(batch: Any) -> Any:
    """Return a batch of arrays, some of which may be None, as one of tensors."""
    return tuple(None if part is None else tensor(part) for part in batch)


def recurrent(layer: Any) -> torch.nn.RNNBase:
    """Return PyTorch's layer of the sizes of a fastcell LSTM, GRU or RNN (tanh).

    Its attribute `layers` runs it over sequences of different length.

    Raises
    ------
    ValueError
        If PyTorch has no such layer.
    """
    name = type(layer).__name__
    if name not in RECURRENT:
        raise ValueError(f"layer must be one of {', '.join(RECURRENT)}; got a {name}")
    rnn = RECURRENT[name](
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        dropout=layer.dropout,
        bidirectional=layer.bidirectional,
    )
    rnn.layers = Layers(rnn)
    return rnn


def layers_of(twin: torch.nn.Module) -> list[Layers]:
    """Return the `Layers` of all recurrent layers of a twin."""
    return [m.layers for m in twin.modules() if isinstance(m, torch.nn.RNNBase)]


def detached(state: Any) -> Any:
    """Return a detached state."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return state.detach()
