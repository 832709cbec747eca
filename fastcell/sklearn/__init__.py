"""scikit-learn estimators of sequence models.

`SequenceClassifier` and `SequenceRegressor` wrap the models of the same names in
`fastcell.models`. They train with AdamW until the loss stops improving, do not scale
features, and follow scikit-learn's conventions: they work with ``clone``, pipelines,
cross-validation, grid search and ``joblib``. `SequenceScaler` standardizes features of
sequences.

X is a list of sequences, each an array (T_i, I) or a data frame with a row for each
step; or an array (N, T, I) of sequences of equal length; or, as for scikit-learn's
estimators, a table (N, T), whose rows are sequences of T single values.

scikit-learn is an optional dependency: ``pip install scikit-learn``, 1.6 or newer.
"""

try:
    from sklearn.utils.validation import validate_data as _validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastcell.sklearn needs the package scikit-learn, 1.6 or newer, which is not "
        "installed: pip install -U scikit-learn"
    ) from error

from fastcell.sklearn.estimators import SequenceClassifier, SequenceRegressor
from fastcell.sklearn.scaler import SequenceScaler

__all__ = ["SequenceClassifier", "SequenceRegressor", "SequenceScaler"]
