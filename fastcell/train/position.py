"""The position of a training run: steps, epochs, recurrent state, running sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Position:
    """The progress of a run. The next step depends on it and on the weights only."""

    step: int = 0  # optimizer steps done
    epoch: int = 0  # epochs completed
    window: int = 0  # windows of the present epoch done
    state: Any = None  # recurrent state after the last window
    # Of the time since the last record:
    loss_sum: float = 0.0  # losses times the weights of their targets
    weight_sum: float = 0.0  # of the targets: their number, if they have no weights
    num_targets: int = 0
    step_seconds: float = 0.0  # time in steps, without validation
    # Of the whole run:
    seconds: float = 0.0
    base_lr: float = 0.0

    def end_epoch(self) -> None:
        """Move to the start of the next epoch, where the state is zero."""
        self.epoch += 1
        self.window = 0
        self.state = None
