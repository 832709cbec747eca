"""Targets of sequences: classes or values, for whole sequences or each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastcell._checks.arrays import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The target that losses ignore, used as padding of tags.
IGNORED = -100


class Targets:
    """The targets of ragged sequences, from which batches are made.

    The kind of the first target is that of all: an integer is a class, a real number a
    value, a vector of real numbers several values, a vector of integers tags of the
    sequence's steps, and a matrix values of each step (frames).

    Parameters
    ----------
    targets : sequence
        One target for each sequence. Numbers are copied; vectors are read when a batch
        is made.
    lengths : (N,) array of int64
        Number of steps of each sequence.
    dtype : dtype
        Dtype of values and frames; classes and tags are int64.
    check_finite : bool
        Raise if values are NaN or infinite.

    Attributes
    ----------
    kind : {"class", "value", "vector", "tags", "frames"}
        The kind of all targets.

    Raises
    ------
    TypeError, ValueError
        If targets are of another kind, differ in kind or in number from the sequences,
        or are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.data.targets import Targets
    >>> tags = Targets([[0, 1], [2, 0, 1]], np.array([2, 3]), np.float32)
    >>> tags.kind
    'tags'
    >>> tags.batch(np.array([0, 1]), 3)
    array([[   0,    2],
           [   1,    0],
           [-100,    1]])
    """

    def __init__(
        self,
        targets: Sequence[Any],
        lengths: NDArray[np.int64],
        dtype: Any,
        check_finite: bool = True,
    ) -> None:
        self._targets: Any = targets
        self._lengths = lengths
        self._dtype = np.dtype(dtype)
        self._check_finite = check_finite
        try:
            count = len(targets)
        except TypeError:
            raise TypeError(
                "targets must have a length and be indexable; "
                f"got {type(targets).__name__}"
            ) from None
        if count != len(lengths):
            raise ValueError(
                f"targets must be as many as the sequences, {len(lengths)}; got {count}"
            )
        first = as_array("targets[0]", targets[0])
        self.kind = _kind(first)
        self._width = first.shape[-1] if self.kind in ("vector", "frames") else 0
        if self.kind in ("class", "value"):
            self._targets = self._numbers()
        else:
            for i in range(count):
                self._one(i)

    def batch(self, indices: NDArray[np.int64], steps: int) -> NDArray[Any]:
        """Return the targets of some sequences, the longest of which has `steps`.

        Returns
        -------
        targets : array
            Classes and values (B,), vectors (B, K), tags (T, B) with -100 past the
            ends, frames (T, B, K) with zeros there.
        """
        if self.kind in ("class", "value"):
            numbers: NDArray[Any] = self._targets[indices]
            return numbers
        if self.kind == "vector":
            values = np.empty((len(indices), self._width), self._dtype)
            for row, i in enumerate(indices):
                values[row] = self._one(int(i))
            return values
        if self.kind == "tags":
            padded = np.full((steps, len(indices)), IGNORED, np.int64)
        else:
            padded = np.zeros((steps, len(indices), self._width), self._dtype)
        for row, i in enumerate(indices.tolist()):
            target = self._one(i)
            padded[: len(target), row] = target
        return padded

    def _numbers(self) -> NDArray[Any]:
        """Return targets that are single numbers as a new array."""
        numbers = [as_array(f"targets[{i}]", t) for i, t in enumerate(self._targets)]
        for i, number in enumerate(numbers):
            if number.ndim:
                raise ValueError(
                    f"targets[{i}] must be a number as targets[0] is; "
                    f"got the shape {number.shape}"
                )
            _kind(number, i)
        array = np.array(numbers)
        if array.dtype.kind != "f":
            self.kind = "class"
            return array.astype(np.int64)
        self.kind = "value"
        with np.errstate(over="ignore"):
            array = array.astype(self._dtype)
        if self._check_finite and not np.isfinite(array).all():
            i = int(np.argmin(np.isfinite(array)))
            raise ValueError(f"targets[{i}] must be finite; got {array[i]}")
        return array

    def _one(self, i: int) -> NDArray[Any]:
        """Return a target that is a vector or matrix, checked."""
        target = as_array(f"targets[{i}]", self._targets[i])
        if self.kind == "tags":
            # An empty list of tags becomes an array of floats.
            if target.ndim == 1 and len(target) != self._lengths[i]:
                raise ValueError(
                    f"targets[{i}] must have a tag for each of the {self._lengths[i]} "
                    f"steps of its sequence; got {len(target)}"
                )
            if target.ndim != 1 or target.dtype.kind not in "iub":
                raise ValueError(
                    f"targets[{i}] must be a vector of integers, as targets[0] is; "
                    f"got the shape {target.shape} and dtype {target.dtype}"
                )
            return target
        shape: tuple[int, ...] = (self._width,)
        wanted = f"the {self._width} values of targets[0]"
        if self.kind == "frames":
            shape = int(self._lengths[i]), self._width
            wanted = f"the shape {shape}, a frame for each step of its sequence"
        if target.shape != shape or target.dtype.kind not in "fiub":
            raise ValueError(
                f"targets[{i}] must have {wanted}; "
                f"got the shape {target.shape} and dtype {target.dtype}"
            )
        with np.errstate(over="ignore"):
            target = target.astype(self._dtype, copy=False)
        if self._check_finite and not np.isfinite(target).all():
            wrong = target[~np.isfinite(target)][0]
            raise ValueError(f"targets[{i}] must be finite; got {wrong}")
        return target


def _kind(
    target: NDArray[Any], i: int = 0
) -> Literal["class", "value", "vector", "tags", "frames"]:
    """Return the kind of a target by its number of dimensions and its dtype."""
    if target.ndim <= 1 and target.dtype.kind in "iub":
        return "tags" if target.ndim else "class"
    if target.ndim <= 1 and target.dtype.kind == "f":
        return "vector" if target.ndim else "value"
    if target.ndim == 2 and target.dtype.kind in "fiub":
        return "frames"
    raise TypeError(
        f"targets[{i}] must be a class (integer), a value, a vector of values, "
        f"integer tags or frames (T, K) of the steps; got the shape {target.shape} and "
        f"dtype {target.dtype}"
    )
