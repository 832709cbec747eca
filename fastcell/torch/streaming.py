"""Streaming of modules: sessions and pools of streams on the modules' weights."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

import fastcell
from fastcell.torch.weights import OnTensors


class Streamed:
    """Base class of modules that have sessions."""

    _parameters: Any  # of torch.nn.Module

    def session(self, batch_size: int = 1) -> Session:
        """Return a `fastcell.torch.Session`: the module one step at a time.

        Raises
        ------
        ValueError
            If the module is bidirectional: the reverse direction starts at the end.
        """
        return Session(self, batch_size)

    def _weights(self) -> list[Tensor]:
        raise NotImplementedError

    def _layer_for(self, weights: list[Tensor]) -> OnTensors:
        raise NotImplementedError


class Session:
    """A module of `fastcell.torch` that runs one step at a time and keeps its state.

    It is made by ``module.session()``, takes and returns tensors, and records nothing
    for autograd. Each step uses the module's current weights. All else is as for
    `fastcell.layers.session.Session`.

    Parameters
    ----------
    module : RNN, LSTM or GRU of fastcell.torch, or one of their cells
        In one direction, in float32 or float64.
    batch_size : int, default 1
        Number of streams.

    Examples
    --------
    >>> import torch
    >>> import fastcell.torch
    >>> gru = fastcell.torch.GRU(3, 5)
    >>> session = gru.session()
    >>> session.step(torch.zeros(3)).shape
    torch.Size([5])
    """

    def __init__(self, module: Streamed, batch_size: int = 1) -> None:
        self._module = module
        self._session = _bound(module).session(batch_size)

    def step(self, x: Tensor) -> Tensor:
        """Return the outputs (B, P) of one step x (B, I); for one stream also (I,).

        Raises
        ------
        TypeError, ValueError
            If x has another dtype or shape.
        """
        session = self._session
        layer: Any = session._layer
        quick = layer.quick
        if quick is not None:
            y: Tensor | None = quick.step_of(session, self._module._parameters, x)
            if y is not None:
                return y
        _bound(self._module)
        return torch.from_numpy(session.step(_array(x)))

    @property
    def state(self) -> Any:
        """Copies of h (L, B, P), or (h, c); assign to set it. L is 1 for a cell."""
        state = self._session.state
        if isinstance(state, tuple):
            return tuple(map(torch.from_numpy, state))
        return torch.from_numpy(state)

    @state.setter
    def state(self, state: Any) -> None:
        parts = tuple(map(_array, state)) if isinstance(state, tuple) else _array(state)
        self._session.state = parts

    def reset(self, rows: Any = None) -> None:
        """Set the state to zero: of all streams, or of `rows` (indices or a mask)."""
        self._session.reset(_array(rows))

    def fork(self) -> Self:
        """Return a session of the same module with a copy of the state."""
        other = type(self).__new__(type(self))
        other._module, other._session = self._module, self._session.fork()
        return other


class StreamPool:
    """A pool of streams through a module, stepped together as their inputs arrive.

    It is `fastcell.StreamPool` for tensors, on the module's weights.

    Parameters
    ----------
    module : RNN, LSTM or GRU of fastcell.torch, or one of their cells
        In one direction, in float32 or float64.
    capacity : int, default 64
        Initial number of streams with memory; it grows as needed.

    Examples
    --------
    >>> import torch
    >>> import fastcell.torch
    >>> pool = fastcell.torch.StreamPool(fastcell.torch.GRU(3, 5))
    >>> ids = pool.open(2)
    >>> pool.step(ids, torch.zeros(2, 3)).shape
    torch.Size([2, 5])
    """

    def __init__(self, module: Streamed, capacity: int = 64) -> None:
        self._module = module
        self._pool = fastcell.StreamPool(_bound(module), capacity)

    def __len__(self) -> int:
        return len(self._pool)

    def open(self, count: int = 1) -> Tensor:
        """Return the ids of `count` new streams, with zero states."""
        return torch.from_numpy(self._pool.open(count))

    def close(self, ids: Any) -> None:
        """Remove streams."""
        self._pool.close(_array(ids))

    def step(self, ids: Any, x: Tensor) -> Tensor:
        """Return the outputs (n, P) of one step x (n, I) of the streams `ids` (n,).

        Raises
        ------
        TypeError, KeyError, ValueError
            As for `fastcell.StreamPool.step`.
        """
        _bound(self._module)
        return torch.from_numpy(self._pool.step(_array(ids), _array(x)))

    def state(self, ids: Any) -> Any:
        """Return copies of the states of the streams `ids`: h (L, n, P), or (h, c)."""
        state = self._pool.state(_array(ids))
        if isinstance(state, tuple):
            return tuple(map(torch.from_numpy, state))
        return torch.from_numpy(state)

    def set_state(self, ids: Any, state: Any) -> None:
        """Set the states of the streams `ids`; None is zero."""
        parts = tuple(map(_array, state)) if isinstance(state, tuple) else _array(state)
        self._pool.set_state(_array(ids), parts)

    def reset(self, ids: Any) -> None:
        """Set the states of the streams `ids` to zero."""
        self._pool.reset(_array(ids))


def _bound(module: Streamed) -> OnTensors:
    """Return the module's layer, bound to its current weights."""
    if not isinstance(module, Streamed):
        raise TypeError(
            "module must be an RNN, LSTM or GRU of fastcell.torch, or one of their "
            f"cells; got {type(module).__name__}"
        )
    weights = module._weights()
    layer = module._layer_for(weights)
    layer.renew(weights)
    return layer


def _array(value: Any) -> np.ndarray | Any:
    return value.detach().numpy() if isinstance(value, Tensor) else value
