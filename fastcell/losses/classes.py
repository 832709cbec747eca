"""Losses for classification: softmax and binary cross-entropy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import as_array, check_shape, in_range
from fastcell._checks.numbers import integer, real
from fastcell.losses.parts import (
    BLOCK,
    check_reduction,
    divisor,
    first,
    float_array,
    weights_of,
)
from fastcell.threads import get_num_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fastcell.losses.parts import Each, Total

_BLOCK = BLOCK


@overload
def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = ...,
    sample_weight: ArrayLike | None = ...,
    ignore_index: int = ...,
    label_smoothing: float = ...,
    reduction: Literal["mean", "sum"] = ...,
) -> Total: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = ...,
    sample_weight: ArrayLike | None = ...,
    ignore_index: int = ...,
    label_smoothing: float = ...,
    reduction: Literal["none"],
) -> Each: ...
def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Total | Each:
    r"""Cross-entropy of targets under the softmax of the logits.

    With the logits :math:`z` of one row, its target :math:`y`, the number of classes
    :math:`V`, the label smoothing :math:`\epsilon`, the weights :math:`w_k` of classes
    and :math:`s` of the row (1 by default), each row adds

    .. math::

        p_k &= e^{z_k} / \sum_j e^{z_j}, \qquad
        q_k = (1 - \epsilon) \, [k = y] + \epsilon / V \\
        loss &= -\frac{s}{n} \sum_k w_k q_k \log p_k \\
        dlogits_k &= \frac{s}{n} \Big( p_k \sum_j w_j q_j - w_k q_k \Big)

    where n is the sum of :math:`s \, w_y` over the rows that count (without weights,
    their number), or 1 with ``reduction="sum"`` and ``"none"``. Targets that are
    probabilities :math:`t_k` take the place of :math:`[k = y]`, and n is the sum of s:
    as in PyTorch,
    class weights are not part of this mean.

    Rows whose target is `ignore_index` or whose `sample_weight` is 0 are left out: they
    add nothing and have a zero gradient for any logits. If no row counts, the loss is
    0.0 and the gradient zero (PyTorch returns NaN).

    Parameters
    ----------
    logits : (..., V) array of float32 or float64
        Unnormalised scores, for sequences (T, B, V). Minus infinity excludes a class.
    targets : (...) array of integers, or (..., V) array of the dtype of `logits`
        The classes, 0 to V - 1, or `ignore_index`; or the probability of each class, 0
        to 1.
    weight : (V,) array of real numbers, optional
        Weight of each class, at least 0.
    sample_weight : array of real numbers, optional
        Weight of each row, at least 0: (...), or a shape that broadcasts to it.
    ignore_index : int
        The target of rows to leave out, such as padding.
    label_smoothing : float
        The share, 0 to 1, of each target's probability that is spread evenly over all
        classes (Szegedy et al. 2016, arXiv:1512.00567).
    reduction : {"mean", "sum", "none"}
        Whether to divide by n above; "none" returns the loss of each row.

    Returns
    -------
    loss : float, or (...) array of float64 with ``reduction="none"``
        In nats; divide by ``math.log(2)`` for bits.
    dlogits : (..., V) array
        The gradient of `loss`, or of its sum, of the dtype of `logits`.

    Raises
    ------
    TypeError
        If `logits` is neither float32 nor float64, or `targets` neither integers nor
        probabilities of its shape and dtype.
    ValueError
        If the shapes do not fit, a target or a weight is out of range, or an option is
        not one of those above.

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
    >>> each, _ = cross_entropy(logits, [0, 1], weight=[1, 3, 1], reduction="none")
    >>> each.round(4)
    array([0.6931, 0.6694])
    """
    logits = float_array("logits", logits)
    if logits.ndim == 0:
        raise ValueError("logits must have the shape (..., V); got a scalar")
    targets = as_array("targets", targets)
    rows, num_classes = logits.shape[:-1], logits.shape[-1]
    of_classes = targets.dtype.kind in "iu"
    if of_classes:
        check_shape("targets", targets, rows, " of the rows of logits")
    else:
        _check_distributions(targets, logits)
    per_class = weights_of("weight", weight, (num_classes,), exact=True)
    per_row = weights_of("sample_weight", sample_weight, rows)
    ignore_index = integer("ignore_index", ignore_index)
    smoothing = real("label_smoothing", label_smoothing, minimum=0, maximum=1)
    check_reduction(reduction)

    x = np.ascontiguousarray(logits).reshape(math.prod(rows), num_classes)
    share = None if per_row is None else per_row.reshape(-1)
    scale = 1.0
    if of_classes:
        classes, there = _checked_classes(targets, num_classes, ignore_index)
        losses, gradient, scale = _of_classes(
            x, classes, there, per_class, share, smoothing, reduction
        )
    else:
        if ignore_index >= 0:
            raise ValueError(
                "ignore_index must be negative for targets that are probabilities; "
                f"got {ignore_index}"
            )
        share = np.ones(len(x)) if share is None else share
        factors = share / divisor(reduction, float(share.sum()))
        amounts = _mixed(targets.reshape(x.shape), per_class, smoothing)
        losses, gradient = _of_amounts(x, amounts, factors)
    gradient = gradient.reshape(logits.shape)
    if reduction == "none":
        return losses.reshape(rows), gradient
    return float(np.add.reduce(losses)) * scale, gradient


def _of_classes(
    x: NDArray[Any],
    classes: NDArray[np.int64],
    there: int,
    per_class: NDArray[np.float64] | None,
    share: NDArray[np.float64] | None,
    smoothing: float,
    reduction: str,
) -> tuple[NDArray[np.float64], NDArray[Any], float]:
    """Return the losses of rows of class numbers (-1: none), the gradient, a factor.

    `there` is the number of rows with a class. The sum of the losses must still be
    multiplied by the factor.
    """
    if per_class is None and share is None:
        scale = 1.0 / divisor(reduction, float(there))
        return *_from_kernel(x, classes, smoothing, scale, there > 0), scale
    share = np.where(classes < 0, 0.0, 1.0 if share is None else share)
    counted = share
    if per_class is not None:
        counted = share * np.append(per_class, 0.0)[classes]
    n = divisor(reduction, float(counted.sum()))
    if per_class is not None and smoothing > 0:
        amounts = _smoothed(classes, per_class, smoothing)
        return *_of_amounts(x, amounts, share / n), 1.0
    factors = counted / n
    classes = np.where(factors == 0, -1, classes)
    some = bool(factors.any())
    losses, gradient = _from_kernel(x, classes, smoothing, 1.0, some)
    gradient *= factors.astype(x.dtype)[:, np.newaxis]
    return losses * factors, gradient, 1.0


def _from_kernel(
    x: NDArray[Any],
    classes: NDArray[np.int64],
    smoothing: float,
    scale: float,
    some: bool,
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the losses of rows, and the gradient of their sum times `scale`.

    `some` is whether any row counts.
    """
    if not some:  # there may be no class at all
        return np.zeros(len(x)), np.zeros_like(x)
    losses, gradient = np.empty(len(x)), np.empty_like(x)
    _core.cross_entropy(
        x, classes, -1, smoothing, scale, losses, gradient, get_num_threads()
    )
    return losses, gradient


