"""Scaler: a transformer that standardizes features of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fastcell.data.scaling import mean_and_spread
from fastcell.sklearn.inputs import axes_of, checked_sequences


class SequenceScaler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Subtract the mean of each feature over all steps, and divide by its spread.

    Like ``sklearn.preprocessing.StandardScaler``, but for sequences; to be used before
    an estimator in a pipeline. A constant feature becomes 0.

    Attributes
    ----------
    mean_, scale_ : ndarray of float64, shape (I,)
        Mean and standard deviation from `fit`; the latter is 1 for constant features.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Column names, if X was data frames.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.sklearn import SequenceScaler
    >>> sequences = [np.array([[0.0], [2.0]]), np.array([[1.0]])]
    >>> scaled = SequenceScaler().fit_transform(sequences)
    >>> scaled[0][:, 0].round(3), scaled[1]
    (array([-1.225,  1.225]), array([[0.]]))
    """

    def fit(self, X: Any, y: Any = None) -> SequenceScaler:
        """Compute the mean and spread of each feature.

        Parameters
        ----------
        X : list of arrays or data frames, array (N, T, I), or array-like (N, T)
            In a table each value is a step of one feature.
        y
            Ignored.

        Raises
        ------
        TypeError, ValueError
            If X has another form.
        """
        sequences = checked_sequences(self, X, reset=True)
        steps = np.concatenate([np.asarray(s, np.float64) for s in sequences])
        self.mean_, spread = mean_and_spread(steps)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        return self

    def transform(self, X: Any) -> Any:
        """Return X standardized: a list of arrays, or an array if X is one.

        Parameters and errors are those of `fit`.
        """
        check_is_fitted(self)
        sequences = checked_sequences(self, X, reset=False)
        if isinstance(sequences, list):
            return [(s - self.mean_) / self.scale_ for s in sequences]
        scaled = (sequences - self.mean_) / self.scale_
        return scaled[:, :, 0] if axes_of(X) == 2 else scaled

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
