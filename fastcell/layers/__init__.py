"""Building blocks: what stands before, between and after recurrent layers."""

from fastcell.layers.dropout import Dropout
from fastcell.layers.embedding import Embedding
from fastcell.layers.linear import Linear
from fastcell.layers.sequential import Sequential

__all__ = ["Dropout", "Embedding", "Linear", "Sequential"]
