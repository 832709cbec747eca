"""Losses: each returns its value and its gradient with respect to its input.

All functions return ``(loss, gradient)``. The loss is a Python float, whose sum over
the elements is accumulated in float64 whatever the dtype of the input; the gradient has
the shape and dtype of the input. With ``reduction="none"`` the loss is an array, the
loss of each element or row, and the gradient that of its sum. Nothing is changed in
place.

Weights and means are those of ``torch.nn.functional``: the docstring of each loss says
what its mean divides by. Where nothing counts the loss is 0.0, where PyTorch has NaN.

A NaN or an infinity in the input makes the loss NaN or infinite, and of the gradient
only the row (in `cross_entropy` and `ctc`) or the element that it stands in.
"""

from fastcell.losses.classes import binary_cross_entropy, cross_entropy
from fastcell.losses.ctc import ctc
from fastcell.losses.values import huber, mae, mse

__all__ = ["binary_cross_entropy", "cross_entropy", "ctc", "huber", "mae", "mse"]
