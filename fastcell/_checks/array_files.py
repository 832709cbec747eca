"""Arrays in safetensors files, with metadata.

The `safetensors` package reads and writes the format or, where it is not installed,
`fastcell._checks.plain_safetensors`. A file need not be trusted, so this module checks
what the package does not: duplicate keys, and values that NumPy does not have.
"""

from __future__ import annotations

import json
import operator
import os
import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastcell._checks import plain_safetensors
from fastcell._checks.files import Path, check_regular, named_errors, write_atomically
from fastcell._checks.names import mapping_of, path_of
from fastcell._checks.open_files import is_file, name_of, read_all, write_all

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["parse_json", "read_arrays", "short", "write_arrays"]

# The reader's limit, also enforced on writing.
_MAX_HEADER = 100_000_000

_REPR = reprlib.Repr()
_REPR.maxstring = 80
_REPR.maxdict = 20

_NOT_VALID = "not a valid safetensors file"

_DTYPES = {code: np.dtype(name) for name, code in plain_safetensors.NAMES.items()}


def write_arrays(
    path: Path | BinaryIO,
    arrays: Mapping[str, ArrayLike],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to a safetensors file.

    The same arrays and metadata give the same bytes. A temporary file in the same
    folder is written, flushed to the disk and renamed; if that fails, it is removed and
    `path` stays unchanged. An existing file's permissions are kept.

    Parameters
    ----------
    path : path, or binary file
        The destination. A link is followed; anything but a regular file is refused. An
        open file, or any object with a method `write`, receives the bytes at once.
    arrays : mapping of str to array
        Arrays of bool, integers, float16, float32 or float64.
    metadata : mapping of str to str, optional
        Texts to keep beside the arrays.

    Raises
    ------
    TypeError
        If a name or a text is no string, or an array of another dtype; or if `path` is
        neither a path nor a binary file.
    ValueError
        If a name is ``"__metadata__"``, or a text cannot be written as UTF-8.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from fastcell._checks.array_files import read_arrays, write_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "arrays.safetensors")
    ...     write_arrays(path, {"x": np.arange(3.0)}, {"unit": "s"})
    ...     read_arrays(path)
    ({'x': array([0., 1., 2.])}, {'unit': 's'})
    """
    written_to = is_file("path", path, "write")
    if not written_to:
        path = path_of("path", path)
    mapping_of("arrays", arrays, "a mapping of names to arrays")
    tensors = {name: _writable(name, array) for name, array in arrays.items()}
    if metadata is not None:
        mapping_of("metadata", metadata, "a mapping of texts to texts")
    metadata = dict(metadata or {})
    for key, text in metadata.items():
        _check_text("metadata key", key)
        _check_text(f"metadata[{key!r}]", text)
    content = memoryview(_saved(tensors))
    # The package writes metadata in an order that differs from run to run.
    length = int.from_bytes(content[:8], "little")
    header = json.loads(bytes(content[8 : 8 + length]))
    if metadata:
        header = {"__metadata__": dict(sorted(metadata.items())), **header}
    encoded = plain_safetensors.encoded_header(header)
    if len(encoded) > _MAX_HEADER:
        raise ValueError(
            f"names and metadata must fit into {_MAX_HEADER} bytes; got {len(encoded)}"
        )
    parts = len(encoded).to_bytes(8, "little"), encoded, content[8 + length :]
    if isinstance(path, (str, bytes, os.PathLike)):
        write_atomically(path, *parts)
    else:
        write_all("path", path, *parts)


def read_arrays(
    path: Path | BinaryIO,
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read all arrays and the metadata of a safetensors file.

    Parameters
    ----------
    path : path, or binary file
        The file, which need not be trusted; or an object with a method `read`, which is
        read to the end of the arrays and no further.

    Returns
    -------
    arrays : dict of str to array
        Writable and owned by the caller.
    metadata : dict of str to str
        Empty if there are none.

    Raises
    ------
    TypeError
        If `path` is neither a path nor a binary file.
    OSError
        If the file cannot be read.
    ValueError
        If it is no safetensors file, is damaged, or has a duplicate key; or holds an
        array of a dtype that NumPy does not have.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastcell._checks.array_files import read_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "empty.safetensors")
    ...     with open(path, "wb") as file:
    ...         size = file.write(bytes(8) + b"{}")
    ...     try:
    ...         read_arrays(path)
    ...     except ValueError as error:
    ...         print(str(error).removeprefix(path))
    : the header is not valid: Expecting value: line 1 column 1 (char 0)
    """
    content, header = _read(path)
    path = name_of(path)
    tensors = _tensors(path, content)
    metadata = header.pop("__metadata__", None) or {}
    return {name: _array(path, name, tensors[name]) for name in header}, metadata


def _saved(tensors: dict[str, NDArray[Any]]) -> bytes:
    try:
        from safetensors.numpy import save
    except ModuleNotFoundError:
        return plain_safetensors.save(tensors)
    return save(tensors)


