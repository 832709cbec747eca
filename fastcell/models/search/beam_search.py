"""Beam search for a batch of sequences, from the scores of a decoder's steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Step = Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]


@dataclass
class Hypothesis:
    """A decoded sequence and its score.

    Attributes
    ----------
    tokens : list of int
        Without the tokens of the beginning and the end.
    score : float
        Log-probability divided by the length penalty.
    """

    tokens: list[int]
    score: float


def length_penalty_of(length: int | np.ndarray, power: float) -> Any:
    """Return ((5 + length) / 6)^power: Wu et al. 2016, arXiv:1609.08144, equation 14.

    Examples
    --------
    >>> length_penalty_of(1, 0.6), length_penalty_of(7, 1.0)
    (1.0, 2.0)
    """
    return ((5 + length) / 6) ** power


def largest_of(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k largest values of each row and their indices, the largest first.

    Of equal values the first ones are taken. Each value takes one pass over the row:
    for a few values of a large vocabulary, much faster than `numpy.argpartition`.

    Examples
    --------
    >>> values, places = largest_of(np.array([[3.0, 9.0, 5.0, 9.0]]), 3)
    >>> values.tolist(), places.tolist()
    ([[9.0, 9.0, 5.0]], [[1, 3, 2]])
    """
    if 16 * k > scores.shape[-1]:
        places = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
        return np.take_along_axis(scores, places, axis=-1), places
    rows = np.arange(len(scores))
    values = np.empty((len(scores), k), scores.dtype)
    places = np.empty((len(scores), k), np.int64)
    left = scores if k == 1 else scores.copy()
    for j in range(k):
        places[:, j] = at = left.argmax(axis=-1)
        values[:, j] = left[rows, at]
        if j + 1 < k:
            left[rows, at] = -np.inf  # if nothing else is left, argmax repeats index 0
    return values, places


def beam_search(
    step: Step,
    start: Any,
    count: int,
    *,
    bos: int,
    eos: int,
    beam_size: int,
    max_length: int,
    length_penalty: float = 0.0,
    patient: bool = False,
) -> list[list[Hypothesis]]:
    r"""Extend the most likely prefixes of each sequence token by token.

    Of all extensions of a sequence's prefixes by a token, the `beam_size` most likely
    are kept. A hypothesis that ends leaves the beam, which is then smaller by one
    (Sutskever et al. 2014, arXiv:1409.3215). A beam of 1 takes the most likely token of
    each step. Hypotheses are ranked by :math:`\log P(y) / lp(|y|)`, with the penalty of
    `length_penalty_of`; :math:`|y|` includes the end token.

    A sequence is done when its best hypothesis scores higher than all prefixes left,
    each divided by the penalty of its length so far. If `patient`, it is done when no
    prefix can still win: its log-probability can only fall, and its penalty is at most
    that of `max_length`.

    Parameters
    ----------
    step : callable
        ``step(tokens (N,), state) -> scores (N, V), state``: the scores of the next
        token of N rows.
    start
        The state of `count` rows, one for each sequence, before `bos`. It has
        ``select(rows, sequences)``, as `DecodingState`.
    count : int
        Number of sequences.
    bos, eos : int
        Tokens of the beginning and the end.
    beam_size : int
        K, at least 1.
    max_length : int
        Most tokens of a hypothesis, the end included; an unfinished one is taken as it
        is.
    length_penalty : float, default 0.0
        The power, at least 0: 0 prefers short hypotheses, 1 is about the mean
        log-probability.
    patient : bool, default False
        Whether to continue while a longer hypothesis could still win. No effect without
        a penalty.

    Returns
    -------
    list of list of Hypothesis
        For each sequence up to `beam_size` hypotheses, the best first.

    Raises
    ------
    ValueError
        If a score is NaN or infinity.
    """
    search = _Search(count, beam_size, max_length, length_penalty, eos, patient)
    state, tokens = start, np.full(count, bos)
    for t in range(max_length):
        scores, state = step(tokens, state)
        chosen = search.advance(t, scores)
        if chosen is None:
            break
        rows, sequences, tokens = chosen
        state = state.select(rows, sequences)
    return search.hypotheses()


