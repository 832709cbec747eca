"""Parameters: arrays by name, with a version that changes when they are written to.

Layers pack their weights once per version. An optimizer reports its writes
(`Parameters.changed`); a user who takes an array out and writes into it does not. So an
array that was handed out is compared with a copy before each use, as long as a
reference to it exists. Other arrays cost no comparison.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from operator import is_
from typing import Any

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import converted


def _references(arrays: dict[str, np.ndarray], name: str) -> int:
    return sys.getrefcount(arrays[name])


# The reference count of an array that only its dict holds.
_UNSHARED = _references({"a": np.zeros(1)}, "a")

# Held while copies are compared: threads that share a layer must agree on its version.
# One for all, so that fork finds it in one known state.
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire,
        after_in_parent=_lock.release,
        after_in_child=_lock.release,
    )


class Parameters(Mapping[str, np.ndarray]):
    """The parameters of one layer, by name.

    ``params[name]`` is the array itself: writing into it changes the layer.
    ``params[name] = value`` copies `value` in, cast as by `Module.load_state_dict`.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Contiguous float32 or float64 arrays. They are kept, not copied.

    Examples
    --------
    >>> import fastcell
    >>> layer = fastcell.Linear(2, 1, seed=0)
    >>> layer.params["bias"][...] = 3
    >>> layer(np.zeros((1, 2), np.float32))
    array([[3.]], dtype=float32)

    A deep copy or an unpickled object has its own arrays. A shallow copy holds the same
    arrays, as after `share`.
    """

    _shares = 0  # calls of `share` on any object: each may change aliases of groups

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._changes = _core.Changes()
        # Copies of arrays that were handed out; None if that is not known yet.
        self._copies: dict[str, np.ndarray | None] = {}

    def __copy__(self) -> Parameters:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._begin(dict(self._arrays))
        for name in self._arrays:
            other.share(name, self)
        return other

    def __getstate__(self) -> dict[str, Any]:
        own = ("_changes", "_copies")
        return {key: value for key, value in self.__dict__.items() if key not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin({name: writable(array) for name, array in self._arrays.items()})
        # Whether others hold these arrays after the same copy or pickle is seen at the
        # first use.
        self._copies.update(dict.fromkeys(self._arrays))

    def _begin(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays, self._copies = arrays, {}
        self._changes = _core.Changes()

    def __getitem__(self, name: str) -> np.ndarray:
        with _lock:
            array = self._arrays[name]
            if self._copies.get(name) is None:
                self._copies[name] = array.copy()
            return array

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._arrays:
            raise KeyError(f"{name}: expected one of {', '.join(self._arrays)}")
        self._arrays[name][...] = converted(name, value, self._arrays[name])
        self.changed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {a.shape}" for name, a in self._arrays.items())
        return f"{type(self).__name__}({{{shapes}}})"

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays for code that will call `changed` when it has written."""
        return dict(self._arrays)

    def _home(self, name: str) -> tuple[dict[str, np.ndarray], str]:
        return self._arrays, name

    def changed(self) -> None:
        """Say that an array was written to."""
        self._changes.count += 1

    def share(
        self, name: str, other: Parameters, other_name: str | None = None
    ) -> None:
        """Make both hold one array: that of `other`.

        Raises
        ------
        ValueError
            If the shapes or dtypes differ.
        """
        array = other._arrays[other_name or name]
        with _lock:
            Parameters._shares += 1
            self._arrays[name] = check_like(name, array, self._arrays[name])
            # Either may write to it at any time, and the other has to notice.
            self._copies[name] = array.copy()
            other._copies[other_name or name] = array.copy()
        self.changed()

    def version(self) -> int:
        """Return a number that is new whenever an array has changed."""
        if not self._copies:
            return self._changes.count
        with _lock:
            for name in list(self._copies):
                array, copy = self._arrays[name], self._copies[name]
                if copy is None or not _same_bits(array, copy):
                    self._copies[name] = None
                    self._changes.count += 1
                del array, copy
                if _references(self._arrays, name) <= _UNSHARED:
                    del self._copies[name]
                elif self._copies[name] is None:
                    self._copies[name] = self._arrays[name].copy()
            return self._changes.count

    def watched(self) -> tuple[_core.Changes, dict[str, Any]]:
        """Return what a stream checks to see whether it must compute the version.

        The first counts the reported changes; the second is empty unless a user may
        hold an array.
        """
        return self._changes, self._copies


