"""Many live streams through one layer, stepped together as their inputs arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell import _core
from fastcell._arrays import as_array, check_shape, real_array
from fastcell._numbers import integer
from fastcell.layers.batches import Layout
from fastcell.threads import get_num_threads

if TYPE_CHECKING:
    from fastcell.layers.recurrent import Recurrent

_BATCHED = Layout(batch_first=False, unbatched=False)


class StreamPool:
    """The states of thousands of streams, of which any may step at any time.

    The streams that have an input in a tick are gathered into one product: their
    outputs have the bits that each would have in a session of its own. Streams are
    opened and closed at any time; the pool grows as needed. It has the weights that
    the layer had when it was made, and belongs to one thread at a time.

    Parameters
    ----------
    layer : RNN, LSTM or GRU
        In one direction.
    capacity : int, default 64
        Streams for which there is memory at first.

    Raises
    ------
    ValueError
        If the layer is bidirectional or the capacity below 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.GRU(3, 5, seed=0)
    >>> pool = fastcell.StreamPool(layer)
    >>> a, b, c = pool.open(3)
    >>> pool.step([c, a], np.ones((2, 3), np.float32)).shape
    (2, 5)
    >>> pool.close([b])
    >>> len(pool)
    2
    """

    def __init__(self, layer: Recurrent, capacity: int = 64) -> None:
        if layer.bidirectional:
            raise ValueError(
                "layer must have one direction: a reverse one begins at the end"
            )
        capacity = integer("capacity", capacity, minimum=1)
        self._layer = layer
        self._stack = layer._stack
        self._streams = _core.Stream(self._stack, layer._packed(False)[1], capacity)
        self._live = np.zeros(capacity, bool)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._live))

    def open(self, count: int = 1) -> np.ndarray:
        """Return the ids of `count` new streams, their states zero.

        An id is free again when its stream is closed.

        Raises
        ------
        ValueError
            If the count is below 0.
        """
        count = integer("count", count, minimum=0)
        while len(self._live) - len(self) < count:
            self._grow(2 * len(self._live))
        ids = np.flatnonzero(~self._live)[:count]
        self._live[ids] = True
        self._streams.set_some(ids, None, None)
        return ids

    def close(self, ids: Any) -> None:
        """End streams.

        Raises
        ------
        TypeError, KeyError, ValueError
            As for `step`.
        """
        self._live[self._checked(ids)] = False

    def step(self, ids: Any, x: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Step some streams by one input each.

        Parameters
        ----------
        ids : array of int, shape (n,)
            Which streams, in any order, each at most once.
        x : array, shape (n, I)
            Their inputs, of the layer's dtype.
        out : ndarray, shape (n, P), optional
            Where to write the outputs, contiguous.

        Returns
        -------
        ndarray, shape (n, P)
            Their outputs.

        Raises
        ------
        TypeError
            If the ids are not integers, or a dtype is wrong.
        KeyError
            If a stream is not open.
        ValueError
            If a stream comes twice, or a shape is wrong. No stream has stepped then.
        """
        ids = self._checked(ids)
        dtype = self._layer.dtype
        x = real_array("x", x, dtype)
        check_shape("x", x, (len(ids), self._layer.input_size))
        shape = (len(ids), self._layer.output_size)
        if out is None:
            out = np.empty(shape, dtype)
        elif out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"out must be a contiguous {dtype} array of shape {shape}; "
                f"got {out.dtype} {out.shape}"
            )
        self._streams.step_some(ids, np.ascontiguousarray(x), out, get_num_threads())
        return out

    def state(self, ids: Any) -> Any:
        """Return copies of the states of some streams: h (L, n, P), or (h, c).

        Raises
        ------
        TypeError, KeyError, ValueError
            As for `step`.
        """
        ids = self._checked(ids)
        h, c = self._layer._states.empty(len(ids))
        self._streams.get_some(ids, h, c)
        return h if c is None else (h, c)

    def set_state(self, ids: Any, state: Any) -> None:
        """Set the states of some streams; None is zero.

        Raises
        ------
        TypeError, KeyError, ValueError
            As for `step`, or if the state has another shape or dtype.
        """
        ids = self._checked(ids)
        self._streams.set_some(
            ids, *self._layer._states.to_core("state", state, _BATCHED, len(ids))
        )

    def reset(self, ids: Any) -> None:
        """Set the states of some streams to zero.

        Raises
        ------
        TypeError, KeyError, ValueError
            As for `step`.
        """
        self.set_state(ids, None)

    def _checked(self, ids: Any) -> np.ndarray:
        found = as_array("ids", ids)
        if found.dtype.kind not in "iu" and found.size:
            raise TypeError(f"ids must be integers; got {found.dtype}")
        if found.ndim != 1:
            raise ValueError(f"ids must have one axis; got the shape {found.shape}")
        found = np.ascontiguousarray(found, np.int64)
        if found.size and (found.min() < 0 or found.max() >= len(self._live)):
            closed = found[(found < 0) | (found >= len(self._live))]
        else:
            closed = found[~self._live[found]]
        if closed.size:
            raise KeyError(f"ids: stream {closed[0]} is not open")
        if len(np.unique(found)) < len(found):
            values, counts = np.unique(found, return_counts=True)
            raise ValueError(f"ids: stream {values[counts > 1][0]} comes twice")
        return found

    def _grow(self, capacity: int) -> None:
        live = np.flatnonzero(self._live)
        h, c = self._layer._states.empty(len(live))
        self._streams.get_some(live, h, c)
        self._streams = _core.Stream(self._stack, self._streams.packed, capacity)
        self._streams.set_some(live, h, c)
        self._live = np.concatenate(
            [self._live, np.zeros(capacity - len(self._live), bool)]
        )
