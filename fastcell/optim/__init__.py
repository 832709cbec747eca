"""Optimizers, gradient clipping and learning-rate schedules.

The update rules, argument names and defaults are those of ``torch.optim``.
"""

from fastcell.optim.adagrad import Adagrad
from fastcell.optim.adam import Adam, AdamW
from fastcell.optim.base import Optimizer
from fastcell.optim.clipping import clip_grad_norm, clip_grad_value, grad_norm
from fastcell.optim.rmsprop import RMSprop
from fastcell.optim.schedules import Schedule, cosine, plateau, step, warmup
from fastcell.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "clip_grad_norm",
    "clip_grad_value",
    "cosine",
    "grad_norm",
    "plateau",
    "step",
    "warmup",
]
