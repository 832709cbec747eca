"""Stream pools: the states of many live streams of one layer, stepped together."""

from __future__ import annotations

from typing import Any, Generic, Self, cast

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import as_array, check_out, check_shape, real_array
from fastcell._checks.numbers import integer
from fastcell.layers.batches import Layout
from fastcell.layers.recurrent import Recurrent
from fastcell.layers.states import StateT
from fastcell.parameters import writable
from fastcell.threads import get_num_threads

_BATCHED = Layout(batch_first=False, unbatched=False)


class StreamPool(Generic[StateT]):
    """The states of thousands of streams, of which any may step at any time.

    A call steps the streams that have an input by one common product; the outputs have
    the same bits as in a session of each stream. Streams may be opened and closed at
    any time; the pool grows as needed. As in a session, each step uses the layer's
    weights at that time. Only one thread at a time may use a pool. Pools can be copied
    and pickled: a shallow copy (`copy.copy`) has the same layer and its own states, a
    deep copy also has its own layer.

    Parameters
    ----------
    layer : RNN, LSTM or GRU
        A layer of one direction.
    capacity : int, default 64
        Number of streams to allocate memory for initially.

    Raises
    ------
    TypeError
        If `layer` is no recurrent layer; of a container, pass its recurrent layer.
    ValueError
        If the layer is bidirectional or goes backwards, or the capacity is below 1.
    MemoryError
        If there is no memory for so many streams.

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

    def __init__(self, layer: Recurrent[StateT], capacity: int = 64) -> None:
        if not isinstance(layer, Recurrent):
            raise TypeError(
                f"layer must be an RNN, LSTM or GRU; got {type(layer).__name__}"
            )
        if layer.bidirectional:
            raise ValueError(
                "layer must have one direction: a reverse one begins at the end"
            )
        if layer.go_backwards:
            raise ValueError(
                "layer must not have go_backwards=True: it begins at the end"
            )
        capacity = integer("capacity", capacity, minimum=1)
        self._layer = layer
        self._make(capacity, "capacity")
        self._live = np.zeros(capacity, bool)

    def _make(self, capacity: int, name: str) -> None:
        version, packed = self._layer._packed(False)
        try:
            self._streams = _core.Stream(self._layer._stack, packed, capacity)
        except (MemoryError, OverflowError) as error:
            raise MemoryError(
                f"{name} must be a number of streams that memory holds; got {capacity}"
            ) from error
        self._streams.follow(*self._layer._parameters.watched(), version)

    def refresh(self) -> None:
        """Use the layer's present weights and precision; the states stay.

        A step does the same if they have changed; calling this earlier makes that step
        faster.
        """
        version, packed = self._layer._packed(False)
        self._streams.renew(self._layer._stack, packed)
        self._streams.follow(*self._layer._parameters.watched(), version)

    def __copy__(self) -> Self:
        other = type(self).__new__(type(self))
        other.__setstate__(self.__getstate__())
        return other

    def __getstate__(self) -> dict[str, Any]:
        live = np.flatnonzero(self._live)
        h, c = self._layer._states.empty(len(live))
        self._streams.get_some(live, h, c)
        state = {**self.__dict__, "_live": self._live.copy(), "_kept": (h, c)}
        del state["_streams"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._live = writable(self._live)

    def __getattr__(self, name: str) -> Any:
        if name != "_streams" or "_kept" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        # At first use: until then a layer that holds this pool may be incomplete.
        h, c = self.__dict__.pop("_kept")
        self._make(len(self._live), "capacity")
        self._streams.set_some(np.flatnonzero(self._live), h, c)
        return self._streams

    def __len__(self) -> int:
        return int(np.count_nonzero(self._live))

    def open(self, count: int = 1) -> np.ndarray:
        """Return the ids of `count` new streams with zero states.

        The id of a closed stream may be used again.

        Raises
        ------
        ValueError
            If the count is below 0.
        MemoryError
            If there is no memory for so many streams.
        """
        count = integer("count", count, minimum=0)
        capacity = len(self._live)
        while capacity - len(self) < count:
            capacity *= 2
        if capacity > len(self._live):
            self._grow(capacity)
        ids = np.flatnonzero(~self._live)[:count]
        self._live[ids] = True
        self._streams.set_some(ids, None, None)
        return ids

    def close(self, ids: Any) -> None:
        """Close streams.

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
            The streams, in any order, each at most once.
        x : array, shape (n, I)
            Their inputs, of the layer's dtype.
        out : ndarray, shape (n, P), optional
            Array for the outputs, contiguous.

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
            If a stream occurs twice, or a shape is wrong. No stream has stepped then.
        """
        ids = self._checked(ids)
        dtype = self._layer.dtype
        x = real_array("x", x, dtype)
        check_shape("x", x, (len(ids), self._layer.input_size))
        shape = (len(ids), self._layer.output_size)
        if out is None:
            out = np.empty(shape, dtype)
        else:
            check_out(out, shape, dtype)
        if self._streams.outdated():
            self.refresh()
        self._streams.step_some(ids, np.ascontiguousarray(x), out, get_num_threads())
        return out

    def state(self, ids: Any) -> StateT:
        """Return copies of the states of some streams: h (L, n, P), or (h, c).

        Raises
        ------
        TypeError, KeyError, ValueError
            As for `step`.
        """
        ids = self._checked(ids)
        h, c = self._layer._states.empty(len(ids))
        self._streams.get_some(ids, h, c)
        state: Any = self._layer._states.joined(h, c)
        return cast(StateT, state)

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
        self._make(capacity, "count")
        self._streams.set_some(live, h, c)
        self._live = np.concatenate(
            [self._live, np.zeros(capacity - len(self._live), bool)]
        )
