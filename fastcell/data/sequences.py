"""Ragged sequences in padded batches of similar lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.arrays import all_finite, as_array, fill_rows, in_range
from fastcell._checks.names import items_of, real_dtype
from fastcell._checks.numbers import flag, integer
from fastcell.data.batches import Batches, Epochs
from fastcell.data.targets import Targets
from fastcell.losses.parts import weights_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

Batch = tuple[Any, ...]  # x, lengths, y, and optionally weights

# Sequences are sorted by length within at most this many batches, and this part of the
# epoch. Otherwise batches would hold the same sequences in each epoch.
_BUCKET_BATCHES = 50
_BUCKET_PARTS = 4
_LARGEST_ID = np.iinfo(np.int32).max


class Sequences(Epochs[Batch]):
    """Ragged sequences in batches ``(x, lengths, y)``, time first.

    With weights the batches are ``(x, lengths, y, weights)``.

    A batch is made when it is indexed; only the lengths and targets that are single
    numbers are kept in memory. `sequences` may be any object with a length and integer
    indices: a list of arrays, an array, `numpy.memmap`, or a reader of files.

    The object is the sequence of the batches of epoch 0. ``epoch(n)``, used by
    `fastcell.train.Trainer`, has the same number of batches, in an order that depends
    only on `seed` and n.

    Parameters
    ----------
    sequences : indexable
        Item i is an array of features (T_i, I), or of integer ids (T_i,); T_i is at
        least 1. All are of the same kind, with the same width I.
    targets : indexable, optional
        Item i is the target of sequence i: a class (integer), a value (real), a vector
        of values (K,), an integer tag for each step (T_i,), or values for each step, a
        frame (T_i, K).
    batch_size : int, default 32
        Number of sequences B of a batch; the last batch may have fewer.
    shuffle : bool, default True
        Shuffle sequences and batches in each epoch.
    seed : int, default 0
        Seed of the shuffling.
    bucket : bool, default True
        Batch sequences of similar length: sort them within buckets of up to 50 batches.
        With `shuffle` an epoch has at least four buckets.
    dtype : dtype, optional
        Dtype of features and real targets, float32 (by default, as in models) or
        float64. Ids become int32, classes and tags int64.
    check_finite : bool, default True
        Raise if features or targets are NaN or infinite.
    lengths : (N,) array of integers, optional
        The lengths T_i, for sequences that are slow to read: they are then read and
        checked only when a batch is made.
    weights : (N,) array of real numbers, optional
        The weight of each sequence in the loss of a model, at least 0.

    Attributes
    ----------
    lengths : (N,) array of int64
        Number of steps of each sequence. Read-only.
    input_size : int or None
        The width I; None for ids.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If there is no sequence, a sequence has no steps or another width, a feature is
        not finite, an id is negative, or targets or lengths do not fit the sequences.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.data import Sequences
    >>> sequences = [np.ones((n, 2)) for n in (1, 3, 4, 2)]
    >>> data = Sequences(sequences, [0, 1, 1, 0], batch_size=2, shuffle=False)
    >>> len(data)
    2
    >>> x, lengths, y = data[0]
    >>> x.shape, lengths, y
    ((2, 2, 2), array([1, 2]), array([0, 0]))
    >>> data.epoch(0).indices(0)  # indices of the sequences
    array([0, 3])
    """

    def __init__(
        self,
        sequences: Any,
        targets: Any = None,
        batch_size: int = 32,
        *,
        shuffle: bool = True,
        seed: int = 0,
        bucket: bool = True,
        dtype: DTypeLike | None = None,
        check_finite: bool = True,
        lengths: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        self.batch_size = integer("batch_size", batch_size, minimum=1)
        self.shuffle = flag("shuffle", shuffle)
        self.seed = integer("seed", seed, minimum=0, maximum=None)
        self.bucket = flag("bucket", bucket)
        self.check_finite = flag("check_finite", check_finite)
        self.dtype = real_dtype("dtype", np.float32 if dtype is None else dtype)
        self._sequences = sequences
        count = _count(sequences)
        first = _shaped(0, sequences[0])
        self.input_size = first.shape[1] if first.ndim == 2 else None
        self._kind = first.dtype, first.shape[1:]
        if lengths is None:
            self.lengths = np.fromiter(
                (len(self._check_values(i, self._sequence(i))) for i in range(count)),
                np.int64,
                count,
            )
        else:
            self.lengths = _lengths(lengths, count)
        self.lengths.flags.writeable = False
        self._targets = (
            None
            if targets is None
            else Targets(targets, self.lengths, self.dtype, self.check_finite)
        )
        self._weights = weights_of("weights", weights, (count,), exact=True)
        if weights is not None and targets is None:
            raise ValueError("weights must be left out where there are no targets")

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self.lengths) // self.batch_size)

    def __repr__(self) -> str:
        what = "ids" if self.input_size is None else f"{self.input_size} features"
        return (
            f"<Sequences of {len(self)} batches: {len(self.lengths)} sequences of "
            f"{what}, batch_size={self.batch_size}>"
        )

    def _make_epoch(self, n: int) -> Epoch:
        count, num_batches = len(self.lengths), len(self)
        random = np.random.default_rng((self.seed, n))
        order = random.permutation(count) if self.shuffle else np.arange(count)
        starts = np.arange(num_batches) * self.batch_size
        if self.bucket:
            most = num_batches // _BUCKET_PARTS if self.shuffle else num_batches
            size = max(1, min(most, _BUCKET_BATCHES)) * self.batch_size
            for start in range(0, count, size):
                bucket = order[start : start + size]
                bucket[:] = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            if self.shuffle:
                starts = random.permutation(starts)
        return Epoch(self, order, starts)

    def _batch(self, indices: NDArray[np.int64]) -> Batch:
        lengths = self.lengths[indices]
        steps = int(lengths.max())
        if self.input_size is None:  # in 64 bits, so that large ids do not wrap
            x = np.zeros((steps, len(indices)), np.int64)
        else:
            x = np.zeros((steps, len(indices), self.input_size), self.dtype)
        places = indices.tolist()
        sequences = [self._sequences[i] for i in places]
        if not fill_rows(x, sequences, lengths):
            self._fill(x, places, sequences, lengths)
        if not self._has_good_values(x):
            for i in places:
                self._check_values(i, self._sequence(i))
        if self.input_size is None:
            x = x.astype(np.int32)
        y = None if self._targets is None else self._targets.batch(indices, steps)
        if self._weights is None or y is None:
            return x, lengths, y
        return x, lengths, y, self._weights[indices]

    def _fill(
        self,
        x: NDArray[Any],
        places: list[int],
        sequences: list[Any],
        lengths: NDArray[np.int64],
    ) -> None:
        """Copy sequences, cast if necessary, one by one, and check them."""
        with np.errstate(over="ignore"):  # becomes infinite, which is refused next
            for row, (i, length) in enumerate(
                zip(places, lengths.tolist(), strict=True)
            ):
                sequence = self._fitting(i, sequences[row])
                if len(sequence) != length:
                    raise ValueError(
                        f"sequences[{i}] must have {length} steps, as lengths[{i}]; "
                        f"got {len(sequence)}"
                    )
                x[:length, row] = sequence

    def _sequence(self, i: int) -> NDArray[Any]:
        """Return a sequence without a copy, checked for kind and width."""
        return self._fitting(i, self._sequences[i])

    def _fitting(self, i: int, array: Any) -> NDArray[Any]:
        if (
            type(array) is np.ndarray
            and array.dtype is self._kind[0]
            and array.shape[1:] == self._kind[1]
            and len(array)
        ):
            return array  # the common case: as the first
        shaped = _shaped(i, array)
        if self.input_size is None:
            if shaped.ndim != 1:
                raise ValueError(
                    f"sequences[{i}] must be ids (T,), as sequences[0] is; "
                    f"got the shape {shaped.shape}"
                )
        elif shaped.ndim != 2 or shaped.shape[1] != self.input_size:
            raise ValueError(
                f"sequences[{i}] must have the shape (T, {self.input_size}), as "
                f"sequences[0]; got {shaped.shape}"
            )
        return shaped

    def _has_good_values(self, x: NDArray[Any]) -> bool:
        if self.input_size is None:
            return in_range(x, 0, _LARGEST_ID) or bool(
                x.min() >= 0 and x.max() <= _LARGEST_ID
            )
        return not self.check_finite or all_finite(x)

    def _check_values(self, i: int, sequence: NDArray[Any]) -> NDArray[Any]:
        """Raise if ids are out of range or features are not finite."""
        if self.input_size is None:
            if not self._has_good_values(sequence):
                wrong = sequence.min() if sequence.min() < 0 else sequence.max()
                raise ValueError(
                    f"sequences[{i}] must be ids from 0 to {_LARGEST_ID}; got {wrong}"
                )
            return sequence
        with np.errstate(over="ignore"):
            x = sequence.astype(self.dtype, copy=False)
        if not self._has_good_values(x):
            step, feature = (int(k) for k in np.argwhere(~np.isfinite(x))[0])
            raise ValueError(
                f"sequences[{i}] must be finite in {self.dtype}; "
                f"got {x[step, feature]} at step {step}, feature {feature}"
            )
        return sequence


class Epoch(Batches[Batch]):
    """The batches of one epoch of `Sequences`: tuples of three, or four with weights.

    x : (T, B, I) array of float32 or float64, or (T, B) array of int32
        Zero past the ends.
    lengths : (B,) array of int64
    y : array or None
        Classes (B,), values (B,), vectors (B, K), tags (T, B) with -100 past the ends,
        or frames (T, B, K) with zeros there; None without targets.
    weights : (B,) array of float64
        Only if the data has weights.

    A sequence that is not as `Sequences` requires raises ValueError when its batch is
    made.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.data import Sequences
    >>> data = Sequences([[3, 1], [2], [5, 4, 0]], batch_size=2, seed=1)
    >>> sorted(i for k in range(len(data)) for i in data.epoch(5).indices(k).tolist())
    [0, 1, 2]
    """

    def __init__(
        self, data: Sequences, order: NDArray[np.int64], starts: NDArray[np.int64]
    ) -> None:
        self._data, self._order, self._starts = data, order, starts

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._starts)

    def _batch_at(self, place: int) -> Batch:
        return self._data._batch(self._rows(place))

    def indices(self, index: int) -> NDArray[np.int64]:
        """Return the indices of the sequences of a batch."""
        return self._rows(self._place(index)).copy()

    def _rows(self, place: int) -> NDArray[np.int64]:
        start = int(self._starts[place])
        return self._order[start : start + self._data.batch_size]


def _count(sequences: Any) -> int:
    items_of("sequences", sequences, "indexable, and have a length")
    if len(sequences) == 0:
        raise ValueError("sequences must hold at least one sequence; got none")
    return len(sequences)


def _shaped(i: int, sequence: Any) -> NDArray[Any]:
    """Return a sequence as an array of features or ids."""
    array = sequence
    if not isinstance(array, np.ndarray):
        array = as_array(f"sequences[{i}]", array)
    if array.ndim and len(array) == 0:
        raise ValueError(f"sequences[{i}] must have at least one step; got none")
    kind = array.dtype.kind
    if not (array.ndim == 2 and kind in "fiub") and not (
        array.ndim == 1 and kind in "iu"
    ):
        raise TypeError(
            f"sequences[{i}] must be features (T, I) or integer ids (T,); "
            f"got the shape {array.shape} and dtype {array.dtype}"
        )
    checked: NDArray[Any] = array
    return checked


def _lengths(lengths: Any, count: int) -> NDArray[np.int64]:
    array = as_array("lengths", lengths)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"lengths must be {count} integers, one for each sequence; "
            f"got the shape {array.shape} and dtype {array.dtype}"
        )
    if array.min() < 1:
        raise ValueError(f"lengths must be at least 1; got {array.min()}")
    return array.astype(np.int64)
