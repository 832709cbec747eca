"""Sequences of different lengths, as a list of arrays or as one array of all steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array, check_shape, fill_rows, real_array
from fastcell._checks.names import list_of
from fastcell._checks.numbers import integer, shown
from fastcell.layers.batches import Layout


class Ragged:
    """B sequences of different lengths: the steps of all of them, one after the other.

    Recurrent layers take it as x, mask, reset or dy, and return it as y and dx. It is a
    sequence of B arrays: ``len(x)``, ``x[i]`` and iteration give those of the
    sequences, which are views of `values`. Layers that work on each step alone, such as
    `Linear`, take the values of all sequences at once: ``head(y.values)``.

    The core reads padded batches, so a call makes one padded copy of x, (T, B, I) with
    T the longest length, and one of y if it is returned; they are released in the call,
    but for that of x in training. Steps that do not exist cost no time but these bytes.

    Parameters
    ----------
    values : array, shape (N, ...), or list of arrays (T_i, ...)
        The steps of all sequences, which is not copied; or the arrays of the sequences,
        of one dtype and width, which are copied into one.
    offsets : array of int, shape (B + 1,), optional
        Sequence i is ``values[offsets[i]:offsets[i + 1]]``, so the first offset is 0,
        the last one N. It is left out for a list.

    Attributes
    ----------
    values : ndarray, shape (N, ...)
    offsets : ndarray of int64, shape (B + 1,)

    Raises
    ------
    TypeError
        If values or offsets are of the wrong type, or dtypes of a list differ.
    ValueError
        If a shape is wrong, offsets are no ascending numbers from 0 to N, or a list is
        empty.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.GRU(3, 4, seed=0)
    >>> x = fastcell.Ragged([np.ones((n, 3), np.float32) for n in (5, 0, 2)])
    >>> y, h = layer(x)
    >>> [part.shape for part in y], h.shape
    ([(5, 4), (0, 4), (2, 4)], (1, 3, 4))
    >>> same, _ = layer(fastcell.Ragged(x.values, [0, 5, 5, 7]))
    >>> bool((same.values == y.values).all())
    True
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: Any, offsets: Any = None) -> None:
        if offsets is None:
            self.values, self.offsets = _joined(values)
            return
        self.values = _numbers("values", values)
        self.offsets = _offsets_of(offsets, len(self.values))

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sequence, int64 (B,)."""
        lengths: np.ndarray = np.diff(self.offsets)
        return lengths

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        i = integer("i", i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"i must be below {len(self)}; got {i}")
        begin = i % len(self)
        return self.values[self.offsets[begin] : self.offsets[begin + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __array__(self, *args: Any, **named: Any) -> np.ndarray:
        # NumPy would stack sequences of equal length, batch first.
        raise TypeError("Ragged is no array: use its values, or its items")

    def __repr__(self) -> str:
        shape = f"{self.values.dtype} {self.values.shape}"
        return f"Ragged({len(self)} sequences, values: {shape})"

    def padded(self) -> np.ndarray:
        """Return the sequences as (T, B, ...), T the longest length; 0 past them."""
        lengths = self.lengths
        T = int(lengths.max(initial=0))
        array = np.zeros((T, len(self), *self.values.shape[1:]), self.values.dtype)
        parts = list(self)
        if array.ndim != 3 or not fill_rows(array, parts, lengths):
            for i, part in enumerate(parts):
                array[: len(part), i] = part
        return array

    def _of_padded(self, array: np.ndarray) -> Ragged:
        """Return the steps of an array (T, B, ...) that these sequences have."""
        values = np.empty((len(self.values), *array.shape[2:]), array.dtype)
        made = _ragged(values, self.offsets)
        for i, part in enumerate(made):
            part[...] = array[: len(part), i]
        return made


class RaggedLayout(Layout):
    """The layout of a call with a `Ragged`: y, dy and dx are ragged, too."""

    __slots__ = ("_like",)

    def __init__(self, like: Ragged) -> None:
        super().__init__(batch_first=False, unbatched=False)
        self._like = like

    def padded(self, name: str, value: Ragged) -> np.ndarray:
        """Return sequences that must have the lengths of x as (T, B, ...)."""
        if not np.array_equal(value.offsets, self._like.offsets):
            raise ValueError(
                f"{name} must have sequences as long as those of x, "
                f"{shown(self._like.lengths.tolist())}; "
                f"got {shown(value.lengths.tolist())}"
            )
        return value.padded()

    def gradient(
        self, name: str, value: Any, shape: tuple[int, int, int], dtype: np.dtype
    ) -> np.ndarray:
        if not isinstance(value, Ragged):
            value = Ragged(list_of(name, value, "a Ragged, or a list of arrays"))
        real_array(name, value.values, dtype)
        wanted = (len(self._like.values), shape[2])
        check_shape(name, value.values, wanted, " of all sequences")
        return self.padded(name, value)

    def finished(self, array: np.ndarray) -> Any:
        return self._like._of_padded(array)


def ragged_call(
    x: Ragged, input_size: int, dtype: np.dtype, lengths: Any, mask: Any, reset: Any
) -> tuple[Layout, np.ndarray, np.ndarray, Any, Any]:
    """Return layout, x (T, B, I), lengths, mask and reset of a call with a `Ragged`.

    Raises
    ------
    TypeError, ValueError
        If lengths are given, or mask or reset is ragged with other lengths, or the
        dtype or the shape of x is wrong.
    """
    real_array("x", x.values, dtype)
    if x.values.ndim != 2 or x.values.shape[1] != input_size:
        raise ValueError(
            f"x must have values of the shape (N, I) with I = {input_size}; "
            f"got {x.values.shape}"
        )
    if lengths is not None:
        raise ValueError("lengths must be left out for a Ragged x, which has its own")
    layout = RaggedLayout(x)
    mask, reset = (
        layout.padded(name, value) if isinstance(value, Ragged) else value
        for name, value in (("mask", mask), ("reset", reset))
    )
    return layout, x.padded(), x.lengths, mask, reset


def _joined(arrays: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the values and offsets of a list of arrays."""
    what = "a list of arrays, or an array with offsets"
    if isinstance(arrays, np.ndarray):
        raise TypeError(f"values must be {what}; got an array without them")
    parts = [
        _numbers(f"values[{i}]", part)
        for i, part in enumerate(list_of("values", arrays, what))
    ]
    if not parts:
        raise ValueError(f"values must be {what}; got no array, which has no width")
    for i, part in enumerate(parts):
        if part.shape[1:] != parts[0].shape[1:]:
            raise ValueError(
                f"values[{i}] must have the shape (T, *{parts[0].shape[1:]}), as the "
                f"first; got {part.shape}"
            )
        if part.dtype != parts[0].dtype:
            raise TypeError(
                f"values[{i}] must be {parts[0].dtype}, as the first; got {part.dtype}"
            )
    ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return np.concatenate(parts), ends


def _numbers(name: str, value: Any) -> np.ndarray:
    array = as_array(name, value)
    if array.dtype.kind not in "biuf" or array.ndim < 1:
        raise TypeError(
            f"{name} must be an array of numbers of the shape (N, ...); "
            f"got {array.dtype} {array.shape}"
        )
    return array


def _offsets_of(offsets: Any, count: int) -> np.ndarray:
    """Return offsets as int64 (B + 1,), a copy."""
    array = as_array("offsets", offsets)
    if array.dtype.kind not in "iu":
        raise TypeError(f"offsets must be integers; got {array.dtype}")
    ascend = (
        array.ndim == 1 and array.size > 0 and bool((array[1:] >= array[:-1]).all())
    )
    if not ascend or array[0] != 0 or array[-1] != count:
        raise ValueError(
            f"offsets must ascend from 0 to {count}, the number of values; "
            f"got {shown(array.tolist())}"
        )
    return np.array(array, np.int64)


def _ragged(values: np.ndarray, offsets: np.ndarray) -> Ragged:
    """Return a `Ragged` of parts that are known to fit."""
    made = Ragged.__new__(Ragged)
    made.values, made.offsets = values, offsets
    return made
