"""Binary files that the caller has opened, where a path could stand as well."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

_BLOCK = 1 << 24  # bytes read at once: a size that a file tells need not be true


def is_file(name: str, value: Any, method: str) -> bool:
    """Is it an open file, and not a path?

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
        If it is neither; a number, which the system would take for an open file of this
        process and close, is none.

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
    """Return what errors call a path or an open file."""
    if isinstance(path, (str, bytes, os.PathLike)):
        return os.fsdecode(path)
    found = getattr(path, "name", None)
    return found if isinstance(found, str) else f"<{type(path).__name__}>"


def read_all(name: str, file: BinaryIO, size: int) -> bytes:
    """Read so many bytes, fewer at the end of the file, however few come at once.

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
    """Write all bytes, however few the file takes at once.

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
            if count is None:  # as those do that take everything
                break
            left = left[count:]