def _of_amounts(
    x: NDArray[Any],
    amounts: Callable[[slice], NDArray[np.float64]],
    factors: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    r"""Return the losses :math:`-f \sum_k a_k \log p_k` of rows, and the gradient.

    Parameters
    ----------
    x : (N, V) contiguous array of float32 or float64
    amounts : callable
        Function of a slice of rows that returns their a, (..., V) float64.
    factors : (N,) array of float64
        f of each row; rows of 0 are left out.
    """
    losses, gradient = np.zeros(len(x)), np.zeros_like(x)
    if x.size == 0:
        return losses, gradient
    step = max(1, _BLOCK // x.shape[1])
    for start in range(0, len(x), step):
        block = slice(start, start + step)
        a, f = amounts(block), factors[block]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            z = x[block] - x[block].max(axis=1, keepdims=True)
            e = np.exp(z)
            e_sum = e.sum(axis=1, keepdims=True, dtype=np.float64)
            # An excluded class, log p = -infinity, adds nothing if its target is 0.
            terms = np.where(a == 0, 0.0, a * (z - np.log(e_sum)))
            slopes = a.sum(axis=1, keepdims=True) * (e / e_sum) - a
            losses[block] = np.where(f == 0, 0.0, -f * terms.sum(axis=1))
            f = f[:, np.newaxis]
            gradient[block] = np.where(f == 0, 0.0, f * slopes)
    return losses, gradient


def _smoothed(
    classes: NDArray[np.int64], per_class: NDArray[np.float64], smoothing: float
) -> Callable[[slice], NDArray[np.float64]]:
    """Return the amounts of rows with class numbers, smoothed and weighted."""

    def amounts(block: slice) -> NDArray[np.float64]:
        of = classes[block]
        a: NDArray[np.float64]
        a = np.tile(smoothing / len(per_class) * per_class, (len(of), 1))
        a[np.arange(len(of)), of] += (1 - smoothing) * per_class[of]
        return a

    return amounts


def _mixed(
    targets: NDArray[Any], per_class: NDArray[np.float64] | None, smoothing: float
) -> Callable[[slice], NDArray[np.float64]]:
    """Return the amounts of rows with probabilities, smoothed and weighted."""

    def amounts(block: slice) -> NDArray[np.float64]:
        t = targets[block].astype(np.float64)
        a: NDArray[np.float64] = (1 - smoothing) * t + smoothing / targets.shape[1]
        return a if per_class is None else a * per_class

    return amounts


def cross_entropy_in_place(
    logits: NDArray[np.floating], classes: NDArray[np.integer], scale: float
) -> NDArray[np.float64]:
    """Overwrite the scores with the gradient of the cross-entropy.

    The kernel of `cross_entropy`, for models with so many classes that scores are
    computed in blocks. Arguments are not checked.

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
        The loss of each row, without `scale`.
    """
    losses = np.empty(len(logits))
    labels: NDArray[np.int64] = classes.astype(np.int64, copy=False)
    labels = np.maximum(labels, -1)
    _core.cross_entropy(
        logits, labels, -1, 0.0, scale, losses, logits, get_num_threads()
    )
    return losses


@overload
def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = ...,
    pos_weight: ArrayLike | None = ...,
    reduction: Literal["mean", "sum"] = ...,
) -> Total: ...
@overload
def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = ...,
    pos_weight: ArrayLike | None = ...,
    reduction: Literal["none"],
) -> Each: ...
def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Total | Each:
    r"""Cross-entropy of independent binary targets under the sigmoid of the logits.

    With a logit :math:`z`, its target :math:`t`, the weights :math:`w` of the element
    and :math:`c` of positive targets (1 by default), and the number of elements
    :math:`n` (1 with ``reduction="sum"`` and ``"none"``), each element adds

    .. math::

        loss &= -\frac{w}{n} (c \, t \log \sigma(z) + (1 - t) \log \sigma(-z)) \\
        dlogits &= \frac{w}{n} ((1 - t) \, \sigma(z) - c \, t \, \sigma(-z))

    computed with :math:`-\log \sigma(z) = \max(-z, 0) + \log(1 + e^{-|z|})`, which does
    not overflow, and has no cancellation for correct predictions. As in
    ``torch.nn.functional.binary_cross_entropy_with_logits``, n is the number of
    elements, not the sum of their weights. An element of weight 0 adds nothing and has
    a zero gradient for any logit. The loss of empty input is 0.0.

    Parameters
    ----------
    logits : array of float32 or float64
        Any shape.
    targets : array of the shape of `logits`
        Probabilities from 0 to 1: of the dtype of `logits`, bool or integer.
    weight : array of real numbers, optional
        Weight of each element, at least 0; broadcasts to the shape of `logits`.
    pos_weight : array of real numbers, optional
        Weight of targets that are 1, at least 0; broadcasts as well, such as one weight
        for each element of the last axis. Above 1 it favours recall.
    reduction : {"mean", "sum", "none"}
        Whether to divide by the number of elements; "none" returns the loss of each
        element.

    Returns
    -------
    loss : float, or array of float64 with ``reduction="none"``
        In nats.
    dlogits : array
        The gradient of `loss`, or of its sum, of the shape and dtype of `logits`.

    Raises
    ------
    TypeError
        If a dtype is not one of those above.
    ValueError
        If the shapes differ, a target is not in 0 to 1, or a weight is negative or not
        finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.losses import binary_cross_entropy
    >>> loss, dlogits = binary_cross_entropy(np.array([0.0, 100.0]), [0, 1])
    >>> round(loss, 4)
    0.3466
    >>> dlogits.round(3)
    array([ 0.25, -0.  ])
    >>> binary_cross_entropy(np.zeros(2), [0, 1], pos_weight=3)[1]
    array([ 0.25, -0.75])
    """
    logits = float_array("logits", logits)
    targets = as_array("targets", targets)
    if targets.dtype != logits.dtype and targets.dtype.kind not in "biu":
        raise TypeError(
            f"targets must be bool, integer or {logits.dtype} as logits; "
            f"got dtype {targets.dtype}"
        )
    check_shape("targets", targets, logits.shape, " of logits")
    weights = weights_of("weight", weight, logits.shape)
    positive_weights = weights_of("pos_weight", pos_weight, logits.shape)
    check_reduction(reduction)
    _check_probabilities(targets)
    targets = targets.astype(logits.dtype, copy=False)

    n = divisor(reduction, float(logits.size))
    flat, wanted = logits.reshape(-1), targets.reshape(-1)
    w = None if weights is None else weights.reshape(-1)
    c = None
    if positive_weights is not None:
        c = positive_weights.reshape(-1).astype(logits.dtype)
    each = np.empty(flat.shape) if reduction == "none" else None
    gradient = np.empty(flat.shape, flat.dtype)
    total = 0.0
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        z, t = flat[block], wanted[block]
        if w is not None:
            z = np.where(w[block] == 0, 0, z)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            small = np.exp(-np.abs(z))
            positive = z >= 0
            up = np.where(positive, 1, small)  # sigmoid(z) (1 + small)
            down = np.where(positive, small, 1)  # sigmoid(-z) (1 + small)
            if c is None:
                loss = np.maximum(z, 0) - z * t + np.log1p(small)
            else:
                log = np.log1p(small)
                loss = (1 - t) * (np.maximum(z, 0) + log)
                t = t * c[block]
                loss += t * (np.maximum(-z, 0) + log)
            slopes = ((1 - wanted[block]) * up - t * down) / (1 + small)
            if w is None:
                gradient[block] = slopes * (1.0 / n)
            else:
                loss = loss * w[block]
                gradient[block] = slopes * (w[block] / n)
        if each is None:
            total += float(loss.sum(dtype=np.float64))
        else:
            each[block] = loss
    gradient = gradient.reshape(logits.shape)
    if each is None:
        return total / n, gradient
    return each.reshape(logits.shape), gradient


