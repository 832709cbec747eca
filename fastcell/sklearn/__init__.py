"""Sequence models as scikit-learn's estimators.

`SequenceClassifier` and `SequenceRegressor` wrap the models of `fastcell.models` of the
same names: they split, scale nothing, train with Adam until nothing gets better, and
follow scikit-learn's conventions, so that ``clone``, pipelines, cross-validation, grid
search and ``joblib`` take them. `SequenceScaler` standardizes features of sequences.

X is a list of sequences, each an array (T_i, I) or a data frame with a row for each
step; or an array (N, T, I) of sequences of one length; or, as scikit-learn's own
estimators take it, a table (N, T), whose rows are sequences of T single values.

scikit-learn is no dependency of fastcell: ``pip install scikit-learn``, 1.6 or newer.
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
