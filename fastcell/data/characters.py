"""The characters of a text as ids, in as few bytes as they need."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from fastcell.data.text import demo_text, iter_text
from fastcell.data.vocabulary import CharVocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_characters(
    path: str | os.PathLike[str] | None,
) -> tuple[NDArray[np.integer], CharVocabulary, str]:
    """Read the ids of a text, without ever having the text in memory.

    The file is read twice, a megabyte at a time: for its characters, and for their ids.
    Up to 256 different characters make a byte of each.

    Parameters
    ----------
    path : path or None
        As `fastcell.data.iter_text` reads it; None is the packaged text.

    Returns
    -------
    ids : (N,) array of uint8, uint16 or int32
        Read-only.
    vocabulary : CharVocabulary
        The characters of the text.
    sha256 : str
        Of the text in UTF-8, with its line ends as ``iter_text`` gives them.

    Raises
    ------
    OSError, ValueError
        As from `fastcell.data.iter_text`; or if the file changes while it is read.

    Examples
    --------
    >>> from fastcell.data.characters import read_characters
    >>> ids, vocabulary, _ = read_characters(None)
    >>> len(ids), ids.dtype, vocabulary.decode(ids[:13])
    (1115394, dtype('uint8'), 'First Citizen')
    """

    def parts() -> Iterable[str]:
        return [demo_text()] if path is None else iter_text(path)

    count, digest = 0, hashlib.sha256()

    def counted() -> Iterator[str]:
        nonlocal count
        for part in parts():
            count += len(part)
            digest.update(part.encode("utf-8", "surrogatepass"))
            yield part

    vocabulary = CharVocabulary.from_texts(counted())
    kinds = ((1 << 8, np.uint8), (1 << 16, np.uint16), (1 << 31, np.int32))
    ids = np.empty(count, next(k for most, k in kinds if len(vocabulary) <= most))
    filled = 0
    try:
        for part in parts():
            ids[filled : filled + len(part)] = vocabulary.encode(part)
            filled += len(part)
    except ValueError:  # a character that was not there, or too many
        filled = -1
    if filled != count:
        raise ValueError(f"{os.fsdecode(path or '')}: changed while it was read")
    ids.flags.writeable = False
    return ids, vocabulary, digest.hexdigest()
