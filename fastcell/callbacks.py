"""Callbacks of a training run: stop it early, save its best model, log its records."""

from fastcell.train.callbacks import CSVLogger, EarlyStopping, JSONLogger, SaveBest

__all__ = ["CSVLogger", "EarlyStopping", "JSONLogger", "SaveBest"]
