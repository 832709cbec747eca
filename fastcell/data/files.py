"""Opening of data files, with one-line errors that name the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from fastcell._checks.files import check_regular, named_errors
from fastcell._checks.names import path_of


@contextmanager
def reading(path: Any, argument: str = "path") -> Iterator[BinaryIO]:
    """Open a regular file for reading; others are refused, as a pipe may block.

    Raises
    ------
    TypeError
        If `path` is not a path.
    OSError
        If the file cannot be read, also within the context; the error names the file.
    ValueError
        If the path holds a NUL.
    """
    name = path_of(argument, path)
    with named_errors(name):
        check_regular(name, os.stat(name).st_mode)
        with open(name, "rb") as file:
            yield file


def one_line(error: BaseException) -> str:
    """Return the message of an error as one line.

    Examples
    --------
    >>> one_line(KeyError("x"))
    "KeyError: 'x'"
    >>> one_line(ValueError("two\\nlines"))
    'two lines'
    """
    text = " ".join(str(error).split())[:300]
    if isinstance(error, ValueError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
