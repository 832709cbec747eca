"""Reader of wav files: RIFF, RIFX and RF64, with PCM or float samples."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from fastcell._checks.names import path_of
from fastcell.data.files import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN = 0xFFFFFFFF  # a size that is unknown, or stored elsewhere


class _Format(NamedTuple):
    tag: int
    channels: int
    rate: int
    block: int  # bytes of a sample in all channels
    bits: int


def read_wav(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read a wav file.

    Parameters
    ----------
    path
        The file: PCM of 8 to 32 bits, or floats.

    Returns
    -------
    samples : ndarray of float32, shape (N,)
        From -1 to 1. Integers of n bytes are divided by 2^(8 n - 1), after subtracting
        128 from those of one byte. Channels are averaged. Floats are not scaled.
    rate : int
        Samples per second.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a wav file, of another format, truncated, without samples, or has a
        sample that is not finite.
    """
    name = path_of("path", path)
    with reading(path) as file:
        try:
            form, data = _read(file)
        except ValueError as error:
            raise ValueError(f"{name}: must be a wav file; {error}") from None
    samples = data.reshape(-1, form.channels)
    scaled = samples.mean(axis=1, dtype=np.float64)
    if not np.isfinite(scaled).all():
        raise ValueError(f"{name}: samples must be finite; got NaN or infinity")
    if data.dtype == np.uint8:
        scaled = (scaled - 128) / 128
    elif data.dtype.kind == "i":
        scaled /= 2.0 ** (8 * data.dtype.itemsize - 1)
    return scaled.astype(np.float32), form.rate


def _read(file: BinaryIO) -> tuple[_Format, NDArray[Any]]:
    """Return the format, and the raw samples with interleaved channels."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(12)
    order = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}.get(start[:4])
    if order is None or start[8:] != b"WAVE":
        raise ValueError("must begin with RIFF, RIFX or RF64, and WAVE")
    form, large = None, None
    while True:
        head = file.read(8)
        if len(head) < 8:
            what = "no samples" if form else "neither format nor samples"
            raise ValueError(f"the file is cut short: it holds {what}")
        kind, length = struct.unpack(f"{order}4sI", head)
        if not all(32 <= letter < 127 for letter in kind):
            raise ValueError(f"parts must have names of letters; got {kind!r}")
        left = size - file.tell()
        if kind == b"data":
            if form is None:
                raise ValueError("the format must come before the samples")
            if length == _UNKNOWN:  # of RF64, or written to a pipe: all that follows
                length = left if large is None else large
            if length > left:
                raise ValueError(
                    f"the file is cut short: it must hold {length:,} bytes of samples; "
                    f"got {left:,}"
                )
            return form, _samples(file.read(length), form, order)
        if length > left:
            raise ValueError(
                f"the file is cut short in its part {kind!r}: must have {length:,} "
                f"bytes; got {left:,}"
            )
        if kind == b"fmt ":
            form = _format(file.read(length), order)
        elif kind == b"ds64" and length >= 16:
            large = struct.unpack("<8xQ", file.read(16))[0]
            file.seek(length - 16, os.SEEK_CUR)
        else:
            file.seek(length, os.SEEK_CUR)
        file.seek(length % 2, os.SEEK_CUR)  # chunks begin at even offsets


def _format(content: bytes, order: str) -> _Format:
    """Return the format, with all fields checked."""
    if len(content) < 16:
        raise ValueError(f"the format must have 16 bytes; got {len(content)}")
    tag, channels, rate, _, block, bits = struct.unpack_from(f"{order}HHIIHH", content)
    if tag == _EXTENSIBLE and len(content) >= 26:
        tag = struct.unpack_from(f"{order}H", content, 24)[0]
    if tag not in (_PCM, _FLOAT):
        raise ValueError(f"samples must be PCM (1) or floats (3); got format {tag}")
    if rate < 1:
        raise ValueError("samples a second must be at least 1; got 0")
    if channels < 1:
        raise ValueError("channels must be at least 1; got 0")
    if block % channels or block // channels not in (
        (1, 2, 3, 4) if tag == _PCM else (4, 8)
    ):
        raise ValueError(
            f"a sample of {channels} channels must have 1 to 4 bytes of PCM, or 4 or 8 "
            f"of a float, for each; got {block} bytes in all"
        )
    if not 8 * (block // channels - 1) < bits <= 8 * (block // channels):
        raise ValueError(
            f"a sample must have bits that fill its {block // channels} bytes; "
            f"got {bits}"
        )
    return _Format(tag, channels, rate, block, bits)


def _samples(content: bytes, form: _Format, order: str) -> NDArray[Any]:
    if len(content) == 0:
        raise ValueError("the file must hold samples; got none")
    if len(content) % form.block:
        raise ValueError(
            f"samples must have {form.block} bytes each; got {len(content):,} in all"
        )
    size = form.block // form.channels
    if form.tag == _FLOAT:
        return np.frombuffer(content, f"{order}f{size}")
    if size == 3:  # the upper bytes of four
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        places = slice(1, 4) if order == "<" else slice(0, 3)
        wide[:, places] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return wide.view(f"{order}i4")[:, 0]
    return np.frombuffer(content, np.uint8 if size == 1 else f"{order}i{size}")
