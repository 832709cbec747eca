"""Windows of recordings for forecasting: given frames, and the frames that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.names import items_of, real_dtype
from fastcell._checks.numbers import flag, integer
from fastcell.data.batches import Batches, Epochs

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Batch = tuple["NDArray[Any]", None, "NDArray[Any]"]


class Windows(Epochs["Batch"]):
    """All windows of recordings, in batches ``(x, None, y)``, time first.

    A window is `given` frames x, and the `ahead` frames y after them: the input and the
    target of a `fastcell.models.Forecaster`. None is in place of lengths, which are all
    equal. Windows of a recording may overlap; no window spans two recordings. A batch
    is made when it is indexed, so overlaps take no memory.

    The object is the sequence of the batches of epoch 0. ``epoch(n)``, used by
    `fastcell.train.Trainer`, is that of epoch n.

    Parameters
    ----------
    recordings : sequence of arrays
        Real numbers (L, I) each; or an array (N, L, I) of recordings of equal length.
        Recordings shorter than a window are left out.
    given, ahead : int
        Frames T and K, at least 1 each.
    batch_size : int, default 32
        Windows B of a batch; the last batch may have fewer.
    stride : int, default 1
        Frames from the start of a window to that of the next.
    shuffle : bool, default True
        Shuffle the windows in each epoch.
    seed : int, default 0
        Seed of the shuffling.
    dtype : dtype, optional
        float32 (by default, as in models) or float64.

    Attributes
    ----------
    count : int
        The number of windows.
    input_size : int
        Values I of a frame.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If no recording is long enough, recordings differ in width, a value is not
        finite, or an argument is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.data import Windows
    >>> recordings = [np.arange(6.0)[:, np.newaxis], 10 + np.arange(5.0)[:, np.newaxis]]
    >>> data = Windows(recordings, given=3, ahead=2, batch_size=2, shuffle=False)
    >>> data
    <Windows of 2 batches: 3 windows of 3 frames and 2 ahead, batch_size=2>
    >>> x, _, y = data[0]
    >>> x.shape, y.shape
    ((3, 2, 1), (2, 2, 1))
    >>> y[..., 0]
    array([[3., 4.],
           [4., 5.]], dtype=float32)
    """

    def __init__(
        self,
        recordings: Any,
        given: int,
        ahead: int,
        batch_size: int = 32,
        *,
        stride: int = 1,
        shuffle: bool = True,
        seed: int = 0,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.given = integer("given", given, minimum=1)
        self.ahead = integer("ahead", ahead, minimum=1)
        self.batch_size = integer("batch_size", batch_size, minimum=1)
        self.stride = integer("stride", stride, minimum=1)
        self.shuffle = flag("shuffle", shuffle)
        self.seed = integer("seed", seed, minimum=0, maximum=None)
        self.dtype = real_dtype("dtype", np.float32 if dtype is None else dtype)
        checked = _checked(recordings, self.dtype)
        self.input_size = checked[0].shape[1]
        length = self.given + self.ahead
        begin, starts = 0, []
        for frames in checked:
            last = begin + len(frames) - length
            starts.append(np.arange(begin, last + 1, self.stride))
            begin += len(frames)
        self._starts = np.concatenate(starts)
        if len(self._starts) == 0:
            longest = max(map(len, checked))
            raise ValueError(
                f"recordings must hold one of at least {length} frames, {self.given} "
                f"given and {self.ahead} ahead; the longest has {longest}"
            )
        self._frames = np.concatenate(checked)

    @property
    def count(self) -> int:  # type: ignore[override]  # a method in Sequence
        return len(self._starts)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-self.count // self.batch_size)

    def __repr__(self) -> str:
        return (
            f"<Windows of {len(self)} batches: {self.count} windows of {self.given} "
            f"frames and {self.ahead} ahead, batch_size={self.batch_size}>"
        )

    def _make_epoch(self, n: int) -> WindowEpoch:
        starts = self._starts
        if self.shuffle:
            starts = np.random.default_rng((self.seed, n)).permutation(starts)
        return WindowEpoch(self, starts)

    def _batch(self, starts: NDArray[np.int64]) -> Batch:
        steps = np.arange(self.given + self.ahead)[:, np.newaxis] + starts
        frames = self._frames[steps]
        return frames[: self.given], None, frames[self.given :]


class WindowEpoch(Batches["Batch"]):
    """The batches of one epoch of `Windows`: tuples of three.

    x : (T, B, I) array of float32 or float64
        The frames given.
    lengths : None
    y : (K, B, I) array
        The frames that follow.
    """

    def __init__(self, data: Windows, starts: NDArray[np.int64]) -> None:
        self._data, self._starts = data, starts

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._data)

    def _batch_at(self, place: int) -> Batch:
        begin = place * self._data.batch_size
        return self._data._batch(self._starts[begin : begin + self._data.batch_size])


def _checked(recordings: Any, dtype: np.dtype) -> list[NDArray[Any]]:
    """Return recordings as finite arrays (L, I) of this dtype."""
    items_of("recordings", recordings, "a list of arrays")
    if len(recordings) == 0:
        raise ValueError("recordings must hold at least one; got none")
    checked: list[NDArray[Any]] = []
    for i in range(len(recordings)):
        frames = as_array(f"recordings[{i}]", recordings[i])
        if frames.ndim != 2 or frames.dtype.kind not in "fiub":
            raise TypeError(
                f"recordings[{i}] must be real numbers (L, I); "
                f"got the shape {frames.shape} and dtype {frames.dtype}"
            )
        width = checked[0].shape[1] if checked else max(frames.shape[1], 1)
        if frames.shape[1] != width:
            raise ValueError(
                f"recordings[{i}] must have the shape (L, {width}); got {frames.shape}"
            )
        with np.errstate(over="ignore"):  # becomes infinite, which is refused next
            frames = frames.astype(dtype, copy=False)
        if not np.isfinite(frames).all():
            t, value = (int(k) for k in np.argwhere(~np.isfinite(frames))[0])
            raise ValueError(
                f"recordings[{i}] must be finite in {dtype}; got {frames[t, value]} "
                f"in frame {t}, value {value}"
            )
        checked.append(frames)
    return checked
