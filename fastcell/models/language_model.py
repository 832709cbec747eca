"""Language model: predicts each token of a sequence from those before it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import flag, number, real, size
from fastcell.cells import Cell
from fastcell.data import CharVocabulary
from fastcell.layers import Dropout, Embedding, Linear, Sequential
from fastcell.layers.sequential import SequentialSession
from fastcell.models.heads.sampled_softmax import SampledSoftmax
from fastcell.models.heads.softmax import softmax_assess, softmax_loss
from fastcell.models.parts.base import Model
from fastcell.models.parts.cells import cell_named, kept_options, options_config
from fastcell.models.parts.common import (
    IGNORED,
    SavedOnce,
    check_batch,
    check_seed,
    part_seeds,
    precision_of,
    prefixed,
    set_precision,
    take_saved,
)
from fastcell.models.parts.vocabularies import (
    Vocabulary,
    vocabulary_config,
    vocabulary_of,
)
from fastcell.models.search.generation import Generating
from fastcell.module import check_dtype
from fastcell.named_classes import in_files


@in_files
class LanguageModel(Generating, Model):
    r"""Predict each token of a sequence from those before it.

    Many to many, in step: with tokens :math:`x_t`,

    .. math::
        e_t &= \mathrm{dropout}(E_{x_t}) \\
        h_t &= \mathrm{cell}(e_t, h_{t-1}) \\
        y_t &= W \, \mathrm{dropout}(h_t) + b \\
        P(x_{t+1} = v \mid x_1 \dots x_t) &= \mathrm{softmax}(y_t)_v

    (Mikolov et al. 2010; Graves 2013, arXiv:1308.0850; dropout on the connections that
    are not recurrent, Zaremba et al. 2014, arXiv:1409.2329). The layers form a
    `fastcell.Sequential`: without dropout after the embedding, the input product of the
    first recurrent layer is a gathered row. Training and evaluation compute the scores
    in blocks, so a large vocabulary takes no more memory than its weights
    (`fastcell.models.heads.softmax`).

    Parameters
    ----------
    vocab_size : int
        Number of distinct tokens.
    embedding_dim : int
        Features of an embedded token.
    hidden_size : int
        Units of each recurrent layer.
    num_layers : int, default 1
        Stacked recurrent layers.
    cell : str, default "lstm"
        The cell of the recurrent layers: "lstm", "gru", "rnn" (with tanh), or another
        name of `fastcell.cells.REGISTRY`.
    dropout : float, default 0.0
        Probability of dropping a value after the embedding, between the recurrent
        layers and before the scores, in training; in [0, 1).
    tie_weights : bool, default False
        Use the embedding as the weight of the output layer (Press and Wolf 2017,
        arXiv:1608.05859); `embedding_dim` must be the output size of the recurrent
        layer.
    sampled_softmax : int, optional
        Train on an estimate of the loss from this number of drawn tokens
        (`fastcell.models.heads.sampled_softmax`): for large vocabularies whose ids are
        ranks by frequency. `evaluate` returns the true loss.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial weights and of dropout.
    vocabulary : vocabulary or iterable of str, optional
        The character of each token, all distinct; or a vocabulary of `fastcell.data`:
        `CharVocabulary`, `WordVocabulary`, `BytePairVocabulary`, or
        `TokenizerVocabulary` for any tokenizer of Hugging Face. It is saved with the
        model, and lets `generate` continue text.
    precision : {"float32", "bf16"}, optional
        Precision of the recurrent products: see `fastcell.module.Module.to`. Weights,
        gradients and optimizer state are float32 in both cases.
    layer_options : mapping of str to value, optional
        Other arguments of the recurrent layers, such as ``{"init": "orthogonal",
        "forget_bias": 1.0, "zoneout": 0.1}``: those of all layers
        (`fastcell.layers.options.Options`), and those of the cell's class. They are
        saved with the model.

    Attributes
    ----------
    vocabulary : vocabulary or None
        The symbols of the tokens.
    network : Sequential
        The layers.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an argument is out of its range, or `vocabulary` does not name each token
        once.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import LanguageModel
    >>> model = LanguageModel(4, 8, 16, vocabulary="helo", seed=0)
    >>> ids = np.array([[0], [1], [2], [2]])  # "hell", one column
    >>> logits, state = model.predict(ids)
    >>> logits.shape
    (4, 1, 4)
    >>> len(model.generate("hell", 10, seed=0))
    10
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: str = "lstm",
        dropout: float = 0.0,
        tie_weights: bool = False,
        *,
        sampled_softmax: int | None = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        vocabulary: Vocabulary | Iterable[str] | Mapping[str, str] | None = None,
        precision: str | None = None,
        layer_options: Mapping[str, Any] | None = None,
    ) -> None:
        kind = cell_named(cell, layer_options)
        self.vocab_size = size("vocab_size", vocab_size)
        self.embedding_dim = size("embedding_dim", embedding_dim)
        self.hidden_size = size("hidden_size", hidden_size)
        self.num_layers = size("num_layers", num_layers)
        self.cell = cell
        self.dropout = real("dropout", dropout, minimum=0, below=1)
        self.tie_weights = flag("tie_weights", tie_weights)
        self.sampled_softmax = sampled_softmax
        if sampled_softmax is not None:
            count = size("sampled_softmax", sampled_softmax)
            self.sampled_softmax = count
        self.dtype = check_dtype(dtype)
        self.seed = check_seed(seed)
        self.vocabulary = vocabulary_of(vocabulary)
        if self.vocabulary is not None and len(self.vocabulary) != self.vocab_size:
            raise ValueError(
                f"vocabulary must hold vocab_size symbols, {vocab_size}; "
                f"got {len(self.vocabulary)}"
            )
        self._build(kind)
        self.layer_options = kept_options(layer_options)
        set_precision(self, precision)

    def _build(self, cell: Cell) -> None:
        seeds = part_seeds(self.seed, 6)
        embedding = Embedding(
            self.vocab_size, self.embedding_dim, dtype=self.dtype, seed=seeds[0]
        )
        rnn = cell.layer(
            self.embedding_dim,
            self.hidden_size,
            num_layers=self.num_layers,
            dropout=self.dropout if self.num_layers > 1 else 0.0,
            dtype=self.dtype,
            seed=seeds[1],
        )
        decoder = Linear(
            rnn.output_size, self.vocab_size, dtype=self.dtype, seed=seeds[2]
        )
        if self.tie_weights:
            if self.embedding_dim != rnn.output_size:
                raise ValueError(
                    "embedding_dim must be the size of the recurrent layer's output, "
                    f"{rnn.output_size}, to tie the weights; got {self.embedding_dim}"
                )
            _tie(embedding, decoder)
        named = {"embedding": embedding, "rnn": rnn, "decoder": decoder}
        if self.dropout:
            # Without a dropout layer, the recurrent layer directly follows the
            # embedding and takes the gather path.
            named = {
                "embedding": embedding,
                "embedding_dropout": Dropout(self.dropout, seed=seeds[3]),
                "rnn": rnn,
                "rnn_dropout": Dropout(self.dropout, seed=seeds[4]),
                "decoder": decoder,
            }
        self.network = Sequential(named)
        self._body = Sequential({n: p for n, p in named.items() if n != "decoder"})
        self._children = named
        self._decoder = decoder
        self._sampler = None
        if self.sampled_softmax is not None:
            self._sampler = SampledSoftmax(
                self.vocab_size, self.sampled_softmax, seed=seeds[5]
            )

    # ------------------------------------------------------------------ the module

    def children(self) -> dict[str, Any]:
        """Return the layers by name."""
        sampler = {} if self._sampler is None else {"sampler": self._sampler}
        return {**self._children, **sampler}

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        return {
            "vocab_size": self.vocab_size,
            "embedding_dim": self.embedding_dim,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "cell": self.cell,
            "dropout": self.dropout,
            "tie_weights": self.tie_weights,
            "sampled_softmax": self.sampled_softmax,
            "dtype": self.dtype.name,
            "seed": self.seed,
            **precision_of(self),
            **options_config(self),
            "vocabulary": vocabulary_config(self.vocabulary),
        }

    def forward(self, ids: Any, state: Any = None) -> tuple[np.ndarray, Any, Any]:
        """Return the scores of each next token, for training.

        Parameters
        ----------
        ids : array of integers, shape (T, B)
            The tokens.
        state
            The recurrent state to start from; None is zeros.

        Returns
        -------
        logits : ndarray, shape (T, B, vocab_size)
            Scores before the softmax.
        state
            The recurrent state after the last step.
        saved
            Values for the gradient.
        """
        return self.network.forward(self._tokens("ids", ids), state)

    def __call__(self, ids: Any, state: Any = None) -> tuple[np.ndarray, Any]:
        """Return the result of `predict`."""
        return self.predict(ids, state)

    # ------------------------------------------------------------------- the model

    def loss(self, batch: Any, state: Any = None) -> tuple[float, SavedOnce]:
        """Return the mean cross-entropy of the next tokens, in nats.

        With `sampled_softmax` the loss is an estimate.

        Parameters
        ----------
        batch : tuple of two arrays of integers, shape (T, B)
            Inputs and targets; a target of -100 is ignored. Or three arrays, with
            lengths between the two, as from `fastcell.data.Sequences` of ids with tags:
            each sequence then starts from zeros, and targets past the lengths are -100.
            Or a mapping with "inputs", "targets" and "lengths".
        state
            The recurrent state to start from; None is zeros.

        Returns
        -------
        loss : float
            Mean over the targets that count.
        saved
            Values for `backward`, which consumes them. `saved.state` is the state after
            the last step, for the next batch of the same streams; None if the batch has
            lengths.

        Raises
        ------
        TypeError
            If the batch is not as above.
        ValueError
            If the shapes differ or are not (T, B), or a token is out of range.
        """
        batch = _parts(batch)
        inputs, targets = self._checked(batch)
        h, state, saved = self._body.forward(inputs, state)
        loss_of = softmax_loss if self._sampler is None else self._sampler.loss
        loss, dh, grads = loss_of(self._decoder, h, targets)
        kept = SavedOnce(_carried(batch, state), dh, grads, saved)
        kept.count = int(np.count_nonzero(targets != IGNORED))
        return loss, kept

    def backward(self, saved: SavedOnce) -> dict[str, np.ndarray]:
        """Return the gradient of the loss, keyed like `state_dict()`.

        Backpropagation is truncated: no gradient enters after the last step, and none
        flows into the initial state.

        Raises
        ------
        ValueError
            If `saved` was used before.
        """
        dh, decoder, body = take_saved(saved)
        _, _, named = self._body.backward(dh, body)
        if self.tie_weights:
            named["embedding.weight"] += decoder.pop("weight")
        return {**named, **prefixed("decoder", decoder)}

    def evaluate(self, batch: Any, state: Any = None) -> tuple[float, Any]:
        """Return the loss of a batch without dropout, and the state after it.

        Parameters and errors are those of `loss`.
        """
        batch = _parts(batch)
        inputs, targets = self._checked(batch)
        h, state = self._body(inputs, state)
        loss, _, _ = softmax_assess(self._decoder, h, targets)
        return loss, _carried(batch, state)

    def predict(self, ids: Any, state: Any = None) -> tuple[np.ndarray, Any]:
        """Return the scores of each next token, for inference.

        Parameters
        ----------
        ids : array of integers, shape (T, B)
            The tokens.
        state
            The recurrent state to start from; None is zeros.

        Returns
        -------
        logits : ndarray, shape (T, B, vocab_size)
            Scores before the softmax: those of step t are for token t + 1.
        state
            The recurrent state after the last step.

        Raises
        ------
        TypeError
            If `ids` are not integers.
        ValueError
            If `ids` is not (T, B), or an id is out of range.
        """
        tokens = self._tokens("ids", ids)
        result: tuple[np.ndarray, Any] = self.network(tokens, state)
        return result

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The unit of targets: "characters" with a vocabulary of those, or "tokens"."""
        return "characters" if isinstance(self.vocabulary, CharVocabulary) else "tokens"

    def count(self, batch: Any) -> int:
        """Return the number of targets that are not ignored.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcell.models import LanguageModel
        >>> targets = np.array([[1, 2], [3, -100]])
        >>> LanguageModel(4, 1, 1).count((np.zeros((2, 2), int), targets))
        3
        """
        return int(np.count_nonzero(self._checked(_parts(batch))[1] != IGNORED))

    def metrics(self, loss: float) -> dict[str, float]:
        """Return the loss in bits per character (token), under ``"bpc"``."""
        return {"bpc": number("loss", loss) / math.log(2)}

    def session(self, batch_size: int = 1) -> SequentialSession:
        """Return a session that reads one token at a time.

        ``session.step(ids)`` takes one token for each row, shape (B,), and returns the
        scores of the next token, shape (B, vocab_size).
        """
        batch_size = size("batch_size", batch_size, minimum=0)
        return self.network.session(batch_size=batch_size)

    # ------------------------------------------------------------------------ checks

    def _checked(self, batch: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray]:
        inputs = _ids("inputs", batch[0])
        targets = _ids("targets", batch[-1])
        if inputs.shape != targets.shape:
            raise ValueError(
                f"targets must have the shape of the inputs, {inputs.shape}; "
                f"got {targets.shape}"
            )
        self._check_range("inputs", inputs)
        self._check_range("targets", targets[targets != IGNORED])
        return inputs, targets

    def _prompt(self, ids: np.ndarray) -> np.ndarray:
        return self._tokens("prompt", ids)

    def _tokens(self, name: str, ids: Any) -> np.ndarray:
        columns = _ids(name, ids)
        self._check_range(name, columns)
        return columns

    def _check_range(self, name: str, ids: np.ndarray) -> None:
        if ids.size and (ids.min() < 0 or ids.max() >= self.vocab_size):
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise ValueError(
                f"{name} must be ids from 0 to {self.vocab_size - 1}; got {wrong}"
            )


def _parts(batch: Any) -> tuple[Any, ...]:
    """Return a batch, a tuple or a mapping, as a tuple of its parts."""
    if isinstance(batch, Mapping):
        with_lengths = "lengths" in batch
        return check_batch(
            batch, "(inputs, lengths, targets)" if with_lengths else "(inputs, targets)"
        )
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise TypeError(
            "batch must be a pair (inputs, targets), or (inputs, lengths, targets)"
            f"; got {type(batch).__name__}"
        )
    return tuple(batch)


def _carried(batch: Any, state: Any) -> Any:
    """Return the state for the next batch; None if the batch has lengths."""
    return None if len(batch) == 3 else state


def _tie(embedding: Embedding, decoder: Linear) -> None:
    """Tie the weights of both layers.

    The initial weight is the decoder's. An embedding of unit variance would make the
    first scores as large as the square root of the hidden size, and the first loss far
    above log V.
    """
    embedding.params["weight"] = decoder.params["weight"]
    decoder._parameters.share("weight", embedding._parameters)


def _ids(name: str, ids: Any) -> np.ndarray:
    ids = as_array(name, ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers; got dtype {ids.dtype}")
    if ids.ndim != 2:
        raise ValueError(f"{name} must have the shape (T, B); got {ids.shape}")
    checked: np.ndarray = ids
    return checked
