"""Files of token ids, for texts larger than memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.arrays import check_ids
from fastcell._checks.files import check_apart, named_errors, written_atomically
from fastcell._checks.names import iterable_of, path_of, string_of
from fastcell._checks.numbers import integer, shown
from fastcell.data.files import one_line, reading
from fastcell.data.text import iter_text
from fastcell.data.vocabulary import CharVocabulary
from fastcell.data.words import WordVocabulary, iter_words

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_HEADER_SIZE = 128  # of files written here; the length is written last


class TokenFile:
    """A file of token ids, read only where needed.

    The file is a one-dimensional ``.npy`` of integers, as from `encode_file` and
    `write_tokens`. ``tokens[start:stop]`` is a part of the file, without reading it, so
    `fastcell.data.split_text` takes it; ``np.asarray(tokens)`` reads all.
    `fastcell.data.TextStreams` makes the same windows of it as of an array.

    The file is not memory-mapped: truncating it while in use raises an error instead of
    killing the process.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    path : str
        As given.
    dtype : dtype
        Dtype of the ids in the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or shorter than its header specifies.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from fastcell.data import TokenFile, write_tokens
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "ids.npy")
    ...     tokens = write_tokens(path, [np.arange(3), np.arange(4)], vocab_size=4)
    ...     len(tokens), tokens.dtype, np.asarray(tokens[2:5]).tolist()
    (7, dtype('uint8'), [2, 0, 1])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path_of("path", path)
        with reading(path) as file:
            shape, self.dtype = _read_header(file, self.path)
            self._offset = file.tell()
            held = (os.fstat(file.fileno()).st_size - self._offset) // (
                self.dtype.itemsize
            )
        self._start, self._stop = 0, shape[0]
        if held < shape[0]:
            raise ValueError(
                f"{self.path}: must hold {shape[0]:,} ids, as its header says; "
                f"got {held:,}"
            )

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice) -> TokenFile:
        """Return a contiguous part.

        Raises
        ------
        TypeError
            If `part` is not a slice.
        ValueError
            If its step is not 1.
        """
        if not isinstance(part, slice):
            raise TypeError(f"part must be a slice; got {part!r}")
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"part must have the step 1; got {step}")
        other = TokenFile.__new__(TokenFile)
        other.__dict__.update(self.__dict__)
        other._start = self._start + start
        other._stop = self._start + max(start, stop)
        return other

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        ids = self.columns([0], len(self))[:, 0]
        return ids if dtype is None else ids.astype(dtype, copy=False)

    def columns(self, starts: Iterable[int], count: int) -> NDArray[np.integer]:
        """Read `count` ids from each start on.

        Parameters
        ----------
        starts : iterable of int
            Indices of the first ids.
        count : int
            Number of ids of each range.

        Returns
        -------
        ndarray, shape (count, number of starts)
            The ids, in the dtype of the file.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If a range is not within the file.
        """
        starts = iterable_of("starts", starts, "integers")
        starts = [integer("starts", start, minimum=0) for start in starts]
        count = integer("count", count, minimum=0)
        if starts and max(starts) + count > len(self):
            raise ValueError(
                f"starts must leave {count} ids before the end, {len(self)}; "
                f"got {max(starts)}"
            )
        ids = np.empty((count, len(starts)), self.dtype)
        size = self.dtype.itemsize
        with named_errors(self.path), open(self.path, "rb", buffering=0) as file:
            for column, start in enumerate(starts):
                file.seek(self._offset + (self._start + start) * size)
                stretch = np.fromfile(file, self.dtype, count)
                if len(stretch) < count:
                    raise ValueError(f"{self.path}: is shorter than when it was opened")
                ids[:, column] = stretch
        return ids

    def __repr__(self) -> str:
        return f"<TokenFile of {len(self):,} ids: {self.path}>"


