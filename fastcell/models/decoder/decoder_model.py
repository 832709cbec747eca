"""Base class of models with a decoder: token accuracy, decoding, count of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell.models.decoder.attentive_decoder import AttentiveDecoder
from fastcell.models.decoder.token_output import TokenOutput
from fastcell.models.parts.base import ScoredModel
from fastcell.models.parts.common import IGNORED
from fastcell.models.search.decode import decode
from fastcell.models.search.decoding_state import DecodingState


class DecoderModel(ScoredModel):
    """A model whose decoder writes token by token.

    A subclass sets `_decoder`, `_output`, `bos` and `eos`. Its `_checked` returns the
    parts of a batch, of which the labels and the lengths of the decoder are the last.
    """

    unit = "tokens"

    _decoder: AttentiveDecoder
    _output: TokenOutput
    bos: int
    eos: int

    def count(self, batch: Any) -> int:
        """Return the number of target tokens, end tokens included.

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
        """Return the loss, None, and the accuracy of the most likely tokens."""
        loss, right, counted = self._output.assess(vectors, labels)
        return loss, None, {"accuracy": (float(right), counted)}

    def _step(
        self, tokens: np.ndarray, before: DecodingState
    ) -> tuple[np.ndarray, DecodingState]:
        """Return the scores of the next token of each row, and the state after it."""
        vectors, after = self._decoder.step(tokens, before)
        return self._output(vectors), after

    def _hypotheses(self, first: tuple[Any, ...], count: int, **how: Any) -> list[Any]:
        """Return the hypotheses decoded from a first state, by `decode`."""
        start = self._decoder.start(*first)
        marks = {"bos": self.bos, "eos": self.eos}
        return decode(self._step, start, count, **marks, **how)
