"""Scheduled sampling: training on inputs that are partly the model's own tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.models.search.beam_search import Step
from fastcell.models.search.sampling import draw_tokens, token_probabilities


def sampled_inputs(
    step: Step,
    state: Any,
    inputs: np.ndarray,
    probability: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Replace some true tokens by tokens that the model draws.

    Bengio et al. 2015, arXiv:1506.03099. No gradient flows through a draw, so the mixed
    sequence is made first, and training then reads it like a true one.

    Parameters
    ----------
    step, state
        As for `beam_search`: scores of the next token, and the state before the first.
    inputs : ndarray of int, shape (T, B)
        The inputs of teacher forcing; the first step is never replaced.
    probability : float
        Probability of replacing each token.
    random : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (T, B)
    """
    mixed = inputs.copy()
    own = random.random(inputs.shape) < probability
    for t in range(1, len(inputs)):
        scores, state = step(mixed[t - 1], state)
        drawn = draw_tokens(token_probabilities(scores), random)
        mixed[t] = np.where(own[t], drawn, inputs[t])
    return mixed
