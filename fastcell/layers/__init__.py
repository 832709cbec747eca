"""Building blocks: what stands before, between and after recurrent layers."""

from fastcell.layers.activation import Activation
from fastcell.layers.dropout import Dropout
from fastcell.layers.embedding import Embedding
from fastcell.layers.linear import Linear
from fastcell.layers.pooling import Pooling
from fastcell.layers.sequential import Sequential

__all__ = ["Activation", "Dropout", "Embedding", "Linear", "Pooling", "Sequential"]
