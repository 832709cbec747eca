"""A package with a GRU of fastcell inside, as an example."""

from gates.filter import Filter

__all__ = ["Filter"]