class _Search:
    """The prefixes of all sequences that are not done.

    Each sequence has the same number of rows. A row whose total is minus infinity is
    empty.
    """

    def __init__(
        self,
        count: int,
        beam: int,
        max_length: int,
        power: float,
        eos: int,
        patient: bool,
    ) -> None:
        self._patient = patient
        self._beam, self._max_length, self._power, self._eos = (
            beam,
            max_length,
            power,
            eos,
        )
        self._found: list[list[Hypothesis]] = [[] for _ in range(count)]
        self._open = np.arange(count)  # sequences that are not done
        self._totals = np.zeros((count, 1))  # log-probabilities of their prefixes
        self._words = np.zeros((count, 1, 0), np.int64)

    def hypotheses(self) -> list[list[Hypothesis]]:
        return [
            sorted(found, key=lambda h: -h.score)[: self._beam] for found in self._found
        ]

    def advance(self, t: int, scores: np.ndarray) -> Any:
        """Extend the prefixes by one token.

        Returns the parent row of each new prefix, the sequences left (None: all), and
        the tokens; or None if all sequences are done.
        """
        n, before = self._totals.shape
        totals, parents, tokens = self._best(scores.reshape(n, before, -1))
        # Each finished hypothesis takes one place of the beam.
        places = self._beam - np.array([len(self._found[i]) for i in self._open])
        totals[np.arange(totals.shape[1]) >= places[:, np.newaxis]] = -np.inf
        words = np.concatenate(
            (
                np.take_along_axis(self._words, parents[..., np.newaxis], axis=1),
                tokens[..., np.newaxis],
            ),
            axis=-1,
        )
        ended = (totals > -np.inf) & (tokens == self._eos)
        last = t + 1 == self._max_length
        complete = (totals > -np.inf) if last else ended
        penalty = length_penalty_of(t + 1, self._power)
        for i, k in np.argwhere(complete):
            said = words[i, k, :-1] if ended[i, k] else words[i, k]
            self._found[self._open[i]].append(
                Hypothesis(said.tolist(), float(totals[i, k] / penalty))
            )
        totals[complete] = -np.inf
        return None if last else self._continue(t + 1, totals, parents, tokens, words)

    def _best(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return total, parent and token of the best extensions, the best first.

        The best of a sequence are among the best of its rows, so most work is done row
        by row, in the dtype of the scores.
        """
        n, before, V = scores.shape
        k = min(self._beam, V)
        largest = scores.max(axis=-1, keepdims=True)
        if not np.isfinite(largest).all():
            raise ValueError(
                "the largest of the scores must be finite in each row; got "
                f"{largest[~np.isfinite(largest)][0]}: are the model's weights finite?"
            )
        chosen, top = largest_of(scores.reshape(-1, V), k)
        norm = np.exp(scores - largest).sum(axis=-1, keepdims=True, dtype=np.float64)
        chosen = chosen.reshape(n, before, k).astype(np.float64)
        chosen += self._totals[..., np.newaxis] - largest - np.log(norm)
        flat = chosen.reshape(n, before * k)
        order = np.argsort(-flat, axis=-1, kind="stable")[:, : self._beam]
        return (
            np.take_along_axis(flat, order, axis=-1),
            order // k,
            np.take_along_axis(top.reshape(n, before * k), order, axis=-1),
        )

    def _continue(
        self,
        length: int,
        totals: np.ndarray,
        parents: np.ndarray,
        tokens: np.ndarray,
        words: np.ndarray,
    ) -> Any:
        """Drop the sequences that are done, and the columns that are empty in all."""
        order = np.argsort(-totals, axis=-1, kind="stable")
        width = int((totals > -np.inf).sum(axis=-1).max(initial=0))
        order = order[:, :width]
        totals = np.take_along_axis(totals, order, axis=-1)
        longest = self._max_length if self._patient else length
        bounds = totals.max(axis=-1, initial=-np.inf)
        bounds /= length_penalty_of(longest, self._power)
        left = np.flatnonzero(
            [self._may_win(b, int(s)) for b, s in zip(bounds, self._open, strict=True)]
        )
        if width == 0 or len(left) == 0:
            return None
        order, before = order[left], self._totals.shape[1]
        parents = np.take_along_axis(parents[left], order, axis=-1)
        self._totals = totals[left]
        self._words = np.take_along_axis(words[left], order[..., np.newaxis], axis=1)
        self._open = self._open[left]
        rows = left[:, np.newaxis] * before + parents
        tokens = np.take_along_axis(tokens[left], order, axis=-1)
        sequences = None if len(left) == len(totals) else left  # None: all, as they are
        return rows.reshape(-1), sequences, tokens.reshape(-1)

    def _may_win(self, bound: float, sequence: int) -> bool:
        """Return whether prefixes with this bound of their scores can still win."""
        found = self._found[sequence]
        return bound > max((h.score for h in found), default=-np.inf)
