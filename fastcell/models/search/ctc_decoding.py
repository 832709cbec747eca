"""CTC decoding: best path and prefix beam search."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array, check_shape
from fastcell._checks.numbers import integer, size


def greedy(logits: Any, lengths: Any = None, blank: int = 0) -> list[list[int]]:
    """Return the labels of each row's most likely path.

    The path takes the largest score of each step. Repeated classes are merged, then
    blanks are removed (Graves et al. 2006, "best path decoding").

    Parameters
    ----------
    logits : array of floats, shape (T, B, V)
        Scores before the softmax.
    lengths : array of int, shape (B,), optional
        Steps of each row; all T by default.
    blank : int, default 0
        The class of the blank.

    Returns
    -------
    list of lists of int
        The labels of each row.

    Raises
    ------
    ValueError
        If the shape is wrong, a length or the blank out of range, or a score NaN or
        infinite; minus infinity excludes a class.

    Examples
    --------
    >>> scores = np.eye(3)[[1, 1, 0, 1, 2, 2]][:, np.newaxis]  # path 1 1 - 1 2 2
    >>> greedy(scores)
    [[1, 1, 2]]
    """
    logits, lengths, blank = _checked(logits, lengths, blank)
    path = logits.argmax(axis=-1)
    before = np.vstack([np.full((1, path.shape[1]), -1), path[:-1]])
    counted = np.arange(len(path))[:, np.newaxis] < lengths
    kept = counted & (path != blank) & (path != before)
    return [path[kept[:, row], row].tolist() for row in range(path.shape[1])]


def prefix_beam_search(
    logits: Any, lengths: Any = None, beam_size: int = 10, blank: int = 0
) -> list[list[tuple[list[int], float]]]:
    r"""Return the most likely labels of each row, summed over alignments.

    After each step the search keeps the `beam_size` most likely prefixes, each with the
    probability of its paths that end in a blank, :math:`p_b`, and of those that do not,
    :math:`p_{nb}` (Hannun et al. 2014, arXiv:1408.2873, algorithm 1, without a language
    model). For a prefix :math:`l` with the last label :math:`e`, and
    :math:`p = p_b + p_{nb}`,

    .. math::
        p_b(l) &\leftarrow y_t(blank) \, p(l) \\
        p_{nb}(l) &\leftarrow y_t(e) \, p_{nb}(l) + y_t(e) \, (p_b(l') \text{ if } l'
            \text{ ends in } e \text{ too, else } p(l')),
            \qquad l = l' + e

    The probabilities are exact while no prefix is dropped. All rows and prefixes are
    computed at once; prefixes are identified by a hash of 64 bits.

    Parameters
    ----------
    logits : array of floats, shape (T, B, V)
        Scores before the softmax.
    lengths : array of int, shape (B,), optional
        Steps of each row; all T by default.
    beam_size : int, default 10
        Number of prefixes kept.
    blank : int, default 0
        The class of the blank.

    Returns
    -------
    list of lists of (labels, log probability)
        For each row up to `beam_size` distinct label lists, the most likely first.

    Raises
    ------
    TypeError
        If `beam_size` is not an integer.
    ValueError
        As in `greedy`; or if `beam_size` is less than 1.

    Examples
    --------
    The best path is two blanks, 0.36; the three paths to the label sum to 0.64.

    >>> logits = np.log([[[0.6, 0.4]], [[0.6, 0.4]]])
    >>> greedy(logits)
    [[]]
    >>> (labels, score), _ = prefix_beam_search(logits)[0]
    >>> labels, round(float(np.exp(score)), 4)
    ([1], 0.64)
    """
    logits, lengths, blank = _checked(logits, lengths, blank)
    beam_size = size("beam_size", beam_size)
    steps, rows, _ = logits.shape
    log_y = _log_softmax(logits)
    beams = _Beams(rows, beam_size)
    back = np.zeros((steps, 2, rows, beam_size), np.int64)  # parent beam, label added
    for t in range(int(lengths.max(initial=0))):
        back[t] = beams.step(log_y[t], t < lengths, blank)

    total = beams.total()
    found = []
    for row in range(rows):
        order = np.argsort(-total[row], kind="stable")
        best = [int(k) for k in order if total[row, k] > -np.inf]
        length = int(lengths[row])
        found.append(
            [(_labels(back[:length, :, row], k), float(total[row, k])) for k in best]
        )
    return found


class _Beams:
    """The prefixes of all rows: arrays (B, K), and (B, K, V) for their extensions."""

    def __init__(self, rows: int, beam_size: int) -> None:
        shape = rows, beam_size
        self.blank = np.full(shape, -np.inf)  # log p_b, 0 for the empty prefix
        self.label = np.full(shape, -np.inf)  # log p_nb
        self.blank[:, 0] = 0.0
        self.last = np.full(shape, -1)
        # 0: an unused place; 1: the empty prefix.
        self.hash = np.zeros(shape, np.uint64)
        self.hash[:, 0] = 1
        self.parent = np.zeros(shape, np.uint64)

    def total(self) -> np.ndarray:
        total: np.ndarray = np.logaddexp(self.blank, self.label)
        return total

    def step(self, log_y: np.ndarray, active: np.ndarray, blank: int) -> np.ndarray:
        """Extend the rows that are `active` by one step.

        Returns, (2, B, K), the parent of each beam, and the label added or -1.
        """
        rows, beam_size = self.last.shape
        num_classes = log_y.shape[1]
        row = np.arange(rows)[:, np.newaxis]
        beam = np.arange(beam_size)
        total = self.total()
        ends = self.last >= 0
        last = np.maximum(self.last, 0)
        of_last = np.where(ends, log_y[row, last], -np.inf)

        stay_blank = total + log_y[:, blank, np.newaxis]
        stay_label = self.label + of_last
        longer = total[:, :, np.newaxis] + log_y[:, np.newaxis, :]
        # A repeated label is a new one only after a blank.
        longer[row, beam, last] = np.where(
            ends, self.blank + of_last, longer[row, beam, last]
        )
        longer[:, :, blank] = -np.inf

        # A prefix may occur twice: unchanged, and as an extension of a shorter one.
        same = self.parent[:, np.newaxis, :] == self.hash[:, :, np.newaxis]
        same &= ends[:, np.newaxis, :]
        both, shorter = same.any(axis=1), same.argmax(axis=1)
        b, k = np.nonzero(both)
        at = b, shorter[b, k], last[b, k]
        stay_label[b, k] = np.logaddexp(stay_label[b, k], longer[at])
        longer[at] = -np.inf

        candidates = np.concatenate(
            [np.logaddexp(stay_blank, stay_label), longer.reshape(rows, -1)], axis=1
        )
        chosen = np.argsort(-candidates, axis=1, kind="stable")[:, :beam_size]
        score = np.take_along_axis(candidates, chosen, axis=1)
        stays = chosen < beam_size
        source = np.where(stays, chosen, (chosen - beam_size) // num_classes)
        added = np.where(stays, -1, (chosen - beam_size) % num_classes)
        there = score > -np.inf
        before = self.hash[row, source]
        new = {
            "blank": np.where(stays, stay_blank[row, source], -np.inf),
            "label": np.where(stays, stay_label[row, source], score),
            "last": np.where(stays, self.last[row, source], added),
            "hash": np.where(stays, before, _hash(before, added)),
            "parent": np.where(stays, self.parent[row, source], before),
        }
        empty = {"blank": -np.inf, "label": -np.inf, "last": -1, "hash": 0, "parent": 0}
        for name, value in new.items():
            value = np.where(there, value, np.asarray(empty[name], value.dtype))
            old = getattr(self, name)
            setattr(self, name, np.where(active[:, np.newaxis], value, old))
        stayed = ~active[:, np.newaxis]
        return np.stack([np.where(stayed, beam, source), np.where(stayed, -1, added)])


def _hash(before: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Hash a prefix and one more label; odd, so never 0 (splitmix64's finalizer)."""
    z = before + (label + 2).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: np.ndarray = (z ^ (z >> np.uint64(31))) | np.uint64(1)
    return hashed


def _labels(back: np.ndarray, beam: int) -> list[int]:
    """Follow the beams of one row, (T, 2, K), back to the start."""
    labels = []
    for source, added in back[::-1]:
        if added[beam] >= 0:
            labels.append(int(added[beam]))
        beam = int(source[beam])
    return labels[::-1]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    z = logits.astype(np.float64)
    z -= z.max(axis=-1, keepdims=True, initial=-np.inf)
    log_y: np.ndarray = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return log_y


def _checked(logits: Any, lengths: Any, blank: Any) -> tuple[np.ndarray, Any, int]:
    logits = as_array("logits", logits)
    if logits.ndim != 3 or logits.shape[2] == 0 or logits.dtype.kind != "f":
        raise ValueError(
            "logits must be floats of the shape (T, B, V); "
            f"got {logits.dtype} {logits.shape}"
        )
    steps, rows, num_classes = logits.shape
    blank = integer("blank", blank, minimum=0)
    if blank >= num_classes:
        raise ValueError(
            f"blank must be a class from 0 to {num_classes - 1}; got {blank}"
        )
    lengths = np.full(rows, steps) if lengths is None else as_array("lengths", lengths)
    check_shape("lengths", lengths, (rows,))
    if ((lengths < 0) | (lengths > steps)).any():
        raise ValueError(f"lengths must be 0 to {steps}; got {lengths.tolist()}")
    counted = np.arange(steps)[:, np.newaxis] < lengths
    if not np.isfinite(logits.max(axis=-1))[counted].all():
        raise ValueError("logits must not be NaN, nor infinite but where excluded")
    # Scores past the lengths have no effect.
    return np.where(counted[..., np.newaxis], logits, 0), lengths, blank
