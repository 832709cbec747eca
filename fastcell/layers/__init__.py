"""Layers: recurrent stacks and their sessions, dense layers, pooling, attention."""

from fastcell.layers.activation import Activation
from fastcell.layers.attention import Attention
from fastcell.layers.dropout import Dropout
from fastcell.layers.embedding import Embedding
from fastcell.layers.highway import Highway
from fastcell.layers.layer_norm import LayerNorm
from fastcell.layers.linear import Linear
from fastcell.layers.matrix_memory import mlstm, mlstm_step
from fastcell.layers.pooling import Pooling
from fastcell.layers.ragged import Ragged
from fastcell.layers.residual import Residual
from fastcell.layers.sequential import Sequential

__all__ = [
    "Activation",
    "Attention",
    "Dropout",
    "Embedding",
    "Highway",
    "LayerNorm",
    "Linear",
    "Pooling",
    "Ragged",
    "Residual",
    "Sequential",
    "mlstm",
    "mlstm_step",
]
