"""fastcell inside PyTorch programs: modules, and the swap of those that are there.

``fastcell.torch.LSTM`` and its like take the place of ``torch.nn.LSTM``: constructor,
state dict, autograd and results are the same, and also `lengths`, `mask` and `reset`.
``fastcell.torch.accelerate(model)`` swaps all recurrent modules of a model in place.
PyTorch's CPU build is enough, and is no dependency of fastcell.

fastcell's threads are as many as ``torch.get_num_threads()`` says from the import on,
unless `fastcell.set_num_threads` or FASTCELL_NUM_THREADS say another number.
"""

import torch as _torch

from fastcell import threads as _threads
from fastcell.torch.cells import GRUCell, LSTMCell, RNNCell
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
    "restore",
]

_threads._follow(_torch.get_num_threads)
_share_threads()
