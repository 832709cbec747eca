"""A fake model class that tests may name in files."""

from __future__ import annotations

import numpy as np


class FakeModel:
    """The part of a module that `save` and `load` use, with one matrix."""

    def __init__(self, rows, columns=2, note=""):
        self.arguments = {"rows": rows, "columns": columns, "note": note}
        self.weight = np.zeros((rows, columns), np.float32)

    def config(self):
        return dict(self.arguments)

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def state_dict(self):
        return {"weight": self.weight.copy()}

    def load_state_dict(self, state, strict=True):
        if set(state) != {"weight"}:
            raise KeyError(f"names {sorted(state)}")
        if state["weight"].shape != self.weight.shape:
            raise ValueError(f"shape {state['weight'].shape}")
        self.weight[...] = state["weight"]
