"""The settings of `fastcell train` and `demo`, which checkpoints hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The settings of a run and the file of its model."""

    text: str | None = None  # the file; None is the text of the demo
    sha256: str = ""  # of the text
    cell: str = "lstm"
    layer_option: dict[str, Any] = field(default_factory=dict)  # by name
    layers: int = 1
    hidden_size: int = 256
    embedding_size: int = 64
    dropout: float = 0.0
    tie_weights: bool = False
    precision: str = "float32"  # of the recurrent products
    sequence_length: int = 64
    batch_size: int = 32
    epochs: int | None = None
    steps: int | None = None
    learning_rate: float = 6e-3
    clip: float = 5.0
    validation_fraction: float = 0.1
    validate_every: int | None = None
    seed: int = 0
    threads: int | None = None
    out: str = "model.safetensors"
