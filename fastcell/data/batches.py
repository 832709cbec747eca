"""Base classes of data sets: batches by index, and epochs of batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, overload

from fastcell._checks.numbers import integer

Batch = TypeVar("Batch")


class Batches(Sequence[Batch]):
    """A sequence of batches, each made when it is indexed.

    A subclass implements ``len()`` and `_batch_at`, and may set the name of its items.
    """

    _items = "batches"

    @overload
    def __getitem__(self, index: int) -> Batch: ...

    @overload
    def __getitem__(self, index: slice) -> list[Batch]: ...

    def __getitem__(self, index: int | slice) -> Batch | list[Batch]:
        """Return a batch, or a list of batches.

        Raises
        ------
        IndexError
            If there is no such batch.
        TypeError
            If `index` is neither an integer nor a slice.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._batch_at(self._place(index))

    @abstractmethod
    def _batch_at(self, place: int) -> Batch:
        """Return a batch by its index, from 0 to ``len() - 1``."""

    def _place(self, index: Any) -> int:
        """Check an index, which may be negative, and return it from 0."""
        place = integer("index", index)
        if not -len(self) <= place < len(self):
            raise IndexError(
                f"index must be from 0 to {len(self) - 1}, as there are {len(self)} "
                f"{self._items}; got {place}"
            )
        return place % len(self)


class Epochs(Sequence[Batch]):
    """A data set whose order of batches depends on the epoch.

    The object itself is the sequence of the batches of epoch 0. A subclass implements
    ``len()`` and `_make_epoch`, which depends only on the seed and the epoch.
    """

    shuffle = True
    _last: tuple[int, Batches[Batch]] | None = None

    @overload
    def __getitem__(self, index: int) -> Batch: ...

    @overload
    def __getitem__(self, index: slice) -> list[Batch]: ...

    def __getitem__(self, index: int | slice) -> Batch | list[Batch]:
        """Return a batch of epoch 0, or a list of them."""
        return self.epoch(0)[index]

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches of epoch 0."""
        return iter(self.epoch(0))

    def epoch(self, n: int) -> Batches[Batch]:
        """Return the batches of epoch n, from 0; all epochs have the same number.

        Parameters
        ----------
        n : int
        """
        n = integer("n", n, minimum=0) if self.shuffle else 0
        last = self._last
        if last is None or last[0] != n:  # a trainer calls this at each step
            last = self._last = n, self._make_epoch(n)
        return last[1]

    @abstractmethod
    def _make_epoch(self, n: int) -> Batches[Batch]:
        """Return the batches of epoch n; always those of epoch 0 if not shuffled."""
