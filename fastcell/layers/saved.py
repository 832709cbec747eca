"""Values kept from forward for backward: single use, and detection of changes.

Small arguments (lengths, masks, states, ids) are copied by forward. The large x is kept
without a copy, and a sample of its bits shows whether it was written to.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import fingerprint
from fastcell.layers.batches import Layout


class Once:
    """Values that only one caller gets, also of several threads.

    Examples
    --------
    >>> values = Once(1, 2)
    >>> values.take()
    (1, 2)
    >>> values.take()
    Traceback (most recent call last):
    ...
    ValueError: saved was used up by an earlier backward; run forward again
    """

    __slots__ = ("_values",)

    def __init__(self, *values: Any) -> None:
        self._values = [values]

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "saved can be neither copied nor pickled: it serves one backward; run "
            "forward again, with the copy"
        )

    def look(self) -> tuple[Any, ...]:
        """Return the values without taking them.

        Raises
        ------
        ValueError
            If they have been taken.
        """
        return self._of(self._values[:1])

    def take(self) -> tuple[Any, ...]:
        """Return the values and release them.

        Raises
        ------
        ValueError
            If they have been taken before.
        """
        try:
            return self._values.pop()  # by one thread only
        except IndexError:
            return self._of([])

    def put_back(self, values: tuple[Any, ...]) -> None:
        """Undo `take`, by the caller that took them."""
        self._values.append(values)

    @staticmethod
    def _of(values: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        if not values:
            raise ValueError(
                "saved was used up by an earlier backward; run forward again"
            )
        return values[0]


class Watched:
    """A large array kept without a copy, and a fingerprint that shows changes.

    Parameters
    ----------
    name : str
        Its name in the error.
    array : ndarray of float32 or float64

    Examples
    --------
    >>> x = np.zeros((5, 2))
    >>> kept = Watched("x", x)
    >>> x += 1
    >>> kept.unchanged()
    Traceback (most recent call last):
    ...
    ValueError: x was changed between forward and backward
    """

    __slots__ = ("_array", "_mark", "_name")

    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name = name
        self._array = array
        self._mark = fingerprint(array)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    def unchanged(self) -> np.ndarray:
        """Return the array.

        Raises
        ------
        ValueError
            If an element of the sample has changed.
        """
        if fingerprint(self._array) != self._mark:
            raise ValueError(f"{self._name} was changed between forward and backward")
        return self._array


class SavedInput(NamedTuple):
    """The input of a layer, and the version of the parameters in forward."""

    x: Watched
    version: int


def check_version(made: Any, now: Any) -> None:
    """Raise if the parameters are not those of forward.

    Raises
    ------
    ValueError
        If the versions differ.
    """
    if made != now:
        raise ValueError("a parameter was changed between forward and backward")


def check_saved(saved: Any, kind: type) -> None:
    """Raise if `saved` is not what the layer's forward returns.

    Raises
    ------
    TypeError
        If it is no `kind`.
    """
    if not isinstance(saved, kind):
        raise TypeError(
            f"saved must be what forward returned; got {type(saved).__name__}"
        )


class Saved:
    """The values of one forward call of a recurrent layer, used up by backward.

    Gate gradients overwrite the gates, so each `saved` serves one backward; if several
    threads pass one `saved`, one of them gets the gradients. It refers to the x of
    forward, which must not be written to before.

    Attributes
    ----------
    nbytes : int
        Bytes held: gates and states of every step, or less with a memory budget.
    last : bool
        Whether y had the last outputs only.
    """

    __slots__ = ("_kept", "_layout", "_stack", "_version", "last")

    def __init__(
        self,
        stack: _core.Stack,
        call: _core.Batch,
        memory: Any,  # bytes, or Segments
        layout: Layout,
        version: int,
        parts: np.ndarray | None = None,  # outputs that the gradient of y reads
        last: bool = False,
    ) -> None:
        self._stack = stack
        self._kept = Once(call, memory, Watched("x", call.x), parts)
        self._layout = layout
        self._version = version
        self.last = last

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "saved can be neither copied nor pickled: it serves one backward; run "
            "forward again, with the copy"
        )

    @property
    def nbytes(self) -> int:
        try:
            _, memory, _, parts = self._kept.look()
        except ValueError:
            return 0
        return int(memory.nbytes) + (0 if parts is None else int(parts.nbytes))

    def look(self) -> tuple[_core.Batch, Any]:
        """Return the batch of forward, checked for changes, and the memory.

        Raises
        ------
        ValueError
            If `saved` was used up, or x has changed.
        """
        call, memory, x, _ = self._kept.look()
        x.unchanged()
        return call, memory

    def parts(self) -> np.ndarray | None:
        """Return the outputs that the gradient of y reads, if it reads any."""
        parts: np.ndarray | None = self._kept.look()[3]
        return parts

    def take(self) -> Any:
        """Return the memory, to one caller.

        Raises
        ------
        ValueError
            If `saved` was used up.
        """
        return self._kept.take()[1]

    def free(self) -> None:
        """Release the memory; backward is no longer possible."""
        with suppress(ValueError):
            self._kept.take()


class SpareMemory:
    """The memory of the last used `saved`, for reuse by the next one."""

    def __init__(self) -> None:
        self._spare: list[Any] = []

    def __reduce__(self) -> Any:
        return SpareMemory, ()

    def take(self, size: int, most: int | None = None) -> Any:
        """Return the spare memory if it has `size` to `most` bytes, else new memory."""
        try:
            memory = self._spare.pop()  # succeeds in one thread only
        except IndexError:
            return _core.aligned_empty(size)
        if len(memory) < size or (most is not None and len(memory) > most):
            del memory  # before the new memory is allocated
            return _core.aligned_empty(size)
        return memory

    def drop(self, most: int) -> None:
        """Release the spare memory if it has more than `most` bytes."""
        if any(len(memory) > most for memory in self._spare[:]):
            self._spare.clear()

    def give(self, memory: Any) -> None:
        """Keep this memory as the spare one, in place of any other."""
        self._spare[:] = [memory]
