"""Windows of contiguous streams, for truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from fastcell._arrays import as_array, check_ids
from fastcell._numbers import integer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Window = tuple[NDArray[np.int32], NDArray[np.int32]]


class TextStreams(Sequence["Window"]):
    """A text as `batch_size` streams side by side, cut into windows of `seq_len` steps.

    Row b of a window goes on where row b of the window before ended, so the state of a
    recurrent layer can be carried from each window to the next (truncated
    backpropagation through time). Stream b begins at token ``b * num_steps``.

    It is a sequence of windows. ``for inputs, targets in streams`` is one epoch;
    ``streams[position:]`` is what remains of it after `position` windows, which is all
    that has to be saved to resume in the middle. Windows are views: they cost nothing.

    Parameters
    ----------
    tokens : (N,) array of integers
        The ids of the text, at least ``batch_size + 1`` of them, none negative.
    batch_size : int
        Number of streams B.
    seq_len : int
        Number of steps T of a window; the last one has those that are left.

    Attributes
    ----------
    batch_size, seq_len : int
        As given.
    num_steps : int
        Length of each stream, ``(N - 1) // batch_size``. The up to ``batch_size - 1``
        tokens that are left at the end are not used.

    Raises
    ------
    TypeError
        If `tokens` are not integers, or a size is none.
    ValueError
        If `tokens` are not one-dimensional, too few, negative or beyond int32, or a
        size is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.data import TextStreams
    >>> streams = TextStreams(np.arange(11), batch_size=2, seq_len=3)
    >>> len(streams)
    2
    >>> inputs, targets = streams[0]
    >>> inputs
    array([[0, 5],
           [1, 6],
           [2, 7]], dtype=int32)
    >>> targets
    array([[1, 6],
           [2, 7],
           [3, 8]], dtype=int32)
    >>> streams[1][0]
    array([[3, 8],
           [4, 9]], dtype=int32)
    """

    def __init__(self, tokens: ArrayLike, batch_size: int, seq_len: int) -> None:
        self.batch_size = integer("batch_size", batch_size, minimum=1)
        self.seq_len = integer("seq_len", seq_len, minimum=1)
        tokens = as_array("tokens", tokens)
        if tokens.ndim != 1:
            raise ValueError(
                f"tokens must have one dimension; got the shape {tokens.shape}"
            )
        if len(tokens) < self.batch_size + 1:
            raise ValueError(
                f"tokens must be at least batch_size + 1 = {self.batch_size + 1}; "
                f"got {len(tokens)}"
            )
        check_ids("tokens", tokens, np.iinfo(np.int32).max + 1)
        self.num_steps = (len(tokens) - 1) // self.batch_size
        # Row t holds token t of each stream. The row after the last is the first token
        # of the next stream, or of the rest, so that the targets are the inputs one row
        # further down, and both are views.
        starts = np.arange(self.batch_size) * self.num_steps
        self._tokens = np.empty((self.num_steps + 1, self.batch_size), np.int32)
        for stream, start in enumerate(starts):
            self._tokens[:, stream] = tokens[start : start + self.num_steps + 1]
        self._tokens.flags.writeable = False

    def __len__(self) -> int:
        """Return the number of windows of an epoch."""
        return (self.num_steps + self.seq_len - 1) // self.seq_len

    @overload
    def __getitem__(self, index: int) -> Window: ...

    @overload
    def __getitem__(self, index: slice) -> list[Window]: ...

    def __getitem__(self, index: int | slice) -> Window | list[Window]:
        """Return a window, or a list of windows.

        Returns
        -------
        inputs, targets : (T, B) arrays of int32
            The targets are the inputs of one step later. Read-only.

        Raises
        ------
        IndexError
            If there is no such window.
        TypeError
            If `index` is neither an integer nor a slice.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = integer("index", index)
        if not -len(self) <= position < len(self):
            raise IndexError(
                f"index must be from 0 to {len(self) - 1}, as there are {len(self)} "
                f"windows; got {position}"
            )
        start = position % len(self) * self.seq_len
        end = min(start + self.seq_len, self.num_steps)
        return self._tokens[start:end], self._tokens[start + 1 : end + 1]

    def __repr__(self) -> str:
        return (
            f"<TextStreams of {len(self)} windows: batch_size={self.batch_size}, "
            f"seq_len={self.seq_len}, num_steps={self.num_steps}>"
        )
