"""Cases with zoneout of h (Krueger et al. 2017, arXiv:1606.01305)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastcell._judge.cases import Case
from fastcell.cells import Cell


@dataclass(frozen=True)
class ZoneoutCase(Case):
    """A case in whose training a unit keeps its h with the probability `zoneout`."""

    zoneout: float = 0.1

    @property
    def shape(self) -> str:
        """The text in tables."""
        return f"{super().shape}, zoneout {self.zoneout}"

    @property
    def entry(self) -> Cell:
        """The cell, with zoneout of h and of no other state."""
        entry = super().entry
        return replace(entry, options={**entry.options, "zoneout": (self.zoneout, 0.0)})


def kept(y: np.ndarray) -> np.ndarray:
    """Return where units kept their h, from y (T, B, H) that begins from zeros.

    An h that a step computes is not the one before to the last bit.
    """
    before = np.concatenate([np.zeros_like(y[:1]), y[:-1]])
    mask: np.ndarray = y == before
    return mask


def rate(case: Any) -> float:
    """Return the probability of a case, 0 if it has none."""
    return float(getattr(case, "zoneout", 0.0))
