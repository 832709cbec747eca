"""The order of a loader's batches: saving and restoring what it depends on.

A loader is an iterable of batches, read from its start in each epoch, without access by
index: PyTorch's DataLoader, torchdata's StatefulDataLoader, or a class with
``__iter__``. This module recognises them by their attributes, and imports PyTorch only
if a checkpoint holds one of its tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import shown
from fastcell._checks.schema import shortened

# Nested samplers: of batches, of a shard of them, of items.
_DEEPEST = 8
_WAY_OUT = "give it generator=torch.Generator().manual_seed(0)"


class Order:
    """The order in which a loader gives its batches, as far as it is known.

    Three things can determine it. Random generators: the state of each at the start of
    an epoch is saved, and a resumed run iterates again up to its position. The number
    of the epoch: each part with a method ``set_epoch(n)`` gets it. The loader's own
    ``state_dict()``: it is saved if the order does not follow from the other two, or if
    it saves iterating through the epoch again.

    Parameters
    ----------
    loader : iterable
        The loader; it is inspected, not iterated.

    Attributes
    ----------
    doubt : str or None
        Why a resumed run may be given other batches; None if it is given the same.
    """

    def __init__(self, loader: Any) -> None:
        parts = _parts(loader)
        self._loader = loader
        self._epochs = [part for part in parts if _can(part, "set_epoch")]
        if self._epochs[:1] == [loader]:
            self._epochs = [loader]  # it passes the number to its parts
        found = [getattr(part, "generator", None) for part in parts]
        unique = {id(g): g for g in found if g is not None}
        self._generators = [_State(g) for g in unique.values() if _can_be_kept(g)]
        # A loader with `set_epoch` may have no part that uses the number.
        by_epoch = any(_can(part, "set_epoch") for part in parts[1:] or parts)
        self.doubt = _doubt(parts[-1], by_epoch)
        known = self.doubt is None
        self._stateful = _can(loader, "state_dict") and _can(loader, "load_state_dict")
        # The loader's state does not include the order of an unseeded sampler.
        unseeded = len(parts) > 1 and getattr(parts[-1], "generator", parts) is None
        if self._stateful and not unseeded:
            self.doubt = None  # `state` may set it later
        # If a loader and its sampler share a generator, the loader state of torchdata
        # 0.11 loses the order of the next epoch; the generators' states keep it.
        self._borders_by_state = self._stateful and not known
        if known and found[0] is not None:
            self._stateful = False

    def begin_epoch(self, epoch: int) -> None:
        """Pass the number of the epoch to all parts with `set_epoch`."""
        for part in self._epochs:
            part.set_epoch(epoch)

    def generators(self) -> list[Any]:
        """Return the present states of the generators."""
        return [state.get() for state in self._generators]

    def set_generators(self, states: Any) -> None:
        """Set the generators to states that `generators` has returned.

        Raises
        ------
        ValueError
            If they do not fit these generators.
        """
        if not isinstance(states, list) or len(states) != len(self._generators):
            raise ValueError(f"must hold {len(self._generators)} generators")
        for state, value in zip(self._generators, states, strict=True):
            state.set(value)

    def state(self, border: bool) -> Any:
        """Return the loader's own state if resuming uses it, else None.

        Parameters
        ----------
        border : bool
            Whether the position is between two epochs.
        """
        if not (self._borders_by_state if border else self._stateful):
            return None
        try:
            return packed(self._loader.state_dict())
        except TypeError as error:
            # The order may still follow from the generators.
            if self._borders_by_state:
                self.doubt = f"of its state a checkpoint cannot keep all: {error}"
            self._stateful = self._borders_by_state = False
            return None

    def set_state(self, state: Any) -> None:
        """Set the loader to a state that `state` has returned.

        Raises
        ------
        ValueError
            If the loader has none, or refuses this one.
        """
        if not _can(self._loader, "load_state_dict"):
            raise ValueError("must be that of a loader with load_state_dict")
        try:
            self._loader.load_state_dict(unpacked(state))
        except Exception as error:  # a loader may raise anything
            raise ValueError(shortened(error)) from error


class _State:
    """The state of a generator of PyTorch or NumPy."""

    def __init__(self, generator: Any) -> None:
        self._of = generator

    def get(self) -> Any:
        if hasattr(self._of, "bit_generator"):
            return packed(self._of.bit_generator.state)
        return packed(self._of.get_state())

    def set(self, value: Any) -> None:
        try:
            if hasattr(self._of, "bit_generator"):
                self._of.bit_generator.state = unpacked(value)
            else:
                self._of.set_state(unpacked(value))
        except Exception as error:  # a generator may raise anything
            raise ValueError(shortened(error)) from error


def _can(part: Any, method: str) -> bool:
    return callable(getattr(part, method, None))


def _can_be_kept(generator: Any) -> bool:
    """Return whether the state of a random generator can be read and set."""
    return hasattr(generator, "bit_generator") or (
        _can(generator, "get_state") and _can(generator, "set_state")
    )


def _parts(loader: Any) -> list[Any]:
    """Return a loader and the samplers that determine its order, outermost first.

    The last one chooses the items: a sampler, an iterable data set, or the loader.
    """
    parts = [loader]
    while len(parts) < _DEEPEST:
        # A DataLoader with a batch sampler also has an item sampler, which is unused.
        inner = getattr(parts[-1], "batch_sampler", None)
        if inner is None:
            inner = getattr(parts[-1], "sampler", None)
        if inner is None:
            break
        parts.append(inner)
    # PyTorch's sampler of an iterable data set does not determine the order.
    if type(parts[-1]).__name__ == "_InfiniteConstantSampler":
        dataset = getattr(loader, "dataset", None)
        if dataset is not None:
            parts.append(dataset)
    return parts


def _doubt(chooser: Any, by_epoch: bool) -> str | None:
    """Return why the order may not repeat; None if it does.

    Parameters
    ----------
    chooser : object
        The part of the loader that determines the order.
    by_epoch : bool
        Whether a part receives the number of the epoch.
    """
    kind = type(chooser).__name__
    if by_epoch or kind == "SequentialSampler":
        return None
    if not hasattr(chooser, "generator"):
        return (
            f"nothing tells what the order of a {kind} follows from: it has neither a "
            "generator, nor set_epoch(n), nor a state_dict()"
        )
    if chooser.generator is None:
        return (
            f"its {kind} draws from a generator of the whole program, which no "
            f"checkpoint keeps; {_WAY_OUT}"
        )
    if not _can_be_kept(chooser.generator):
        return (
            f"the state of its generator, {shown(chooser.generator)}, cannot be kept; "
            f"{_WAY_OUT}"
        )
    return None


def packed(value: Any, where: str = "state") -> Any:
    """Return a tree of plain values, tensors and bytes in a form for checkpoints.

    Raises
    ------
    TypeError
        If a part is anything else; the error names it.

    Examples
    --------
    >>> packed({"seen": 3, 0: b"ab"})
    {'dict': [('seen', 3), (0, {'bytes': array([97, 98], dtype=uint8)})]}
    >>> unpacked(packed({"seen": 3, 0: b"ab"}))
    {'seen': 3, 0: b'ab'}
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": np.frombuffer(bytes(value), np.uint8).copy()}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        return value.copy()
    if hasattr(value, "detach") and hasattr(value, "__array__"):
        return {"tensor": as_array(where, value).copy()}
    if isinstance(value, Mapping):
        pairs = [
            (packed(key, where), packed(part, f"{where}[{key!r}]"))
            for key, part in value.items()
        ]
        return {"dict": pairs}
    if type(value) in (list, tuple):
        parts = [packed(part, f"{where}[{i}]") for i, part in enumerate(value)]
        return parts if isinstance(value, list) else tuple(parts)
    raise TypeError(f"{where} is a {type(value).__name__}")


def unpacked(value: Any) -> Any:
    """Return the tree that `packed` converted; mappings become dictionaries.

    Raises
    ------
    ValueError
        If `value` is not a result of `packed`.
    """
    if isinstance(value, dict):
        if len(value) != 1 or next(iter(value)) not in _UNPACKED:
            raise ValueError(f"no such kind: {shown(list(value))}")
        ((kind, part),) = value.items()
        return _UNPACKED[kind](part)
    if isinstance(value, (list, tuple)):
        parts = [unpacked(part) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    return value.copy() if isinstance(value, np.ndarray) else value


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(np.array(array))


def _dictionary(pairs: Any) -> dict[Any, Any]:
    return {unpacked(key): unpacked(part) for key, part in pairs}


_UNPACKED: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda array: np.asarray(array, np.uint8).tobytes(),
    "tensor": _tensor,
    "dict": _dictionary,
}
