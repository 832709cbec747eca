"""Recordings and their labels in batches for CTC training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array, check_ids
from fastcell._checks.names import has_methods, items_of
from fastcell._checks.numbers import integer, real
from fastcell.data.batches import Batches, Epochs

# Number of batches whose recordings are sorted by length together.
_POOL = 8


class Utterances(Epochs[Any]):
    """Batches of recordings of similar length, for `fastcell.models.SpeechRecognizer`.

    A batch is ``(x, lengths, labels, label_lengths)``: x (T, B, F), zero past the
    lengths (B,); labels (B, L), zero past the label lengths (B,). By index, batches
    hold all recordings in the order of length. `epoch` returns the shuffled batches of
    a training epoch, each of recordings of similar length.

    Parameters
    ----------
    features : sequence of arrays of floats, shape (T_i, F)
        The frames of each recording, all of one dtype and width.
    labels : sequence of sequences of int
        The labels of each recording, from 1.
    batch_size : int
        Recordings of a batch; the last batch may have fewer.
    noise : float, default 0.0
        Standard deviation of Gaussian noise added to the frames of an epoch, new in
        each epoch; it reduces overfitting on few recordings. By index, batches have no
        noise.
    seed : int, default 0
        Seed of the epochs: epoch n is drawn from ``(seed, n)``.

    Raises
    ------
    TypeError
        If features are not floats of one dtype, or labels are not integers.
    ValueError
        If there is no recording, a recording is empty, of another width, not finite or
        without labels, or a label is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.data import Utterances
    >>> data = Utterances([np.ones((3, 2)), np.ones((2, 2))], [[1, 2], [2]], 2)
    >>> x, lengths, labels, label_lengths = data[0]
    >>> x.shape, lengths.tolist()
    ((3, 2, 2), [2, 3])
    >>> labels
    array([[2, 0],
           [1, 2]])
    """

    def __init__(
        self,
        features: Sequence[Any],
        labels: Sequence[Sequence[int]],
        batch_size: int,
        *,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.batch_size = integer("batch_size", batch_size, minimum=1)
        self.noise = real("noise", noise, minimum=0)
        self.seed = integer("seed", seed, minimum=0, maximum=None)
        items_of("features", features, "a list of arrays (T, F)")
        items_of("labels", labels, "a list of rows of integers")
        if len(features) == 0 or len(features) != len(labels):
            raise ValueError(
                "features and labels must be of the same recordings, at least one; "
                f"got {len(features)} and {len(labels)}"
            )
        self.features = [as_array(f"features[{i}]", f) for i, f in enumerate(features)]
        first = self.features[0]
        for i, frames in enumerate(self.features):
            if frames.dtype.kind != "f" or frames.dtype != first.dtype:
                raise TypeError(
                    "features must be floats of one dtype; "
                    f"got {frames.dtype} in recording {i}"
                )
            if (
                frames.ndim != 2
                or len(frames) == 0
                or frames.shape[1:] != first.shape[1:]
            ):
                raise ValueError(
                    f"features must have the shape (T, {first.shape[-1]}) with T >= 1; "
                    f"got {frames.shape} in recording {i}"
                )
            if not np.isfinite(frames).all():
                raise ValueError(
                    f"features must be finite; got NaN or infinity in recording {i}"
                )
        self.labels = [self._checked_labels(i, row) for i, row in enumerate(labels)]
        lengths = np.array([len(frames) for frames in self.features])
        self._by_length = np.argsort(lengths, kind="stable")
        self._lengths = lengths

    @staticmethod
    def _checked_labels(i: int, row: Sequence[int]) -> np.ndarray:
        found = as_array(f"labels[{i}]", row)
        if found.size == 0:
            return np.zeros(0, np.int64)
        if found.dtype.kind not in "iu":
            raise TypeError(
                f"labels must be integers; got dtype {found.dtype} in recording {i}"
            )
        if found.ndim != 1 or found.min() < 1:
            raise ValueError(
                f"labels must be a row of integers from 1; got {row!r} in recording {i}"
            )
        return found.astype(np.int64)

    def __len__(self) -> int:
        return -(-len(self.features) // self.batch_size)

    def __getitem__(self, index: Any) -> Any:
        return self._batches(self._by_length, None)[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches(self._by_length, None))

    def _make_epoch(self, n: int) -> _Batches:
        """Return the shuffled batches of epoch n."""
        random = np.random.default_rng((self.seed, n))
        order = random.permutation(len(self.features))
        size = _POOL * self.batch_size
        for start in range(0, len(order), size):
            pool = order[start : start + size]
            pool[:] = pool[np.argsort(self._lengths[pool], kind="stable")]
        batches = self._batches(order, n)
        random.shuffle(batches.rows)
        return batches

    def _batches(self, order: np.ndarray, epoch: int | None) -> _Batches:
        starts = range(0, len(order), self.batch_size)
        return _Batches(self, [order[i : i + self.batch_size] for i in starts], epoch)

    def batch(
        self,
        rows: Sequence[int] | np.ndarray,
        random: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, ...]:
        """Return the batch of these recordings; with noise from `random`, if given.

        Raises
        ------
        TypeError
            If `rows` are not integers, or `random` is not a generator.
        ValueError
            If `rows` is empty, or an index is out of range.
        """
        rows = check_ids("rows", rows, len(self.features))
        if rows.ndim != 1 or len(rows) == 0:
            raise ValueError(
                f"rows must be some recordings; got the shape {rows.shape}"
            )
        if random is not None:
            has_methods("random", random, "a Generator", ["standard_normal"])
        lengths = self._lengths[rows]
        label_lengths = np.array([len(self.labels[i]) for i in rows])
        first = self.features[0]
        x = np.zeros((lengths.max(), len(rows), first.shape[1]), first.dtype)
        labels = np.zeros((len(rows), label_lengths.max()), np.int64)
        for b, i in enumerate(rows):
            x[: lengths[b], b] = self.features[i]
            if random is not None:
                drawn = random.standard_normal(self.features[i].shape, np.float32)
                x[: lengths[b], b] += self.noise * drawn
            labels[b, : label_lengths[b]] = self.labels[i]
        return x, lengths, labels, label_lengths


class _Batches(Batches[Any]):
    """A sequence of batches, each made when it is indexed."""

    def __init__(
        self, data: Utterances, rows: list[np.ndarray], epoch: int | None
    ) -> None:
        self.data = data
        self.rows = rows
        self.epoch = epoch  # None: without noise

    def __len__(self) -> int:
        return len(self.rows)

    def _batch_at(self, place: int) -> Any:
        rows = self.rows[place]
        if self.epoch is None or not self.data.noise:
            return self.data.batch(rows)
        # Each recording occurs once in an epoch, so the first one identifies the batch.
        seed = self.data.seed, self.epoch, int(rows[0])
        return self.data.batch(rows, np.random.default_rng(seed))
