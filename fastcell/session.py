"""Streaming: a recurrent layer one step at a time, its state kept between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastcell import _core
from fastcell.layers.batches import Layout

if TYPE_CHECKING:
    from fastcell.layers.recurrent import Recurrent


_BATCHED = Layout(batch_first=False, unbatched=False)


class Session(_core.Stream):
    """The states of some streams through one layer.

    Made by ``layer.session(batch_size)``. It begins at a zero state, and has the
    weights that the layer had when it was made. Its outputs equal, bit for bit, those
    of one call over the whole sequence. A session belongs to one thread at a time; a
    large step, as of 256 units, is shared by several while steps follow one another
    closely.

    ``session.step(x, out=None)`` takes x (B, I), contiguous and of the layer's dtype,
    and returns y (B, P); for one stream also (I,) -> (P,). With `out` it fills that
    array and allocates nothing.

    Attributes
    ----------
    state : ndarray or tuple of two
        h (L, B, P), or (h, c) with c (L, B, H): a copy; assign to set it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> layer = fastcell.LSTM(3, 4, seed=0)
    >>> x = np.ones((5, 3), np.float32)
    >>> session = layer.session()
    >>> y = np.stack([session.step(x_t) for x_t in x])
    >>> bool((y == layer(x)[0]).all())
    True
    """

    def __init__(self, layer: Recurrent, batch_size: int) -> None:
        if layer.bidirectional:
            raise ValueError(
                "bidirectional layers have no session: their reverse direction begins "
                "at the end of the sequence"
            )
        super().__init__(layer._stack, layer._packed(False)[1], batch_size)
        self._layer = layer

    @property
    def state(self) -> Any:
        h, c = self._layer._states.empty(self.rows)
        self.get(h, c)
        return h if c is None else (h, c)

    @state.setter
    def state(self, state: Any) -> None:
        h, c = self._layer._states.to_core("state", state, _BATCHED, self.rows)
        self.set(h, c)

    def reset(self, rows: Any = None) -> None:
        """Set the state to zero: of all streams, or of `rows` (indices or a mask).

        Raises
        ------
        IndexError
            If a row is out of range.
        """
        if rows is None:
            self.set(None, None)
            return
        state = self.state
        for part in state if isinstance(state, tuple) else (state,):
            part[:, rows] = 0
        self.state = state

    def fork(self) -> Session:
        """Return a session with a copy of the state and the same packed weights."""
        other = Session.__new__(Session)
        other.fork_from(self)
        other._layer = self._layer
        return other
