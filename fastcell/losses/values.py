"""Losses for regression: squared, absolute and Huber's errors of elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from fastcell._checks.arrays import as_array, check_shape
from fastcell._checks.numbers import flag, real
from fastcell.losses.parts import (
    BLOCK,
    check_reduction,
    divisor,
    float_array,
    weights_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fastcell.losses.parts import Each, Total


@overload
def mse(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = ...,
    ignore_nan: bool = ...,
    reduction: Literal["mean", "sum"] = ...,
) -> Total: ...
@overload
def mse(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = ...,
    ignore_nan: bool = ...,
    reduction: Literal["none"],
) -> Each: ...
def mse(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_nan: bool = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Total | Each:
    r"""Mean squared error.

    With a prediction :math:`y`, its target :math:`t`, its weight :math:`w` (1 without
    `weight`) and the sum of all weights :math:`n` (1 with ``reduction="sum"`` and
    ``"none"``), each element adds

    .. math::

        loss = w (y - t)^2 / n, \qquad dpredictions = 2 w (y - t) / n

    An element whose weight is 0, or with `ignore_nan` whose target is NaN, adds nothing
    and has a zero gradient for any prediction. The loss of empty input is 0.0.

    Parameters
    ----------
    predictions : array of float32 or float64
        Any shape.
    targets : array of the shape and dtype of `predictions`
    weight : array of real numbers, optional
        Weight of each element, at least 0; broadcasts to the shape of `predictions`.
    ignore_nan : bool, default False
        Leave out elements whose target is NaN, such as gaps of a measurement.
    reduction : {"mean", "sum", "none"}
        Whether to divide by the sum of weights; "none" returns the loss of each
        element.

    Returns
    -------
    loss : float, or array of float64 with ``reduction="none"``
        In the square of the predictions' unit.
    dpredictions : array
        The gradient of `loss`, or of its sum, of the shape and dtype of `predictions`.

    Raises
    ------
    TypeError
        If the dtypes differ or are neither float32 nor float64.
    ValueError
        If the shapes differ (targets are not broadcast), or a weight is negative or not
        finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.losses import mse
    >>> loss, dpredictions = mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> loss, dpredictions
    (2.0, array([ 0., -2.]))
    >>> mse(np.array([1.0, 2.0]), np.array([np.nan, 4.0]), ignore_nan=True)
    (4.0, array([ 0., -4.]))
    """
    return _of_differences(predictions, targets, weight, ignore_nan, reduction, _square)


@overload
def mae(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = ...,
    ignore_nan: bool = ...,
    reduction: Literal["mean", "sum"] = ...,
) -> Total: ...
@overload
def mae(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = ...,
    ignore_nan: bool = ...,
    reduction: Literal["none"],
) -> Each: ...
def mae(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_nan: bool = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Total | Each:
    r"""Mean absolute error.

    With a prediction :math:`y`, its target :math:`t`, its weight :math:`w` and the sum
    of weights :math:`n`, as for `mse`, each element adds

    .. math::

        loss = w |y - t| / n, \qquad dpredictions = w \, \mathrm{sign}(y - t) / n

    where the sign of 0 is 0. Parameters, results and errors are those of `mse`; the
    loss is in the predictions' unit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.losses import mae
    >>> mae(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (1.0, array([ 0. , -0.5]))
    """
    return _of_differences(
        predictions, targets, weight, ignore_nan, reduction, _absolute
    )


@overload
def huber(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    delta: float = ...,
    weight: ArrayLike | None = ...,
    ignore_nan: bool = ...,
    reduction: Literal["mean", "sum"] = ...,
) -> Total: ...
@overload
def huber(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    delta: float = ...,
    weight: ArrayLike | None = ...,
    ignore_nan: bool = ...,
    reduction: Literal["none"],
) -> Each: ...
def huber(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    delta: float = 1.0,
    weight: ArrayLike | None = None,
    ignore_nan: bool = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Total | Each:
    r"""Huber's error: squared for small differences, absolute for large ones.

    With the difference :math:`d = y - t` of a prediction and its target, its weight
    :math:`w` and the sum of weights :math:`n`, as for `mse`, each element adds

    .. math::

        loss &= \frac{w}{n} \begin{cases}
            d^2 / 2 & |d| \le \delta \\
            \delta \, (|d| - \delta / 2) & |d| > \delta \end{cases} \\
        dpredictions &= w \, \mathrm{clip}(d, -\delta, \delta) / n

    (Huber 1964, doi:10.1214/aoms/1177703732). ``torch.nn.functional.huber_loss``
    differs only in the weighted mean: it divides by the number of elements. Parameters,
    results and errors are those of `mse`, and:

    Parameters
    ----------
    delta : float, default 1.0
        Where the error changes from squared to absolute; above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.losses import huber
    >>> huber(np.array([1.0, 5.0]), np.array([1.5, 1.0]), reduction="sum")
    (3.625, array([-0.5,  1. ]))
    """
    delta = real("delta", delta, above=0)

    def rule(d: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
        size = np.abs(d).astype(np.float64)
        near = np.minimum(size, delta)
        # Within delta the loss is near^2 / 2; beyond it continues as a line.
        return near * (size - near / 2), np.clip(d, -delta, delta)

    return _of_differences(predictions, targets, weight, ignore_nan, reduction, rule)


def _square(d: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    return np.square(d, dtype=np.float64), 2 * d


def _absolute(d: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    return np.abs(d).astype(np.float64), np.sign(d)


def _of_differences(
    predictions: ArrayLike,
    targets: ArrayLike,
    weight: Any,
    ignore_nan: bool,
    reduction: str,
    rule: Callable[[NDArray[Any]], tuple[NDArray[np.float64], NDArray[Any]]],
) -> Total | Each:
    """Return a loss of differences, computed block by block, and its gradient.

    `rule` maps differences to their losses and derivatives.
    """
    predictions = float_array("predictions", predictions)
    wanted = as_array("targets", targets)
    if wanted.dtype != predictions.dtype:
        raise TypeError(
            f"targets must have the dtype {predictions.dtype} of predictions; "
            f"got {wanted.dtype}"
        )
    check_shape("targets", wanted, predictions.shape, " of predictions")
    weights = weights_of("weight", weight, predictions.shape)
    check_reduction(reduction)
    if flag("ignore_nan", ignore_nan):
        missing = np.isnan(wanted)
        if missing.any():
            weights = np.where(missing, 0.0, 1.0 if weights is None else weights)

    flat, aims = predictions.reshape(-1), wanted.reshape(-1)
    if weights is None:
        n = divisor(reduction, float(flat.size))
    else:
        weights = weights.reshape(-1)
        n = divisor(reduction, float(weights.sum()))
    each = np.empty(flat.shape) if reduction == "none" else None
    gradient = np.empty(flat.shape, flat.dtype)
    total = 0.0
    for start in range(0, flat.size, BLOCK):
        block = slice(start, start + BLOCK)
        with np.errstate(over="ignore", invalid="ignore"):
            differences = flat[block] - aims[block]
            if weights is None:
                losses, slopes = rule(differences)
                np.multiply(slopes, 1.0 / n, out=gradient[block])
            else:
                w = weights[block]
                losses, slopes = rule(np.where(w == 0, 0, differences))
                losses *= w
                np.multiply(slopes, (w / n).astype(flat.dtype), out=gradient[block])
        if each is None:
            total += float(losses.sum())
        else:
            each[block] = losses
    gradient = gradient.reshape(predictions.shape)
    if each is None:
        return total / n, gradient
    return each.reshape(predictions.shape), gradient
