"""Residual connections: the output of a layer is added to its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from fastcell._checks.arrays import check_shape, real_array
from fastcell._checks.names import mapping_of, one_of
from fastcell._checks.numbers import integer
from fastcell.layers.saved import check_saved
from fastcell.layers.stateful import has_state, is_batch_first
from fastcell.module import Module
from fastcell.named_classes import CLASSES, class_named, in_files

Gradients = dict[str, np.ndarray]


class SavedAround(NamedTuple):
    """The values of one call for backward: those of the layer, then of the join."""

    layer: Any
    exists: np.ndarray | None
    shape: tuple[int, ...]
    dtype: np.dtype
    join: Any


@in_files
class Residual(Module):
    r"""A layer whose output is added to its input.

    .. math:: y_t = x_t + f(x)_t

    He et al. 2016, arXiv:1512.03385; between recurrent layers: Wu et al. 2016,
    arXiv:1609.08144. The layer returns the shape of x, as ``LSTM(64, 64)``,
    ``GRU(64, 32, bidirectional=True)`` and ``Linear(64, 64)`` do. Around a recurrent
    layer, calls take and return its state. Steps past the lengths are 0 in y, and
    their x and dy are not read.

    Parameters
    ----------
    layer : Module
        A recurrent layer, one that works on each step alone, or a `Sequential`. Its
        parameters are named "layer.weight_ih_l0", and so on.

    Raises
    ------
    TypeError
        If it is no layer.
    ValueError
        If it goes backwards: its y is in another order than x.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> from fastcell.layers import Residual
    >>> model = fastcell.Sequential([fastcell.GRU(3, 8), Residual(fastcell.GRU(8, 8))])
    >>> y, states = model(np.ones((5, 2, 3), np.float32))
    >>> y.shape, len(states)
    ((5, 2, 8), 2)
    """

    def __init__(self, layer: Module) -> None:
        if not isinstance(layer, Module):
            raise TypeError(f"layer must be a layer; got {type(layer).__name__}")
        if any(getattr(part, "go_backwards", False) for part in _with_parts(layer)):
            raise ValueError(
                "layer must not have go_backwards=True, whose y is in another order "
                "than x"
            )
        self.layer: Any = layer
        self._recurrent = has_state(layer)

    def __call__(self, x: Any, state: Any = None, **sequence: Any) -> Any:
        """Run the layer for inference: y, and the state if the layer has one.

        Parameters
        ----------
        x : array
            Input of the layer, float32 or float64.
        state : optional
            State of the layer, if it has one.
        **sequence
            lengths, mask and reset of the recurrent layer.

        Raises
        ------
        TypeError, ValueError
            As for the layer, or if its output has another shape than x.
        """
        if self._recurrent:
            h, state = self.layer(x, state, **sequence)
            return self._joined(x, h, sequence)[0], state
        self._check_none(state, sequence)
        return self._joined(x, self.layer(x), {})[0]

    def forward(self, x: Any, state: Any = None, **sequence: Any) -> tuple[Any, ...]:
        """Run the layer for training: y, (state,) saved. Arguments as for a call.

        x must not be written to before `backward`.
        """
        if self._recurrent:
            h, state, saved = self.layer.forward(x, state, **sequence)
        else:
            self._check_none(state, sequence)
            h, saved = self.layer.forward(x)
        y, exists, join = self._joined(x, h, sequence, train=True)
        kept = SavedAround(saved, exists, y.shape, y.dtype, join)
        return (y, state, kept) if self._recurrent else (y, kept)

    def backward(
        self, dy: Any, saved: SavedAround, dstate: Any = None
    ) -> tuple[Any, ...]:
        """Return dx, (dstate,) and the gradients by name; uses `saved` up.

        With a recurrent layer, dy may be None for zeros.

        Raises
        ------
        ValueError
            If `saved` was used before, or a parameter or x has changed since forward,
            or a shape is wrong.
        TypeError
            If a dtype is wrong, or `saved` is not from `forward`.
        """
        check_saved(saved, SavedAround)
        if self._recurrent and dstate is not None:
            self.check_dstate(dstate, saved)
        if dy is None and self._recurrent:
            dx, initial, grads = self.layer.backward(None, saved.layer, dstate)
            return dx, initial, self._named(grads, self._no_gradients())
        dy = check_shape("dy", real_array("dy", dy, saved.dtype), saved.shape)
        around, dh, own = self._parted(_existing(dy, saved.exists), saved.join)
        if not self._recurrent:
            dx, grads = self.layer.backward(dh, saved.layer)
            return dx + around, self._named(grads, own)
        dx, initial, grads = self.layer.backward(dh, saved.layer, dstate)
        return dx + around, initial, self._named(grads, own)

    def check_dstate(self, dstate: Any, saved: SavedAround) -> None:
        """Raise if `dstate` is not what `backward` takes with this `saved`."""
        self.layer.check_dstate(dstate, saved.layer)

    def session(self, batch_size: int = 1) -> ResidualSession:
        """Return a session that steps through the recurrent layer.

        Raises
        ------
        TypeError
            If the layer has no state.
        ValueError
            If it is bidirectional.
        """
        if not self._recurrent:
            raise TypeError(
                "layer must be recurrent to have a session; call it instead"
            )
        return ResidualSession(self, integer("batch_size", batch_size, minimum=0))

    def config(self) -> dict[str, Any]:
        """Return the layer's class and configuration."""
        config = self.layer.config()
        return {"layer": {"class": type(self.layer).__name__, "config": config}}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build one from a result of `config`.

        Raises
        ------
        TypeError
            If it is no mapping of the constructor's arguments.
        ValueError
            If the layer's class is unknown.
        """
        what = "what config returned, a mapping with a layer"
        given = dict(mapping_of("config", config, what))
        where = "config['layer']"
        layer = mapping_of(where, given.get("layer"), "a class and a config")
        one_of(f"{where}['class']", layer.get("class"), CLASSES)
        made = class_named(layer["class"]).from_config(layer.get("config", {}))
        return super().from_config({**given, "layer": made})

    # ------------------------------------------------------------------- the join

    def _join(self, x: np.ndarray, h: np.ndarray, train: bool) -> tuple[Any, Any]:
        """Return y, and what its gradient reads."""
        return x + h, None

    def _parted(self, dy: np.ndarray, join: Any) -> tuple[Any, Any, Gradients]:
        """Return the gradients of x and h by the join, and of its own parameters."""
        return dy, dy, {}

    def _no_gradients(self) -> Gradients:
        """Return zeros for the parameters of the join."""
        return {}

    def _joined(
        self, x: Any, h: np.ndarray, sequence: Mapping[str, Any], train: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None, Any]:
        """Return y, which steps exist if not all do, and what the gradient reads."""
        x = real_array("x", x, h.dtype)
        if h.shape != x.shape:
            raise ValueError(
                f"layer must return the shape of x, {x.shape}; got {h.shape}"
            )
        exists, lengths = None, sequence.get("lengths")
        if lengths is not None:  # of an x that the layer has checked
            time = 1 if x.ndim == 3 and is_batch_first(self.layer) else 0
            exists = np.arange(x.shape[time])[:, np.newaxis] < np.asarray(lengths)
            exists = exists.T if time else exists
            exists = exists.reshape(*x.shape[:-1], 1)
        y, join = self._join(_existing(x, exists), h, train)
        return _existing(y, exists), exists, join

    def _named(self, grads: Gradients, own: Gradients) -> Gradients:
        return {f"layer.{name}": grad for name, grad in grads.items()} | own

    def _check_none(self, state: Any, sequence: Mapping[str, Any]) -> None:
        given = [name for name, value in sequence.items() if value is not None]
        given += [] if state is None else ["state"]
        if given:
            raise TypeError(
                f"{given[0]} must be left out: the layer inside is not recurrent"
            )


class ResidualSession:
    """The layer of a `Residual` one step at a time; made by its `session`.

    Attributes
    ----------
    state
        State of the layer; assign to set it.
    """

    def __init__(self, around: Residual, batch_size: int) -> None:
        self._around = around
        self._session = around.layer.session(batch_size)

    def step(self, x: Any) -> np.ndarray:
        """Return the output of one step, for x (B, I), or (I,) for one stream."""
        h = self._session.step(x)
        y: np.ndarray = self._around._joined(x, h, {})[0]
        return y

    @property
    def state(self) -> Any:
        return self._session.state

    @state.setter
    def state(self, state: Any) -> None:
        self._session.state = state

    def reset(self, rows: Any = None) -> None:
        """Set the state to zero, of all streams or of some rows."""
        self._session.reset(rows)

    def refresh(self) -> None:
        """Use the present weights, as a step does itself; the state stays."""
        self._session.refresh()

    def __copy__(self) -> ResidualSession:
        return self.fork()

    def fork(self) -> ResidualSession:
        """Return a session of the same layer with a copy of the state."""
        other = type(self).__new__(type(self))
        other._around = self._around
        other._session = self._session.fork()
        return other


def _existing(array: np.ndarray, exists: np.ndarray | None) -> np.ndarray:
    """Return an array with zeros in the steps that do not exist."""
    return array if exists is None else np.where(exists, array, array.dtype.type(0))


def _with_parts(layer: Module) -> Iterator[Module]:
    """Return a layer and all its parts, and theirs."""
    yield layer
    for part in layer.children().values():
        yield from _with_parts(part)
