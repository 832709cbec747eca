"""Which layers take and return a state: recurrent ones, and containers of them."""

from __future__ import annotations

from fastcell.layers.recurrent import Recurrent
from fastcell.module import Module


def has_state(layer: Module) -> bool:
    """Return whether a layer takes and returns a state.

    Containers say so by their attribute ``_recurrent``.
    """
    return isinstance(layer, Recurrent) or bool(getattr(layer, "_recurrent", False))


def is_batch_first(layer: Module) -> bool:
    """Return whether the first recurrent layer in a layer takes x as (B, T, I)."""
    if isinstance(layer, Recurrent):
        return layer.batch_first
    parts = (part for part in layer.children().values() if has_state(part))
    return any(is_batch_first(part) for part in list(parts)[:1])
