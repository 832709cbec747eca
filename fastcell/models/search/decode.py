"""Decoding of a batch of sequences: greedy, by sampling, or by beam search."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._checks.numbers import real, seed_of, size
from fastcell.models.search.beam_search import Step, beam_search
from fastcell.models.search.sampling import draw_tokens, token_probabilities


def decode(
    step: Step,
    start: Any,
    count: int,
    *,
    bos: int,
    eos: int,
    beam_size: int = 1,
    max_length: int = 100,
    length_penalty: float = 0.0,
    temperature: float = 0.0,
    seed: int | None = None,
) -> list[list[int]]:
    """Return a hypothesis for each of `count` sequences, without `bos` and `eos`.

    Parameters
    ----------
    step, start, count, bos, eos
        As for `beam_search`.
    beam_size : int, default 1
        With 1, the most likely token of each step is taken.
    max_length : int, default 100
        Most tokens of a hypothesis, the end included.
    length_penalty : float, default 0.0
        Power of the length penalty of the beam search, at most 10.
    temperature : float, default 0.0
        Above 0, tokens are drawn from the scores divided by it; needs a `beam_size` of
        1.
    seed : int, optional
        Seed of the draws.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, or a score is not finite.
    """
    beam_size = size("beam_size", beam_size)
    max_length = size("max_length", max_length)
    length_penalty = real("length_penalty", length_penalty, minimum=0, maximum=10)
    temperature = real("temperature", temperature, minimum=0)
    seed = seed_of(seed)
    if temperature > 0 and beam_size > 1:
        raise ValueError(f"beam_size must be 1 with a temperature; got {beam_size}")
    if beam_size == 1:
        random = np.random.default_rng(seed)
        return _one_by_one(
            step, start, count, bos, eos, max_length, temperature, random
        )
    found = beam_search(
        step,
        start,
        count,
        bos=bos,
        eos=eos,
        beam_size=beam_size,
        max_length=max_length,
        length_penalty=length_penalty,
    )
    return [hypotheses[0].tokens for hypotheses in found]


def _one_by_one(
    step: Step,
    state: Any,
    count: int,
    bos: int,
    eos: int,
    max_length: int,
    temperature: float,
    random: np.random.Generator,
) -> list[list[int]]:
    """Take one token at each step: the most likely one, or a drawn one."""
    said = np.full((max_length, count), eos)
    left = np.arange(count)
    tokens = np.full(count, bos)
    for t in range(max_length):
        scores, state = step(tokens, state)
        if temperature > 0:
            tokens = draw_tokens(token_probabilities(scores, temperature), random)
        else:
            tokens = scores.argmax(axis=-1)
            if not np.isfinite(scores[np.arange(len(scores)), tokens]).all():
                raise ValueError(
                    "the largest of the scores must be finite in each row: "
                    "are the model's weights finite?"
                )
        said[t, left] = tokens
        going = np.flatnonzero(tokens != eos)
        if len(going) == 0:
            break
        if len(going) < len(left):
            left, tokens = left[going], tokens[going]
            state = state.select(going, going)
    ends = np.where((said == eos).any(axis=0), (said == eos).argmax(axis=0), max_length)
    return [said[:end, b].tolist() for b, end in enumerate(ends)]
