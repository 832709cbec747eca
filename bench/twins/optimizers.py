"""PyTorch's optimizers with the settings of fastcell's."""

from __future__ import annotations

from typing import Any

import torch

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "SGD": torch.optim.SGD,
    "Adagrad": torch.optim.Adagrad,
    "RMSprop": torch.optim.RMSprop,
}
#: Optimizers for which PyTorch has a fused step on the CPU.
FUSED = {"Adam", "AdamW", "SGD", "Adagrad"}


def optimizer_of(optimizer: Any, twin: torch.nn.Module) -> torch.optim.Optimizer:
    """Return PyTorch's optimizer of the same hyperparameters, fused if available.

    Raises
    ------
    ValueError
        If PyTorch has no such optimizer.
    """
    name = type(optimizer).__name__
    if name not in OPTIMIZERS:
        raise ValueError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)}; got {name}"
        )
    state = optimizer.state_dict()  # its arrays have a dot in their names
    options = {k: v for k, v in state.items() if "." not in k}
    del options["class"], options["steps"]
    if "beta1" in options:
        options["betas"] = options.pop("beta1"), options.pop("beta2")
    if name in FUSED:
        options["fused"] = True
    return OPTIMIZERS[name](twin.parameters(), **options)
