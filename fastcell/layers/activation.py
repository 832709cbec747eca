"""Activation: an element-wise tanh, relu or sigmoid, without parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import check_shape, floats, real_array
from fastcell._checks.names import one_of
from fastcell.layers.saved import Watched, check_saved
from fastcell.module import Module
from fastcell.named_classes import in_files
from fastcell.parameters import Parameters

KINDS = ("tanh", "relu", "sigmoid")


@in_files
class Activation(Module):
    r"""Apply a function to each element, for example between dense layers.

    .. math::
        \tanh'(x) = 1 - \tanh^2(x), \qquad
        \mathrm{relu}(x) = \max(x, 0), \quad \mathrm{relu}'(x) = [x > 0], \qquad
        \sigma'(x) = \sigma(x) (1 - \sigma(x))

    Parameters
    ----------
    kind : {"tanh", "relu", "sigmoid"}, default "tanh"
        The function.

    Raises
    ------
    ValueError
        If it is another.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.layers import Activation
    >>> Activation("relu")(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self, kind: str = "tanh") -> None:
        self.kind = one_of("kind", kind, KINDS)
        self._parameters = Parameters({})

    def __call__(self, x: Any) -> np.ndarray:
        """Return y.

        Parameters
        ----------
        x : array of float32 or float64, any shape

        Returns
        -------
        ndarray, shape and dtype of x

        Raises
        ------
        TypeError
            If x is of another dtype.
        """
        x = floats("x", x)
        if self.kind == "sigmoid":
            return _core.elementary("sigmoid", np.ascontiguousarray(x))
        y: np.ndarray = np.tanh(x) if self.kind == "tanh" else np.maximum(x, 0)
        return y

    def forward(self, x: Any) -> tuple[np.ndarray, Watched]:
        """Return y, and what `backward` needs: the derivatives are functions of y.

        y is kept without a copy, x is not kept. y must not be written to before
        `backward`, which compares a sample of 127 of its elements.
        Parameters and errors are those of a call.
        """
        y = self(x)
        return y, Watched("y", y)

    def backward(
        self, dy: Any, saved: Watched
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the gradient of x, and no gradients of parameters.

        Raises
        ------
        ValueError
            If y has changed since forward, or the shape of dy is wrong.
        TypeError
            If the dtype of dy is wrong, or `saved` is not from `forward`.
        """
        check_saved(saved, Watched)
        y = saved.unchanged()
        dy = check_shape("dy", real_array("dy", dy, y.dtype), y.shape)
        if self.kind == "tanh":
            return dy * (1 - y * y), {}
        if self.kind == "sigmoid":
            return dy * (y * (1 - y)), {}
        return dy * (y > 0), {}

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {"kind": self.kind}
