"""Checkpoints: the complete state of a training run, in one safetensors file.

A checkpoint is a tree of dictionaries, lists and tuples with arrays and plain values as
its leaves. Each array is a tensor of the file, named by its path in the tree; the tree
itself, with each array replaced by its path, is JSON in the metadata. JSON keeps every
bit of a float64, so reading returns exactly what was written. A checksum over all of it
detects a file that was damaged on the disk.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastcell._checks.schema import shortened, shown
from fastcell._core import isa
from fastcell.threads import get_num_threads

_FORMAT = 1
_CLASS = "Checkpoint"
_DEEPEST = 100  # nested dictionaries and lists
_NOT_FINITE = ("nan", "inf", "-inf")


def write_checkpoint(path: str | os.PathLike[str], tree: dict[str, Any]) -> None:
    """Write a tree of arrays and plain values to a file, atomically.

    Parameters
    ----------
    path
        The file. It is written under a temporary name and renamed, so an earlier
        checkpoint of that name stays until the new one is complete.
    tree : dict
        Dictionaries with strings as keys, lists and tuples, nested; the leaves are
        arrays, NumPy scalars, numbers, strings, booleans and None.

    Raises
    ------
    TypeError
        If the tree holds anything else.
    ValueError
        If it is more than 100 dictionaries, lists and tuples deep.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run.checkpoint")
    ...     write_checkpoint(path, {"step": 3, "state": (np.zeros(2), None)})
    ...     read_checkpoint(path)
    {'step': 3, 'state': (array([0., 0.]), None)}
    """
    from fastcell._checks.array_files import write_arrays

    arrays: dict[str, np.ndarray] = {}
    skeleton = _take_apart(tree, "", arrays)
    header = {
        "format": _FORMAT,
        "class": _CLASS,
        "tree": skeleton,
        "crc32": _checksum(skeleton, arrays),
    }
    write_arrays(path, arrays, {"fastcell": json.dumps(header, allow_nan=False)})


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a checkpoint, or a damaged one.
    """
    from fastcell._checks.array_files import parse_json, read_arrays

    arrays, metadata = read_arrays(path)
    name = os.fsdecode(path)
    header = parse_json(name, "metadata 'fastcell'", metadata.get("fastcell", "null"))
    kind = header.get("class") if isinstance(header, dict) else None
    if kind != _CLASS:
        what = f"a {shortened(kind)}" if isinstance(kind, str) else "something else"
        raise ValueError(f"{name}: must be a checkpoint of fastcell; got {what}")
    number = header.get("format")
    if type(number) is not int or number != _FORMAT:
        raise ValueError(f"{name}: the format must be {_FORMAT}; got {shown(number)}")
    if "tree" not in header:
        raise ValueError(f"{name}: damaged checkpoint: the tree is missing")
    # Checkpoints of earlier versions have no checksum.
    if "crc32" in header and header["crc32"] != _checksum(header["tree"], arrays):
        raise ValueError(f"{name}: damaged checkpoint: the checksum is another")
    left = dict(arrays)
    try:
        tree = _put_together(header["tree"], left, 0)
    except ValueError as error:
        raise ValueError(f"{name}: damaged checkpoint: {shortened(error)}") from None
    if left:
        raise ValueError(
            f"{name}: damaged checkpoint: the array {shown(next(iter(left)))} has no "
            "place in the tree"
        )
    if not isinstance(tree, dict):
        raise ValueError(f"{name}: damaged checkpoint: the tree is no dictionary")
    return tree


def _checksum(skeleton: Any, arrays: dict[str, np.ndarray]) -> int:
    """Return the CRC-32 of a tree in its form in the file."""
    crc = zlib.crc32(json.dumps(skeleton, allow_nan=False).encode())
    for name in sorted(arrays):
        array = arrays[name]
        crc = zlib.crc32(repr((name, array.shape, array.dtype.str)).encode(), crc)
        bits = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        crc = zlib.crc32(bits.data, crc)
    return crc


