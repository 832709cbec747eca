"""What data sets have in common: batches by their number, and epochs of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, overload

from fastcell._checks.numbers import integer

Batch = TypeVar("Batch")


class Batches(Sequence[Batch]):
    """Batches that are made when they are asked for.

    A subclass gives ``len()`` and `_batch_at`, and may say what its items are called.
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
        """Return a batch by its place, which is from 0 to ``len() - 1``."""

    def _place(self, index: Any) -> int:
        """Return where an item is, of an index that may be negative."""
        place = integer("index", index)
        if not -len(self) <= place < len(self):
            raise IndexError(
                f"index must be from 0 to {len(self) - 1}, as there are {len(self)} "
                f"{self._items}; got {place}"
            )
        return place % len(self)


class Epochs(Sequence[Batch]):
    """Data whose batches come in another order each epoch.

    It is itself the sequence of the batches of epoch 0. A subclass gives ``len()``, and
    `_make_epoch`, which depends on nothing but the data's seed and the number.
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
        """Go through the batches of epoch 0."""
        return iter(self.epoch(0))

    def epoch(self, n: int) -> Batches[Batch]:
        """Return the batches of epoch n, from 0, as a sequence: as many in each.

        Parameters
        ----------
        n : int
        """
        n = integer("n", n, minimum=0) if self.shuffle else 0
        last = self._last
        if last is None or last[0] != n:  # a trainer asks once a step
            last = self._last = n, self._make_epoch(n)
        return last[1]

    @abstractmethod
    def _make_epoch(self, n: int) -> Batches[Batch]:
        """Return the batches of epoch n; of epoch 0 always, if nothing is shuffled."""
