"""Dropout (Srivastava et al., JMLR 15, 2014).

The mask follows from a key, drawn for each call (Threefry2x32-20, Salmon et al. 2011):
backward generates the same mask again, so no mask is kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import check_shape, floats, real_array
from fastcell._checks.numbers import real, seed_of
from fastcell.layers.saved import check_saved
from fastcell.module import Module
from fastcell.named_classes import in_files
from fastcell.parameters import Parameters
from fastcell.threads import get_num_threads


class Dropped(NamedTuple):
    """The values of one call for backward: shape and dtype, and the key of the mask."""

    key: int
    p: float
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def drawn_key(random: np.random.Generator) -> int:
    """Draw and return the key of a mask."""
    return int(random.integers(1 << 64, dtype=np.uint64, endpoint=False))


def drawn_factors(
    p: float, shape: tuple[int, ...], dtype: np.dtype, random: np.random.Generator
) -> np.ndarray:
    """Return factors 0, with probability p, or 1/(1-p)."""
    factors = np.empty(shape, dtype)
    _core.dropout(p, drawn_key(random), None, factors, get_num_threads())
    return factors


@in_files
class Dropout(Module):
    """Set a random share of the values to zero in training, and scale the others up.

    y = x m / (1 - p), with m = 1 with probability 1 - p and else 0. A call of the
    layer, which is inference, returns x itself. Srivastava et al., JMLR 15 (2014).

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping a value, in [0, 1].
    seed : int, optional
        Seed of the masks.

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
        self.seed = seed_of(seed)
        self._random: np.random.Generator = np.random.default_rng(self.seed)
        self._parameters = Parameters({})

    def __call__(self, x: Any) -> np.ndarray:
        """Return x: inference drops nothing.

        Parameters and errors are those of `forward`.
        """
        return floats("x", x)

    def forward(self, x: Any) -> tuple[np.ndarray, Dropped]:
        """Return x with values dropped, and what `backward` needs; x is not kept.

        Parameters
        ----------
        x : array of float32 or float64, any shape

        Raises
        ------
        TypeError
            If x is of another dtype.
        """
        x = floats("x", x)
        saved = Dropped(drawn_key(self._random), self.p, x.shape, x.dtype)
        return self._dropped(x, saved), saved

    def backward(
        self, dy: Any, saved: Dropped
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the gradient of x, and no gradients of parameters.

        Raises
        ------
        ValueError
            If the shape of dy is wrong.
        TypeError
            If the dtype of dy is wrong, or `saved` is not from `forward`.
        """
        check_saved(saved, Dropped)
        dy = check_shape("dy", real_array("dy", dy, saved.dtype), saved.shape)
        return self._dropped(dy, saved), {}

    def _dropped(self, x: np.ndarray, saved: Dropped) -> np.ndarray:
        y = np.empty(x.shape, x.dtype)
        x = np.ascontiguousarray(x)
        _core.dropout(saved.p, saved.key, x, y, get_num_threads())
        return y

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {"p": self.p, "seed": self.seed}