def _check_distributions(targets: NDArray[Any], logits: NDArray[Any]) -> None:
    """Raise unless targets have the shape and dtype of class probabilities."""
    if targets.dtype != logits.dtype or targets.shape != logits.shape:
        raise TypeError(
            f"targets must be integers, or probabilities of the shape {logits.shape} "
            f"and dtype {logits.dtype} of logits; got the shape {targets.shape} and "
            f"dtype {targets.dtype}"
        )
    _check_probabilities(targets)


def _check_probabilities(targets: NDArray[Any]) -> None:
    wrong = ~((targets >= 0) & (targets <= 1))  # catches NaN as well
    if wrong.any():
        at = first(wrong)
        raise ValueError(
            f"targets must be probabilities from 0 to 1; got {targets[at]} at {at}"
        )


def _checked_classes(
    targets: NDArray[Any], num_classes: int, ignore_index: int
) -> tuple[NDArray[np.int64], int]:
    """Return the classes (N,), -1 for ignored targets, and the number of others."""
    ignored_is_a_class = 0 <= ignore_index < num_classes
    if in_range(targets, 0, num_classes - 1) and not ignored_is_a_class:
        return targets.reshape(-1), targets.size
    counted = targets != ignore_index
    wrong = counted & ((targets < 0) | (targets >= num_classes))
    if wrong.any():
        at = first(wrong)
        raise ValueError(
            f"targets must be classes from 0 to {num_classes - 1}, or ignore_index "
            f"({ignore_index}); got {targets[at]} at {at}"
        )
    classes = np.where(counted, targets, -1).astype(np.int64).reshape(-1)
    return classes, int(np.count_nonzero(counted))
