"""The safetensors format in Python, where the package `safetensors` is not installed.

`save` and `deserialize` take and return what the package's functions of these names do,
and write the same bytes. A file is a length, a header in JSON, and the arrays' bytes in
the order of the header's offsets.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# In the package's order: arrays of the last dtypes come first in a file.
NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}
_RANKS = {name: rank for rank, name in enumerate(NAMES)}
_SIZES = {code: np.dtype(name).itemsize for name, code in NAMES.items()}
_SIZES |= {"BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}  # which NumPy does not have


class SafetensorError(Exception):
    """The content is not in the format."""


def save(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes of a file with these arrays."""
    order = sorted(tensors, key=lambda name: (-_RANKS[tensors[name].dtype.name], name))
    header, parts, begin = {}, [], 0
    for name in order:
        array = tensors[name]
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        header[name] = {
            "dtype": NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, begin + len(data)],
        }
        parts.append(data)
        begin += len(data)
    encoded = encoded_header(header)
    return b"".join([len(encoded).to_bytes(8, "little"), encoded, *parts])


def encoded_header(header: Mapping[str, Any]) -> bytes:
    """Return a header's bytes, padded so that the data begin at a multiple of 8."""
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return encoded + b" " * (-len(encoded) % 8)


def deserialize(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return name, dtype, shape and bytes of each array of a file.

    Raises
    ------
    SafetensorError
        If the arrays do not follow each other without gaps from the first byte of the
        data to the last, or a dtype, a shape or an offset is wrong.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    try:
        "".join(header).encode()
    except UnicodeEncodeError as error:
        raise SafetensorError(
            f"the header has a name that is no text: {error}"
        ) from None
    data = memoryview(content)[8 + length :]
    metadata = header.pop("__metadata__", None)
    if metadata is not None and not (
        isinstance(metadata, dict)
        and all(isinstance(v, str) for v in metadata.values())
    ):
        raise SafetensorError("the header's metadata must map strings to strings")
    found, at = [], 0
    for name, entry in sorted(header.items(), key=lambda item: _begin(*item)):
        dtype, shape = entry.get("dtype"), entry.get("shape")
        begin, end = entry["data_offsets"]
        size = _SIZES.get(dtype) if isinstance(dtype, str) else None
        if size is None:
            raise SafetensorError(f"unknown dtype of {name!r}: {dtype!r}")
        if not isinstance(shape, list) or not all(_is_count(n) for n in shape):
            raise SafetensorError(f"invalid shape of {name!r}: {shape!r}")
        if begin != at or end - begin != math.prod(shape) * size:
            raise SafetensorError(f"invalid offsets of {name!r}: {begin}, {end}")
        tensor = {"dtype": dtype, "shape": shape, "data": bytearray(data[begin:end])}
        found.append((name, tensor))
        at = end
    if at != len(data):
        raise SafetensorError("bytes that belong to no array")
    return found


def _begin(name: str, entry: Any) -> tuple[int, int]:
    """Return the offsets of an array, which have to be two numbers."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(_is_count(n) for n in offsets)
    ):
        raise SafetensorError(f"invalid offsets of {name!r}")
    return offsets[0], offsets[1]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63
