"""What the order of a loader's batches follows from, kept and restored.

A loader is what gives batches one after the other, anew in each epoch, and cannot be
asked for one by its place: PyTorch's DataLoader, torchdata's StatefulDataLoader, or a
class with ``__iter__``. None of these packages is imported here, unless a checkpoint
holds one of its tensors; they are known by their attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import shown
from fastcell._checks.schema import shortened

# Samplers within each other: of batches, of a shard of them, of items.
_DEEPEST = 8
_WAY_OUT = "give it generator=torch.Generator().manual_seed(0)"


class Order:
    """The order in which a loader gives its batches, as far as it can be known.

    Three things can fix it. Generators of random numbers: the state that each has when
    an epoch begins is kept, and the epoch is gone through again up to where the run
    stood. The number of the epoch, where a part has a method ``set_epoch(n)``: it is
    called. And the loader's own ``state_dict()``, which is kept where the order does
    not follow from the other two, or where it spares going through the epoch again.

    Parameters
    ----------
    loader : iterable
        Any, which is only looked at here.

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
            self._epochs = [loader]  # which tells its parts
        found = [getattr(part, "generator", None) for part in parts]
        unique = {id(g): g for g in found if g is not None}
        self._generators = [_State(g) for g in unique.values() if _can_be_kept(g)]
        # A loader that hands the number on may have nobody who takes it.
        by_epoch = any(_can(part, "set_epoch") for part in parts[1:] or parts)
        self.doubt = _doubt(parts[-1], by_epoch)
        known = self.doubt is None
        self._stateful = _can(loader, "state_dict") and _can(loader, "load_state_dict")
        # Of a sampler that nobody has seeded, the loader's state does not tell either.
        unseeded = len(parts) > 1 and getattr(parts[-1], "generator", parts) is None
        if self._stateful and not unseeded:
            self.doubt = None  # `state` may find one yet
        # Where a loader and its sampler draw from one generator, the state of torchdata
        # 0.11 loses the order of the next epoch; that of the generators does not.
        self._borders_by_state = self._stateful and not known
        if known and found[0] is not None:
            self._stateful = False

    def begin_epoch(self, epoch: int) -> None:
        """Tell the number of the epoch to all that ask for it."""
        for part in self._epochs:
            part.set_epoch(epoch)

    def generators(self) -> list[Any]:
        """Return the states of the generators as they are now."""
        return [state.get() for state in self._generators]

    def set_generators(self, states: Any) -> None:
        """Give the generators states that `generators` has returned.

        Raises
        ------
        ValueError
            If they are not those of such generators.
        """
        if not isinstance(states, list) or len(states) != len(self._generators):
            raise ValueError(f"must hold {len(self._generators)} generators")
        for state, value in zip(self._generators, states, strict=True):
            state.set(value)

    def state(self, border: bool) -> Any:
        """Return the loader's own state, if that is what it is to be resumed by.

        Parameters
        ----------
        border : bool
            Whether the epoch has ended, or not begun.
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
        """Give the loader a state that `state` has returned.

        Raises
        ------
        ValueError
            If the loader has none, or refuses this one.
        """
        if not _can(self._loader, "load_state_dict"):
            raise ValueError("must be that of a loader with load_state_dict")
        try:
            self._loader.load_state_dict(unpacked(state))
        except Exception as error:  # whatever the loader makes of it
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
        except Exception as error:  # whatever the generator makes of it
            raise ValueError(shortened(error)) from error


def _can(part: Any, method: str) -> bool:
    return callable(getattr(part, method, None))


def _can_be_kept(generator: Any) -> bool:
    """Can the state of a generator of random numbers be read, and set?"""
    return hasattr(generator, "bit_generator") or (
        _can(generator, "get_state") and _can(generator, "set_state")
    )


def _parts(loader: Any) -> list[Any]:
    """Return a loader, and the samplers that it takes its order from, outermost first.

    The last is what chooses: a sampler, a data set that is gone through as it is, or
    the loader itself.
    """
    parts = [loader]
    while len(parts) < _DEEPEST:
        # A DataLoader with a sampler of batches has one of items as well, which it
        # does not ask.
        inner = getattr(parts[-1], "batch_sampler", None)
        if inner is None:
            inner = getattr(parts[-1], "sampler", None)
        if inner is None:
            break
        parts.append(inner)
    # Of data without places, PyTorch's sampler says nothing.
    if type(parts[-1]).__name__ == "_InfiniteConstantSampler":
        dataset = getattr(loader, "dataset", None)
        if dataset is not None:
            parts.append(dataset)
    return parts


def _doubt(chooser: Any, by_epoch: bool) -> str | None:
    """Return why the order is not known to come again; None if it is known.

    Parameters
    ----------
    chooser : object
        The part of the loader that makes the order.
    by_epoch : bool
        Whether a part is told the number of the epoch.
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
    """Return a tree of plain values, tensors and bytes as a checkpoint can hold it.

    Raises
    ------
    TypeError
        If a part is anything else; the error says which.

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
    """Return what `packed` was given; mappings are dictionaries.

    Raises
    ------
    ValueError
        If `packed` has not returned it.
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
