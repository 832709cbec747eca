"""Sequence-to-sequence model: an encoder, and a decoder with attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.names import list_of, one_of
from fastcell._checks.numbers import flag, real, size
from fastcell.cells import Cell
from fastcell.layers.attention import KINDS
from fastcell.models.decoder.attentive_decoder import AttentiveDecoder
from fastcell.models.decoder.decoder_model import DecoderModel
from fastcell.models.decoder.scheduled_sampling import sampled_inputs
from fastcell.models.decoder.teacher_forcing import (
    check_marks,
    padded_ids,
    teacher_forced,
)
from fastcell.models.decoder.token_output import TokenOutput
from fastcell.models.parts.bridge import Bridge
from fastcell.models.parts.cells import cell_named, kept_options, options_config
from fastcell.models.parts.common import (
    SavedOnce,
    check_batch,
    check_no_state,
    check_seed,
    part_seeds,
    precision_of,
    prefixed,
    set_precision,
    take_saved,
)
from fastcell.models.parts.token_encoder import TokenEncoder
from fastcell.module import Module, check_dtype
from fastcell.named_classes import in_files


@in_files
class Seq2Seq(DecoderModel):
    r"""Read a sequence of tokens and write another: many to many, not in step.

    An encoder reads the source. Its final states initialize a decoder, which writes the
    target token by token, with attention over the encoder's outputs:

    .. math::
        m_1 \dots m_S &= \mathrm{encoder}(x_1 \dots x_S) \\
        h_t &= \mathrm{cell}(E_{y_{t-1}}, h_{t-1}), \qquad
        c_t = \mathrm{attention}(h_t, m) \\
        a_t &= \tanh(W_c [c_t ; h_t] + b_c) \\
        P(y_t = v \mid y_1 \dots y_{t-1}, x) &= \mathrm{softmax}(W a_t + b)_v

    (Sutskever et al. 2014, arXiv:1409.3215; Bahdanau et al. 2015, arXiv:1409.0473; the
    order of recurrence and attention is that of Luong et al. 2015, arXiv:1508.04025).
    Training reads the true target (teacher forcing), so encoder, decoder and attention
    each take one call for all steps, except with input feeding.

    A batch is ``(source, source_lengths, target, target_lengths)``: integers (S, B) and
    (T, B), each target from `bos` to `eos`, and the lengths (B,), or None if all are
    full. Tokens past the lengths have no effect.

    Parameters
    ----------
    source_vocab, target_vocab : int
        Numbers of distinct tokens.
    embedding_dim : int
        Features of an embedded token, of both source and target.
    hidden_size : int
        Units of each recurrent layer.
    num_layers : int, default 1
        Recurrent layers of the encoder, and of the decoder.
    cell : str, default "gru"
        The cell of the recurrent layers: "lstm", "gru", "rnn" (with tanh), or another
        name of `fastcell.cells.REGISTRY`.
    bidirectional : bool, default True
        Whether the encoder runs in both directions.
    attention : {"additive", "dot", "general"} or None, default "additive"
        The score, see `fastcell.Attention`. With None the decoder sees the source only
        through its initial state. "dot" needs an encoder of one direction.
    input_feeding : bool, default False
        Let the decoder read a_{t-1} with each token; its steps then run one by one.
    dropout : float, default 0.0
        Probability of dropping a value after the embeddings, between recurrent layers
        and before the scores, in training; in [0, 1).
    bos, eos : int, default 2 and 3
        The tokens that begin and end a target.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial weights, of dropout and of scheduled sampling.
    precision : {"float32", "bf16"}, optional
        Precision of the recurrent products: see `fastcell.module.Module.to`. Weights,
        gradients and optimizer state are float32 in both cases.
    layer_options : mapping of str to value, optional
        Other arguments of the recurrent layers, such as ``{"init": "orthogonal",
        "forget_bias": 1.0, "zoneout": 0.1}``: those of all layers
        (`fastcell.layers.options.Options`), and those of the cell's class. They are
        saved with the model.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.models import Seq2Seq
    >>> model = Seq2Seq(7, 9, 4, 8, seed=0)
    >>> source = np.array([[3, 4], [5, 6], [6, 0]])  # (S, B)
    >>> target = np.array([[2, 2], [7, 8], [3, 5], [0, 3]])  # (T, B)
    >>> loss, saved = model.loss((source, [3, 2], target, [3, 4]))
    >>> grads = model.backward(saved)
    >>> len(model.predict(source, [3, 2], beam_size=3, max_length=5))
    2
    """

    def __init__(
        self,
        source_vocab: int,
        target_vocab: int,
        embedding_dim: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: str = "gru",
        bidirectional: bool = True,
        attention: str | None = "additive",
        input_feeding: bool = False,
        dropout: float = 0.0,
        *,
        bos: int = 2,
        eos: int = 3,
        dtype: Any = np.float32,
        seed: int | None = None,
        precision: str | None = None,
        layer_options: Mapping[str, Any] | None = None,
    ) -> None:
        kind = cell_named(cell, layer_options)
        self.source_vocab = size("source_vocab", source_vocab)
        self.target_vocab = size("target_vocab", target_vocab, minimum=2)
        self.embedding_dim = size("embedding_dim", embedding_dim)
        self.hidden_size = size("hidden_size", hidden_size)
        self.num_layers = size("num_layers", num_layers)
        self.cell = cell
        self.bidirectional = flag("bidirectional", bidirectional)
        if attention is not None:
            one_of("attention", attention, KINDS)
        self.attention = attention
        if attention == "dot" and self.bidirectional:
            raise ValueError(
                "bidirectional must be False with attention 'dot', which multiplies "
                "states of one size; or take 'general'"
            )
        self.input_feeding = flag("input_feeding", input_feeding)
        if self.input_feeding and attention is None:
            raise ValueError("input_feeding must be False without attention; got True")
        self.dropout = real("dropout", dropout, minimum=0, below=1)
        self.bos, self.eos = check_marks(bos, eos, self.target_vocab)
        self.dtype = check_dtype(dtype)
        self.seed = check_seed(seed)
        self._build(kind)
        self.layer_options = kept_options(layer_options)
        set_precision(self, precision)

    def _build(self, cell: Cell) -> None:
        seeds = part_seeds(self.seed, 6)
        sizes = (self.embedding_dim, self.hidden_size, self.num_layers)
        self._encoder = TokenEncoder(
            self.source_vocab,
            *sizes,
            cell,
            self.dropout,
            self.bidirectional,
            dtype=self.dtype,
            seed=seeds[0],
        )
        rnn = self._encoder.rnn
        reader = TokenEncoder(
            self.target_vocab,
            *sizes,
            cell,
            self.dropout,
            extra=rnn.output_size if self.input_feeding else 0,
            dtype=self.dtype,
            seed=seeds[1],
        )
        self._bridge = Bridge(rnn, reader.rnn, seed=seeds[2])
        self._decoder = AttentiveDecoder(
            reader,
            rnn.output_size * (2 if self.bidirectional else 1),
            self.attention,
            self.input_feeding,
            seed=seeds[3],
        )
        self._output = TokenOutput(
            self._decoder.output_size,
            self.target_vocab,
            self.dropout,
            dtype=self.dtype,
            seed=seeds[4],
        )
        self._random: np.random.Generator = np.random.default_rng(seeds[5])

    # ------------------------------------------------------------------ the module

    def children(self) -> dict[str, Module]:
        """Return the parts by name."""
        return {
            "encoder": self._encoder,
            "bridge": self._bridge,
            "decoder": self._decoder,
            "output": self._output,
        }

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        return {
            "source_vocab": self.source_vocab,
            "target_vocab": self.target_vocab,
            "embedding_dim": self.embedding_dim,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "cell": self.cell,
            "bidirectional": self.bidirectional,
            "attention": self.attention,
            "input_feeding": self.input_feeding,
            "dropout": self.dropout,
            "bos": self.bos,
            "eos": self.eos,
            "dtype": self.dtype.name,
            "seed": self.seed,
            **precision_of(self),
            **options_config(self),
        }

    # -------------------------------------------------------------------- training

    def loss(
        self, batch: Any, state: Any = None, *, sampling: float = 0.0
    ) -> tuple[float, SavedOnce]:
        """Return the mean cross-entropy of target tokens, and values for `backward`.

        Parameters
        ----------
        batch : tuple
            ``(source, source_lengths, target, target_lengths)``, see the class.
        state : None
            Sequences do not continue one another.
        sampling : float, default 0.0
            Probability of replacing a true input token by one that the model draws
            (scheduled sampling, Bengio et al. 2015, arXiv:1506.03099). The draws are
            made first, step by step, without dropout.

        Returns
        -------
        loss : float
            In nats.
        saved : SavedOnce

        Raises
        ------
        TypeError
            If the batch is not such a tuple, or not of integers.
        ValueError
            If a token is unknown, a source is empty, a target does not begin with `bos`
            and end with `eos`, or a shape or an argument is wrong.
        """
        sampling = real("sampling", sampling, minimum=0, maximum=1)
        check_no_state(state)
        source, source_lengths, inputs, labels, lengths = self._checked(batch)
        memory, final, encoded = self._encoder.forward(source, lengths=source_lengths)
        first, bridged = self._bridge.forward(final)
        if sampling > 0:
            inputs = sampled_inputs(
                self._step,
                self._decoder.start(*self._encode(source, source_lengths)),
                inputs,
                sampling,
                self._random,
            )
        vectors, _, decoded = self._decoder.forward(
            inputs, first, memory, source_lengths, lengths
        )
        loss, scored = self._output.loss(vectors, labels)
        return loss, SavedOnce(None, encoded, bridged, decoded, scored)

    def backward(self, saved: SavedOnce) -> dict[str, np.ndarray]:
        """Return the gradient of the loss, keyed like `state_dict()`.

        Raises
        ------
        ValueError
            If `saved` was used before.
        """
        encoded, bridged, decoded, scored = take_saved(saved)
        dvectors, output_grads = self._output.loss_backward(scored)
        dmemory, dfirst, decoder_grads = self._decoder.backward(dvectors, decoded)
        dfinal, bridge_grads = self._bridge.backward(dfirst, bridged)
        _, encoder_grads = self._encoder.backward(dmemory, encoded, dfinal)
        return {
            **prefixed("encoder", encoder_grads),
            **prefixed("bridge", bridge_grads),
            **prefixed("decoder", decoder_grads),
            **prefixed("output", output_grads),
        }

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, None, dict[str, tuple[float, int]]]:
        """Return the loss, None, and the accuracy of the most likely tokens."""
        check_no_state(state)
        source, source_lengths, inputs, labels, lengths = self._checked(batch)
        vectors, _ = self._decoder(
            inputs, *self._encode(source, source_lengths), lengths
        )
        return self._assessed(vectors, labels)

    # ------------------------------------------------------------------ prediction

    @overload
    def predict(
        self,
        source: Any,
        lengths: Any = None,
        beam_size: int = 1,
        max_length: int = 100,
        length_penalty: float = 0.0,
        *,
        temperature: float = 0.0,
        seed: int | None = None,
        return_attention: Literal[False] = False,
    ) -> list[list[int]]: ...

    @overload
    def predict(
        self,
        source: Any,
        lengths: Any = None,
        beam_size: int = 1,
        max_length: int = 100,
        length_penalty: float = 0.0,
        *,
        temperature: float = 0.0,
        seed: int | None = None,
        return_attention: Literal[True],
    ) -> tuple[list[list[int]], list[np.ndarray]]: ...

    @overload
    def predict(
        self,
        source: Any,
        lengths: Any = None,
        beam_size: int = 1,
        max_length: int = 100,
        length_penalty: float = 0.0,
        *,
        temperature: float = 0.0,
        seed: int | None = None,
        return_attention: bool = False,
    ) -> list[list[int]] | tuple[list[list[int]], list[np.ndarray]]: ...

    def predict(
        self,
        source: Any,
        lengths: Any = None,
        beam_size: int = 1,
        max_length: int = 100,
        length_penalty: float = 0.0,
        *,
        temperature: float = 0.0,
        seed: int | None = None,
        return_attention: bool = False,
    ) -> Any:
        """Write the target of each source.

        Parameters
        ----------
        source : array of integers, shape (S, B)
        lengths : array of int, shape (B,), optional
            Tokens of each source.
        beam_size : int, default 1
            Hypotheses kept (`fastcell.models.search.beam_search`); 1 takes the most
            likely token of each step.
        max_length : int, default 100
            Most tokens of a hypothesis, the end included.
        length_penalty : float, default 0.0
            Power of the length penalty of beam search (Wu et al. 2016,
            arXiv:1609.08144); 0.6 to 1 is usual.
        temperature : float, default 0.0
            Above 0, tokens are drawn from the scores divided by it; needs a `beam_size`
            of 1.
        seed : int, optional
            Seed of the draws.
        return_attention : bool, default False
            Whether to return the attention's weights as well.

        Returns
        -------
        tokens : list of list of int
            Target tokens of each source, without `bos` and `eos`.
        weights : list of ndarray, shape (tokens + 1, source tokens)
            Only with `return_attention`: the weights for each token, and the end.

        Raises
        ------
        TypeError, ValueError
            As for `loss`; or if the model has no attention to return.
        """
        ids, counts = padded_ids("source", source, lengths, self.source_vocab, 1)
        if flag("return_attention", return_attention) and self.attention is None:
            raise ValueError("return_attention must be False without attention")
        answers = self._hypotheses(
            self._encode(ids, counts),
            ids.shape[1],
            beam_size=beam_size,
            max_length=max_length,
            length_penalty=length_penalty,
            temperature=temperature,
            seed=seed,
        )
        if return_attention:
            return answers, self.attend(ids, counts, answers)
        return answers

    def attend(self, source: Any, lengths: Any, answers: Any) -> list[np.ndarray]:
        """Return the attention's weights for given targets.

        Parameters
        ----------
        source, lengths
            As for `predict`.
        answers : list of sequences of int
            Target tokens of each source, without `bos` and `eos`.

        Returns
        -------
        list of ndarray, shape (tokens + 1, source tokens)
        """
        if self.attention is None:
            raise ValueError("attend needs a model with attention; got one without")
        ids, counts = padded_ids("source", source, lengths, self.source_vocab, 1)
        rows = [
            [self.bos, *_tokens(f"answers[{b}]", answer)]
            for b, answer in enumerate(
                list_of("answers", answers, "a list of token lists")
            )
        ]
        if len(rows) != ids.shape[1]:
            raise ValueError(
                f"answers must hold one for each of {ids.shape[1]} sources; "
                f"got {len(rows)}"
            )
        steps = np.array([len(row) for row in rows])
        said = np.zeros((steps.max(), len(rows)), np.int64)
        for b, row in enumerate(rows):
            said[: len(row), b] = row
        said, _ = padded_ids("answers", said, steps, self.target_vocab, 1)
        _, weights = self._decoder(said, *self._encode(ids, counts), steps)
        assert weights is not None
        ends = np.full(len(rows), len(ids)) if counts is None else counts
        return [weights[: steps[b], b, : ends[b]].copy() for b in range(len(rows))]

    # ----------------------------------------------------------------------- parts

    def _encode(self, source: np.ndarray, lengths: Any) -> tuple[Any, np.ndarray, Any]:
        """Return the decoder's initial state, memory and lengths, for inference."""
        memory, final = self._encoder(source, lengths=lengths)
        return self._bridge(final), memory, lengths

    def _checked(self, batch: Any) -> tuple[Any, ...]:
        source, source_lengths, target, target_lengths = check_batch(
            batch, "(source, source_lengths, target, target_lengths)"
        )
        source, source_lengths = padded_ids(
            "source", source, source_lengths, self.source_vocab, 1, "source_lengths"
        )
        return (
            source,
            source_lengths,
            *teacher_forced(
                target,
                target_lengths,
                source.shape[1],
                self.target_vocab,
                self.bos,
                self.eos,
                lengths_name="target_lengths",
            ),
        )


def _tokens(name: str, answer: Any) -> list[int]:
    """Return a list of tokens, checked to be integers."""
    tokens = as_array(name, answer)
    if tokens.ndim != 1 or (tokens.dtype.kind not in "iu" and tokens.size):
        raise TypeError(
            f"{name} must be a list of tokens; got {tokens.dtype} {tokens.shape}"
        )
    listed: list[int] = tokens.tolist()
    return listed
