"""What a recurrent layer keeps from forward for backward, and the memory of it."""

from __future__ import annotations

from typing import Any

from fastcell import _core
from fastcell.layers.batches import Layout


class Saved:
    """What backward needs of one forward call, used up by it.

    The gate gradients are made where the gates are kept, so each `saved` serves one
    backward. It refers to the input of forward, which must not be written to before.

    Attributes
    ----------
    nbytes : int
        Bytes held: gates and states of every step, or less with a memory budget.
    """

    __slots__ = ("_call", "_layout", "_memory", "_stack", "_version")

    def __init__(
        self,
        stack: _core.Stack,
        call: _core.Batch,
        memory: Any,  # bytes, or Segments
        layout: Layout,
        version: int,
    ) -> None:
        self._stack = stack
        self._call = call
        self._memory = memory
        self._layout = layout
        self._version = version

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "saved can be neither copied nor pickled: it serves one backward; run "
            "forward again, with the copy"
        )

    @property
    def nbytes(self) -> int:
        return 0 if self._memory is None else self._memory.nbytes

    def free(self) -> None:
        """Let go of the memory; backward is no longer possible."""
        self._memory = self._call = None


class SpareMemory:
    """The memory of the last used-up `saved`, for the next one."""

    def __init__(self) -> None:
        self._spare: list[Any] = []

    def __reduce__(self) -> Any:
        return SpareMemory, ()

    def take(self, size: int, most: int | None = None) -> Any:
        """Return the spare memory, if it has `size` to `most` bytes, or fresh one."""
        try:
            memory = self._spare.pop()  # by one thread only
        except IndexError:
            return _core.aligned_empty(size)
        if len(memory) < size or (most is not None and len(memory) > most):
            del memory  # before the fresh memory is there
            return _core.aligned_empty(size)
        return memory

    def drop(self, most: int) -> None:
        """Let go of the spare memory if it has more than `most` bytes."""
        if any(len(memory) > most for memory in self._spare[:]):
            self._spare.clear()

    def give(self, memory: Any) -> None:
        """Keep this memory in place of what was spare."""
        self._spare[:] = [memory]
