"""Text files: reading, and splitting into training and validation parts."""

from __future__ import annotations

import codecs
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from fastcell._checks.names import iterable_of, path_of
from fastcell._checks.numbers import integer, real, shown
from fastcell.data.files import reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Text = TypeVar("_Text", str, "NDArray[np.integer]")


def read_text(path: str | os.PathLike[str]) -> str:
    r"""Read a text file as UTF-8.

    A byte order mark at the start is dropped, and all line ends become ``"\n"``, as
    with `open` in text mode. Files named .gz, .bz2 or .xz are decompressed. For files
    larger than memory, see `iter_text`.

    Parameters
    ----------
    path : path

    Returns
    -------
    text : str
        At least one character.

    Raises
    ------
    OSError
        If the file cannot be read; a `FileNotFoundError`, `PermissionError`,
        `IsADirectoryError`, ... that names it.
    ValueError
        If it is empty, not UTF-8, or not compressed as its name implies.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastcell.data import read_text
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "words.txt")
    ...     with open(path, "wb") as file:
    ...         size = file.write(b"to be\r\nor not\r\n")
    ...     read_text(path)
    'to be\nor not\n'
    """
    return "".join(iter_text(path))


def iter_text(path: str | os.PathLike[str], block_size: int = 1 << 20) -> Iterator[str]:
    r"""Read a text file as `read_text`, part by part.

    Parameters
    ----------
    path : path
    block_size : int, default 2**20
        Approximate bytes of a part; characters and line ends are never cut.

    Yields
    ------
    text : str
        At least one character. The parts in order are the text.

    Raises
    ------
    OSError, ValueError
        As from `read_text`, when reading reaches the error.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastcell.data import iter_text
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "words.txt")
    ...     with open(path, "wb") as file:
    ...         size = file.write(b"to be\r\nor not\r\n")
    ...     list(iter_text(path, 6))
    ['to be', '\nor no', 't\n']
    """
    size = integer("block_size", block_size, minimum=4)
    name = path_of("path", path)
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    empty, read = True, 0
    with reading(path) as raw, _content(raw, name) as file:
        while True:
            block = file.read(size)
            if read == 0 and block.startswith(codecs.BOM_UTF8):
                read, block = len(codecs.BOM_UTF8), block[len(codecs.BOM_UTF8) :]
            pending = decoder.getstate()[0]
            try:
                decoded = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                at = error.start
                raise ValueError(
                    f"{name}: the text must be UTF-8; byte {read - len(pending) + at} "
                    f"is 0x{(pending + block)[at]:02x} ({error.reason})"
                ) from None
            read += len(block)
            text = newlines.decode(decoded, final=not block)
            if text:
                empty = False
                yield text
            if not block:
                break
    if empty:
        raise ValueError(f"{name}: the file is empty")


@contextmanager
def _content(file: BinaryIO, name: str) -> Iterator[Any]:
    """Return the content of a file, decompressed."""
    if not name.endswith((".gz", ".bz2", ".xz")):
        yield file
        return
    import bz2
    import gzip
    import lzma
    import zlib

    kind = os.path.splitext(name)[1]
    openers: dict[str, Callable[[BinaryIO], Any]] = {
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
    }
    try:
        with openers[kind](file) as content:
            yield content
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{name}: must be a {kind} file; {error}") from None


def demo_text() -> str:
    """Return the packaged text: 1,115,394 characters of Shakespeare's plays.

    This is "tiny Shakespeare" (github.com/karpathy/char-rnn), in the public domain; the
    last tenth is commonly kept for validation.

    Returns
    -------
    text : str
        Text of 65 distinct characters.

    Examples
    --------
    >>> from fastcell.data import demo_text
    >>> print(demo_text()[:14])
    First Citizen:
    """
    from fastcell.demo_data import tiny_shakespeare

    return tiny_shakespeare()


def split_text(text: _Text, fractions: Sequence[float] = (0.9, 0.1)) -> list[_Text]:
    """Split a text into consecutive parts, such as for training and validation.

    Parameters
    ----------
    text : str or one-dimensional array
        The whole text, or its ids.
    fractions : sequence of float
        The share of each part; positive, with the sum 1.

    Returns
    -------
    parts : list
        One part for each fraction, in the order of the text, covering all of it. Arrays
        are views.

    Raises
    ------
    TypeError
        If `text` is neither a string nor an array of integers, or a fraction is not a
        number.
    ValueError
        If the fractions are not positive or do not sum to 1, or a part is empty.

    Examples
    --------
    >>> from fastcell.data import split_text
    >>> split_text("abcdefghij", (0.8, 0.1, 0.1))
    ['abcdefgh', 'i', 'j']
    """
    if not isinstance(text, str):
        kind = getattr(getattr(text, "dtype", None), "kind", None)
        if kind not in ("i", "u"):  # a TokenFile is not an array, but has a dtype
            raise TypeError(
                f"text must be a string or an array of ids; got {shown(text)}"
            )
        if getattr(text, "ndim", 1) != 1:
            raise ValueError(f"text must have one dimension; got {text.shape}")
    iterable_of("fractions", fractions, "numbers")
    shares = [real(f"fractions[{i}]", f, above=0) for i, f in enumerate(fractions)]
    if not math.isclose(math.fsum(shares), 1.0, abs_tol=1e-9):
        raise ValueError(
            f"fractions must have the sum 1; got {math.fsum(shares)} of {fractions!r}"
        )
    # A sum such as 0.7 + 0.1 may be rounded to just below the intended cut.
    sums = [math.fsum(shares[:i]) for i in range(len(shares))]
    cuts = [math.floor(total * len(text) + 1e-6) for total in sums]
    cuts.append(len(text))
    parts = [text[start:end] for start, end in pairwise(cuts)]
    for i, part in enumerate(parts):
        if not len(part):
            raise ValueError(
                f"the text must be long enough for its {len(parts)} parts; got "
                f"{len(text)} characters, of which part {i} has none"
            )
    return parts
