"""Base of classifier, regressor, tagger and frame model: encoder, readout, scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._checks.names import one_of
from fastcell.layers import Dropout, Linear, Pooling
from fastcell.layers.pooling import KINDS as POOLINGS
from fastcell.losses.parts import weights_of
from fastcell.models.parts.base import ScoredModel
from fastcell.models.parts.common import (
    SavedOnce,
    check_no_state,
    check_seed,
    check_weighted,
    part_seeds,
    prefixed,
    set_precision,
    take_saved,
)
from fastcell.models.parts.each_step import EachStep
from fastcell.models.parts.encoder import Encoder
from fastcell.models.parts.tasks import Classification, Regression
from fastcell.models.sessions.model_session import ModelSession
from fastcell.module import Module


class SequenceModel(ScoredModel):
    r"""Base class of models from sequences to scores: encoder, readout, dense layer.

    .. math::
        h = \mathrm{encoder}(x), \quad r = \mathrm{readout}(h), \quad
        y = W \, \mathrm{dropout}(r) + b

    Batches are ``(x, lengths, y)`` or ``(x, lengths, y, weights)`` and do not continue
    one another: `state` is None, and so is the state after a batch.

    A subclass sets `task` and calls `_build`. With `_carries_state`, batches without
    lengths continue one another.
    """

    unit = "sequences"

    task: Classification | Regression
    _carries_state = False

    def _build(
        self,
        *,
        seed: int | None,
        pooling: str | None = None,
        precision: str | None = None,
        **encoder: Any,
    ) -> None:
        """Build the parts; `encoder` holds arguments of `Encoder`."""
        self.seed = check_seed(seed)
        seeds = part_seeds(self.seed, 4)
        self.encoder = Encoder(**encoder, seed=seeds[0])
        self.pooling = pooling
        self._readout = self._make_readout(seeds[1])
        self._dropout = Dropout(self.encoder.dropout, seed=seeds[2])
        self.decoder = Linear(
            self.encoder.output_size,
            self.task.outputs,
            dtype=self.encoder.dtype,
            seed=seeds[3],
        )
        set_precision(self, precision)

    def _make_readout(self, seed: int | None) -> Pooling | EachStep:
        """Return the readout: from encoder outputs to the vectors that are scored."""
        return Pooling(
            self.encoder.output_size,
            one_of("pooling", self.pooling, POOLINGS),
            self.encoder.bidirectional,
            dtype=self.encoder.dtype,
            seed=seed,
        )

    # ------------------------------------------------------------------ the module

    def children(self) -> dict[str, Module]:
        """Return the layers by name."""
        return {
            **self.encoder.children(),
            "pooling": self._readout,
            "dropout": self._dropout,
            "decoder": self.decoder,
        }

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values that JSON can hold."""
        return {**self.encoder.config(), "seed": self.seed}

    def __call__(self, x: Any, lengths: Any = None) -> np.ndarray:
        """Return the scores, for inference.

        Parameters
        ----------
        x : array, shape (T, B, I), or integer ids, shape (T, B)
            The sequences, of the model's dtype, finite.
        lengths : array of int, shape (B,), optional
            Steps of each sequence, 0 to T; all T if not given.

        Returns
        -------
        ndarray, shape (B, K), or (T, B, K) of a model in step, zeros past the lengths
            The scores of a sequence have the same bits in any batch.

        Raises
        ------
        TypeError
            If a dtype is wrong.
        ValueError
            If a shape is wrong, or a value is not finite or out of range.
        """
        x, lengths = self.encoder.checked(x, lengths)
        return self._laid_out(self._infer(x, lengths), x, lengths)

    # ------------------------------------------------------------------- the model

    def loss(self, batch: Any, state: Any = None) -> tuple[float, SavedOnce]:
        """Return the mean loss of a batch, for training.

        Parameters
        ----------
        batch : tuple (x, lengths, y) or (x, lengths, y, weights)
            x and lengths as in a call; y as the model describes. x of features is kept
            and not copied: it must not be written to before `backward`. weights: at
            least 0, of each sequence (B,) or, for a model in step, of each step (T, B);
            or None. A target of weight 0 is left out.
        state
            Must be None: batches do not continue one another.

        Returns
        -------
        loss : float
            Mean over the targets that count, weighted if they have weights.
        saved
            Values for `backward`, which consumes them; ``saved.state`` is None.

        Raises
        ------
        TypeError, ValueError
            If a part of the batch is not as described.
        """
        self._check_state(state)
        x, lengths, targets, weights = self._checked(batch)
        before = state
        h, after, encoded = self.encoder.forward(x, before, lengths=lengths)
        r, read = self._readout.forward(h, lengths)
        r, dropped = self._dropout.forward(r) if self._dropout.p else (r, None)
        scores, decoded = self.decoder.forward(r)
        loss, dscores = self.task.loss(scores, targets, weights)
        after = self._carried(after, lengths)
        saved = SavedOnce(after, dscores, encoded, read, dropped, decoded)
        saved.count = self.task.count(targets, weights)
        if weights is not None or self.task.uneven:
            saved.weight = self.task.total(targets, weights)
        return loss, saved

    def backward(self, saved: SavedOnce) -> dict[str, np.ndarray]:
        """Return the gradient of the loss, keyed like `state_dict()`.

        Raises
        ------
        ValueError
            If `saved` was used before.
        """
        dscores, encoded, read, dropped, decoded = take_saved(saved)
        dr, decoder = self.decoder.backward(dscores, decoded)
        if dropped is not None:
            dr, _ = self._dropout.backward(dr, dropped)
        dh, readout = self._readout.backward(dr, read)
        _, _, grads = self.encoder.backward(dh, encoded)
        return {
            **grads,
            **prefixed("pooling", readout),
            **prefixed("decoder", decoder),
        }

    def assess(
        self, batch: Any, state: Any = None
    ) -> tuple[float, None, dict[str, tuple[float, int]]]:
        """Return what `evaluate` returns, and the task's scores of the batch.

        Parameters and errors are those of `loss`.
        """
        self._check_state(state)
        x, lengths, targets, weights = self._checked(batch)
        scores = self._infer(x, lengths)
        return (
            self.task.loss(scores, targets, weights)[0],
            None,
            self.task.assess(scores, targets, weights),
        )

    def count(self, batch: Any) -> int:
        """Return the number of targets over which `loss` is the mean."""
        return self.task.count(*self._checked(batch, self.encoder.shaped)[2:])

    def total_weight(self, batch: Any) -> float:
        """Return the sum of the weights that `loss` is divided by."""
        return self.task.total(*self._checked(batch, self.encoder.shaped)[2:])

    def session(self, batch_size: int = 1) -> ModelSession:
        """Return a `ModelSession`, which reads one step at a time.

        Parameters
        ----------
        batch_size : int, default 1
            Number of streams.

        Raises
        ------
        ValueError
            If the model needs the whole sequence: it is bidirectional, or its pooling
            is "attention".
        """
        return ModelSession(
            self.encoder, self._readout, self.decoder, self.task.report, batch_size
        )

    # ------------------------------------------------------------------------ inside

    def _check_state(self, state: Any) -> None:
        if not self._carries_state:
            check_no_state(state)

    def _carried(self, state: Any, lengths: np.ndarray | None) -> Any:
        """Return the state for the next batch; None if sequences have lengths."""
        return state if self._carries_state and lengths is None else None

    def _infer(self, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Return the scores, one row for each target, without dropout."""
        h, _ = self.encoder(x, lengths=lengths)
        return self.decoder(self._readout(h, lengths))

    def _laid_out(
        self,
        values: np.ndarray,
        x: np.ndarray,
        lengths: np.ndarray | None,
        fill: Any = 0,
    ) -> np.ndarray:
        """Return rows that belong to targets in the shape of the batch."""
        return values

    def _checked(
        self, batch: Any, check: Any = None
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
        x, lengths, y, weights = check_weighted(batch, "(x, lengths, y)")
        x, lengths = (check or self.encoder.checked)(x, lengths)
        targets = self._targets(y, x, lengths)
        if weights is not None:
            weights = self._target_weights(weights, x, lengths)
        return x, lengths, targets, weights

    def _targets(self, y: Any, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        return self.task.targets(y, x.shape[1:2])

    def _target_weights(
        self, weights: Any, x: np.ndarray, lengths: np.ndarray | None
    ) -> np.ndarray | None:
        """Return a weight for each of the targets that `_targets` returns."""
        return weights_of("weights", weights, x.shape[1:2], exact=True)
