"""Highway connections: a gate chooses between a layer's output and its input."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell import _core
from fastcell._checks.numbers import real, seed_of, size
from fastcell.layers.linear import Linear
from fastcell.layers.residual import Gradients, Residual
from fastcell.module import Module, check_dtype
from fastcell.named_classes import in_files


@in_files
class Highway(Residual):
    r"""A layer and a gate that lets its output or its input through.

    .. math::
        t &= \sigma(W x_t + b) \\
        y_t &= t f(x)_t + (1 - t) x_t

    Srivastava, Greff and Schmidhuber 2015, arXiv:1505.00387. All else is as in
    `Residual`.

    Parameters
    ----------
    layer : Module
        As for `Residual`; it returns the shape of x.
    features : int
        Features D of x: W is (D, D), "gate.weight", and b (D,), "gate.bias".
    gate_bias : float, default -2.0
        Initial b. Below 0 the input passes at first; the paper has -1 to -10.
    dtype : dtype, default float32
        float32 or float64, as the layer's.
    seed : int, optional
        Of the initial W, as that of `Linear`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> from fastcell.layers import Highway
    >>> layer = Highway(fastcell.GRU(4, 4, seed=0), 4, gate_bias=-100.0)
    >>> x = np.ones((5, 2, 4), np.float32)
    >>> y, h = layer(x)
    >>> bool((y == x).all())
    True
    """

    def __init__(
        self,
        layer: Module,
        features: int,
        gate_bias: float = -2.0,
        *,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        super().__init__(layer)
        self.features = size("features", features)
        self.gate_bias = real("gate_bias", gate_bias, minimum=-1e4, maximum=1e4)
        self.dtype = check_dtype(dtype)
        self.seed = seed_of(seed)
        self.gate = Linear(self.features, self.features, dtype=self.dtype, seed=seed)
        self.gate.params["bias"] = np.full(self.features, self.gate_bias)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; the layer as class and configuration."""
        return {
            **super().config(),
            "features": self.features,
            "gate_bias": self.gate_bias,
            "dtype": self.dtype.name,
            "seed": self.seed,
        }

    def _join(self, x: np.ndarray, h: np.ndarray, train: bool) -> tuple[Any, Any]:
        if not train:
            a = self.gate(x)
            t = _core.elementary("sigmoid", np.ascontiguousarray(a))
            return x + t * (h - x), None
        a, saved = self.gate.forward(x)
        t = _core.elementary("sigmoid", np.ascontiguousarray(a))
        return x + t * (h - x), (saved, t, h - x)

    def _parted(self, dy: np.ndarray, join: Any) -> tuple[Any, Any, Gradients]:
        saved, t, difference = join
        dh = dy * t
        dx, grads = self.gate.backward(dh * (1 - t) * difference, saved)
        return dx + dy - dh, dh, {f"gate.{name}": grad for name, grad in grads.items()}

    def _no_gradients(self) -> Gradients:
        arrays = self.gate.params.arrays()
        return {f"gate.{name}": np.zeros_like(array) for name, array in arrays.items()}
