"""Activation: a function of each value, with no parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._arrays import as_array, check_shape, real_array
from fastcell.module import Module
from fastcell.parameters import Parameters

KINDS = ("tanh", "relu")


class Activation(Module):
    r"""Apply a function to each value, as between dense layers.

    .. math::
        \tanh'(x) = 1 - \tanh^2(x), \qquad
        \mathrm{relu}(x) = \max(x, 0), \quad \mathrm{relu}'(x) = [x > 0]

    Parameters
    ----------
    kind : {"tanh", "relu"}, default "tanh"
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
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
        self.kind = kind
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
        x = as_array("x", x)
        if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(f"x must be float32 or float64; got {x.dtype}")
        return np.tanh(x) if self.kind == "tanh" else np.maximum(x, 0)

    def forward(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return y, and y as `saved`: both derivatives are functions of it."""
        y = self(x)
        return y, y

    def backward(self, dy: Any, saved: np.ndarray) -> tuple[np.ndarray, dict]:
        """Return the gradient of x, and no gradients of parameters."""
        dy = check_shape("dy", real_array("dy", dy, saved.dtype), saved.shape)
        if self.kind == "tanh":
            return dy * (1 - saved * saved), {}
        return dy * (saved > 0), {}

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {"kind": self.kind}
