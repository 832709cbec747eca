"""The cells: one file each, with its gates, its formula in NumPy and its layer.

`REGISTRY` is what tests, benches and tools iterate over; a new cell adds its lines.
"""

from fastcell.cells.gru import CELLS as _GRU
from fastcell.cells.gru import GRU, GRUCell
from fastcell.cells.lstm import CELLS as _LSTM
from fastcell.cells.lstm import LSTM, LSTMCell
from fastcell.cells.lstm_layer_norm import CELLS as _LSTM_LAYER_NORM
from fastcell.cells.lstm_peephole import CELLS as _LSTM_PEEPHOLE
from fastcell.cells.registry import Cell
from fastcell.cells.rnn import CELLS as _RNN
from fastcell.cells.rnn import RNN, RNNCell

REGISTRY: dict[str, Cell] = {
    cell.name: cell
    for cell in (*_RNN, *_LSTM, *_GRU, *_LSTM_PEEPHOLE, *_LSTM_LAYER_NORM)
}

__all__ = ["GRU", "LSTM", "REGISTRY", "RNN", "Cell", "GRUCell", "LSTMCell", "RNNCell"]
