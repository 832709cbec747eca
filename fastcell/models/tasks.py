"""What scores stand for, classes or values: loss, accuracy and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._arrays import as_array, check_ids, in_range
from fastcell._checks import list_of, one_of
from fastcell._numbers import size
from fastcell.models.parts import IGNORED

Scores = dict[str, tuple[float, int]]


class Classification:
    """One of several classes: the softmax of the scores, and its cross-entropy.

    Parameters
    ----------
    num_classes : int
        At least two.
    classes : iterable of str or of int, optional
        The label of each class, all different.
    name : str, default "num_classes"
        What errors call the number.

    Attributes
    ----------
    outputs : int
        Scores of a target: one for each class.
    classes : list of str or of int, or None
        The labels.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    """

    def __init__(
        self, num_classes: int, classes: Any = None, name: str = "num_classes"
    ) -> None:
        self.outputs = size(name, num_classes, minimum=2)
        self.classes = None if classes is None else _labels(classes, self.outputs, name)

    def targets(self, y: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Return the classes of a batch as int64, -100 where a target does not count.

        Raises
        ------
        TypeError
            If they are not integers.
        ValueError
            If the shape is another, or a class out of range.
        """
        if in_range(y, 0, self.outputs - 1) and y.shape == shape:  # most are
            return y
        y = as_array("y", y)
        if y.dtype.kind not in "iu":
            raise TypeError(
                f"y must be the classes' numbers, integers; got dtype {y.dtype}"
            )
        if y.shape != shape:
            raise ValueError(f"y must have the shape {shape}; got {y.shape}")
        check_ids("y", np.where(y == IGNORED, 0, y), self.outputs)
        classes: np.ndarray = y.astype(np.int64, copy=False)
        return classes

    def loss(self, logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean cross-entropy in nats, and its gradient."""
        from fastcell.losses import cross_entropy

        return cross_entropy(logits, targets, ignore_index=IGNORED)

    def count(self, targets: np.ndarray) -> int:
        """Return the number of targets that count."""
        return int(np.count_nonzero(targets != IGNORED))

    def assess(self, logits: np.ndarray, targets: np.ndarray) -> Scores:
        """Return the number of right answers, and of targets, under "accuracy"."""
        right = int(np.count_nonzero(logits.argmax(axis=-1) == targets))
        return {"accuracy": (float(right), self.count(targets))}

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the softmax over the last axis, in the dtype of the scores."""
        e = np.exp(logits - logits.max(axis=-1, keepdims=True))
        p: np.ndarray = e / e.sum(axis=-1, keepdims=True)
        return p

    def report(self, logits: np.ndarray) -> np.ndarray:
        """Return what a stream tells after a step: the probabilities."""
        return self.probabilities(logits)

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """Return the likeliest classes: their labels, or numbers if they have none."""
        best = logits.argmax(axis=-1)
        named: np.ndarray = (
            best if self.classes is None else np.array(self.classes)[best]
        )
        return named


class Regression:
    """Values, and their mean squared or mean absolute error.

    Parameters
    ----------
    output_size : int
        Values K of a target.
    dtype : dtype
        Of the model.
    error : {"mse", "mae"}, default "mse"
        The loss.

    Attributes
    ----------
    outputs : int
        K.
    error : str
        The name of the loss.

    Raises
    ------
    TypeError, ValueError
        If `output_size` is not an integer from 1, or there is no such loss.
    """

    def __init__(self, output_size: int, dtype: np.dtype, error: str = "mse") -> None:
        self.outputs = size("output_size", output_size)
        self.dtype = np.dtype(dtype)
        self.error = one_of("loss", error, ("mse", "mae"))

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
            If the shape is another, or one is not finite.
        """
        y = as_array("y", y)
        if y.dtype.kind not in "fiu":
            raise TypeError(f"y must be real numbers; got dtype {y.dtype}")
        wanted = (*shape, self.outputs)
        if y.shape != wanted and not (self.outputs == 1 and y.shape == shape):
            raise ValueError(f"y must have the shape {wanted}; got {y.shape}")
        with np.errstate(over="ignore"):  # becomes infinite, which is refused next
            values = y.astype(self.dtype).reshape(wanted)
        if not np.isfinite(values).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise ValueError(f"y must be finite in {self.dtype}; got {values[at]}")
        checked: np.ndarray = values
        return checked

    def loss(self, values: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean error, and its gradient."""
        from fastcell import losses

        result: tuple[float, np.ndarray] = getattr(losses, self.error)(values, targets)
        return result

    def count(self, targets: np.ndarray) -> int:
        """Return the number of values."""
        return targets.size

    def assess(self, values: np.ndarray, targets: np.ndarray) -> Scores:
        """Return the sum of the absolute errors, and their number, under "mae"."""
        total = np.abs(values - targets, dtype=np.float64).sum()
        return {"mae": (float(total), targets.size)}

    def report(self, values: np.ndarray) -> np.ndarray:
        """Return what a stream tells after a step: the values."""
        return self.answers(values)

    def answers(self, values: np.ndarray) -> np.ndarray:
        """Return the values; without the last axis where each target is one value."""
        return values[..., 0] if self.outputs == 1 else values


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