class UnsuffixedParameters(Mapping[str, np.ndarray]):
    """The parameters of a layer under names without a suffix, for single cells.

    Parameters
    ----------
    inner : Parameters
        The parameters that hold the arrays.
    suffix : str
        The end of all their names.
    """

    def __init__(self, inner: Parameters, suffix: str) -> None:
        self._inner = inner
        self._suffix = suffix

    def __getitem__(self, name: str) -> np.ndarray:
        return self._inner[name + self._suffix]

    def __setitem__(self, name: str, value: Any) -> None:
        self._inner[name + self._suffix] = value

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(self._suffix) for name in self._inner)

    def __len__(self) -> int:
        return len(self._inner)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays for code that will call `changed` when it has written."""
        return {
            name.removesuffix(self._suffix): array
            for name, array in self._inner.arrays().items()
        }

    def _home(self, name: str) -> tuple[dict[str, np.ndarray], str]:
        return self._inner._home(name + self._suffix)

    def changed(self) -> None:
        """Say that an array was written to."""
        self._inner.changed()


class ParameterGroup(Mapping[str, np.ndarray]):
    """The parameters of several layers, under prefixed names.

    An array that two layers share appears once, under its first name.

    Parameters
    ----------
    children : mapping of str to Parameters, UnsuffixedParameters or ParameterGroup
        What to join, by prefix; a dot is put between prefix and name.
    """

    def __init__(self, children: Mapping[str, AnyParameters]) -> None:
        self._children = dict(children)
        self._shares = Parameters._shares
        # The dict that holds each array, and its key there: found when first asked for.
        self._homes: list[tuple[str, dict[str, np.ndarray], str]] | None = None
        self._where: dict[str, tuple[str, str]] = {}
        self.aliases: dict[str, str] = {}  # a shared array's other names -> its first
        first: dict[int, str] = {}
        for prefix, child in self._children.items():
            for name, array in child.arrays().items():
                full = f"{prefix}.{name}"
                if id(array) in first:
                    self.aliases[full] = first[id(array)]
                else:
                    first[id(array)] = full
                    self._where[full] = (prefix, name)
            for alias, target in getattr(child, "aliases", {}).items():
                full = f"{prefix}.{target}"  # which may be an alias of one before
                self.aliases[f"{prefix}.{alias}"] = self.aliases.get(full, full)

    def __getstate__(self) -> dict[str, Any]:
        # The count of `share` differs in another process.
        shares = self._shares == Parameters._shares
        return {**self.__dict__, "_shares": shares, "_homes": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shares = Parameters._shares if self._shares else -1

    def share(self, alias: str, name: str) -> None:
        """Replace the array of one full name by that of another, for both to share.

        Raises
        ------
        KeyError
            If there is none of that name.
        ValueError, TypeError
            If the shapes or dtypes differ.
        """
        mine, inner = self._leaf(alias)
        its, its_inner = self._leaf(name)
        mine.share(inner, its, its_inner)

    def _leaf(self, full: str) -> tuple[Parameters, str]:
        """Return the owner of a parameter, also of an alias, and the name there."""
        for prefix, child in self._children.items():
            if full.startswith(f"{prefix}."):
                rest = full[len(prefix) + 1 :]
                if isinstance(child, ParameterGroup):
                    return child._leaf(rest)
                if isinstance(child, Parameters) and rest in child:
                    return child, rest
        raise KeyError(f"{full}: no such parameter")

    def joins(self, children: Mapping[str, AnyParameters]) -> bool:
        """Return whether a new group of these children would equal this one."""
        mine = self._children
        return (
            self._shares == Parameters._shares
            and mine.keys() == children.keys()
            and all(map(is_, mine.values(), children.values()))
        )

    def __getitem__(self, name: str) -> np.ndarray:
        prefix, inner = self._where[name]
        return self._children[prefix][inner]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._where:
            raise KeyError(f"{name}: expected one of {', '.join(self._where)}")
        prefix, inner = self._where[name]
        self._children[prefix][inner] = value
        self.changed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {a.shape}" for name, a in self.arrays().items())
        return f"{type(self).__name__}({{{shapes}}})"

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays for code that will call `changed` when it has written."""
        if self._homes is None:
            self._homes = [(full, *self._home(full)) for full in self._where]
        return {full: home[name] for full, home, name in self._homes}

    def _home(self, full: str) -> tuple[dict[str, np.ndarray], str]:
        """Return the dict that holds an array, which never changes, and its key."""
        prefix, name = self._where[full]
        return self._children[prefix]._home(name)

    def changed(self) -> None:
        """Say that an array was written to."""
        for child in self._children.values():
            child.changed()


AnyParameters = Parameters | UnsuffixedParameters | ParameterGroup


def check_like(name: str, value: Any, like: np.ndarray) -> np.ndarray:
    """Return `value` as an array of the shape and dtype of `like`.

    Raises
    ------
    TypeError
        If the dtype differs: no value is cast in silence.
    ValueError
        If the shape differs.
    """
    array = np.asarray(value)
    if array.dtype != like.dtype:
        raise TypeError(f"{name} must be {like.dtype}; got {array.dtype}")
    if array.shape != like.shape:
        raise ValueError(f"{name} must have the shape {like.shape}; got {array.shape}")
    return array


_ArrayRef = weakref.ref[np.ndarray]
# Writable copies of read-only arrays, by the ids of these, while both are alive.
_writable: dict[int, tuple[_ArrayRef, _ArrayRef]] = {}


def writable(array: np.ndarray) -> np.ndarray:
    """Return an array from a pickle, or a copy of it if it is read-only.

    Memory from outside of the pickle, as joblib and dask pass it, is read-only or a
    mapped file. Objects that share such an array get one copy of it.
    """
    if type(array) is np.ndarray and array.flags.writeable:
        return array
    key = id(array)
    with _lock:
        source, made = _writable.get(key, (None, None))
        if source is not None and source() is array:
            found = None if made is None else made()
            if found is not None:
                return found
        copy = np.array(array, order="C", subok=False)
        _writable[key] = (
            weakref.ref(array, lambda _: _writable.pop(key, None)),
            weakref.ref(copy),
        )
        return copy


def writable_values(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an unpickled object with each array passed by `writable`."""
    return {
        key: writable(value) if isinstance(value, np.ndarray) else value
        for key, value in state.items()
    }


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Compare bits, for which NaN equals itself and 0 differs from -0."""
    unsigned = np.dtype(f"u{a.itemsize}")
    return np.array_equal(a.view(unsigned), b.view(unsigned))
