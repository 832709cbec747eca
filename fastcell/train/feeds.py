"""Feeds: the batches of a training run, by index or from a loader, and resuming."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import shown
from fastcell.train.checkpoint import batch_checksum, data_fingerprint
from fastcell.train.interrupts import Interrupts
from fastcell.train.loader_order import Order

if TYPE_CHECKING:
    from fastcell.train.position import Position

_NONE: Any = object()  # no batch; None may be a batch


class Feed(ABC):
    """Gives a run the batch at its position.

    Attributes
    ----------
    windows : int or None
        Batches of an epoch, as far as is known.
    """

    windows: int | None

    @abstractmethod
    def batch(self, position: Position, interrupts: Interrupts | None = None) -> Any:
        """Return the batch at a position, its tensors as arrays."""

    @abstractmethod
    def is_over(self, position: Position, interrupts: Interrupts | None = None) -> bool:
        """Return whether the epoch ends at `position`, which is after a batch of it."""

    @abstractmethod
    def take_up(self, origin: dict[str, Any], position: Position) -> None:
        """Continue with the data of a resumed run.

        Raises
        ------
        ValueError
            If these are not the data of that run.
        """

    @abstractmethod
    def kept(self) -> dict[str, Any]:
        """Return the state of the data for a checkpoint."""

    @abstractmethod
    def doubt(self, keeps: bool) -> str | None:
        """Return why a resumed run may be given other batches; None if it is not.

        Parameters
        ----------
        keeps : bool
            Whether `kept` will be called.
        """

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Keep a validation inside the context from changing later batches."""
        yield

    def share(self, position: Position) -> float:
        """Return the share of the present epoch that is done, as far as is known."""
        return min(position.window / self.windows, 1.0) if self.windows else 0.0

    def total(self, epochs: int | None, steps: int | None) -> int | None:
        """Return the number of steps of a run, as far as is known."""
        ends = [] if steps is None else [steps]
        if epochs is not None and self.windows is not None:
            ends.append(epochs * self.windows)
        return min(ends, default=None)


class Indexed(Feed):
    """Batches by index: of one sequence, or of one for each epoch."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._count = len(data)
        self.windows = self._count
        self._fingerprint = _fingerprint(data)

    def batch(self, position: Position, interrupts: Interrupts | None = None) -> Any:
        data = self._data
        # Data that shuffle have an order for each epoch.
        batches: Sequence[Any] = (
            data.epoch(position.epoch) if hasattr(data, "epoch") else data
        )
        return as_arrays(batches[position.window])

    def is_over(self, position: Position, interrupts: Interrupts | None = None) -> bool:
        return position.window == self._count

    def take_up(self, origin: dict[str, Any], position: Position) -> None:
        if origin["data"] != self._fingerprint:
            raise _others(origin, "or other windows of them")

    def kept(self) -> dict[str, Any]:
        return self._fingerprint

    def doubt(self, keeps: bool) -> None:
        return None


class Loaded(Feed):
    """Batches of a loader, iterated from its start in each epoch.

    One batch is read ahead, because only this shows where an epoch ends. A resumed run
    restores the loader's order of the epoch and reads up to the next batch, whose
    checksum is compared.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._order = Order(loader)
        self._length = length_of(loader)
        self.windows = self._length
        self._keeps = False
        self._batches: Iterator[Any] | None = None  # of the present epoch
        self._ahead = _NONE
        self._generators: list[Any] = []  # their states at the start of the epoch
        self._state: Any = None  # of the loader, before the batch that is read ahead

    def batch(self, position: Position, interrupts: Interrupts | None = None) -> Any:
        if self._batches is None:
            self._begin_epoch(position.epoch)
        if self._ahead is _NONE:
            self._read(interrupts)
            if self._ahead is _NONE:
                raise ValueError(
                    "train_data must give at least one batch in each epoch; got none "
                    f"in epoch {position.epoch}"
                )
        return self._ahead

    def is_over(self, position: Position, interrupts: Interrupts | None = None) -> bool:
        self._ahead = _NONE
        if self._keeps:
            self._state = self._order.state(border=False)
        self._read(interrupts)
        if self._ahead is not _NONE:
            return False
        self._batches = None
        self.windows = position.window
        return True

    def take_up(self, origin: dict[str, Any], position: Position) -> None:
        kept = origin["data"]
        if "order" not in kept or kept["length"] != self._length:
            raise _others(origin, "of another length")
        self.windows = kept["batches"]
        order = kept["order"]
        try:
            if order["state"] is not None:
                self._order.set_state(order["state"])
            self._order.set_generators(order["generators"])
        except ValueError as error:
            raise ValueError(
                f"{origin['file']}: the order of train_data {error}"
            ) from error
        if position.window == 0:
            return
        self._begin_epoch(position.epoch)
        self._state = order["state"]
        if order["state"] is None:
            for done in range(position.window):
                self._read(None)
                if self._ahead is _NONE:
                    raise _others(
                        origin, f"{done} in place of {position.window} of an epoch"
                    )
        self._ahead = _NONE
        self._read(None)
        if self._ahead is _NONE:  # the run ended before it saw the end of its epoch
            self._batches = None
            self.windows = position.window
            position.end_epoch()
        elif kept["crc"] is not None and kept["crc"] != batch_checksum(self._ahead):
            self._order.doubt = (
                "the batch that comes next is not the one that came next in that run"
            )

    def kept(self) -> dict[str, Any]:
        border = self._batches is None
        return {
            "length": self._length,
            "batches": self.windows,
            "crc": None if self._ahead is _NONE else batch_checksum(self._ahead),
            "order": {
                "generators": (
                    self._order.generators() if border else self._generators
                ),
                "state": self._order.state(border=True) if border else self._state,
            },
        }

    def doubt(self, keeps: bool) -> str | None:
        self._keeps = keeps
        if keeps and self._batches is None:
            self._order.state(border=True)  # sets `doubt` if it cannot be kept
        doubt = self._order.doubt
        return doubt and f"{shown(self._loader)}: {doubt}"

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        before = self._order.generators()
        try:
            yield
        finally:
            self._order.set_generators(before)

    def _begin_epoch(self, epoch: int) -> None:
        self._order.begin_epoch(epoch)
        self._generators = self._order.generators()
        if self._keeps:
            self._state = self._order.state(border=True)
        self._batches = iter(self._loader)

    def _read(self, interrupts: Interrupts | None) -> None:
        """Read the next batch, none at the end of the epoch."""
        assert self._batches is not None
        self._ahead = _NONE
        try:
            self._ahead = as_arrays(next(self._batches))
        except StopIteration:
            pass
        except RuntimeError:
            # After Ctrl-C the workers of a loader are gone, and reading fails.
            if interrupts is not None:
                interrupts.check()
            raise


