"""PyTorch integration: recurrent modules, and replacement of those in a model.

``fastcell.torch.LSTM``, ``GRU`` and ``RNN`` replace those of ``torch.nn``: constructor,
state dict, autograd and results are the same; `lengths`, `mask` and `reset` are added.
``fastcell.torch.accelerate(model)`` swaps all recurrent modules of a model in place.
``fastcell.torch.flashrnn`` is the function of that package.

PyTorch is an optional dependency; its CPU build is enough.

From the import on, fastcell uses ``torch.get_num_threads()`` threads, unless
`fastcell.set_num_threads` or FASTCELL_NUM_THREADS specifies another number.
"""

import torch as _torch

from fastcell import threads as _threads
from fastcell.torch.cells import GRUCell, LSTMCell, RNNCell
from fastcell.torch.flash import flashrnn
from fastcell.torch.layers import GRU, LSTM, RNN
from fastcell.torch.openmp import share_threads as _share_threads
from fastcell.torch.streaming import Session, StreamPool
from fastcell.torch.swap import Report, accelerate, restore

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "Report",
    "Session",
    "StreamPool",
    "accelerate",
    "flashrnn",
    "restore",
]

_threads._follow(_torch.get_num_threads)
_share_threads()
