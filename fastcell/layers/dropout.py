"""Dropout (Srivastava et al., JMLR 15, 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._arrays import as_array, check_shape, real_array
from fastcell._numbers import integer, real
from fastcell.module import Module
from fastcell.parameters import Parameters


class Dropout(Module):
    """Set a share of the values to zero in training, and scale the others up.

    y = x m / (1 - p), with m = 1 with probability 1 - p and else 0. Calling the layer,
    which is inference, returns x as it is. Srivastava et al., JMLR 15 (2014).

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping a value, in [0, 1].
    seed : int, optional
        Of the masks.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.Dropout(0.5, seed=0)
    >>> y, saved = layer.forward(np.ones(1000, np.float32))
    >>> sorted(set(y.tolist()))
    [0.0, 2.0]
    """

    def __init__(self, p: float = 0.5, *, seed: int | None = None) -> None:
        self.p = real("p", p, minimum=0, maximum=1)
        self.seed = None if seed is None else integer("seed", seed, minimum=0)
        self._random = np.random.default_rng(self.seed)
        self._parameters = Parameters({})

    def __call__(self, x: Any) -> Any:
        """Return x: inference drops nothing."""
        return x

    def forward(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return x with values dropped, and the factors that did it.

        Parameters
        ----------
        x : array of float32 or float64, any shape

        Raises
        ------
        TypeError
            If x is of another dtype.
        """
        x = as_array("x", x)
        if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(f"x must be float32 or float64; got {x.dtype}")
        kept = self._random.random(x.shape, np.float32) >= self.p
        factors = kept * x.dtype.type(1 / (1 - self.p) if self.p < 1 else 0)
        return x * factors, factors

    def backward(self, dy: Any, saved: np.ndarray) -> tuple[np.ndarray, dict]:
        """Return the gradient of x, and no gradients of parameters."""
        dy = check_shape("dy", real_array("dy", dy, saved.dtype), saved.shape)
        return dy * saved, {}

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {"p": self.p, "seed": self.seed}
