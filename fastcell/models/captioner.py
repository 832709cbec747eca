"""Captioner: from one vector, such as image features, to a sequence of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import real, size
from fastcell.layers import Linear
from fastcell.models.decoder.attentive_decoder import AttentiveDecoder
from fastcell.models.decoder.decoder_model import DecoderModel
from fastcell.models.decoder.teacher_forcing import check_marks, teacher_forced
from fastcell.models.decoder.token_output import TokenOutput
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
    started,
    take_saved,
)
from fastcell.models.parts.token_encoder import TokenEncoder
from fastcell.module import Module, check_dtype
from fastcell.named_classes import in_files


@in_files
class Captioner(DecoderModel):
    r"""Describe an image, given as a vector: one to many.

    The vector :math:`v` sets the initial state of a recurrent layer, which then
    predicts word by word:

    .. math::
        h_0 &= \tanh(W_v v + b_v) \\
        h_t &= \mathrm{cell}(E_{y_{t-1}}, h_{t-1}) \\
        P(y_t = w \mid y_1 \dots y_{t-1}, v) &= \mathrm{softmax}(W h_t + b)_w

    (Vinyals et al. 2015, arXiv:1411.4555; Karpathy and Fei-Fei 2015, arXiv:1412.2306;
    there the image is the first input). An LSTM's c_0 is computed like h_0.

    A batch is ``(captions, lengths, images)``, as from `fastcell.data.Sequences` with
    images as the targets of captions: integers (T, B), each caption from `bos` to
    `eos`; the lengths (B,), or None if all are T; and features (B, image_size) of the
    model's dtype.

    Parameters
    ----------
    image_size : int
        Features of an image, such as the last layer of a convolutional network.
    vocab_size : int
        Number of distinct words.
    embedding_dim : int
        Features of an embedded word.
    hidden_size : int
        Units of each recurrent layer.
    num_layers : int, default 1
        Recurrent layers.
    cell : str, default "lstm"
        As for `Seq2Seq`.
    dropout : float, default 0.0
        Probability of dropping a value after the embedding, between recurrent layers
        and before the scores, in training; in [0, 1).
    bos, eos : int, default 2 and 3
        The words that begin and end a caption.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial weights and of dropout.
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
    >>> from fastcell.models import Captioner
    >>> model = Captioner(5, 9, 4, 8, seed=0)
    >>> images = np.ones((2, 5), np.float32)
    >>> captions = np.array([[2, 2], [7, 8], [3, 5], [0, 3]])  # (T, B)
    >>> loss, saved = model.loss((captions, [3, 4], images))
    >>> grads = model.backward(saved)
    >>> len(model.predict(images, beam_size=3, max_length=5))
    2
    """

    def __init__(
        self,
        image_size: int,
        vocab_size: int,
        embedding_dim: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: str = "lstm",
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
        self.image_size = size("image_size", image_size)
        self.vocab_size = size("vocab_size", vocab_size, minimum=2)
        self.embedding_dim = size("embedding_dim", embedding_dim)
        self.hidden_size = size("hidden_size", hidden_size)
        self.num_layers = size("num_layers", num_layers)
        self.cell = cell
        self.dropout = real("dropout", dropout, minimum=0, below=1)
        self.bos, self.eos = check_marks(bos, eos, self.vocab_size)
        self.dtype = check_dtype(dtype)
        self.seed = check_seed(seed)
        seeds = part_seeds(self.seed, 3)
        reader = TokenEncoder(
            self.vocab_size,
            self.embedding_dim,
            self.hidden_size,
            self.num_layers,
            kind,
            self.dropout,
            dtype=self.dtype,
            seed=seeds[0],
        )
        self.layer_options = kept_options(layer_options)
        self._decoder = AttentiveDecoder(reader)
        rnn = reader.rnn
        first = started(rnn.states)
        self._others = len(rnn.states) - len(first)  # which begin with zeros
        widths = [rnn.output_size, rnn.hidden_size][: len(first)]
        self._widths = [width for width in widths for _ in range(self.num_layers)]
        self._image = Linear(
            self.image_size, sum(self._widths), dtype=self.dtype, seed=seeds[1]
        )
        self._output = TokenOutput(
            rnn.output_size,
            self.vocab_size,
            self.dropout,
            dtype=self.dtype,
            seed=seeds[2],
        )
        set_precision(self, precision)

    # ------------------------------------------------------------------ the module

    def children(self) -> dict[str, Module]:
        """Return the parts by name."""
        return {"image": self._image, "decoder": self._decoder, "output": self._output}

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        return {
            "image_size": self.image_size,
            "vocab_size": self.vocab_size,
            "embedding_dim": self.embedding_dim,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "cell": self.cell,
            "dropout": self.dropout,
            "bos": self.bos,
            "eos": self.eos,
            "dtype": self.dtype.name,
            "seed": self.seed,
            **precision_of(self),
            **options_config(self),
        }

    # -------------------------------------------------------------------- training

    def loss(self, batch: Any, state: Any = None) -> tuple[float, SavedOnce]:
        """Return the mean cross-entropy of words, and values for `backward`.

        Parameters
        ----------
        batch : tuple
            ``(captions, lengths, images)``, see the class. The images are kept and not
            copied: they must not be written to before `backward`.
        state : None
            Captions do not continue one another.

        Raises
        ------
        TypeError
            If the batch is not such a tuple, or a dtype is wrong.
        ValueError
            If a word is unknown, a feature is NaN or infinite, a caption does not begin
            with `bos` and end with `eos`, or a shape is wrong.
        """
        check_no_state(state)
        images, inputs, labels, lengths = self._checked(batch)
        squashed, seen = self._image.forward(images)
        np.tanh(squashed, out=squashed)
        first = self._split(squashed)
        vectors, _, decoded = self._decoder.forward(inputs, first, lengths=lengths)
        loss, scored = self._output.loss(vectors, labels)
        return loss, SavedOnce(None, squashed, seen, decoded, scored)

    def backward(self, saved: SavedOnce) -> dict[str, np.ndarray]:
        """Return the gradient of the loss, keyed like `state_dict()`.

        Raises
        ------
        ValueError
            If `saved` was used before.
        """
        squashed, seen, decoded, scored = take_saved(saved)
        dvectors, output_grads = self._output.loss_backward(scored)
        _, dfirst, decoder_grads = self._decoder.backward(dvectors, decoded)
        parts = dfirst if isinstance(dfirst, tuple) else (dfirst,)
        parts = parts[: len(parts) - self._others]
        rows = np.concatenate([layer for part in parts for layer in part], axis=-1)
        rows *= 1 - squashed * squashed
        _, image_grads = self._image.backward(rows, seen)
        return {
            **prefixed("image", image_grads),
            **prefixed("decoder", decoder_grads),
            **prefixed("output", output_grads),
        }

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, None, dict[str, tuple[float, int]]]:
        """Return the loss, None, and the accuracy of the most likely words."""
        check_no_state(state)
        images, inputs, labels, lengths = self._checked(batch)
        vectors, _ = self._decoder(inputs, self._first(images), lengths=lengths)
        return self._assessed(vectors, labels)

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        images: Any,
        beam_size: int = 1,
        max_length: int = 50,
        length_penalty: float = 0.0,
        *,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> list[list[int]]:
        """Describe images.

        Parameters
        ----------
        images : array, shape (B, image_size)
        beam_size, max_length, length_penalty, temperature, seed
            As for `Seq2Seq.predict`.

        Returns
        -------
        list of list of int
            The words of each image, without `bos` and `eos`.

        Raises
        ------
        TypeError, ValueError
            If a feature is not finite, or an argument is wrong.
        """
        images = self._features(images)
        return self._hypotheses(
            (self._first(images),),
            len(images),
            beam_size=beam_size,
            max_length=max_length,
            length_penalty=length_penalty,
            temperature=temperature,
            seed=seed,
        )

    # ----------------------------------------------------------------------- parts

    def _first(self, images: np.ndarray) -> Any:
        return self._split(np.tanh(self._image(images)))

    def _split(self, rows: np.ndarray) -> Any:
        """Return the initial state from (B, widths of all states and layers)."""
        layers = np.split(rows, np.cumsum(self._widths)[:-1], axis=-1)
        L = self.num_layers
        parts = [np.stack(layers[i : i + L]) for i in range(0, len(layers), L)]
        parts += [np.zeros_like(parts[0]) for _ in range(self._others)]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def _checked(self, batch: Any) -> tuple[Any, ...]:
        captions, lengths, images = check_batch(batch, "(captions, lengths, images)")
        images = self._features(images)
        marks = self.vocab_size, self.bos, self.eos
        return images, *teacher_forced(
            captions, lengths, len(images), *marks, name="captions"
        )

    def _features(self, images: Any) -> np.ndarray:
        images = as_array("images", images)
        if images.dtype != self.dtype:
            raise TypeError(f"images must be {self.dtype}; got {images.dtype}")
        if images.ndim != 2 or images.shape[1] != self.image_size:
            raise ValueError(
                f"images must have the shape (B, {self.image_size}); got {images.shape}"
            )
        if len(images) == 0:
            raise ValueError("images must hold at least one; got none")
        if not np.isfinite(images).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(images))[0])
            raise ValueError(f"images must be finite; got {images[at]} at {at}")
        checked: np.ndarray = images
        return checked
