"""What models that write tokens have in common: scores, answers, a count of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.models.decoder.attentive_decoder import AttentiveDecoder
from fastcell.models.decoder.token_output import TokenOutput
from fastcell.models.parts.base import ScoredModel
from fastcell.models.parts.common import IGNORED
from fastcell.models.search.decode import find_answers
from fastcell.models.search.decoding_state import DecodingState


class TokenWriter(ScoredModel):
    """A model whose decoder writes one token after the other.

    A subclass makes `_decoder`, `_output`, `bos` and `eos`; its `_checked` returns what
    a batch holds, last the labels and the lengths of the decoder's steps.
    """

    unit = "tokens"

    _decoder: AttentiveDecoder
    _output: TokenOutput
    bos: int
    eos: int

    def count(self, batch: Any) -> int:
        """Return the number of tokens to be written, the ends counted.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcell.models import Seq2Seq
        >>> target = np.array([[2, 2], [7, 3], [3, 0]])
        >>> Seq2Seq(5, 8, 1, 1).count((np.ones((1, 2), int), None, target, [3, 2]))
        3
        """
        return int(np.count_nonzero(self._checked(batch)[-2] != IGNORED))

    def _checked(self, batch: Any) -> tuple[Any, ...]:
        raise NotImplementedError

    def _assessed(
        self, vectors: np.ndarray, labels: np.ndarray
    ) -> tuple[float, None, dict[str, tuple[float, int]]]:
        """Return the loss, None, and how many tokens were the most likely ones."""
        loss, right, counted = self._output.assess(vectors, labels)
        return loss, None, {"accuracy": (float(right), counted)}

    def _step(
        self, tokens: np.ndarray, before: DecodingState
    ) -> tuple[np.ndarray, DecodingState]:
        """Return the scores of the next token of each row, and the state after it."""
        vectors, after = self._decoder.step(tokens, before)
        return self._output(vectors), after

    def _answers(self, first: tuple[Any, ...], count: int, **how: Any) -> list[Any]:
        """Return what is written from a first state, by `find_answers`."""
        start = self._decoder.start(*first)
        marks = {"bos": self.bos, "eos": self.eos}
        return find_answers(self._step, start, count, **marks, **how)