def _take_apart(
    node: Any, path: str, arrays: dict[str, np.ndarray], depth: int = 0
) -> Any:
    """Return `node` as a value for JSON; move its arrays into `arrays`."""
    if depth > _DEEPEST:
        raise ValueError(f"the tree must be at most {_DEEPEST} deep; got {path!r}")
    if node is None or isinstance(node, (bool, str)):
        return node
    if isinstance(node, (np.ndarray, np.generic)):
        while path in arrays:  # only if keys contain a slash
            path += "'"
        # `ascontiguousarray` would give a scalar one dimension.
        arrays[path] = np.asarray(node, order="C")
        return {"array" if isinstance(node, np.ndarray) else "scalar": path}
    if isinstance(node, int):
        return node
    if isinstance(node, float):
        return node if math.isfinite(node) else {"float": repr(node)}
    if isinstance(node, (list, tuple)):
        items = [
            _take_apart(n, f"{path}/{i}", arrays, depth + 1) for i, n in enumerate(node)
        ]
        return {"tuple" if isinstance(node, tuple) else "list": items}
    if isinstance(node, dict):
        wrong = next((key for key in node if not isinstance(key, str)), None)
        if wrong is not None:
            raise TypeError(f"keys must be strings; got {wrong!r} at {path!r}")
        return {
            "dict": {
                key: _take_apart(n, f"{path}/{key}" if path else key, arrays, depth + 1)
                for key, n in node.items()
            }
        }
    raise TypeError(
        "the leaves must be arrays and plain values; "
        f"got {type(node).__name__} at {path!r}"
    )


def _put_together(node: Any, left: dict[str, np.ndarray], depth: int) -> Any:
    """Return the tree from a `node` of `_take_apart`; take its arrays from `left`.

    Raises
    ------
    ValueError
        If `_take_apart` could not have returned it.
    """
    if depth > _DEEPEST:
        raise ValueError(f"the tree must be at most {_DEEPEST} deep")
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if not isinstance(node, dict) or len(node) != 1:
        raise ValueError(f"a node must have one kind; got {shown(node)}")
    ((kind, value),) = node.items()
    if kind in ("array", "scalar"):
        if not isinstance(value, str) or value not in left:
            raise ValueError(f"no array, or one used twice, is called {shown(value)}")
        array = left.pop(value)
        if kind == "array":
            return array
        if array.ndim:
            raise ValueError(f"{shown(value)} must have no dimension")
        return array[()]
    if kind == "float" and value in _NOT_FINITE:
        return float(value)
    if kind in ("list", "tuple") and isinstance(value, list):
        items = [_put_together(n, left, depth + 1) for n in value]
        return items if kind == "list" else tuple(items)
    if kind == "dict" and isinstance(value, dict):
        return {key: _put_together(n, left, depth + 1) for key, n in value.items()}
    raise ValueError(f"unknown kind {shown(kind)}, or not of {shown(value)}")


def data_fingerprint(data: Sequence[Any]) -> dict[str, int]:
    """Return a fingerprint of a data set: its size, and a checksum of its ends.

    Parameters
    ----------
    data : sequence of batches
        At least one batch; only the first and the last are read. Of data with a method
        ``epoch(n)``, those of epochs 0 and 1 are. A batch is an array, or a tuple or
        mapping of arrays, some of which may be None.

    Examples
    --------
    >>> import numpy as np
    >>> one, other = [np.zeros(2)], [np.ones(2)]
    >>> data_fingerprint(one) == data_fingerprint(other)
    False
    """
    crc = 0
    epochs = [data.epoch(n) for n in (0, 1)] if hasattr(data, "epoch") else [data]
    for batch in (epoch[i] for epoch in epochs for i in (0, len(data) - 1)):
        crc = batch_checksum(batch, crc)
    return {"windows": len(data), "crc": crc}


def batch_checksum(batch: Any, crc: int = 0) -> int:
    """Return the CRC-32 of a batch, continued from `crc`, that of batches before.

    Parameters
    ----------
    batch : array, or tuple, list or mapping of arrays and None
    crc : int, default 0

    Examples
    --------
    >>> import numpy as np
    >>> batch = np.zeros(2), None
    >>> batch_checksum(batch) == batch_checksum({"x": batch[0]})
    False
    """
    parts: Any = (batch,)
    if isinstance(batch, Mapping):
        parts = batch.values()
        crc = zlib.crc32(repr(list(batch)).encode(), crc)
    elif isinstance(batch, (tuple, list)):
        parts = batch
    for array in parts:
        if array is None:
            continue
        array = np.asarray(array)
        crc = zlib.crc32(repr((array.shape, array.dtype.str)).encode(), crc)
        crc = zlib.crc32(array.tobytes(), crc)
    return crc


def machine() -> dict[str, Any]:
    """Return what the bits of a gradient depend on, besides its inputs."""
    return {"threads": get_num_threads(), "isa": isa()}
