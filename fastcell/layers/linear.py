"""Linear: a dense layer, on the packed products of the recurrent ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell import _core
from fastcell._arrays import check_shape, real_array
from fastcell._numbers import flag, integer, seed_of
from fastcell.layers.gradients import gradient_arrays
from fastcell.layers.packs import Packs
from fastcell.module import Module, check_dtype, check_size
from fastcell.parameters import Parameters
from fastcell.threads import get_num_threads


class Linear(Module):
    """y = x W^T + b over the last axis; as ``torch.nn.Linear``.

    Parameters
    ----------
    in_features, out_features : int
        I and O; the weight is (O, I), the bias (O,).
    bias : bool, default True
        Whether there is b.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Of the initial values, uniform in +-1/sqrt(I).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.Linear(3, 2, seed=0)
    >>> layer(np.zeros((7, 5, 3), np.float32)).shape
    (7, 5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        self.in_features = integer("in_features", in_features, minimum=1)
        self.out_features = integer("out_features", out_features, minimum=1)
        self.bias = flag("bias", bias)
        self.dtype = check_dtype(dtype)
        self.seed = seed_of(seed)
        random = np.random.default_rng(self.seed)
        bound = self.in_features**-0.5
        shapes = {"weight": (self.out_features, self.in_features)}
        if self.bias:
            shapes["bias"] = (self.out_features,)
        check_size(shapes.values())
        self._parameters = Parameters(
            {
                n: random.uniform(-bound, bound, s).astype(self.dtype)
                for n, s in shapes.items()
            }
        )
        self._dense = _core.Dense(
            self.dtype == np.float64, self.in_features, self.out_features
        )
        self._packs = Packs(self._parameters)

    def _pack(self, backward: bool, arrays: Mapping[str, np.ndarray]) -> Any:
        return self._dense.pack(backward, arrays["weight"], arrays.get("bias"))

    def _packed(self, backward: bool) -> Any:
        return self._packs.get(backward, self._pack)[1]

    def __call__(self, x: Any) -> np.ndarray:
        """Return y.

        Parameters
        ----------
        x : array, shape (..., I)

        Returns
        -------
        ndarray, shape (..., O)

        Raises
        ------
        TypeError
            If the dtype is not the layer's.
        ValueError
            If the last axis is not I long.
        """
        return self._run(self._checked(x))

    def forward(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return y, and x as `saved`."""
        x = self._checked(x)
        return self._run(x), x

    def backward(
        self,
        dy: Any,
        saved: np.ndarray,
        *,
        add_to: dict[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, dict]:
        """Return dx = dy W, and the gradients dW = dy^T x and db = sum dy.

        With `add_to`, gradients by name, they are added to those, which are returned.
        """
        dx = np.empty(saved.shape, self.dtype)
        grads = gradient_arrays(self._shapes(), self.dtype, add_to)
        self.add_backward(dy, saved, dx, grads)
        return dx, grads

    def zero_gradients(self) -> dict[str, np.ndarray]:
        """Return zeros in the shapes of the parameters."""
        return gradient_arrays(self._shapes(), self.dtype)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: a.shape for name, a in self._parameters.arrays().items()}

    def add_backward(
        self, dy: Any, saved: np.ndarray, dx: np.ndarray, grads: dict[str, np.ndarray]
    ) -> None:
        """Do what `backward` does into arrays that are there.

        Parameters
        ----------
        dy : array, shape (..., O)
        saved : ndarray, shape (..., I)
        dx : ndarray, shape (..., I)
            Is overwritten.
        grads : dict of str to ndarray
            Is added to: a batch can be worked on in parts.
        """
        dy = real_array("dy", dy, self.dtype)
        check_shape("dy", dy, (*saved.shape[:-1], self.out_features))
        self._dense.backward(
            self._packed(True),
            _rows(saved),
            saved,
            np.ascontiguousarray(dy),
            dx,
            grads["weight"],
            grads.get("bias"),
            get_num_threads(),
        )

    def outputs(self, which: np.ndarray) -> Linear:
        """Return a layer with some of the outputs, and copies of their weights.

        Parameters
        ----------
        which : ndarray of int, shape (N,)
            At least one.

        Examples
        --------
        >>> import numpy as np
        >>> import fastcell
        >>> layer, x = fastcell.Linear(3, 5, seed=0), np.ones((2, 3), np.float32)
        >>> (layer.outputs(np.array([4, 1]))(x) == layer(x)[:, [4, 1]]).all()
        np.True_
        """
        part = Linear.__new__(Linear)
        part.in_features, part.out_features = self.in_features, len(which)
        part.bias, part.dtype, part.seed = self.bias, self.dtype, None
        part._parameters = Parameters(
            {n: a[which] for n, a in self._parameters.arrays().items()}
        )
        part._dense = _core.Dense(
            self.dtype == np.float64, part.in_features, part.out_features
        )
        part._packs = Packs(part._parameters)
        return part

    def _checked(self, x: Any) -> np.ndarray:
        x = real_array("x", x, self.dtype)
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"x must have the shape (..., {self.in_features}); got {x.shape}"
            )
        return np.ascontiguousarray(x)

    def _run(self, x: np.ndarray) -> np.ndarray:
        y = np.empty((*x.shape[:-1], self.out_features), self.dtype)
        self._dense.forward(self._packed(False), _rows(x), x, y, get_num_threads())
        return y

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias,
            "dtype": self.dtype.name,
            "seed": self.seed,
        }


def _rows(x: np.ndarray) -> int:
    return x.size // x.shape[-1]
