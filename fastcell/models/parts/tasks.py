"""Tasks, classification and regression: what scores mean, their loss and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell import losses
from fastcell._checks.arrays import as_array, check_ids, in_range
from fastcell._checks.names import list_of, one_of
from fastcell._checks.numbers import flag, real, shown, size
from fastcell.losses.parts import weights_of
from fastcell.models.parts.common import IGNORED

Scores = dict[str, tuple[float, int]]

ERRORS = ("mse", "mae", "huber")


class Classification:
    """One of several classes: the softmax of the scores, and its cross-entropy.

    Parameters
    ----------
    num_classes : int
        At least two.
    classes : iterable of str or of int, optional
        The label of each class, all different.
    name : str, default "num_classes"
        The argument's name in errors.
    class_weight : array of real numbers (num_classes,), optional
        The weight of each class in the loss, at least 0.

    Attributes
    ----------
    outputs : int
        Scores of a target: one for each class.
    classes : list of str or of int, or None
        The labels.
    class_weight : list of float, or None
    uneven : bool
        Whether targets have different weights even in a batch without weights, so that
        `total` differs from `count`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    def __init__(
        self,
        num_classes: int,
        classes: Any = None,
        name: str = "num_classes",
        class_weight: Any = None,
    ) -> None:
        self.outputs = size(name, num_classes, minimum=2)
        self.classes = None if classes is None else _labels(classes, self.outputs, name)
        self._weights = weights_of(
            "class_weight", class_weight, (self.outputs,), exact=True
        )
        if self._weights is not None and not self._weights.any():
            raise ValueError("class_weight must be above 0 for some class; got zeros")
        self.class_weight = None if self._weights is None else self._weights.tolist()
        self.uneven = self._weights is not None

    def config(self) -> dict[str, Any]:
        """Return the model's arguments for the loss that are not the default."""
        return {"class_weight": self.class_weight} if self.class_weight else {}

    def targets(self, y: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Return the targets of a batch.

        Parameters
        ----------
        y : array of integers of this shape, or of floats, shape + (num_classes,)
            The classes, or the probability of each class.
        shape : tuple of int

        Returns
        -------
        ndarray
            Classes as int64, -100 where a target does not count; or probabilities.

        Raises
        ------
        TypeError
            If they are neither.
        ValueError
            If the shape is wrong, or a class or probability is out of range.
        """
        if in_range(y, 0, self.outputs - 1) and y.shape == shape:  # most are
            return y
        y = as_array("y", y)
        if y.dtype.kind == "f" and y.shape == (*shape, self.outputs):
            if not ((y >= 0) & (y <= 1)).all():  # catches NaN as well
                wrong = y[~((y >= 0) & (y <= 1))][0]
                raise ValueError(f"y must be probabilities from 0 to 1; got {wrong}")
            probabilities: np.ndarray = y
            return probabilities
        if y.dtype.kind not in "iu":
            raise TypeError(
                f"y must be the classes' numbers, integers; got dtype {y.dtype}"
            )
        if y.shape != shape:
            raise ValueError(f"y must have the shape {shape}; got {y.shape}")
        check_ids("y", np.where(y == IGNORED, 0, y), self.outputs)
        classes: np.ndarray = y.astype(np.int64, copy=False)
        return classes

    def loss(
        self,
        logits: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Return the mean cross-entropy in nats, and its gradient."""
        if targets.dtype.kind == "f":
            targets = targets.astype(logits.dtype, copy=False)
        return losses.cross_entropy(
            logits,
            targets,
            weight=self._weights,
            sample_weight=weights,
            ignore_index=IGNORED,
        )

    def count(self, targets: np.ndarray, weights: np.ndarray | None = None) -> int:
        """Return the number of targets that count, without those of weight 0."""
        if weights is not None:
            return int(np.count_nonzero(_counted(targets, weights)))
        if targets.dtype.kind == "f":
            return targets.size // self.outputs
        if in_range(targets, 0, self.outputs - 1):  # most are
            return targets.size
        return int(np.count_nonzero(targets != IGNORED))

    def total(self, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Return the sum of the weights that the loss is divided by."""
        classes = targets.dtype.kind != "f" and self._weights is not None
        if not classes and weights is None:
            return float(self.count(targets))
        each = _counted(targets, weights).astype(np.float64)
        if weights is not None:
            each *= weights
        if classes and self._weights is not None:
            each *= self._weights[np.maximum(targets, 0)]
        return float(each.sum())

    def assess(
        self,
        logits: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> Scores:
        """Return the numbers of correct predictions and of targets, under "accuracy".

        If targets are probabilities, the likeliest class is the correct one. Weights
        have no effect, except that targets of weight 0 are left out.
        """
        wanted = targets.argmax(axis=-1) if targets.dtype.kind == "f" else targets
        hits = logits.argmax(axis=-1) == wanted
        if weights is not None:
            hits &= weights > 0
        right = int(np.count_nonzero(hits))
        return {"accuracy": (float(right), self.count(targets, weights))}

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the softmax over the last axis, in the dtype of the scores."""
        e = np.exp(logits - logits.max(axis=-1, keepdims=True))
        p: np.ndarray = e / e.sum(axis=-1, keepdims=True)
        return p

    def report(self, logits: np.ndarray) -> np.ndarray:
        """Return the output of a session after a step: the probabilities."""
        return self.probabilities(logits)

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """Return the likeliest classes: labels, or numbers if there are no labels."""
        best = logits.argmax(axis=-1)
        named: np.ndarray = (
            best if self.classes is None else np.array(self.classes)[best]
        )
        return named


class Regression:
    """Values, and their mean squared, absolute or Huber's error.

    Parameters
    ----------
    output_size : int
        Values K of a target.
    dtype : dtype
        Dtype of the model.
    error : {"mse", "mae", "huber"}, default "mse"
        The loss.
    delta : float, optional
        For "huber" only: see `fastcell.losses.huber`; 1 if not given.
    ignore_nan : bool, default False
        Whether values that are NaN are left out.

    Attributes
    ----------
    outputs : int
        K.
    error : str
        The name of the loss.
    delta : float or None
    ignore_nan : bool
    uneven : bool
        As for `Classification`.

    Raises
    ------
    TypeError, ValueError
        If `output_size` is not an integer from 1, there is no such loss, or an option
        is not for it or out of its range.
    """

    def __init__(
        self,
        output_size: int,
        dtype: np.dtype,
        error: str = "mse",
        delta: float | None = None,
        ignore_nan: bool = False,
    ) -> None:
        self.outputs = size("output_size", output_size)
        self.dtype = np.dtype(dtype)
        self.error = one_of("loss", error, ERRORS)
        self.ignore_nan = flag("ignore_nan", ignore_nan)
        self.uneven = False
        self.delta = None
        if self.error == "huber":
            self.delta = real("delta", 1.0 if delta is None else delta, above=0)
        elif delta is not None:
            raise ValueError(
                f'delta must be left out for the loss "{error}"; got {shown(delta)}'
            )

    def config(self) -> dict[str, Any]:
        """Return the model's arguments for the loss that are not the default.

        Leaving out defaults keeps configurations equal to those in older files.
        """
        usual = {"loss": "mse", "delta": None, "ignore_nan": False}
        mine = {
            "loss": self.error,
            "delta": self.delta,
            "ignore_nan": self.ignore_nan,
        }
        return {name: mine[name] for name in usual if mine[name] != usual[name]}

    def targets(self, y: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Return the values of a batch, shape + (K,), in the dtype of the model.

        Parameters
        ----------
        y : array of real numbers, shape + (K,), or shape if K is 1
        shape : tuple of int

        Raises
        ------
        TypeError
            If they are not real numbers.
        ValueError
            If the shape is wrong, or a value is not finite; NaN is allowed with
            `ignore_nan`.
        """
        y = as_array("y", y)
        if y.dtype.kind not in "fiu":
            raise TypeError(f"y must be real numbers; got dtype {y.dtype}")
        wanted = (*shape, self.outputs)
        if y.shape != wanted and not (self.outputs == 1 and y.shape == shape):
            raise ValueError(f"y must have the shape {wanted}; got {y.shape}")
        with np.errstate(over="ignore"):  # becomes infinite, which is refused next
            values = y.astype(self.dtype).reshape(wanted)
        wrong = np.isinf(values) if self.ignore_nan else ~np.isfinite(values)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            or_nan = " or NaN" if self.ignore_nan else ""
            raise ValueError(
                f"y must be finite{or_nan} in {self.dtype}; got {values[at]}"
            )
        checked: np.ndarray = values
        return checked

    def loss(
        self,
        values: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Return the mean error and its gradient; weights are one for each vector."""
        options: dict[str, Any] = {"ignore_nan": self.ignore_nan}
        if weights is not None:
            options["weight"] = weights[..., np.newaxis]
        if self.delta is not None:
            options["delta"] = self.delta
        result: tuple[float, np.ndarray] = getattr(losses, self.error)(
            values, targets, **options
        )
        return result

    def count(self, targets: np.ndarray, weights: np.ndarray | None = None) -> int:
        """Return the number of values that count."""
        if weights is None and not self.ignore_nan:
            return targets.size
        return int(np.count_nonzero(self._counted(targets, weights)))

    def total(self, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Return the sum of the weights that the loss is divided by."""
        if weights is None:
            return float(self.count(targets))
        there = self._counted(targets, weights)
        return float((there * weights[..., np.newaxis]).sum())

    def assess(
        self,
        values: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> Scores:
        """Return the sum and the number of the absolute errors, under "mae".

        Weights have no effect, except that targets of weight 0 are left out.
        """
        errors = np.abs(values - targets, dtype=np.float64)
        if weights is not None or self.ignore_nan:
            errors = errors[self._counted(targets, weights)]
        return {"mae": (float(errors.sum()), errors.size)}

    def _counted(self, targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Return a mask of the values that count, in the shape of `targets`."""
        there: np.ndarray = ~np.isnan(targets)
        if weights is not None:
            there &= weights[..., np.newaxis] > 0
        return there

    def report(self, values: np.ndarray) -> np.ndarray:
        """Return the output of a session after a step: the values."""
        return self.answers(values)

    def answers(self, values: np.ndarray) -> np.ndarray:
        """Return the values; without the last axis where each target is one value."""
        return values[..., 0] if self.outputs == 1 else values


def _counted(targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return a mask of the targets of a classification that count."""
    if targets.dtype.kind == "f":
        there = np.ones(targets.shape[:-1], bool)
    else:
        there = targets != IGNORED
    if weights is not None:
        there &= weights > 0
    return there


def _labels(classes: Any, count: int, name: str) -> list[Any]:
    """Return labels as plain values: all of them strings, or all of them integers."""
    labels = [
        c.item() if isinstance(c, np.generic) else c
        for c in list_of("classes", classes, "a list of labels")
    ]
    kinds = {type(label) for label in labels}
    if not (kinds <= {str} or kinds <= {int}):
        got = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"classes must be all strings or all integers; got {got}")
    if len(labels) != count or len(set(labels)) != count:
        raise ValueError(
            f"classes must hold {name} = {count} different labels; "
            f"got {len(labels)}, {len(set(labels))} of them different"
        )
    return labels
