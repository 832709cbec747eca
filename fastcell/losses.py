"""Losses: each returns its value and its gradient with respect to its input.

All functions return ``(loss, gradient)``. The loss is a Python float in nats, whose sum
over the elements is accumulated in float64 whatever the dtype of the input; the
gradient has the shape and dtype of the input. Nothing is changed in place.

A NaN or an infinity in the input makes the loss NaN or infinite, and of the gradient
only the row (in `cross_entropy` and `ctc`) or the element that it stands in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastcell import _core
from fastcell._arrays import as_array, check_shape, in_range
from fastcell._checks import one_of
from fastcell._ctc import ctc
from fastcell._numbers import integer, real
from fastcell.threads import get_num_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["binary_cross_entropy", "cross_entropy", "ctc", "mae", "mse"]

# Elements that are worked on at a time: 64 KiB of float32, so that the passes over
# them find them in the cache.
_BLOCK = 16384


def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
) -> tuple[float, NDArray[np.floating]]:
    r"""Cross-entropy of integer targets under the softmax of the logits.

    With the logits :math:`z` of one row, its target :math:`y`, the number of classes
    :math:`V`, the label smoothing :math:`\epsilon` and the number of rows counted
    :math:`n` (1 with ``reduction="sum"``), each row adds

    .. math::

        p_k &= e^{z_k} / \sum_j e^{z_j}, \qquad
        q_k = (1 - \epsilon) \, [k = y] + \epsilon / V \\
        loss &= -\frac{1}{n} \sum_k q_k \log p_k \\
        dlogits_k &= (p_k - q_k) / n

    Rows whose target is `ignore_index` add nothing, are not counted and get a zero
    gradient, whatever their logits are. If all rows are ignored, or there is none, the
    loss is 0.0 and the gradient zero (PyTorch returns NaN there).

    Parameters
    ----------
    logits : (..., V) array of float32 or float64
        Unnormalised scores, for sequences (T, B, V). Minus infinity excludes a class.
    targets : (...) array of integers
        The classes, 0 to V - 1, or `ignore_index`.
    ignore_index : int
        The target of rows that do not count, such as padding.
    label_smoothing : float
        The share, 0 to 1, of each target's probability that is spread evenly over all
        classes (Szegedy et al. 2016, arXiv:1512.00567).
    reduction : {"mean", "sum"}
        Whether to divide by the number of rows that count.

    Returns
    -------
    loss : float
        In nats; over ``math.log(2)`` it is in bits.
    dlogits : (..., V) array
        The gradient of `loss`, of the dtype of `logits`.

    Raises
    ------
    TypeError
        If `logits` is neither float32 nor float64, or `targets` not integer.
    ValueError
        If the shapes do not fit, a target is out of range, or an option is not one of
        those above.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.losses import cross_entropy
    >>> logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    >>> loss, dlogits = cross_entropy(logits, [0, 1])
    >>> round(loss, 4)
    0.4581
    >>> dlogits.round(3)
    array([[-0.25 ,  0.125,  0.125],
           [ 0.05 , -0.1  ,  0.05 ]])
    """
    logits = _float_array("logits", logits)
    if logits.ndim == 0:
        raise ValueError("logits must have the shape (..., V); got a scalar")
    targets = as_array("targets", targets)
    if targets.dtype.kind not in "iu":
        raise TypeError(f"targets must be integers; got dtype {targets.dtype}")
    check_shape("targets", targets, logits.shape[:-1], " of the rows of logits")
    ignore_index = integer("ignore_index", ignore_index)
    smoothing = real("label_smoothing", label_smoothing, minimum=0, maximum=1)
    _check_reduction(reduction)

    num_classes = logits.shape[-1]
    if in_range(targets, 0, num_classes - 1) and not (0 <= ignore_index < num_classes):
        num_counted, classes = targets.size, targets.reshape(-1)
    else:
        counted = targets != ignore_index
        _check_classes(targets, counted, num_classes, ignore_index)
        num_counted = int(np.count_nonzero(counted))
        classes = np.where(counted, targets, -1).astype(np.int64).reshape(-1)
    if num_counted == 0:
        return 0.0, np.zeros_like(logits, order="C")
    scale = 1.0 / num_counted if reduction == "mean" else 1.0

    rows = np.ascontiguousarray(logits.reshape(targets.size, num_classes))
    gradient = np.empty_like(rows)
    losses = np.empty(targets.size)
    _core.cross_entropy(
        rows, classes, -1, smoothing, scale, losses, gradient, get_num_threads()
    )
    return float(losses.sum()) * scale, gradient.reshape(logits.shape)


def cross_entropy_in_place(
    logits: NDArray[np.floating], classes: NDArray[np.integer], scale: float
) -> NDArray[np.float64]:
    """Put the gradient of the cross-entropy in the place of the scores.

    What `cross_entropy` is made of, for models with so many classes that their scores
    are worked on in parts; nothing is checked.

    Parameters
    ----------
    logits : (N, V) contiguous array of float32 or float64
        Becomes the gradient of `scale` times the sum of the losses.
    classes : (N,) array of integers
        0 to V - 1, or negative for rows that do not count.
    scale : float

    Returns
    -------
    losses : (N,) array of float64
        Of each row, without `scale`.
    """
    losses = np.empty(len(logits))
    labels: NDArray[np.int64] = classes.astype(np.int64, copy=False)
    labels = np.maximum(labels, -1)
    _core.cross_entropy(
        logits, labels, -1, 0.0, scale, losses, logits, get_num_threads()
    )
    return losses


def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Literal["mean", "sum"] = "mean",
) -> tuple[float, NDArray[np.floating]]:
    r"""Cross-entropy of independent binary targets under the sigmoid of the logits.

    With a logit :math:`z`, its target :math:`t` and the number of elements :math:`n`
    (1 with ``reduction="sum"``), each element adds

    .. math::

        loss &= -\frac{1}{n} (t \log \sigma(z) + (1 - t) \log \sigma(-z))
              = \frac{1}{n} (\max(z, 0) - z t + \log(1 + e^{-|z|})) \\
        dlogits &= (\sigma(z) - t) / n
                 = ((1 - t) \, \sigma(z) - t \, \sigma(-z)) / n

    The last forms are the ones computed: they do not overflow, and do not cancel where
    the prediction is right. Of no element at all the loss is 0.0.

    Parameters
    ----------
    logits : array of float32 or float64
        Any shape.
    targets : array of the shape of `logits`
        Probabilities from 0 to 1: of the dtype of `logits`, bool or integer.
    reduction : {"mean", "sum"}
        Whether to divide by the number of elements.

    Returns
    -------
    loss : float
        In nats.
    dlogits : array
        The gradient of `loss`, of the shape and dtype of `logits`.

    Raises
    ------
    TypeError
        If a dtype is not one of those above.
    ValueError
        If the shapes differ, or a target is not in 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.losses import binary_cross_entropy
    >>> loss, dlogits = binary_cross_entropy(np.array([0.0, 100.0]), [0, 1])
    >>> round(loss, 4)
    0.3466
    >>> dlogits.round(3)
    array([ 0.25, -0.  ])
    """
    logits = _float_array("logits", logits)
    targets = as_array("targets", targets)
    if targets.dtype != logits.dtype and targets.dtype.kind not in "biu":
        raise TypeError(
            f"targets must be bool, integer or {logits.dtype} as logits; "
            f"got dtype {targets.dtype}"
        )
    check_shape("targets", targets, logits.shape, " of logits")
    _check_reduction(reduction)
    wrong = ~((targets >= 0) & (targets <= 1))  # catches NaN as well
    if wrong.any():
        at = _first(wrong)
        raise ValueError(
            f"targets must be probabilities from 0 to 1; got {targets[at]} at {at}"
        )
    targets = targets.astype(logits.dtype, copy=False)

    scale = _scale(logits, reduction)
    flat, wanted = logits.reshape(-1), targets.reshape(-1)
    gradient = np.empty(flat.shape, flat.dtype)
    total = 0.0
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        z, t = flat[block], wanted[block]
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            small = np.exp(-np.abs(z))
            loss = np.maximum(z, 0) - z * t + np.log1p(small)
            positive = z >= 0
            up = np.where(positive, 1, small)  # sigmoid(z) (1 + small)
            down = np.where(positive, small, 1)  # sigmoid(-z) (1 + small)
            gradient[block] = ((1 - t) * up - t * down) / (1 + small) * scale
        total += float(loss.sum(dtype=np.float64))
    return total * scale, gradient.reshape(logits.shape)


def mse(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Literal["mean", "sum"] = "mean",
) -> tuple[float, NDArray[np.floating]]:
    r"""Mean squared error.

    With a prediction :math:`y`, its target :math:`t` and the number of elements
    :math:`n` (1 with ``reduction="sum"``), each element adds

    .. math::

        loss = (y - t)^2 / n, \qquad dpredictions = 2 (y - t) / n

    Of no element at all the loss is 0.0.

    Parameters
    ----------
    predictions : array of float32 or float64
        Any shape.
    targets : array of the shape and dtype of `predictions`
    reduction : {"mean", "sum"}
        Whether to divide by the number of elements.

    Returns
    -------
    loss : float
        In the square of the predictions' unit.
    dpredictions : array
        The gradient of `loss`, of the shape and dtype of `predictions`.

    Raises
    ------
    TypeError
        If the dtypes differ or are neither float32 nor float64.
    ValueError
        If the shapes differ (nothing is broadcast).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.losses import mse
    >>> loss, dpredictions = mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> loss, dpredictions
    (2.0, array([ 0., -2.]))
    """
    return _of_differences(predictions, targets, reduction, _square)


def mae(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Literal["mean", "sum"] = "mean",
) -> tuple[float, NDArray[np.floating]]:
    r"""Mean absolute error.

    With a prediction :math:`y`, its target :math:`t` and the number of elements
    :math:`n` (1 with ``reduction="sum"``), each element adds

    .. math::

        loss = |y - t| / n, \qquad dpredictions = \mathrm{sign}(y - t) / n

    where the sign of 0 is 0. Of no element at all the loss is 0.0. Parameters, results
    and errors are those of `mse`; the loss is in the predictions' unit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.losses import mae
    >>> mae(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (1.0, array([ 0. , -0.5]))
    """
    return _of_differences(predictions, targets, reduction, _absolute)


def _square(difference: NDArray[Any], scale: float, gradient: NDArray[Any]) -> float:
    np.multiply(difference, 2.0 * scale, out=gradient)
    return float(np.square(difference, dtype=np.float64).sum())


def _absolute(difference: NDArray[Any], scale: float, gradient: NDArray[Any]) -> float:
    np.multiply(np.sign(difference), scale, out=gradient)
    return float(np.abs(difference).sum(dtype=np.float64))


def _of_differences(
    predictions: ArrayLike,
    targets: ArrayLike,
    reduction: str,
    rule: Callable[[NDArray[Any], float, NDArray[Any]], float],
) -> tuple[float, NDArray[np.floating]]:
    """Return a loss that is a sum over differences, block by block, and its gradient.

    `rule` returns the sum of a block and writes its gradient.
    """
    flat, wanted, scale = _values(predictions, targets, reduction)
    gradient = np.empty(flat.shape, flat.dtype)
    total = 0.0
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        with np.errstate(over="ignore", invalid="ignore"):
            total += rule(flat[block] - wanted[block], scale, gradient[block])
    return total * scale, gradient.reshape(np.shape(predictions))


def _values(
    predictions: ArrayLike, targets: ArrayLike, reduction: str
) -> tuple[NDArray[np.floating], NDArray[np.floating], float]:
    """Return both as vectors, checked, and the factor of each element."""
    predictions = _float_array("predictions", predictions)
    targets = as_array("targets", targets)
    if targets.dtype != predictions.dtype:
        raise TypeError(
            f"targets must have the dtype {predictions.dtype} of predictions; "
            f"got {targets.dtype}"
        )
    check_shape("targets", targets, predictions.shape, " of predictions")
    _check_reduction(reduction)
    scale = _scale(predictions, reduction)
    return predictions.reshape(-1), targets.reshape(-1), scale


def _float_array(name: str, value: ArrayLike) -> NDArray[np.floating]:
    array = as_array(name, value)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64; got dtype {array.dtype}")
    return array


def _check_reduction(reduction: str) -> None:
    one_of("reduction", reduction, ("mean", "sum"))


def _check_classes(
    targets: NDArray[np.integer],
    counted: NDArray[np.bool_],
    num_classes: int,
    ignore_index: int,
) -> None:
    wrong = counted & ((targets < 0) | (targets >= num_classes))
    if wrong.any():
        at = _first(wrong)
        raise ValueError(
            f"targets must be classes from 0 to {num_classes - 1}, or ignore_index "
            f"({ignore_index}); got {targets[at]} at {at}"
        )


def _first(condition: NDArray[np.bool_]) -> tuple[int, ...]:
    """Index of the first element that is true."""
    at = np.unravel_index(int(np.argmax(condition)), condition.shape)
    return tuple(int(i) for i in at)


def _scale(array: NDArray[Any], reduction: str) -> float:
    return 1.0 / array.size if reduction == "mean" and array.size else 1.0