def encode_file(
    text: str | os.PathLike[str],
    path: str | os.PathLike[str],
    vocabulary: CharVocabulary | WordVocabulary,
    end_of_line: str | None = None,
) -> TokenFile:
    r"""Encode a text file to a file of ids, part by part.

    Parameters
    ----------
    text : path
        The text file, as for `fastcell.data.iter_text`.
    path : path
        Where to write the ids; it is written completely or not at all.
    vocabulary : CharVocabulary or WordVocabulary
        Vocabulary of characters, or of words separated by white space.
    end_of_line : str, optional
        The word that replaces each ``"\n"``.

    Returns
    -------
    TokenFile

    Raises
    ------
    OSError
        If a file cannot be read or written.
    TypeError, ValueError
        If an argument is not as described, both paths are the same file, or the
        vocabulary lacks a token.

    Examples
    --------
    Build a vocabulary and encode a text, with about a megabyte in memory:

    >>> import os, tempfile
    >>> import numpy as np
    >>> from fastcell.data import CharVocabulary, encode_file, iter_text
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = os.path.join(folder, "text")
    ...     with open(text, "w") as file:
    ...         size = file.write("hello")
    ...     vocabulary = CharVocabulary.from_texts(iter_text(text))
    ...     np.asarray(encode_file(text, os.path.join(folder, "ids"), vocabulary))
    array([1, 0, 2, 2, 3], dtype=uint8)
    """
    check_apart(path_of("path", path), path_of("text", text))
    if not isinstance(vocabulary, (CharVocabulary, WordVocabulary)):
        raise TypeError(
            "vocabulary must be a CharVocabulary or a WordVocabulary; "
            f"got {shown(vocabulary)}"
        )
    if end_of_line is not None:
        string_of("end_of_line", end_of_line, "a word or None")
        if isinstance(vocabulary, WordVocabulary):
            vocabulary.index(end_of_line)  # or an error, before anything is written
    parts: Iterable[Any] = iter_text(text)
    if isinstance(vocabulary, WordVocabulary):
        parts = iter_words(parts, end_of_line)
    elif end_of_line is not None:
        raise ValueError("end_of_line must be None for characters; got a word")
    return write_tokens(path, map(vocabulary.encode, parts), len(vocabulary))


def write_tokens(
    path: str | os.PathLike[str], parts: Iterable[Any], vocab_size: int
) -> TokenFile:
    """Write ids to a file, in the smallest dtype that `vocab_size` allows.

    Parameters
    ----------
    path : path
        Where to; it is written completely or not at all.
    parts : iterable of arrays of integers, shape (N,)
        The ids, part by part; only one part is in memory at a time.
    vocab_size : int
        All ids are below it.

    Returns
    -------
    TokenFile

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        If a part is not integers.
    ValueError
        If a part is not one-dimensional, or an id is out of range.
    """
    vocab_size = integer("vocab_size", vocab_size, minimum=1)
    kinds = ((1 << 8, "|u1"), (1 << 16, "<u2"), (1 << 31, "<i4"), (1 << 63, "<i8"))
    dtype = np.dtype(next(kind for most, kind in kinds if vocab_size <= most))
    iterable_of("parts", parts, "an iterable of arrays")
    count = 0
    with written_atomically(path_of("path", path)) as file:
        file.write(_header(dtype, 0))
        for number, part in enumerate(parts):
            ids = check_ids(f"parts[{number}]", part, vocab_size)
            if ids.ndim != 1:
                raise ValueError(
                    f"parts[{number}] must have one dimension; got {ids.shape}"
                )
            file.write(ids.astype(dtype).tobytes())
            count += len(ids)
        file.seek(0)
        file.write(_header(dtype, count))
    return TokenFile(path)


def stretches(
    tokens: TokenFile | NDArray[Any], starts: Iterable[int], count: int
) -> NDArray[np.int32]:
    """Return `count` ids from each start on, (count, starts), of tokens on disk.

    Raises
    ------
    ValueError
        If one is negative or beyond int32.
    """
    if isinstance(tokens, TokenFile):
        ids = tokens.columns(starts, count)
    else:
        ids = np.stack([tokens[start : start + count] for start in starts], axis=1)
    check_ids("tokens", ids, np.iinfo(np.int32).max + 1)
    return np.ascontiguousarray(ids, np.int32)


def _header(dtype: np.dtype, count: int) -> bytes:
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({count},), }}"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", _HEADER_SIZE - 10)
    return start + text.ljust(_HEADER_SIZE - 11).encode() + b"\n"


def _read_header(file: Any, name: str) -> tuple[tuple[int, ...], np.dtype]:
    form = np.lib.format
    readers = {
        (1, 0): form.read_array_header_1_0,
        (2, 0): form.read_array_header_2_0,
    }
    try:
        shape, _, dtype = readers[form.read_magic(file)](file)
    except OSError:
        raise
    except Exception as error:  # the header is parsed as Python: any class
        raise ValueError(f"{name}: must be a .npy file; {one_line(error)}") from None
    if len(shape) != 1 or dtype.kind not in "iu":
        raise ValueError(
            f"{name}: must hold integers in one dimension; got {dtype}, {shape!s:.80}"
        )
    if type(shape[0]) is not int or shape[0] < 0:
        raise ValueError(f"{name}: must have a length of 0 or more; got {shape[0]}")
    return shape, dtype
