"""Text as parallel streams in windows, for truncated backpropagation through time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastcell._checks.arrays import as_array, check_ids
from fastcell._checks.numbers import integer
from fastcell.data.batches import Batches
from fastcell.data.token_files import TokenFile, stretches

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Window = tuple["NDArray[np.int32]", "NDArray[np.int32]"]

_BLOCK = 1 << 18  # tokens read from disk at a time: a megabyte


class TextStreams(Batches[Window]):
    """A text as `batch_size` parallel streams, in windows of `seq_len` steps.

    Row b of a window continues row b of the window before, so the state of a recurrent
    layer can be carried from each window to the next (truncated backpropagation through
    time). Stream b begins at token ``b * num_steps``.

    The object is a sequence of windows: pairs of read-only (T, B) arrays of int32, the
    inputs and, as targets, the inputs of the next step. ``for inputs, targets in
    streams`` is one epoch; ``streams[position:]`` is the rest of it after `position`
    windows, so the position is all that a resumed run needs. Windows are views.

    Read-only arrays of one or two bytes per id are not converted, so a text takes one
    byte per character; their windows are made when indexed. Tokens on disk are not
    loaded: of a `fastcell.data.TokenFile`, `numpy.memmap` or ``numpy.load(path,
    mmap_mode="r")``, about a megabyte is in memory at a time, with the same windows.

    Parameters
    ----------
    tokens : (N,) array of integers, or TokenFile
        The ids of the text, at least ``batch_size + 1`` of them, none negative.
    batch_size : int
        Number of streams B.
    seq_len : int
        Number of steps T of a window; the last window may have fewer.

    Attributes
    ----------
    batch_size, seq_len : int
        As given.
    num_steps : int
        Length of each stream, ``(N - 1) // batch_size``. Up to ``batch_size - 1``
        tokens at the end are not used.

    Raises
    ------
    TypeError
        If `tokens` are not integers, or a size is not.
    ValueError
        If `tokens` are not one-dimensional, too few, negative or beyond int32, or a
        size is less than 1. Tokens on disk are checked when read.

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

    _items = "windows"

    def __init__(self, tokens: ArrayLike, batch_size: int, seq_len: int) -> None:
        self.batch_size = integer("batch_size", batch_size, minimum=1)
        self.seq_len = integer("seq_len", seq_len, minimum=1)
        on_disk = isinstance(tokens, (TokenFile, np.memmap))
        if not isinstance(tokens, TokenFile):
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
        if not on_disk:
            check_ids("tokens", tokens, np.iinfo(np.int32).max + 1)
        elif tokens.dtype.kind not in "iu":
            raise TypeError(f"tokens must be integers; got {tokens.dtype}")
        self.num_steps = (len(tokens) - 1) // self.batch_size
        self._starts = np.arange(self.batch_size) * self.num_steps
        # One block holds all windows, or the next few of them.
        self._on_disk: Any = tokens if on_disk else None
        self._windows = len(self)
        self._block: tuple[int, NDArray[Any]]  # of the current windows
        if isinstance(tokens, TokenFile) or on_disk:
            self._windows = max(1, _BLOCK // (self.batch_size * self.seq_len))
            self._block = (-1, np.empty((0, self.batch_size), np.int32))
            return
        # Row t holds token t of each stream. One more row holds the first token of the
        # next stream, or of the rest, so targets are inputs shifted by one row, and
        # both are views.
        if not tokens.flags.writeable and tokens.itemsize < 4:
            streams = sliding_window_view(tokens, self.num_steps + 1)[:: self.num_steps]
            self._block = (0, streams[: self.batch_size].T)
            return
        rows = np.empty((self.num_steps + 1, self.batch_size), np.int32)
        for stream, start in enumerate(self._starts):
            rows[:, stream] = tokens[start : start + self.num_steps + 1]
        rows.flags.writeable = False
        self._block = (0, rows)

    def __len__(self) -> int:
        """Return the number of windows of an epoch."""
        return (self.num_steps + self.seq_len - 1) // self.seq_len

    def _batch_at(self, place: int) -> Window:
        block, place = divmod(place, self._windows)
        rows = self._rows(block)
        start = place * self.seq_len
        end = min(start + self.seq_len, len(rows) - 1)
        if rows.dtype != np.int32:
            rows = np.ascontiguousarray(rows[start : end + 1], np.int32)
            rows.flags.writeable = False
            start, end = 0, end - start
        return rows[start:end], rows[start + 1 : end + 1]

    def _rows(self, block: int) -> NDArray[Any]:
        """Return the tokens of a block of windows, and one more for each stream."""
        number, rows = self._block
        if number != block:
            steps = self._windows * self.seq_len
            first = block * steps
            count = min(steps, self.num_steps - first) + 1
            rows = stretches(self._on_disk, self._starts + first, count)
            rows.flags.writeable = False
            self._block = (block, rows)
        return rows

    def __repr__(self) -> str:
        return (
            f"<TextStreams of {len(self)} windows: batch_size={self.batch_size}, "
            f"seq_len={self.seq_len}, num_steps={self.num_steps}>"
        )
