"""Linear: a dense layer, computed by the core's packed products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import check_shape, real_array
from fastcell._checks.numbers import flag, integer, seed_of
from fastcell.layers.gradients import gradient_arrays
from fastcell.layers.packs import Packs
from fastcell.layers.saved import SavedInput, Watched, check_saved, check_version
from fastcell.module import Module, check_dtype, check_size
from fastcell.named_classes import in_files
from fastcell.parameters import Parameters
from fastcell.threads import get_num_threads


@in_files
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
        Seed of the initial values, uniform in +-1/sqrt(I).

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
        shapes: dict[str, tuple[int, ...]] = {
            "weight": (self.out_features, self.in_features)
        }
        if self.bias:
            shapes["bias"] = (self.out_features,)
        check_size(shapes.values())
        self._parameters: Parameters = Parameters(
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

    def _packed(self, backward: bool) -> tuple[int, Any]:
        """Return the version of the weights and their packed form, cached."""
        return self._packs.get(backward, self._pack)

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
            If the last axis does not have the length I.
        """
        return self._run(self._packed(False)[1], self._checked(x))

    def forward(self, x: Any) -> tuple[np.ndarray, SavedInput]:
        """Return y, and what `backward` needs.

        x is kept without a copy: it must not be written to before `backward`, which
        compares a sample of 127 of its elements. Parameters and errors are those of a
        call.
        """
        x = self._checked(x)
        version, packed = self._packed(False)
        return self._run(packed, x), SavedInput(Watched("x", x), version)

    def backward(
        self,
        dy: Any,
        saved: SavedInput,
        *,
        add_to: dict[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return dx = dy W, and the gradients dW = dy^T x and db = sum dy.

        With `add_to`, a dict of gradients by name, the gradients are added to its
        arrays, and it is returned.

        Raises
        ------
        ValueError
            If a parameter or x has changed since forward, or a shape is wrong.
        TypeError
            If a dtype is wrong, or `saved` is not from `forward`.
        """
        check_saved(saved, SavedInput)
        version, packed = self._packed(True)
        check_version(saved.version, version)
        x = saved.x.unchanged()
        if x.shape[-1] != self.in_features:
            raise ValueError("saved was made by another layer's forward")
        dx = np.empty(x.shape, self.dtype)
        grads = gradient_arrays(self._shapes(), self.dtype, add_to)
        self._add_backward(packed, dy, x, dx, grads)
        return dx, grads

    def zero_gradients(self) -> dict[str, np.ndarray]:
        """Return zeros in the shapes of the parameters."""
        return gradient_arrays(self._shapes(), self.dtype)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        weight = self.out_features, self.in_features
        return {"weight": weight} | ({"bias": weight[:1]} if self.bias else {})

    def add_backward(
        self, dy: Any, x: np.ndarray, dx: np.ndarray, grads: dict[str, np.ndarray]
    ) -> None:
        """Compute `backward` into existing arrays, with the present weights.

        Parameters
        ----------
        dy : array, shape (..., O)
        x : ndarray, shape (..., I)
            Contiguous.
        dx : ndarray, shape (..., I)
            Overwritten.
        grads : dict of str to ndarray
            Added to, so that a batch can be processed in parts.
        """
        self._add_backward(self._packed(True)[1], dy, x, dx, grads)

    def _add_backward(
        self,
        packed: Any,
        dy: Any,
        x: np.ndarray,
        dx: np.ndarray,
        grads: dict[str, np.ndarray],
    ) -> None:
        dy = real_array("dy", dy, self.dtype)
        check_shape("dy", dy, (*x.shape[:-1], self.out_features))
        self._dense.backward(
            packed,
            _rows(x),
            x,
            np.ascontiguousarray(dy),
            dx,
            grads["weight"],
            grads.get("bias"),
            get_num_threads(),
        )

    def outputs(self, which: np.ndarray) -> Linear:
        """Return a layer of selected outputs, with copies of their weights.

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

    def _run(self, packed: Any, x: np.ndarray) -> np.ndarray:
        y = np.empty((*x.shape[:-1], self.out_features), self.dtype)
        self._dense.forward(packed, _rows(x), x, y, get_num_threads())
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
    last: int = x.shape[-1]
    return x.size // last
