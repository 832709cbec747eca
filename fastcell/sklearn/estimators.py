"""Sequence classifier and regressor with scikit-learn's interface."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from fastcell import models
from fastcell.sklearn.base import SequenceEstimator, checked_weights
from fastcell.sklearn.inputs import checked_sequences


class SequenceClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]
    """Classify sequences by a recurrent network.

    `fastcell.models.SequenceClassifier` with scikit-learn's interface: recurrent
    layers, pooling over the steps, scores. It is trained with AdamW on the
    cross-entropy.

    Parameters
    ----------
    hidden_size : int, default 32
        Units of each recurrent layer and direction.
    num_layers : int, default 1
        Stacked recurrent layers.
    cell : str, default "lstm"
        "lstm", "gru", "rnn" (with tanh), or another name of `fastcell.cells.REGISTRY`.
    bidirectional : bool, default False
        Whether each layer runs in both directions.
    pooling : {"last", "mean", "max", "attention"}, default "last"
        How the outputs of all steps are reduced to one vector.
    dropout : float, default 0.0
        Probability of dropping a value between the layers, in training; in [0, 1).
    layer_options : mapping or None, default None
        Other arguments of the recurrent layers, such as ``{"init": "orthogonal",
        "zoneout": 0.1}``: see `fastcell.models.SequenceClassifier`.
    class_weight : dict, "balanced" or None, default None
        The weight of each class in the loss: by label, or inversely proportional to its
        frequency.
    learning_rate : float, default 0.01
        Learning rate of AdamW.
    weight_decay : float, default 0.0
        Weight decay of AdamW.
    batch_size : int, default 32
        Sequences of a training step.
    max_iter : int, default 100
        Maximum number of epochs.
    clip_norm : float or None, default 1.0
        Maximum norm of gradients, which are scaled down if they exceed it.
    early_stopping : bool, default False
        Hold out `validation_fraction` of the sequences, stop when their loss no longer
        improves, and keep the weights of the best epoch. Otherwise training stops by
        the training loss and keeps the last weights.
    validation_fraction : float, default 0.1
        In (0, 1); the split is stratified by class.
    n_iter_no_change : int or None, default 10
        Training stops after this number of successive epochs without an improvement of
        the loss by more than `tol`; None never stops early.
    tol : float, default 1e-4
        Least improvement of the loss; see above.
    warm_start : bool, default False
        Whether a second `fit` continues with the network of the first.
    dtype : str or dtype, default "float32"
        float32 or float64.
    random_state : int, RandomState or None, default None
        Seed of the initial weights, dropout, shuffling and the validation split.
    verbose : bool or int, default False
        Whether to show progress.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        The labels.
    model_ : fastcell.models.SequenceClassifier
        The network, for example for `fastcell.save` or streaming sessions.
    n_features_in_ : int
        Features I of a step; for a table its number of columns.
    feature_names_in_ : ndarray of str
        Column names, if X was data frames.
    n_iter_ : int
        Number of epochs of training.
    loss_curve_, validation_loss_curve_ : list of float
        The loss of each epoch; the second is None without `early_stopping`.
    best_loss_ : float
        The smallest of the losses that stop training.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.sklearn import SequenceClassifier
    >>> random = np.random.default_rng(0)
    >>> X = [random.standard_normal((n, 2)) for n in random.integers(3, 9, 60)]
    >>> y = np.array(["down", "up"])[[int(x[:, 0].sum() > 0) for x in X]]
    >>> classifier = SequenceClassifier(16, learning_rate=0.03, random_state=0)
    >>> classifier.fit(X, y).score(X, y) > 0.9
    True
    >>> classifier.predict_proba(X[:3]).shape
    (3, 2)
    """

    classes_: np.ndarray
    _model = models.SequenceClassifier

    def __init__(
        self,
        hidden_size: int = 32,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = False,
        pooling: str = "last",
        dropout: float = 0.0,
        *,
        layer_options: Any = None,
        class_weight: Any = None,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        batch_size: int = 32,
        max_iter: int = 100,
        clip_norm: float | None = 1.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        dtype: Any = "float32",
        random_state: Any = None,
        verbose: Any = False,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.cell = cell
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout = dropout
        self.layer_options = layer_options
        self.class_weight = class_weight
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.clip_norm = clip_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceClassifier:
        """Train the network.

        Parameters
        ----------
        X : list of arrays (T_i, I) or data frames, array (N, T, I), or table (N, T)
            The sequences, finite.
        y : array-like, shape (N,)
            Labels of the sequences, of at least two classes.
        sample_weight : array-like, shape (N,), optional
            The weight of each sequence in the loss, at least 0.

        Returns
        -------
        SequenceClassifier
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter of the constructor is not as described.
        """
        sequences = checked_sequences(self, X, reset=True)
        labels = column_or_1d(_targets(self, y, dtype=None), warn=True)
        check_consistent_length(sequences, labels)
        check_classification_targets(labels)
        weights = checked_weights(sample_weight, sequences)
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                "y must hold at least two classes; the data contain 1 class, "
                f"{classes[0]!r}"
            )
        goes_on = self.warm_start is True and hasattr(self, "model_")
        if goes_on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                "y must hold the classes of the last fit with warm_start, "
                f"{self.classes_.tolist()}; got {classes.tolist()}"
            )
        class_weight = None
        if self.class_weight is not None:
            class_weight = compute_class_weight(
                self.class_weight, classes=classes, y=labels
            )
        self._train(
            sequences,
            numbers,
            weights,
            numbers,
            num_classes=len(classes),
            classes=_plain_labels(classes),
            class_weight=class_weight,
        )
        self.classes_ = classes
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest label of each sequence, (N,).

        Parameters
        ----------
        X : as for `fit`

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or its features differ from those of `fit`.
        """
        scores = self._outputs(X)
        labels: np.ndarray = self.classes_[scores.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, (N, K), in the order of `classes_`.

        Parameters and errors are those of `predict`.
        """
        e = np.exp(self.predict_log_proba(X))
        p: np.ndarray = e / e.sum(axis=1, keepdims=True)
        return p

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of the probability of each class, (N, K).

        Parameters and errors are those of `predict`.
        """
        scores = self._outputs(X)
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return scores


class SequenceRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]
    """Predict one or several values of a sequence by a recurrent network.

    `fastcell.models.SequenceRegressor` with scikit-learn's interface. Targets should be
    of the order of 1: see ``sklearn.compose.TransformedTargetRegressor``.

    Parameters
    ----------
    hidden_size, num_layers, cell, bidirectional, pooling, dropout, layer_options
        As for `SequenceClassifier`.
    loss : {"mse", "mae", "huber"}, default "mse"
        The mean squared, absolute or Huber's error of a value.
    delta : float or None, default None
        Where Huber's error changes from squared to absolute; 1 if None. For "huber"
        only.
    ignore_nan : bool, default False
        Whether values of y that are NaN are left out; by default they are errors.
    learning_rate, weight_decay, batch_size, max_iter, clip_norm, early_stopping, \
validation_fraction, n_iter_no_change, tol, warm_start, dtype, random_state, verbose
        As for `SequenceClassifier`.

    Attributes
    ----------
    model_ : fastcell.models.SequenceRegressor
        The network.
    n_features_in_, feature_names_in_, n_iter_, loss_curve_, \
validation_loss_curve_, best_loss_
        As for `SequenceClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.sklearn import SequenceRegressor
    >>> random = np.random.default_rng(0)
    >>> X = random.standard_normal((60, 5, 2))
    >>> y = X[:, :, 0].mean(axis=1)
    >>> regressor = SequenceRegressor(16, pooling="mean", random_state=0)
    >>> regressor.fit(X, y).score(X, y) > 0.9
    True
    """

    _model = models.SequenceRegressor

    def __init__(
        self,
        hidden_size: int = 32,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = False,
        pooling: str = "last",
        dropout: float = 0.0,
        *,
        layer_options: Any = None,
        loss: str = "mse",
        delta: float | None = None,
        ignore_nan: bool = False,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        batch_size: int = 32,
        max_iter: int = 100,
        clip_norm: float | None = 1.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        dtype: Any = "float32",
        random_state: Any = None,
        verbose: Any = False,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.cell = cell
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout = dropout
        self.layer_options = layer_options
        self.loss = loss
        self.delta = delta
        self.ignore_nan = ignore_nan
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.clip_norm = clip_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceRegressor:
        """Train the network.

        Parameters
        ----------
        X : list of arrays (T_i, I) or data frames, array (N, T, I), or table (N, T)
            The sequences, finite.
        y : array-like, shape (N,) or (N, K)
            Target values of the sequences; NaN only with `ignore_nan`.
        sample_weight : array-like, shape (N,), optional
            The weight of each sequence in the loss, at least 0.

        Returns
        -------
        SequenceRegressor
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter of the constructor is not as described.
        """
        sequences = checked_sequences(self, X, reset=True)
        finite: Any = "allow-nan" if self.ignore_nan is True else True
        values = _targets(self, y, dtype=np.float64, ensure_all_finite=finite)
        check_consistent_length(sequences, values)
        if values.ndim > 2:
            raise ValueError(
                f"y must have the shape (N,) or (N, K); got {values.shape}"
            )
        if np.isnan(values).all():
            raise ValueError("y must hold a value that is not NaN; got none")
        weights = checked_weights(sample_weight, sequences)
        size = values.shape[1] if values.ndim == 2 else 1
        self._train(
            sequences,
            values,
            weights,
            None,
            output_size=size,
            loss=self.loss,
            delta=self.delta,
            ignore_nan=self.ignore_nan,
        )
        self._one_value = values.ndim == 1
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the values of each sequence, (N,) or (N, K), as y in `fit`.

        Parameters
        ----------
        X : as for `fit`

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or its features differ from those of `fit`.
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if self._one_value else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _targets(estimator: Any, y: Any, **checks: Any) -> np.ndarray:
    """Return y as an array, or raise scikit-learn's errors."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but "
            "the target y is None."
        )
    checked: np.ndarray = check_array(
        y, ensure_2d=False, input_name="y", estimator=estimator, **checks
    )
    return checked


def _plain_labels(classes: np.ndarray) -> list[str] | list[int] | None:
    """Return labels as plain values, or None if a model cannot store them."""
    labels: list[Any] = classes.tolist()
    kinds = {type(label) for label in labels}
    return labels if kinds == {str} or kinds == {int} else None
