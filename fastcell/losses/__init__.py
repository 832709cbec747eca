"""Losses: each returns its value and its gradient with respect to its input.

All functions return ``(loss, gradient)``. The loss is a Python float, summed over the
elements in float64 for any dtype of the input; the gradient has the shape and dtype of
the input. With ``reduction="none"`` the loss is an array, one value for each element or
row, and the gradient is that of its sum. Inputs are not changed.

Weights and means are those of ``torch.nn.functional``; each docstring specifies what a
mean divides by. If no element counts, the loss is 0.0, where PyTorch returns NaN. A NaN
or an infinity in the input makes the loss NaN or infinite. In the gradient it affects
only its own row (in `cross_entropy` and `ctc`) or its own element.
"""

from fastcell.losses.classes import binary_cross_entropy, cross_entropy
from fastcell.losses.ctc import ctc
from fastcell.losses.values import huber, mae, mse

__all__ = ["binary_cross_entropy", "cross_entropy", "ctc", "huber", "mae", "mse"]
