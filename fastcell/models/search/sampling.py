"""Sampling of tokens from scores: temperature, top-k and top-p.

The scores are divided by the temperature, cut to the `top_k` most likely tokens, then
to the nucleus of `top_p`, in that order; each cut renormalizes the rest. All is
computed in float64, so that a cumulative sum over a large vocabulary ends at 1.
"""

from __future__ import annotations

import numpy as np

from fastcell._checks.numbers import integer, real


def check_sampling(
    temperature: float, top_k: int | None, top_p: float | None
) -> tuple[float, int | None, float | None]:
    """Check the three options of sampling and return them as plain numbers.

    Parameters
    ----------
    temperature : float
        At least 0 and finite; 0 means the most likely token.
    top_k : int, optional
        At least 1.
    top_p : float, optional
        In (0, 1].

    Raises
    ------
    TypeError
        If one of them is not a number of its kind.
    ValueError
        If one of them is out of its range.

    Examples
    --------
    >>> check_sampling(1, None, 0.9)
    (1.0, None, 0.9)
    >>> check_sampling(-1.0, None, None)
    Traceback (most recent call last):
    ...
    ValueError: temperature must be a finite number >= 0; got -1.0
    """
    temperature = real("temperature", temperature, minimum=0)
    if top_k is not None:
        top_k = integer("top_k", top_k, minimum=1)
    if top_p is not None:
        top_p = real("top_p", top_p, above=0, maximum=1)
    return temperature, top_k, top_p


def token_probabilities(
    logits: np.ndarray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> np.ndarray:
    r"""Return the distribution that a token is drawn from.

    With :math:`p = \mathrm{softmax}(y / \mathrm{temperature})`:

    - `top_k` keeps exactly k tokens, the most likely ones; of equal scores the lower id
      goes first (Fan et al. 2018, arXiv:1805.04833).
    - `top_p` keeps the nucleus, the smallest set of most likely tokens whose
      probabilities sum to at least `top_p`: the token that crosses the border is in it,
      so at least one is kept (Holtzman et al. 2020, arXiv:1904.09751).

    Parameters
    ----------
    logits : ndarray, shape (..., vocab_size)
        The scores, of any float dtype. Minus infinity excludes a token.
    temperature, top_k, top_p
        As for `LanguageModel.generate`. A temperature of 0 leaves only the most likely
        token.

    Returns
    -------
    ndarray of float64, shape (..., vocab_size)
        Probabilities; each row sums to 1, and tokens that were cut have exactly 0.

    Raises
    ------
    ValueError
        If a row of `logits` holds NaN or infinity, or nothing but minus infinity.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.log([0.5, 0.25, 0.15, 0.1])
    >>> token_probabilities(logits, top_k=2).round(3)
    array([0.667, 0.333, 0.   , 0.   ])
    >>> token_probabilities(logits, top_p=0.6).round(3)
    array([0.667, 0.333, 0.   , 0.   ])
    >>> token_probabilities(logits, temperature=0.5).round(3)
    array([0.725, 0.181, 0.065, 0.029])
    """
    temperature, top_k, top_p = check_sampling(temperature, top_k, top_p)
    logits = np.asarray(logits, np.float64)
    largest = logits.max(axis=-1, keepdims=True)
    # A maximum is NaN if any score is, and infinite if no softmax exists.
    if not np.isfinite(largest).all():
        raise ValueError(
            "the largest of the logits must be finite in each row; got "
            f"{largest[~np.isfinite(largest)][0]}: are the model's weights finite?"
        )
    if temperature == 0:
        top_k, temperature = 1, 1.0
    if top_k is not None and top_k >= logits.shape[-1]:
        top_k = None
    if top_p == 1:
        top_p = None  # a cumulative sum may round to 1 before its end
    # A tiny temperature overflows to minus infinity, which is the right limit.
    with np.errstate(over="ignore"):
        p: np.ndarray = np.exp((logits - largest) / temperature)
    p /= p.sum(axis=-1, keepdims=True)
    if top_k is None and top_p is None:
        return p
    # Sorted by scores: they differ where probabilities underflow to the same value.
    order = np.argsort(-logits, axis=-1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=-1)
    if top_k is not None:
        ranked[..., top_k:] = 0
        ranked /= ranked.sum(axis=-1, keepdims=True)
    if top_p is not None:
        # A token stays if those before it do not yet reach top_p.
        before = np.cumsum(ranked, axis=-1)[..., :-1]
        ranked[..., 1:][before >= top_p] = 0
        ranked /= ranked.sum(axis=-1, keepdims=True)
    np.put_along_axis(p, order, ranked, axis=-1)
    return p


def draw_tokens(probabilities: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw one token of each row by the inverse of its cumulative distribution.

    Each row takes one uniform number, so its tokens depend only on the seed and the
    number of rows.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (B, vocab_size)
        Each row sums to 1, up to rounding.
    random : numpy.random.Generator
        The source of the uniform numbers.

    Returns
    -------
    ndarray of int64, shape (B,)
        Tokens of a probability above 0.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
    >>> tokens = draw_tokens(p, np.random.default_rng(0))
    >>> int(tokens[0]), int(tokens[1]) in (1, 2)
    (1, True)
    """
    cumulative = np.cumsum(probabilities, axis=-1)
    # Scaled by the rounded sum, so that u stays below the last value. The cumulative
    # sum first exceeds u where it grows: never at probability 0.
    u = random.random((len(probabilities), 1)) * cumulative[:, -1:]
    places: np.ndarray = (cumulative <= u).sum(axis=-1)
    tokens: np.ndarray = np.minimum(places, _last_possible(probabilities))
    return tokens.astype(np.int64)


def _last_possible(probabilities: np.ndarray) -> np.ndarray:
    """Return the last token of each row that can occur.

    It is used if the product u * sum rounds up to the sum, which no value exceeds.
    """
    last: np.ndarray = (
        probabilities.shape[-1] - 1 - (probabilities[:, ::-1] > 0).argmax(axis=-1)
    )
    return last
