"""Training: the trainer, its history, and interruption; runs can be resumed."""

from fastcell.train.history import History
from fastcell.train.interrupts import TrainingInterrupted
from fastcell.train.trainer import Trainer

__all__ = ["History", "Trainer", "TrainingInterrupted"]
