"""Generation of text: each token is drawn, then read as the next input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, overload

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import seed_of, size
from fastcell.models.parts.vocabularies import Vocabulary, text_of
from fastcell.models.search.sampling import (
    check_sampling,
    draw_tokens,
    token_probabilities,
)


class Generating(ABC):
    """A mixin for models of tokens: `generate` continues a prompt.

    Attributes
    ----------
    vocabulary : vocabulary or None
        The symbols of the tokens; needed for prompts of text.
    """

    vocabulary: Vocabulary | None

    @abstractmethod
    def session(self, batch_size: int = 1) -> Any:
        """Return a session: ``step(ids)`` gives the scores of the next tokens."""

    @abstractmethod
    def _prompt(self, ids: np.ndarray) -> np.ndarray:
        """Check ids (T, B) and return them."""

    @overload
    def generate(
        self,
        prompt: str,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> str: ...

    @overload
    def generate(
        self,
        prompt: Any,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> np.ndarray: ...

    def generate(
        self,
        prompt: Any,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> np.ndarray | str:
        """Continue a prompt by drawing token after token.

        Parameters
        ----------
        prompt : array of integers, shape (T,) or (T, B), or str
            At least one token; B columns are continued in parallel. Text needs a model
            with a vocabulary.
        length : int
            Number of tokens to draw.
        temperature : float, default 1.0
            Divisor of the scores: below 1, likely tokens become likelier. 0 always
            takes the most likely token.
        top_k : int, optional
            Draw from the k most likely tokens only.
        top_p : float, optional
            Draw only from the smallest set of tokens with this total probability. With
            `top_k`, the set is taken from the k tokens.
        seed : int, optional
            Seed of the draws.

        Returns
        -------
        ndarray of int64, shape (length,) or (length, B), or str
            The tokens after the prompt, of the prompt's type.

        Raises
        ------
        TypeError
            If the prompt is neither integers nor text, or another argument is of the
            wrong type.
        ValueError
            If the prompt is empty or holds an unknown token, or another argument is
            out of its range.

        Examples
        --------
        >>> from fastcell.models import LanguageModel
        >>> model = LanguageModel(4, 8, 16, seed=0)
        >>> model.generate([0, 1], 5, temperature=0.8, top_k=3, seed=1).shape
        (5,)
        """
        temperature, top_k, top_p = check_sampling(temperature, top_k, top_p)
        length = size("length", length, minimum=0)
        vocabulary = self.vocabulary if isinstance(prompt, str) else None
        if isinstance(prompt, str) and vocabulary is None:
            raise ValueError(
                "prompt must be token ids, as the model has no vocabulary; got text"
            )
        if vocabulary is not None:
            ids = _encoded(prompt, vocabulary)
        else:
            ids = as_array("prompt", prompt)
        if ids.ndim not in (1, 2):
            raise ValueError(
                f"prompt must have the shape (T,) or (T, B); got {ids.shape}"
            )
        if len(ids) == 0:
            raise ValueError("prompt must hold at least one token; got none")
        columns = self._prompt(ids if ids.ndim == 2 else ids[:, np.newaxis])
        random = np.random.default_rng(seed_of(seed))
        session = self.session(columns.shape[1])
        for token in columns:
            logits = session.step(token)
        drawn = np.empty((length, columns.shape[1]), np.int64)
        for t in range(length):
            p = token_probabilities(logits, temperature, top_k, top_p)
            drawn[t] = draw_tokens(p, random)
            if t + 1 < length:
                logits = session.step(drawn[t])
        if vocabulary is not None:
            return text_of(vocabulary, drawn[:, 0])
        return drawn if ids.ndim == 2 else drawn[:, 0]


def _encoded(prompt: str, vocabulary: Vocabulary) -> np.ndarray:
    try:
        return vocabulary.encode(prompt)
    except ValueError as error:
        raise ValueError(f"prompt: {error}") from None
