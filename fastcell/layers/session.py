"""Streaming: a recurrent layer one step at a time, its state kept between calls."""

from __future__ import annotations

import copyreg
from typing import Any, Generic, Protocol, Self, cast

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import check_out, check_rows, real_array
from fastcell.layers.batches import Layout
from fastcell.layers.states import States, StateT
from fastcell.parameters import Parameters

_BATCHED = Layout(batch_first=False, unbatched=False)


class Layer(Protocol):
    """The members of a recurrent layer that a session uses."""

    bidirectional: bool
    go_backwards: bool
    dtype: np.dtype[Any]
    input_size: int
    _stack: _core.Stack
    _states: States
    _parameters: Parameters

    @property
    def output_size(self) -> int: ...

    def _packed(self, backward: bool) -> tuple[int, Any]: ...


class Session(_core.Stream, Generic[StateT]):
    """The states of some streams through one layer.

    Made by ``layer.session(batch_size)``. The initial state is zero, and each step uses
    the layer's weights at that time: after a change of them, as by an optimizer, the
    next step packs them again, once for all sessions of the layer, and continues from
    its state. For constant weights, use the session of a copy of the layer. While
    a user holds an array of ``layer.params``, each step compares it with a copy.

    A step below a million floating-point operations (8 L B H (H + I), whatever the
    cell; one stream through a layer of 250 units and features) keeps the GIL: other
    threads wait for some ten microseconds at most, and a step of 32 units takes 0.42 us
    instead of 0.5. Longer steps release it.

    Its outputs equal, bit for bit, those of one call over the whole sequence. Only one
    thread at a time may use a session; the core divides large steps, as of 256 units,
    between threads while steps follow one another closely.

    ``session.step(x, out=None)`` takes x (B, I) of the layer's dtype, in any form of an
    array that the layer accepts, and returns y (B, P); for one stream also (I,) ->
    (P,). With `out`, contiguous and of that shape, it fills that array and, if x is a
    contiguous array of NumPy, allocates nothing. It raises TypeError if x is no array
    or has another dtype, ValueError if a shape is wrong; the state then stays.

    A shallow copy (`copy.copy`) is that of `fork`. A deep copy or an unpickled session
    has its own layer; copied together with the layer, it has that copy.

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

    def __init__(self, layer: Layer, batch_size: int) -> None:
        if layer.bidirectional:
            raise ValueError(
                "bidirectional layers have no session: their reverse direction begins "
                "at the end of the sequence"
            )
        if layer.go_backwards:
            raise ValueError(
                "layers with go_backwards=True have no session: they begin at the end "
                "of the sequence"
            )
        self._layer = layer
        self._make(batch_size)

    def _make(self, rows: int) -> None:
        layer = self._layer
        version, packed = layer._packed(False)
        try:
            super().__init__(layer._stack, packed, rows)
        except (MemoryError, OverflowError) as error:
            raise MemoryError(
                f"batch_size must be a number of streams that memory holds; got {rows}"
            ) from error
        self.follow(*layer._parameters.watched(), version)

    def refresh(self) -> None:
        """Use the layer's present weights and precision; the state stays.

        A step does the same if they have changed; calling this earlier makes that step
        faster.
        """
        layer = self._layer
        version, packed = layer._packed(False)
        self.renew(layer._stack, packed)
        self.follow(*layer._parameters.watched(), version)

    def _converted(self, x: Any) -> np.ndarray:
        """Return the input of a step as an array for the core, checked."""
        dtype, width = self._layer.dtype, self._layer.input_size
        x = real_array("x", x, dtype)
        shapes = [(self.rows, width)] + ([(width,)] if self.rows == 1 else [])
        if x.shape not in shapes:
            raise ValueError(
                f"x must have the shape {' or '.join(map(str, shapes))}; got {x.shape}"
            )
        return np.ascontiguousarray(x, dtype)

    def _checked_out(self, out: Any, flat: bool) -> np.ndarray:
        width = self._layer.output_size
        return check_out(
            out, (width,) if flat else (self.rows, width), self._layer.dtype
        )

    def __copy__(self) -> Self:
        return self.fork()

    def __getstate__(self) -> dict[str, Any]:
        h, c = self._layer._states.empty(self.rows)
        self.get(h, c)
        return {**self.__dict__, "_rows": self.rows, "_kept": (h, c)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # At first use: until then a layer that holds this session may be incomplete.
        self.postpone(self.__dict__.pop("_rows"))

    def _make_now(self) -> None:
        h, c = self.__dict__.pop("_kept")
        self._make(self.rows)
        self.set(h, c)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # pickle has an opcode for it; typeshed lacks it.
        new = copyreg.__newobj__  # type: ignore[attr-defined]
        return new, (type(self),), self.__getstate__()

    @property
    def state(self) -> StateT:
        h, c = self._layer._states.empty(self.rows)
        self.get(h, c)
        state: Any = self._layer._states.joined(h, c)
        return cast(StateT, state)

    @state.setter
    def state(self, state: Any) -> None:
        h, c = self._layer._states.to_core("state", state, _BATCHED, self.rows)
        self.set(h, c)

    def reset(self, rows: Any = None) -> None:
        """Set the state to zero: of all streams, or of `rows` (indices or a mask).

        Raises
        ------
        TypeError
            If rows are neither.
        IndexError
            If a row is out of range, or the mask is of another length; it is a
            ValueError too.
        """
        if rows is None:
            self.set(None, None)
            return
        rows = check_rows(rows, self.rows)
        state: Any = self.state
        for part in state if isinstance(state, tuple) else (state,):
            part[:, rows] = 0
        self.state = state

    def fork(self) -> Self:
        """Return a session of the same layer with a copy of the state."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.fork_from(self)
        return other
