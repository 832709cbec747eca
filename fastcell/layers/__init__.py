"""Layers: recurrent stacks and their sessions, dense layers, pooling, attention."""

from fastcell.layers.activation import Activation
from fastcell.layers.attention import Attention
from fastcell.layers.dropout import Dropout
from fastcell.layers.embedding import Embedding
from fastcell.layers.layer_norm import LayerNorm
from fastcell.layers.linear import Linear
from fastcell.layers.matrix_memory import mlstm, mlstm_step
from fastcell.layers.pooling import Pooling
from fastcell.layers.sequential import Sequential

__all__ = [
    "Activation",
    "Attention",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Pooling",
    "Sequential",
    "mlstm",
    "mlstm_step",
]
