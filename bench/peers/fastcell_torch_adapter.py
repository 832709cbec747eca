"""The adapter of fastcell inside PyTorch: the modules of fastcell.torch."""

from __future__ import annotations

import fastcell
import fastcell.torch
from peers import torch_adapter


class Engine(torch_adapter.Engine):
    """See :class:`peers.BaseEngine`; its threads are PyTorch's."""

    label = "fastcell.torch"
    modules = fastcell.torch

    def versions(self) -> dict[str, str]:
        return {"fastcell": fastcell.__version__, **super().versions()}

    def instruction_set(self) -> str:
        return fastcell._core.isa()
