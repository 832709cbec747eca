"""Speech recognizer: from frames of sound to labels, by CTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastcell._checks.names import list_of
from fastcell._checks.numbers import shown, size
from fastcell.layers import Dropout, Linear, Sequential
from fastcell.layers.sequential import SequentialSession
from fastcell.losses.ctc import checked_labels, run_ctc
from fastcell.models.parts.base import ScoredModel
from fastcell.models.parts.common import (
    SavedOnce,
    check_batch,
    check_no_state,
    check_seed,
    part_seeds,
    precision_of,
    set_precision,
    take_saved,
)
from fastcell.models.parts.encoder import Encoder
from fastcell.models.search.ctc_decoding import greedy, prefix_beam_search
from fastcell.models.search.edit_distance import count_errors
from fastcell.named_classes import in_files

BLANK = 0
_FORM = "(x, lengths, labels, label_lengths)"


@in_files
class SpeechRecognizer(ScoredModel):
    r"""Map frames to a shorter sequence of labels of unknown alignment.

    Recurrent layers score the labels and a blank at every step. The loss is
    connectionist temporal classification: the negative logarithm of the labels'
    probability, which is a sum over all alignments:

    .. math::
        h_t &= \mathrm{cell}(x_t, h_{t-1}) \\
        y_t &= W \, \mathrm{dropout}(h_t) + b \\
        loss &= - \frac{1}{B} \sum_b \frac{1}{\max(L_b, 1)} \log P(l_b \mid y_b)

    (Graves et al., ICML 2006, doi:10.1145/1143844.1143891; bidirectional layers:
    Graves, Mohamed and Hinton 2013, arXiv:1303.5778). Class 0 is the blank, labels are
    1 to `num_labels`.

    Parameters
    ----------
    input_size : int
        Features of a frame.
    hidden_size : int
        Units of each recurrent layer and direction.
    num_labels : int, optional
        Number of distinct labels, without the blank; optional with a vocabulary.
    num_layers : int, default 1
        Stacked recurrent layers.
    cell : str, default "lstm"
        The cell of the recurrent layers: "lstm", "gru", "rnn" (with tanh), or another
        name of `fastcell.cells.REGISTRY`.
    dropout : float, default 0.0
        Probability of dropping a value between the recurrent layers and before the
        scores, in training; in [0, 1).
    bidirectional : bool, default False
        Whether each layer runs in both directions; if so, the model has no `session`.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial weights and of dropout.
    vocabulary : iterable of str, optional
        The name of each label, all distinct, label 1 first: letters, phones or words.
        It is saved with the model; `transcribe` returns these names.
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
    vocabulary : tuple of str or None
        The names of the labels.
    encoder : Encoder
        The recurrent layers.
    network : Sequential
        All layers.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an argument is out of its range, or `vocabulary` does not name each label
        once.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import SpeechRecognizer
    >>> model = SpeechRecognizer(40, 16, vocabulary=["no", "yes"], seed=0)
    >>> x = np.zeros((30, 2, 40), np.float32)  # 30 frames, 2 utterances
    >>> labels = np.array([[1, 2, 2], [2, 0, 0]])
    >>> loss, saved = model.loss((x, [30, 12], labels, [3, 1]))
    >>> sorted(model.backward(saved))[:2]
    ['decoder.bias', 'decoder.weight']
    >>> len(model.predict(x, [30, 12], beam_size=4))
    2
    """

    unit = "recordings"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_labels: int | None = None,
        num_layers: int = 1,
        cell: str = "lstm",
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = np.float32,
        seed: int | None = None,
        vocabulary: Iterable[str] | None = None,
        precision: str | None = None,
        layer_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.vocabulary = _names(vocabulary)
        if num_labels is None:
            if self.vocabulary is None:
                raise ValueError("num_labels must be given without a vocabulary")
            num_labels = len(self.vocabulary)
        self.num_labels = size("num_labels", num_labels)
        if self.vocabulary is not None and len(self.vocabulary) != self.num_labels:
            raise ValueError(
                f"vocabulary must hold num_labels names, {self.num_labels}; "
                f"got {len(self.vocabulary)}"
            )
        self.seed = check_seed(seed)
        seeds = part_seeds(self.seed, 3)
        self.encoder = Encoder(
            input_size,
            hidden_size,
            num_layers,
            cell,
            bidirectional,
            dropout,
            dtype=dtype,
            rnn_seed=seeds[0],
            layer_options=layer_options,
        )
        named = self.encoder.children()
        self.dropout = self.encoder.dropout
        if self.dropout:
            named["rnn_dropout"] = Dropout(self.dropout, seed=seeds[2])
        named["decoder"] = Linear(
            self.encoder.output_size,
            self.num_labels + 1,
            dtype=self.encoder.dtype,
            seed=seeds[1],
        )
        self._children = named
        self.network = Sequential(named)
        set_precision(self, precision)

    # ------------------------------------------------------------------ the module

    def children(self) -> dict[str, Any]:
        """Return the layers by name."""
        return dict(self._children)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        config = self.encoder.config()
        del config["embedding_dim"]
        return {
            **config,
            "num_labels": self.num_labels,
            "seed": self.seed,
            **precision_of(self),
            "vocabulary": None if self.vocabulary is None else list(self.vocabulary),
        }

    # ------------------------------------------------------------------- the model

    def loss(self, batch: Any, state: Any = None) -> tuple[float, SavedOnce]:
        """Return the mean over the rows of the CTC loss per label, in nats.

        Parameters
        ----------
        batch : tuple of four
            x, array of the model's dtype, shape (T, B, input_size), which is kept and
            must not be written to before `backward`; lengths, integers (B,) or None;
            labels, integers (B, L) from 1; label_lengths, integers (B,) or None.
        state
            Must be None: batches do not continue one another.

        Returns
        -------
        loss : float
            The mean.
        saved
            Values for `backward`, which consumes them; `saved.state` is None.

        Raises
        ------
        TypeError
            If the batch is not such a tuple, or a dtype is wrong.
        ValueError
            If a shape is wrong, there is no row, a feature is NaN or infinite, a length
            or a label is out of range, or a row has too few steps for its labels; the
            error names the row.
        """
        x, lengths, labels, label_lengths = self._checked(batch, state)
        logits, _, saved = self.network.forward(x, lengths=lengths)
        loss, dlogits = self._ctc(logits, lengths, labels, label_lengths, True)
        kept = SavedOnce(None, dlogits, saved)
        kept.count = x.shape[1]
        return loss, kept

    def backward(self, saved: SavedOnce) -> dict[str, np.ndarray]:
        """Return the gradient of the loss, keyed like `state_dict()`.

        Raises
        ------
        ValueError
            If `saved` was used before.
        """
        dlogits, network = take_saved(saved)
        grads: dict[str, np.ndarray] = self.network.backward(dlogits, network)[2]
        return grads

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, None, dict[str, tuple[float, int]]]:
        """Return what `evaluate` returns, and the label error rate of the best paths.

        The rate is the number of edits from the labels of the best path to the true
        ones, divided by the number of true labels. It may exceed 1.
        """
        x, lengths, labels, label_lengths = self._checked(batch, state)
        logits = self._infer(x, lengths)
        loss, _ = self._ctc(logits, lengths, labels, label_lengths, False)
        wanted = [
            row[:n].tolist() for row, n in zip(labels, label_lengths, strict=True)
        ]
        edits, count = count_errors(greedy(logits, lengths, BLANK), wanted)
        return loss, None, {"label_error_rate": (float(edits), count)}

    def scores(self, x: Any, lengths: Any = None) -> np.ndarray:
        """Return the scores, before the softmax, of blank and labels at each step.

        Parameters
        ----------
        x : array, shape (T, B, input_size)
            The frames, of the model's dtype.
        lengths : array of int, shape (B,), optional
            Steps of each row; all T by default.

        Returns
        -------
        ndarray, shape (T, B, num_labels + 1)
            Undefined past the lengths.
        """
        return self._infer(*self._checked_input(x, lengths))

    def predict(
        self, x: Any, lengths: Any = None, beam_size: int = 1
    ) -> list[list[int]]:
        """Return the labels of each row.

        Parameters
        ----------
        x : array, shape (T, B, input_size)
            The frames, of the model's dtype.
        lengths : array of int, shape (B,), optional
            Steps of each row; all T by default.
        beam_size : int, default 1
            With 1 the labels of the best path, else those of a prefix beam search of
            this size (`fastcell.models.search.ctc_decoding`).

        Returns
        -------
        list of lists of int
            From 1 to `num_labels`.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is wrong, a feature NaN or infinite, or an argument out of range.
        """
        beam_size = size("beam_size", beam_size)
        x, lengths = self._checked_input(x, lengths)
        logits = self._infer(x, lengths)
        if beam_size == 1:
            return greedy(logits, lengths, BLANK)
        found = prefix_beam_search(logits, lengths, beam_size, BLANK)
        return [beams[0][0] for beams in found]

    def __call__(
        self, x: Any, lengths: Any = None, beam_size: int = 1
    ) -> list[list[int]]:
        """Return the result of `predict`."""
        return self.predict(x, lengths, beam_size)

    def transcribe(
        self, x: Any, lengths: Any = None, beam_size: int = 1
    ) -> list[list[str]]:
        """Return what `predict` returns, as names of the vocabulary.

        Raises
        ------
        ValueError
            If the model has no vocabulary; and as `predict`.
        """
        if self.vocabulary is None:
            raise ValueError("transcribe needs a model with a vocabulary; it has none")
        found = self.predict(x, lengths, beam_size)
        return [[self.vocabulary[label - 1] for label in labels] for labels in found]

    def session(self, batch_size: int = 1) -> SequentialSession:
        """Return a session that reads one frame at a time.

        ``session.step(x)`` takes one frame for each row, shape (B, input_size), and
        returns the scores of that step, shape (B, num_labels + 1).

        Raises
        ------
        ValueError
            If the model is bidirectional.
        """
        batch_size = size("batch_size", batch_size, minimum=0)
        return self.network.session(batch_size=batch_size)

    def count(self, batch: Any) -> int:
        """Return the number of rows, over which `loss` is the mean."""
        x, lengths, labels, label_lengths = check_batch(batch, _FORM)
        x, _ = self.encoder.shaped(x, lengths)
        rows: int = x.shape[1]
        checked_labels(labels, label_lengths, rows, self.num_labels + 1, BLANK)
        return rows

    # ---------------------------------------------------------------------- inside

    def _infer(self, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self.network(x, lengths=lengths)[0]
        return logits

    def _ctc(
        self, logits: np.ndarray, lengths: Any, labels: Any, label_lengths: Any, d: bool
    ) -> tuple[float, Any]:
        given = logits, labels, lengths, label_lengths, BLANK, "mean", False, d
        return run_ctc(*given, checked=True)

    def _checked_input(self, x: Any, lengths: Any) -> tuple[np.ndarray, np.ndarray]:
        x, lengths = self.encoder.checked(x, lengths)
        if x.shape[0] == 0 or x.shape[1] == 0:
            raise ValueError(f"x must hold at least one frame; got {x.shape}")
        if lengths is None:
            lengths = np.full(x.shape[1], len(x), np.int64)
        return x, lengths

    def _checked(self, batch: Any, state: Any) -> tuple[Any, ...]:
        check_no_state(state)
        x, lengths, labels, label_lengths = check_batch(batch, _FORM)
        x, lengths = self._checked_input(x, lengths)
        labels, label_lengths = checked_labels(
            labels, label_lengths, x.shape[1], self.num_labels + 1, BLANK
        )
        needed = steps_needed(labels, label_lengths)
        if (needed > lengths).any():
            row = int(np.argmax(needed > lengths))
            raise ValueError(
                f"labels must fit their steps; row {row} has {label_lengths[row]} "
                f"labels, which need {needed[row]} steps, and {lengths[row]} steps"
            )
        return x, lengths, labels, label_lengths


def steps_needed(labels: np.ndarray, label_lengths: np.ndarray) -> np.ndarray:
    """Return the least number of steps of labels: one each, and a blank between equals.

    Examples
    --------
    >>> steps_needed(np.array([[1, 1, 2], [1, 2, 2]]), np.array([3, 2]))
    array([4, 2])
    """
    equal = labels[:, 1:] == labels[:, :-1]
    counted = np.arange(1, labels.shape[1]) < label_lengths[:, np.newaxis]
    needed: np.ndarray = label_lengths + np.count_nonzero(equal & counted, axis=1)
    return needed


def _names(vocabulary: Iterable[str] | None) -> tuple[str, ...] | None:
    if vocabulary is None:
        return None
    names = tuple(list_of("vocabulary", vocabulary, "a list of names"))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"vocabulary must hold strings; got {shown(name)}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"vocabulary must name each label once; got {twice!r} twice")
    return names
