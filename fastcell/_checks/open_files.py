"""Reading and writing of open binary files, passed in place of a path."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

_BLOCK = 1 << 24  # bytes read at once: the size that a file specifies may be false


def is_file(name: str, value: Any, method: str) -> bool:
    """Return whether a value is an open file, and not a path.

    Parameters
    ----------
    name : str
        What the error calls the value.
    value : path or binary file
    method : {"read", "write"}
        What the file must have.

    Raises
    ------
    TypeError
        If it is neither. A number is refused: the system would take it for a file
        descriptor of this process and close it.

    Examples
    --------
    >>> import io
    >>> is_file("path", io.BytesIO(), "read"), is_file("path", "model", "read")
    (True, False)
    """
    if isinstance(value, (str, bytes, os.PathLike)):
        return False
    if callable(getattr(value, method, None)):
        return True
    raise TypeError(
        f"{name} must be a path or a binary file with a method {method}; "
        f"got {type(value).__name__}"
    )


def name_of(path: Any) -> str:
    """Return the name of a path or an open file for errors."""
    if isinstance(path, (str, bytes, os.PathLike)):
        return os.fsdecode(path)
    found = getattr(path, "name", None)
    return found if isinstance(found, str) else f"<{type(path).__name__}>"


def read_all(name: str, file: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, or fewer at the end of the file; single reads may be short.

    Raises
    ------
    TypeError
        If the file does not give bytes.
    """
    parts: list[bytes] = []
    left = size
    while left > 0:
        part = file.read(min(left, _BLOCK))
        if not isinstance(part, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"{name} must be a binary file; its read gave {type(part).__name__}"
            )
        if not len(part):
            break
        parts.append(bytes(part))
        left -= len(part)
    return b"".join(parts)


def write_all(name: str, file: BinaryIO, *parts: bytes | memoryview) -> None:
    """Write all bytes; single writes may be short.

    Raises
    ------
    TypeError
        If it is no binary file.
    OSError
        If it takes no more bytes.
    """
    for part in parts:
        left = memoryview(part).cast("B")
        while len(left):
            try:
                count = file.write(left)
            except TypeError as error:
                raise TypeError(f"{name} must be a binary file; {error}") from error
            if count == 0:
                raise OSError(f"{name} must take bytes; {name_of(file)} takes none")
            if count is None:  # the file took everything
                break
            left = left[count:]
