"""Base class of the estimators: training, validation and early stopping."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from fastcell._checks.numbers import flag, integer, real, shown
from fastcell.callbacks import EarlyStopping
from fastcell.data import Sequences
from fastcell.optim import AdamW
from fastcell.sklearn.inputs import checked_sequences
from fastcell.train import Trainer

# Batch size of inference; results do not depend on it.
_INFERENCE_BATCH = 256
_LARGEST_SEED = np.iinfo(np.int32).max


class SequenceEstimator(BaseEstimator):  # type: ignore[misc]
    """Base class: a model of `fastcell.models`, trained by `fit`.

    A subclass implements the constructor, which stores its arguments unchanged, and
    `fit`, which checks the arguments of the subclass.
    """

    _model: Any  # the class in fastcell.models

    def _train(
        self,
        sequences: Any,
        targets: np.ndarray,
        sample_weight: np.ndarray | None,
        strata: np.ndarray | None,
        **options: Any,
    ) -> None:
        """Make or continue the model, train it, and set the fitted attributes.

        Parameters
        ----------
        sequences : list of arrays, or array (N, T, I)
        targets : ndarray, shape (N,) or (N, K)
        sample_weight : ndarray, shape (N,), or None
        strata : ndarray, shape (N,), or None
            Classes for a stratified validation split.
        options
            Options of the model, besides the common ones.
        """
        self._check_training()
        random = check_random_state(self.random_state)
        seeds = random.randint(_LARGEST_SEED, size=3).tolist()
        model = self._begun(sequences[0].shape[1], seed=seeds[0], **options)
        index = np.arange(len(sequences))
        if sample_weight is not None:  # a weight of 0 leaves a sequence out
            index = index[sample_weight > 0]
        held_out = None
        if self.early_stopping:
            index, held_out = train_test_split(
                index,
                test_size=self.validation_fraction,
                random_state=seeds[1],
                stratify=None if strata is None else strata[index],
            )

        dtype = model.encoder.dtype

        def data(of: np.ndarray, shuffle: bool) -> Sequences:
            with np.errstate(over="ignore"):  # the model refuses infinite values
                arrays = [np.ascontiguousarray(sequences[i], dtype) for i in of]
            return Sequences(
                arrays,
                targets[of],
                self.batch_size,
                shuffle=shuffle,
                seed=seeds[2],
                dtype=dtype,
                check_finite=False,  # x and y are checked, and again by the model
                weights=None if sample_weight is None else sample_weight[of],
            )

        monitor = "train_loss" if held_out is None else "valid_loss"
        callbacks: list[Any] = [_Best(monitor)] if self.early_stopping else []
        if self.n_iter_no_change is not None:
            stop = EarlyStopping(self.n_iter_no_change, monitor, min_delta=self.tol)
            callbacks.append(stop)
        trainer = Trainer(
            model,
            AdamW(model.params, lr=self.learning_rate, weight_decay=self.weight_decay),
            self.clip_norm,
            callbacks=callbacks,
            progress=bool(self.verbose),
        )
        history = trainer.fit(
            data(index, True),
            None if held_out is None else data(held_out, False),
            epochs=self.max_iter,
        )
        self.model_ = model
        self.n_iter_ = len(history)
        self.loss_curve_ = history.column("train_loss")
        self.best_loss_ = min(history.column(monitor))
        self.validation_loss_curve_ = None
        if held_out is not None:
            self.validation_loss_curve_ = history.column("valid_loss")
            model.load_state_dict(callbacks[0].parameters)

    def _begun(self, input_size: int, **options: Any) -> Any:
        """Return a new model, or with `warm_start` that of the last `fit`."""
        model = self._model(
            input_size=input_size,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            cell=self.cell,
            bidirectional=self.bidirectional,
            pooling=self.pooling,
            dropout=self.dropout,
            layer_options=self.layer_options,
            dtype=self.dtype,
            **options,
        )
        if not (self.warm_start is True and hasattr(self, "model_")):
            return model
        mine, its = self.model_.config(), model.config()
        for name in {**mine, **its}:
            if name != "seed" and mine.get(name) != its.get(name):
                raise ValueError(
                    f"warm_start must continue a network of equal options: {name} "
                    f"was {shown(mine.get(name))} and is {shown(its.get(name))}"
                )
        return self.model_

    def _outputs(self, X: Any) -> np.ndarray:
        """Return the model's output for each sequence, (N, K) float64."""
        check_is_fitted(self)
        sequences = checked_sequences(self, X, reset=False)
        model = self.model_
        data = Sequences(
            sequences,
            batch_size=_INFERENCE_BATCH,
            shuffle=False,
            dtype=model.encoder.dtype,
            check_finite=False,
        )
        epoch: Any = data.epoch(0)
        outputs = np.empty((len(sequences), model.task.outputs))
        for k in range(len(epoch)):
            x, lengths, _ = epoch[k]
            outputs[epoch.indices(k)] = model(x, lengths)
        return outputs

    def _check_training(self) -> None:
        """Check the parameters that the model does not check."""
        integer("max_iter", self.max_iter, minimum=1)
        integer("batch_size", self.batch_size, minimum=1)
        real("learning_rate", self.learning_rate, above=0)
        real("weight_decay", self.weight_decay, minimum=0)
        if self.clip_norm is not None:
            real("clip_norm", self.clip_norm, above=0)
        flag("early_stopping", self.early_stopping)
        real("validation_fraction", self.validation_fraction, above=0, below=1)
        if self.n_iter_no_change is not None:
            integer("n_iter_no_change", self.n_iter_no_change, minimum=1)
        real("tol", self.tol, minimum=0)
        flag("warm_start", self.warm_start)
        if not isinstance(self.verbose, (bool, int)):
            raise TypeError(
                f"verbose must be True, False or an integer; got {shown(self.verbose)}"
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class _Best:
    """Callback that keeps the parameters of the best record so far."""

    def __init__(self, monitor: str) -> None:
        self._monitor = monitor
        self._value = np.inf
        self.parameters: dict[str, np.ndarray] = {}

    def __call__(self, trainer: Trainer, record: dict[str, Any]) -> None:
        value = record[self._monitor]
        if not self.parameters or value < self._value:
            self._value, self.parameters = value, trainer.model.state_dict()


def checked_weights(sample_weight: Any, sequences: Any) -> np.ndarray | None:
    """Return a weight of each sequence, at least 0 and not all 0, or None.

    Raises
    ------
    ValueError
        If weights are negative or all 0.
    """
    if sample_weight is None:
        return None
    weights: np.ndarray = _check_sample_weight(
        sample_weight, sequences, dtype=np.float64, ensure_non_negative=True
    )
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights
