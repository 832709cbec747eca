"""Benchmark cases of whole language models: the demo's, and two layers of 512."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastcell._judge.cases import Case, normal, uniform


@dataclass(frozen=True)
class LanguageModelCase:
    """The demo's character model and its training.

    Embedding -> LSTM -> Linear -> mean cross entropy -> clipped gradient norm ->
    Adam, on contiguous streams with the state carried from batch to batch.
    """

    vocab_size: int = 65
    embedding_dim: int = 64
    hidden_size: int = 256
    num_layers: int = 1
    T: int = 64
    B: int = 32
    lr: float = 6e-3
    clip_norm: float = 5.0

    @property
    def shape(self) -> str:
        """As the tables print it."""
        return (
            f"V={self.vocab_size} E={self.embedding_dim} "
            f"{self.num_layers}x{self.hidden_size}, T={self.T} B={self.B}"
        )

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes by their letters; L layers."""
        sizes = {"T": self.T, "B": self.B, "I": self.embedding_dim}
        return {**sizes, "H": self.hidden_size, "L": self.num_layers}

    @property
    def tokens(self) -> int:
        """Tokens of one training step."""
        return self.T * self.B

    def batches(self, count: int = 8) -> list[tuple[np.ndarray, np.ndarray]]:
        """``count`` consecutive (inputs, targets) of shape (T, B), int64.

        The ids are random, with the frequencies of Zipf's law, as of letters; the time
        of a step depends on the sizes and on repeated ids, not on the text.
        """
        frequency = 1.0 / np.arange(1, self.vocab_size + 1)
        ids = np.random.default_rng(3).choice(
            self.vocab_size,
            size=(count * self.T + 1, self.B),
            p=frequency / frequency.sum(),
        )
        starts = range(0, count * self.T, self.T)
        return [(ids[t : t + self.T], ids[t + 1 : t + 1 + self.T]) for t in starts]

    def weights(self) -> dict[str, np.ndarray]:
        """Weights in torch's layout, in the order of the model."""
        V, E, H = self.vocab_size, self.embedding_dim, self.hidden_size
        bound = 1 / math.sqrt(H)
        return {
            "embedding.weight": normal((V, E), seed=4),
            **{
                f"lstm.{name.replace('_l0', f'_l{k}')}": value
                for k in range(self.num_layers)
                for name, value in self._layer(k).weights().items()
            },
            **uniform({"linear.weight": (V, H), "linear.bias": (V,)}, bound),
        }

    def _layer(self, k: int) -> Case:
        width = self.hidden_size if k else self.embedding_dim
        return Case("lstm", self.T, self.B, width, self.hidden_size)


#: The models of the mode `demo`.
MODELS = (
    LanguageModelCase(),
    LanguageModelCase(hidden_size=512, num_layers=2),
)
