"""fastcell: recurrent networks on the CPU.

Layers (`RNN`, `LSTM`, `GRU`, ...) take and return NumPy arrays; `fastcell.models` holds
sequence models, `fastcell.train` trains them. Submodules load when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastcell._environment import select_isa, set_thread_costs
from fastcell.cells import (
    GRU,
    LRU,
    LSTM,
    MGU,
    RNN,
    SLSTM,
    CoupledLSTM,
    GRUCell,
    IndRNN,
    IndRNNCell,
    LiGRU,
    LiGRUCell,
    LRUCell,
    LSTMCell,
    MGUCell,
    MinGRU,
    MinGRUCell,
    MinLSTM,
    MinLSTMCell,
    PeepholeLSTM,
    RNNCell,
    SLSTMCell,
)
from fastcell.headers import get_include
from fastcell.layers import (
    Attention,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Ragged,
    Sequential,
    mlstm,
    mlstm_step,
)
from fastcell.layers.stream_pool import StreamPool
from fastcell.module import Module
from fastcell.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from fastcell import callbacks, data, losses, models, optim, train
    from fastcell.exporting import export_c
    from fastcell.serialize import load, save

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "MGU",
    "RNN",
    "SLSTM",
    "Attention",
    "CoupledLSTM",
    "Dropout",
    "Embedding",
    "GRUCell",
    "IndRNN",
    "IndRNNCell",
    "LRUCell",
    "LSTMCell",
    "LayerNorm",
    "LiGRU",
    "LiGRUCell",
    "Linear",
    "MGUCell",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "Module",
    "PeepholeLSTM",
    "RNNCell",
    "Ragged",
    "SLSTMCell",
    "Sequential",
    "StreamPool",
    "callbacks",
    "data",
    "export_c",
    "get_include",
    "get_num_threads",
    "load",
    "losses",
    "mlstm",
    "mlstm_step",
    "models",
    "optim",
    "save",
    "set_num_threads",
    "train",
]

_SUBMODULES = (
    *("callbacks", "data", "losses", "models", "optim", "serialize", "train"),
)
_ELSEWHERE = {
    "export_c": "fastcell.exporting",
    "load": "fastcell.serialize",
    "save": "fastcell.serialize",
}

select_isa()
set_thread_costs()


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"fastcell.{name}")
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    raise AttributeError(f"module 'fastcell' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
