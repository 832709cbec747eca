"""The cells: one file each, with its formula in NumPy and its layer.

Tests, benchmarks and tools iterate over `REGISTRY`; a new cell adds its lines there.
"""

from fastcell.cells.gru import CELLS as _GRU
from fastcell.cells.gru import GRU, GRUCell
from fastcell.cells.gru_layer_norm import CELLS as _GRU_LAYER_NORM
from fastcell.cells.indrnn import CELLS as _INDRNN
from fastcell.cells.indrnn import IndRNN, IndRNNCell
from fastcell.cells.ligru import CELLS as _LIGRU
from fastcell.cells.ligru import LiGRU, LiGRUCell
from fastcell.cells.lru import CELLS as _LRU
from fastcell.cells.lru import LRU, LRUCell
from fastcell.cells.lstm import CELLS as _LSTM
from fastcell.cells.lstm import LSTM, LSTMCell
from fastcell.cells.lstm_coupled import CELLS as _LSTM_COUPLED
from fastcell.cells.lstm_layer_norm import CELLS as _LSTM_LAYER_NORM
from fastcell.cells.lstm_named import CoupledLSTM, PeepholeLSTM
from fastcell.cells.lstm_peephole import CELLS as _LSTM_PEEPHOLE
from fastcell.cells.mgu import CELLS as _MGU
from fastcell.cells.mgu import MGU, MGUCell
from fastcell.cells.min_gru import CELLS as _MIN_GRU
from fastcell.cells.min_gru import MinGRU, MinGRUCell
from fastcell.cells.min_lstm import CELLS as _MIN_LSTM
from fastcell.cells.min_lstm import MinLSTM, MinLSTMCell
from fastcell.cells.registry import Cell
from fastcell.cells.rnn import CELLS as _RNN
from fastcell.cells.rnn import RNN, RNNCell
from fastcell.cells.slstm import CELLS as _SLSTM
from fastcell.cells.slstm import SLSTM, SLSTMCell
from fastcell.cells.with_options import CELLS as _WITH_OPTIONS

_CELLS = (
    *_RNN,
    *_LSTM,
    *_GRU,
    *_LSTM_PEEPHOLE,
    *_LSTM_LAYER_NORM,
    *_LSTM_COUPLED,
    *_MGU,
    *_LIGRU,
    *_GRU_LAYER_NORM,
    *_INDRNN,
    *_MIN_GRU,
    *_MIN_LSTM,
    *_LRU,
    *_SLSTM,
    *_WITH_OPTIONS,
)
REGISTRY: dict[str, Cell] = {cell.name: cell for cell in _CELLS}


def offered() -> dict[str, Cell]:
    """Return the cells that users are offered, by name; "rnn" is the RNN with tanh.

    The others of `REGISTRY` are cells of the core that arguments choose, with samples
    of these for the tests.
    """
    samples = {cell.name for cell in _WITH_OPTIONS}
    others = {name: cell for name, cell in REGISTRY.items() if name not in samples}
    return {"rnn": REGISTRY["rnn_tanh"], **others}


__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "MGU",
    "REGISTRY",
    "RNN",
    "SLSTM",
    "Cell",
    "CoupledLSTM",
    "GRUCell",
    "IndRNN",
    "IndRNNCell",
    "LRUCell",
    "LSTMCell",
    "LiGRU",
    "LiGRUCell",
    "MGUCell",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "PeepholeLSTM",
    "RNNCell",
    "SLSTMCell",
    "offered",
]
