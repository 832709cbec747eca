"""Encoder of sequence models: an optional embedding and recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcell._checks.arrays import all_finite, check_ids, check_shape, real_array
from fastcell._checks.numbers import flag, real, size
from fastcell.layers import Dropout, Embedding, Sequential
from fastcell.layers.batches import lengths_of
from fastcell.layers.pooling import existing_steps
from fastcell.layers.sequential import SequentialSession
from fastcell.models.parts.cells import cell_named, kept_options, options_config
from fastcell.models.parts.common import (
    check_seed,
    part_seeds,
    precision_of,
    set_precision,
)
from fastcell.module import Module, check_dtype


class Encoder(Module):
    """Recurrent layers over features or, through an embedding, over ids.

    It is called and trained as a recurrent layer. Inputs are checked by `checked`.

    Parameters
    ----------
    input_size : int
        Features I of a step; with an embedding, the number of distinct ids.
    hidden_size : int
        Units H of each recurrent layer and direction.
    num_layers : int, default 1
        Stacked recurrent layers.
    cell : str, default "lstm"
        "lstm", "gru", "rnn" (with tanh), or another name of `fastcell.cells.REGISTRY`.
    bidirectional : bool, default False
        Whether each layer runs in both directions.
    dropout : float, default 0.0
        Probability of dropping a value after the embedding and between the recurrent
        layers, in training; in [0, 1).
    embedding_dim : int, optional
        Features of an embedded id; if None, inputs are features.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial weights and of dropout.
    precision : {"float32", "bf16"}, optional
        Precision of the recurrent products: see `fastcell.module.Module.to`. Weights,
        gradients and optimizer state are float32 in both cases.
    rnn_seed : int, optional
        Seed of the recurrent layers, instead of one derived from `seed`.
    layer_options : mapping of str to value, optional
        See `fastcell.models.parts.cells.cell_named`.

    Attributes
    ----------
    output_size : int
        Features D of a step of the output.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of its range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = False,
        dropout: float = 0.0,
        *,
        embedding_dim: int | None = None,
        dtype: Any = np.float32,
        seed: int | None = None,
        precision: str | None = None,
        rnn_seed: int | None = None,
        layer_options: Mapping[str, Any] | None = None,
    ) -> None:
        kind = cell_named(cell, layer_options)
        self.input_size = size("input_size", input_size)
        self.hidden_size = size("hidden_size", hidden_size)
        self.num_layers = size("num_layers", num_layers)
        self.cell = cell
        self.bidirectional = flag("bidirectional", bidirectional)
        self.dropout = real("dropout", dropout, minimum=0, below=1)
        self.embedding_dim = embedding_dim
        self.dtype = check_dtype(dtype)
        self.seed = check_seed(seed)
        seeds = part_seeds(self.seed, 3)
        named: dict[str, Module] = {}
        width = self.input_size
        if embedding_dim is not None:
            width = size("embedding_dim", embedding_dim)
            named["embedding"] = Embedding(
                self.input_size, width, dtype=self.dtype, seed=seeds[0]
            )
            if self.dropout:
                # Without a dropout layer, the recurrent layer directly follows the
                # embedding and takes the gather path.
                named["embedding_dropout"] = Dropout(self.dropout, seed=seeds[1])
        rnn = kind.layer(
            width,
            self.hidden_size,
            num_layers=self.num_layers,
            dropout=self.dropout if self.num_layers > 1 else 0.0,
            bidirectional=self.bidirectional,
            dtype=self.dtype,
            seed=seeds[2] if rnn_seed is None else rnn_seed,
        )
        self.layer_options = kept_options(layer_options)
        named["rnn"] = rnn
        self.output_size = rnn.output_size * (2 if self.bidirectional else 1)
        self.network = Sequential(named)
        self._parts = named
        set_precision(self, precision)

    def children(self) -> dict[str, Module]:
        """Return the layers by name."""
        return dict(self._parts)

    def checked(
        self, x: Any, lengths: Any = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Check x and lengths, and return them as arrays.

        Parameters
        ----------
        x : array, shape (T, B, I), or integer ids, shape (T, B)
            Finite within the lengths.
        lengths : array of int, shape (B,), optional
            Steps of each sequence, 0 to T.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is wrong, or a value is not finite or out of range.
        """
        x, lengths = self.shaped(x, lengths)
        if self.embedding_dim is not None:
            return check_ids("x", x, self.input_size), lengths
        if not all_finite(x):
            finite = np.isfinite(x)
            if lengths is not None:
                finite |= ~existing_steps(lengths, len(x))[..., np.newaxis]
            if not finite.all():
                t, row, i = (int(k) for k in np.argwhere(~finite)[0])
                raise ValueError(
                    f"x must be finite; got {x[t, row, i]} at step {t} of row {row}, "
                    f"feature {i}"
                )
        return x, lengths

    def shaped(
        self, x: Any, lengths: Any = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what `checked` returns, without checking the values of x."""
        if self.embedding_dim is not None:
            x = check_ids("x", x, None)
            if x.ndim != 2:
                raise ValueError(f"x must have the shape (T, B); got {x.shape}")
            return x, lengths_of(lengths, *x.shape)
        x = real_array("x", x, self.dtype)
        if x.ndim != 3 or x.shape[2] != self.input_size:
            raise ValueError(
                f"x must have the shape (T, B, {self.input_size}); got {x.shape}"
            )
        return x, lengths_of(lengths, *x.shape[:2])

    def checked_step(self, x: Any, rows: int) -> np.ndarray:
        """Return one step of each stream as a contiguous array, (rows, I) or (rows,).

        Parameters and errors are those of `checked`, without the time axis. A single
        stream may also have the shape (I,).
        """
        if self.embedding_dim is not None:
            return check_shape("x", check_ids("x", x, self.input_size), (rows,))
        x = real_array("x", x, self.dtype)
        if rows == 1 and x.ndim == 1:
            x = x[np.newaxis]
        check_shape("x", x, (rows, self.input_size))
        if not np.isfinite(x).all():
            row, i = (int(k) for k in np.argwhere(~np.isfinite(x))[0])
            raise ValueError(
                f"x must be finite; got {x[row, i]} in row {row}, feature {i}"
            )
        return np.ascontiguousarray(x)

    def __call__(
        self, x: Any, state: Any = None, *, lengths: Any = None
    ) -> tuple[Any, ...]:
        """Return h (T, B, D) and the final state, for inference."""
        result: tuple[Any, ...] = self.network(x, state, lengths=lengths)
        return result

    def forward(
        self, x: Any, state: Any = None, *, lengths: Any = None
    ) -> tuple[Any, ...]:
        """Return h (T, B, D), the final state, and values for `backward`."""
        return self.network.forward(x, state, lengths=lengths)

    def backward(self, dh: Any, saved: Any, dstate: Any = None) -> tuple[Any, ...]:
        """Return the gradients of x (None for ids), the state and the parameters."""
        return self.network.backward(dh, saved, dstate)

    def session(self, batch_size: int = 1) -> SequentialSession:
        """Return a session that reads one step at a time.

        Raises
        ------
        ValueError
            If the layers are bidirectional.
        """
        return self.network.session(batch_size)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "cell": self.cell,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout,
            "embedding_dim": self.embedding_dim,
            "dtype": self.dtype.name,
            "seed": self.seed,
            **precision_of(self),
            **options_config(self),
        }