def _tensors(path: str, content: bytes) -> dict[str, Mapping[str, Any]]:
    """Return dtype, shape and bytes of each array of a file's content."""
    refused: type[Exception]
    try:
        from safetensors import SafetensorError, deserialize
    except ModuleNotFoundError:
        refused, read = plain_safetensors.SafetensorError, plain_safetensors.deserialize
    else:
        refused, read = SafetensorError, deserialize
    try:
        return dict(read(content))
    except refused as error:
        reason = str(error).removeprefix("Error while deserializing: ")
        raise ValueError(f"{path}: {_NOT_VALID}: {reason}") from None


def _array(path: str, name: str, tensor: Mapping[str, Any]) -> NDArray[Any]:
    if tensor["dtype"] not in _DTYPES:
        raise ValueError(
            f"{path}: the array {short(name)} has the dtype {tensor['dtype']}, "
            f"which NumPy does not have"
        )
    dtype = _DTYPES[tensor["dtype"]]
    stored = dtype.newbyteorder("<")
    raw = np.frombuffer(tensor["data"], np.uint8)
    if dtype == np.bool_ and raw.max(initial=0) > 1:
        raise ValueError(
            f"{path}: the array {short(name)} of bools has a byte that is not 0 or 1"
        )
    try:
        array = np.frombuffer(tensor["data"], stored).reshape(tensor["shape"])
    except (ValueError, OverflowError) as error:  # beyond NumPy's number of dimensions
        raise ValueError(
            f"{path}: the array {short(name)} has a shape that NumPy does not have: "
            f"{error}"
        ) from None
    return (
        array if array.dtype == dtype and array.flags.writeable else array.astype(dtype)
    )


def parse_json(path: str, what: str, text: str) -> Any:
    """Return the JSON value `text`, whose objects have no key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise ValueError(f"the key {short(key)} stands there twice")
            seen[key] = value
        return seen

    def reject(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=reject)
    except RecursionError:
        raise ValueError(f"{path}: the {what} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path}: the {what} is not valid: {error}") from None


def _writable(name: object, value: ArrayLike) -> NDArray[Any]:
    """Check one array and its name; return it C-contiguous and in native byte order."""
    _check_text("arrays: each array name", name)
    if name == "__metadata__":
        raise ValueError("no array may have the name '__metadata__'")
    array = np.asarray(value, order="C")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in _DTYPES.values():
        raise TypeError(
            f"arrays[{name!r}] must be bool, integer, float16, float32 or float64; "
            f"got dtype {array.dtype}"
        )
    return array


def _check_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a string; got {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} must be valid Unicode; got {text!r}") from None


def _read(path: Path | BinaryIO) -> tuple[bytes, dict[str, Any]]:
    """Return a file's content and its header.

    The header is compared with the size of the file before the rest is read: a large
    file of another kind must not fill the memory. The size of an open file is unknown:
    up to as many bytes are read as the header specifies.
    """
    is_file("path", path, "read")  # raises if it is neither that nor a path
    if not isinstance(path, (str, bytes, os.PathLike)):
        return _read_from(path, name_of(path), None)
    path = path_of("path", path)
    with named_errors(path):
        check_regular(path, os.stat(path).st_mode)
        with open(path, "rb") as file:
            return _read_from(file, os.fsdecode(path), os.fstat(file.fileno()).st_size)


def _read_from(
    file: BinaryIO, path: str, size: int | None
) -> tuple[bytes, dict[str, Any]]:
    start = read_all("path", file, 8)
    if len(start) < 8:
        raise ValueError(
            f"{path}: {_NOT_VALID}: it must have at least 8 bytes; got {len(start)}"
        )
    length = int.from_bytes(start, "little")
    if length > _MAX_HEADER or (size is not None and length > size - 8):
        has = "" if size is None else f", but the file has {size}"
        raise ValueError(
            f"{path}: {_NOT_VALID}: it says that its header has {length} bytes{has}"
        )
    encoded = read_all("path", file, length)
    if len(encoded) < length:
        raise ValueError(
            f"{path}: {_NOT_VALID}: it says that its header has {length} bytes, but "
            f"{len(encoded)} follow"
        )
    header, declared = _header(path, encoded)
    if size is not None:
        _check_size(path, declared, size - 8 - length)
    data = read_all("path", file, declared)
    _check_size(path, declared, len(data))
    return start + encoded + data, header


def _check_size(path: str, declared: int, there: int) -> None:
    if declared != there:
        raise ValueError(
            f"{path}: {_NOT_VALID}: the header tells of {declared} bytes of data, but "
            f"{there} follow it"
        )


def _header(path: str, encoded: bytes) -> tuple[dict[str, Any], int]:
    """Return a header, checked where the package does not, and the size of the data."""
    try:
        text = encoded.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {_NOT_VALID}: the header: {error}") from None
    header = parse_json(path, "header", text)
    if not isinstance(header, dict):
        raise ValueError(f"{path}: {_NOT_VALID}: the header must be a JSON object")
    declared = 0
    for name, entry in header.items():
        if name != "__metadata__":
            try:
                _, end = entry["data_offsets"]
                declared = max(declared, operator.index(end))
            except (TypeError, KeyError, ValueError):
                raise ValueError(
                    f"{path}: {_NOT_VALID}: the array {short(name)} has no offsets"
                ) from None
    return header, declared


def short(value: object) -> str:
    """Return a short text of `value` for an error, however long or deep it is."""
    return _REPR.repr(value)
