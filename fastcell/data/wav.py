"""Wav files."""

from __future__ import annotations

import os

import numpy as np


def read_wav(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read a wav file.

    Parameters
    ----------
    path
        The file: PCM of 8 to 32 bits, or floats.

    Returns
    -------
    samples : ndarray of float32, shape (N,)
        From -1 to 1: integers are divided by the largest of their size, 8 bits by 128
        after 128 is taken away, 16 by 32768, more by 2^31. Channels are averaged.
        Floats stay as they are.
    rate : int
        Samples a second.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no wav file that can be read, or holds no sample.
    """
    from scipy.io import wavfile

    name = os.fsdecode(path)
    try:
        rate, samples = wavfile.read(path)
    except OSError:
        raise
    except Exception as error:  # struct.error, EOFError, ValueError: a damaged file
        raise ValueError(f"{name}: not a wav file: {error}") from error
    if samples.size == 0:
        raise ValueError(f"{name}: the file must hold samples; got none")
    scaled = samples.astype(np.float64)
    if samples.dtype == np.uint8:
        scaled = (scaled - 128) / 128
    elif samples.dtype.kind == "i":
        scaled /= -float(np.iinfo(samples.dtype).min)
    if scaled.ndim == 2:
        scaled = scaled.mean(axis=1)
    return scaled.astype(np.float32), int(rate)
