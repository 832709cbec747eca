"""What twins are made of: the same recurrent layers, run over the same sequences."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch

from fastcell.module import Module

RECURRENT = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "RNN": torch.nn.RNN}


class Twin(torch.nn.Module):
    """The network of a fastcell model in PyTorch, as its users would write it.

    A subclass is made from the model. Its parameters have the names of the model's, so
    that weights go from one to the other by ``state_dict()``; its dropouts stand where
    those of the model do.
    """

    @abstractmethod
    def loss(self, batch: Any, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Return the mean loss of a batch of the model, and the state after it.

        The state is to be detached; it is None where batches do not continue one
        another.
        """

    def take(self, model: Module) -> None:
        """Take the weights of the model."""
        weights = {n: torch.from_numpy(a) for n, a in model.state_dict().items()}
        self.load_state_dict(weights)

    def give(self, model: Module) -> None:
        """Give the weights to the model."""
        model.load_state_dict({n: a.numpy() for n, a in self.state_dict().items()})


def tensor(array: Any) -> torch.Tensor:
    """Return an array as a tensor, integers as PyTorch takes indices."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind in "iu":
        array = array.astype(np.int64, copy=False)
    return torch.from_numpy(array)


def recurrent(layer: Any) -> torch.nn.RNNBase:
    """Return PyTorch's layer of the sizes of a fastcell LSTM, GRU or RNN (tanh)."""
    return RECURRENT[type(layer).__name__](
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        dropout=layer.dropout,
        bidirectional=layer.bidirectional,
    )


def over(
    rnn: torch.nn.RNNBase, x: torch.Tensor, lengths: Any = None, state: Any = None
) -> tuple[torch.Tensor, Any]:
    """Run a layer over sequences (T, B, I): outputs, zeros past the lengths, and state.

    Sequences are packed only where they differ in length: without, PyTorch is faster.
    """
    if lengths is None or (np.asarray(lengths) == len(x)).all():
        return rnn(x, state)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x, torch.from_numpy(np.asarray(lengths, np.int64)), enforce_sorted=False
    )
    packed, state = rnn(packed, state)
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, total_length=len(x))
    return y, state


def detached(state: Any) -> Any:
    """Return a state that gradients do not flow through."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return state.detach()
