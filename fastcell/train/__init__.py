"""Training that can be stopped and resumed, through time or sequence by sequence."""

from fastcell.train.history import History
from fastcell.train.interrupts import TrainingInterrupted
from fastcell.train.trainer import Trainer

__all__ = ["History", "Trainer", "TrainingInterrupted"]
