"""The text of ``fastcell train`` and ``demo``, as windows of ids.

A text is read twice, part by part: first to count its characters, then to write their
ids, of one or two bytes each, to an unnamed temporary file beside the model. So a text
may be larger than the memory, and the system removes the file however the process ends.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.files import check_regular, named_errors
from fastcell.cli.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastcell.data import CharVocabulary, TextStreams

Say = Callable[[str], None]

_LARGE = 1 << 24  # bytes: reading takes a second or more
_FEWEST = 8  # characters of a stream; shorter ones have hardly any context


@dataclass
class Corpus:
    """The text of a run, as windows of ids, and the settings with its hash."""

    settings: Settings
    vocabulary: CharVocabulary
    train: TextStreams
    valid: TextStreams | None
    warning: str | None  # about settings that are probably a mistake


def read_corpus(settings: Settings, say: Say | None = None) -> Corpus:
    """Read the text, and check the settings against it before training.

    Parameters
    ----------
    settings : Settings
    say : callable, optional
        Shows messages to the user while a large text is read.

    Raises
    ------
    OSError
        If the text cannot be read, or is no regular file.
    ValueError
        If it is not UTF-8 text, is too short, or is not the text of the settings.
    """
    import fastcell
    from fastcell.data import TextStreams, split_text

    if settings.threads is not None:
        fastcell.set_num_threads(settings.threads)
    name = settings.text or "the text of the demo"
    vocabulary, ids, sha256 = _encoded(settings, say or (lambda text: None))
    if settings.sha256 and sha256 != settings.sha256:
        raise ValueError(f"{name}: must be the text that the run was started with")
    threads = fastcell.get_num_threads()
    settings = replace(settings, sha256=sha256, threads=threads)

    parts = [ids]
    share = settings.validation_fraction
    if share:
        try:
            parts = split_text(ids, (1 - share, share))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    warning = _check_length(name, settings, len(parts[0]))
    train = TextStreams(parts[0], settings.batch_size, settings.sequence_length)
    if not share:
        return Corpus(settings, vocabulary, train, None, warning)
    if len(parts[1]) < 2:
        raise ValueError(
            f"{name}: too short: validation needs 2 characters; got {len(parts[1])} "
            "(--validation-fraction 0 does without)"
        )
    # Streams of at least one window: at the start of a stream the model has no context,
    # which would raise its loss.
    streams = (len(parts[1]) - 1) // settings.sequence_length
    streams = min(max(streams, 1), settings.batch_size)
    valid = TextStreams(parts[1], streams, settings.sequence_length)
    return Corpus(settings, vocabulary, train, valid, warning)


def _check_length(name: str, settings: Settings, count: int) -> str | None:
    """Refuse streams too short to learn from; return a warning if below a window."""
    batch, window = settings.batch_size, settings.sequence_length
    length = max(count - 1, 0) // batch
    what = f"{count:,} characters to train on make {batch:,} streams of {length:,}"
    least = min(window, _FEWEST)
    if length < least:
        raise ValueError(
            f"{name}: too short: {what}, and {least} are needed; choose a smaller "
            "--batch-size"
        )
    if length < window:
        return (
            f"{name}: {what}, fewer than the {window:,} of a window; a smaller "
            "--batch-size or --sequence-length may serve better"
        )
    return None


def _encoded(settings: Settings, say: Say) -> tuple[CharVocabulary, NDArray[Any], str]:
    """Return the symbols of the text, its ids, and the SHA-256 of its UTF-8."""
    from fastcell.data import CharVocabulary, demo_text, iter_text

    if settings.text is None:
        text = demo_text()
        vocabulary = CharVocabulary.from_text(text)
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        return vocabulary, vocabulary.encode(text), sha256
    path = settings.text
    with named_errors(path):
        status = os.stat(path)
        check_regular(path, status.st_mode)  # others may be endless or read only once
    large = status.st_size >= _LARGE
    size = f"{status.st_size / 1e6:,.0f} MB"
    if large:
        say(f"{path}, {size}: finding its symbols ...")
    vocabulary = CharVocabulary.from_texts(iter_text(path))
    if large:
        say(f"{path}, {size}: {len(vocabulary):,} symbols, to ids ...")
    ids, sha256 = _ids(path, settings.out, vocabulary)
    return vocabulary, ids, sha256


def _ids(
    path: str, out: str, vocabulary: CharVocabulary
) -> tuple[NDArray[np.integer], str]:
    """Return the ids of the text, on the disk, and the SHA-256 of its UTF-8."""
    import tempfile

    from fastcell.data import iter_text

    folder = os.path.dirname(os.path.realpath(out))
    kinds = ((1 << 8, np.uint8), (1 << 16, np.uint16), (1 << 31, np.int32))
    dtype = next(kind for most, kind in kinds if len(vocabulary) <= most)
    digest, count = hashlib.sha256(), 0
    with tempfile.TemporaryFile(dir=folder) as file:
        for part in iter_text(path):
            digest.update(part.encode("utf-8", "surrogatepass"))
            try:
                ids = vocabulary.encode(part)
            except ValueError:
                raise ValueError(f"{path}: changed while it was read") from None
            with named_errors(folder):
                file.write(ids.astype(dtype).tobytes())
            count += len(ids)
        with named_errors(folder):
            file.flush()
        # The memory map keeps the file open.
        return np.memmap(file, dtype, "r", shape=(count,)), digest.hexdigest()