def feed_of(data: Any) -> Feed:
    """Return the feed for training data.

    Raises
    ------
    TypeError
        If the data can neither be indexed nor be iterated from the start in each epoch.
    ValueError
        If there is no batch.
    """
    # Data with a method `epoch` are indexed within an epoch, and need no index.
    by_index = hasattr(data, "__getitem__") or callable(getattr(data, "epoch", None))
    junk = isinstance(data, (str, bytes, Mapping, type))
    once = isinstance(data, Iterator)
    size = length_of(data)
    if size == 0 and not junk and not once:
        raise ValueError("train_data must hold at least one window; got none")
    if by_index and size is not None and not junk:
        return Indexed(data)
    if junk or not isinstance(data, Iterable):
        raise TypeError(
            "train_data must be batches that are taken by index, or gone through in "
            f"each epoch; got {shown(data)}"
        )
    if once:
        raise TypeError(
            "train_data must be batches that each epoch goes through from their start; "
            f"got {shown(data)}, which ends with the first: say list(train_data)"
        )
    return Loaded(data)


def length_of(data: Any) -> int | None:
    """Return the number of batches by ``len(data)``; None if there is no length."""
    try:
        return len(data)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def as_arrays(batch: Any) -> Any:
    """Return a batch with its tensors as arrays on the same memory.

    A batch without tensors is returned itself.

    Examples
    --------
    >>> as_arrays((np.zeros(2), None, "y"))
    (array([0., 0.]), None, 'y')
    """
    if type(batch) is tuple:  # the usual batch, a tuple of arrays, has a fast path
        for part in batch:
            if type(part) is not np.ndarray and part is not None:
                break
        else:
            return batch
    if isinstance(batch, Mapping):
        named = {key: _part(f"batch[{key!r}]", part) for key, part in batch.items()}
        return batch if _same(batch.values(), named.values()) else named
    if isinstance(batch, (tuple, list)) and not hasattr(batch, "batch_sizes"):
        parts = tuple(_part(f"batch[{i}]", part) for i, part in enumerate(batch))
        return batch if _same(batch, parts) else parts
    return _part("batch", batch)


def _same(parts: Iterable[Any], others: Iterable[Any]) -> bool:
    return all(one is other for one, other in zip(parts, others, strict=True))


def _part(name: str, part: Any) -> Any:
    if isinstance(part, np.ndarray) or part is None:
        return part
    if any(hasattr(part, kind) for kind in ("__array__", "__dlpack__", "batch_sizes")):
        return as_array(name, part)
    return part


def check_valid_data(data: Any) -> None:
    """Raise unless each validation can iterate over `data` from its start."""
    check_batches("valid_data", data)
    if isinstance(data, Iterator):
        raise TypeError(
            "valid_data must be batches that each validation goes through from their "
            f"start; got {shown(data)}, which ends with the first: say list(valid_data)"
        )


def check_batches(name: str, data: Any) -> None:
    """Raise unless `data` can be iterated."""
    try:
        if isinstance(data, (str, bytes, Mapping)):
            raise TypeError
        iter(data)
    except TypeError:
        raise TypeError(
            f"{name} must be batches to go through; got {shown(data)}"
        ) from None


def _fingerprint(data: Any) -> dict[str, int]:
    """Return the fingerprint of training data; a TypeError if a batch has no arrays."""
    try:
        return data_fingerprint(data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"train_data must be batches of arrays; {error}") from error


def _others(origin: dict[str, Any], how: str) -> ValueError:
    return ValueError(
        f"{origin['file']}: train_data must be those of the resumed run; got others, "
        f"{how}"
    )
