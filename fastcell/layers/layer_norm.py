"""LayerNorm: layer normalization (Ba, Kiros and Hinton 2016)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastcell._checks.arrays import check_shape, real_array
from fastcell._checks.numbers import integer, real
from fastcell.layers.saved import check_saved, check_version
from fastcell.module import Module, check_dtype, check_size
from fastcell.named_classes import in_files
from fastcell.parameters import Parameters


class SavedRows(NamedTuple):
    """Normalized rows, reciprocals of their deviations, and the version of g and b."""

    normalized: np.ndarray
    scale: np.ndarray
    version: int


@in_files
class LayerNorm(Module):
    r"""Normalize each row to mean 0 and variance 1, then scale and shift its features.

    .. math:: y = g \, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + b

    with the mean and the variance (over n, not n - 1) of the last axis; as
    ``torch.nn.LayerNorm``. Ba, Kiros and Hinton 2016, arXiv:1607.06450.

    Parameters
    ----------
    features : int
        Length of the last axis, and of "weight" g and "bias" b, which are 1 and 0
        initially.
    eps : float, default 1e-5
        Prevents the division by zero of a constant row.
    dtype : dtype, default float32
        float32 or float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.LayerNorm(4)
    >>> layer(np.array([[1, 2, 3, 4]], np.float32)).round(2)
    array([[-1.34, -0.45,  0.45,  1.34]], dtype=float32)
    """

    def __init__(
        self, features: int, eps: float = 1e-5, *, dtype: Any = np.float32
    ) -> None:
        self.features = integer("features", features, minimum=1)
        self.eps = real("eps", eps, above=0)
        self.dtype = check_dtype(dtype)
        check_size([(self.features,), (self.features,)])
        self._parameters: Parameters = Parameters(
            {
                "weight": np.ones(self.features, self.dtype),
                "bias": np.zeros(self.features, self.dtype),
            }
        )

    def __call__(self, x: Any) -> np.ndarray:
        """Return y.

        Parameters
        ----------
        x : array, shape (..., features)

        Raises
        ------
        TypeError
            If the dtype is not the layer's.
        ValueError
            If the last axis has another length.
        """
        return self.forward(x)[0]

    def forward(self, x: Any) -> tuple[np.ndarray, SavedRows]:
        """Return y, and what `backward` needs; x is not kept.

        Parameters and errors are those of a call.
        """
        x = real_array("x", x, self.dtype)
        if x.ndim < 1 or x.shape[-1] != self.features:
            raise ValueError(
                f"x must have the shape (..., {self.features}); got {x.shape}"
            )
        normalized = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(normalized).mean(axis=-1, keepdims=True)
        scale = 1 / np.sqrt(variance + self.dtype.type(self.eps))
        normalized *= scale
        arrays = self._parameters.arrays()
        y = normalized * arrays["weight"] + arrays["bias"]
        return y, SavedRows(normalized, scale, self._parameters.version())

    def backward(
        self, dy: Any, saved: SavedRows
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return dx, and the gradients dg = sum dy n and db = sum dy.

        With the normalized rows n and dn = g dy,
        dx = (dn - mean(dn) - n mean(dn n)) / sqrt(variance + eps).

        Raises
        ------
        ValueError
            If a parameter has changed since forward, or the shape of dy is wrong.
        TypeError
            If the dtype of dy is wrong, or `saved` is not from `forward`.
        """
        check_saved(saved, SavedRows)
        check_version(saved.version, self._parameters.version())
        normalized, scale, _ = saved
        dy = real_array("dy", dy, self.dtype)
        check_shape("dy", dy, normalized.shape)
        weighted = dy * normalized
        rows = tuple(range(dy.ndim - 1))
        grads = {"weight": weighted.sum(axis=rows), "bias": dy.sum(axis=rows)}
        gain = self._parameters.arrays()["weight"]
        dx = dy * gain
        weighted *= gain
        dx -= dx.mean(axis=-1, keepdims=True)
        dx -= normalized * weighted.mean(axis=-1, keepdims=True)
        dx *= scale
        return dx, grads

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {"features": self.features, "eps": self.eps, "dtype": self.dtype.name}
