"""Teacher forcing: a decoder's inputs and labels from target sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import integer
from fastcell.losses.ctc import checked_lengths
from fastcell.models.parts.common import IGNORED


def check_marks(bos: Any, eos: Any, vocab_size: int) -> tuple[int, int]:
    """Check the tokens that begin and end a sequence, and return them.

    Raises
    ------
    TypeError
        If one is not an integer.
    ValueError
        If one is not in the vocabulary, or both are the same.
    """
    marks = {}
    for name, value in (("bos", bos), ("eos", eos)):
        marks[name] = integer(name, value, minimum=0)
        if marks[name] >= vocab_size:
            raise ValueError(
                f"{name} must be a token of the vocabulary, 0 to {vocab_size - 1}; "
                f"got {value}"
            )
    if marks["bos"] == marks["eos"]:
        raise ValueError(f"eos must not be bos; got {eos} for both")
    return marks["bos"], marks["eos"]


def padded_ids(
    name: str,
    ids: Any,
    lengths: Any,
    vocab_size: int,
    least: int,
    lengths_name: str = "lengths",
) -> tuple[np.ndarray, np.ndarray | None]:
    """Check token sequences of different length.

    Parameters
    ----------
    name : str
        The argument's name in errors.
    ids : array of integers, shape (T, B)
        Any values past the lengths.
    lengths : array of int, shape (B,), or None
    vocab_size : int
    least : int
        Least number of steps of each sequence.
    lengths_name : str
        The name of the lengths in errors.

    Returns
    -------
    ids : ndarray of int64, shape (T, B)
        0 past the lengths.
    lengths : ndarray of int64, shape (B,), or None

    Raises
    ------
    TypeError
        If the ids or lengths are not integers.
    ValueError
        If a shape is wrong, a sequence too short, or a token unknown.
    """
    array = as_array(name, ids)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers; got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{name} must have the shape (T, B); got {array.shape}")
    T, B = array.shape
    counts = None
    if lengths is not None:
        counts = checked_lengths(lengths_name, lengths, B, T)
    shortest = T if counts is None else int(counts.min(initial=T))
    if B == 0 or shortest < least:
        got = "none" if B == 0 else f"one of {shortest}"
        raise ValueError(f"{name} must hold sequences of {least} or more; got {got}")
    array = array.astype(np.int64)
    if counts is not None:
        array[np.arange(T)[:, np.newaxis] >= counts] = 0
    wrong = (array < 0) | (array >= vocab_size)
    if wrong.any():
        t, b = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{name} must be tokens from 0 to {vocab_size - 1}; "
            f"got {array[t, b]} at step {t} of sequence {b}"
        )
    return array, counts


def teacher_forced(
    target: Any,
    lengths: Any,
    batch_size: int,
    vocab_size: int,
    bos: int,
    eos: int,
    *,
    name: str = "target",
    lengths_name: str = "lengths",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the inputs and the labels of a decoder: targets, shifted by one step.

    Parameters
    ----------
    target : array of integers, shape (T, B)
        From `bos` to `eos`, with any values past the lengths. Without lengths,
        `IGNORED` past the ends.
    lengths : array of int, shape (B,), or None
        Lengths that include `bos` and `eos`.
    batch_size : int
        B of the sources of the targets.
    vocab_size, bos, eos : int
    name, lengths_name : str
        Names of the targets and their lengths in errors.

    Returns
    -------
    inputs : ndarray of int64, shape (T - 1, B)
    labels : ndarray of int64, shape (T - 1, B)
        `IGNORED` past the ends.
    lengths : ndarray of int64, shape (B,)
        Steps of the inputs.

    Examples
    --------
    >>> target = np.array([[1, 1], [5, 6], [2, 7], [0, 2]])
    >>> inputs, labels, lengths = teacher_forced(target, [3, 4], 2, 8, bos=1, eos=2)
    >>> inputs.T.tolist(), lengths.tolist()
    ([[1, 5, 2], [1, 6, 7]], [2, 3])
    >>> labels.T.tolist()
    [[5, 2, -100], [6, 7, 2]]
    """
    if lengths is None:
        found = as_array(name, target)
        if found.ndim == 2 and (found == IGNORED).any():
            lengths = (np.cumsum(found == IGNORED, axis=0) == 0).sum(axis=0)
    ids, counts = padded_ids(name, target, lengths, vocab_size, 2, lengths_name)
    T, B = ids.shape
    if batch_size != B:
        raise ValueError(f"{name} must hold {batch_size} sequences; got {B}")
    if counts is None:
        counts = np.full(B, T)
    for verb, mark, got in (
        ("begin", bos, ids[0]),
        ("end", eos, ids[counts - 1, np.arange(B)]),
    ):
        if (got != mark).any():
            b = int(np.argmax(got != mark))
            raise ValueError(
                f"{name} must {verb} with {mark}; got {got[b]} in sequence {b}"
            )
    there = np.arange(1, T)[:, np.newaxis] < counts
    labels = np.where(there, ids[1:], IGNORED)
    return np.ascontiguousarray(ids[:-1]), labels, counts - 1
