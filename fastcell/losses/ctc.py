"""Connectionist temporal classification (CTC) loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import as_array, check_shape, in_range
from fastcell._checks.numbers import flag, integer
from fastcell.losses.parts import check_reduction
from fastcell.threads import get_num_threads

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastcell.losses.parts import Each, Total


@overload
def ctc(
    logits: ArrayLike,
    labels: ArrayLike,
    lengths: ArrayLike | None = ...,
    label_lengths: ArrayLike | None = ...,
    *,
    blank: int = ...,
    reduction: Literal["mean", "sum"] = ...,
    zero_infinity: bool = ...,
) -> Total: ...
@overload
def ctc(
    logits: ArrayLike,
    labels: ArrayLike,
    lengths: ArrayLike | None = ...,
    label_lengths: ArrayLike | None = ...,
    *,
    blank: int = ...,
    reduction: Literal["none"],
    zero_infinity: bool = ...,
) -> Each: ...
def ctc(
    logits: ArrayLike,
    labels: ArrayLike,
    lengths: ArrayLike | None = None,
    label_lengths: ArrayLike | None = None,
    *,
    blank: int = 0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    zero_infinity: bool = False,
) -> Total | Each:
    r"""Connectionist temporal classification: a loss of labels of unknown alignment.

    A path :math:`\pi` is one class or the blank at each of a row's :math:`T_b` steps.
    :math:`\mathcal{B}(\pi)` merges repeated classes, then removes blanks. With the
    logits :math:`z` and the labels :math:`l` of a row, and :math:`y_t =
    \mathrm{softmax}(z_t)`,

    .. math::

        P(l) &= \sum_{\pi :\, \mathcal{B}(\pi) = l} \; \prod_t y_t(\pi_t) \\
        loss &= \sum_b -w_b \log P(l) \\
        dlogits_{t,k} &= w_b \left( y_t(k) - \frac{1}{P(l)}
            \sum_{\pi :\, \mathcal{B}(\pi) = l,\; \pi_t = k} \; \prod_t y_t(\pi_t)
            \right)

    (Graves, Fernández, Gomez and Schmidhuber, ICML 2006, doi:10.1145/1143844.1143891),
    with the weight :math:`w_b = 1` for ``reduction="sum"`` and ``"none"``, and
    :math:`1 / (B \max(L_b, 1))` for ``"mean"``: the mean over rows of the
    loss per label, as in ``torch.nn.functional.ctc_loss``.

    Logits are scores before the softmax, where PyTorch takes log-probabilities. Sums
    over paths are computed in float64 for any dtype and do not underflow.

    Parameters
    ----------
    logits : (T, B, V) array of float32 or float64
        Unnormalised scores of the classes, including the blank. Minus infinity excludes
        a class.
    labels : (B, L) array of integers
        The labels of each row: classes other than the blank. Values past the length of
        a row have no effect.
    lengths : (B,) array of integers, optional
        Steps of each row, 0 to T; all T by default.
    label_lengths : (B,) array of integers, optional
        Labels of each row, 0 to L; all L by default.
    blank : int, default 0
        The class of the blank.
    reduction : {"mean", "sum", "none"}
        As above; "none" returns the loss of each row.
    zero_infinity : bool, default False
        Treatment of rows with too few steps for their labels (one step for each label,
        and one for a blank between equal ones), as in PyTorch: if True, loss and
        gradient are 0; else the loss is infinite and the row's gradient NaN.

    Returns
    -------
    loss : float, or (B,) array of float64 with ``reduction="none"``
        In nats; 0.0 if there is no row.
    dlogits : (T, B, V) array
        The gradient of `loss`, or of its sum, of the dtype of `logits`; 0 past the
        lengths.

    Raises
    ------
    TypeError
        If `logits` is neither float32 nor float64, or another array not of integers.
    ValueError
        If the shapes do not fit, or a length, a label or an option is out of range.

    Examples
    --------
    Two steps, the blank and one label: the paths are (1, 1), (0, 1) and (1, 0).

    >>> import numpy as np
    >>> from fastcell.losses import ctc
    >>> logits = np.log([[[0.25, 0.75]], [[0.5, 0.5]]])
    >>> loss, dlogits = ctc(logits, [[1]])
    >>> round(float(np.exp(-loss)), 4)  # 1 - 0.25 * 0.5
    0.875
    >>> dlogits.shape
    (2, 1, 2)
    """
    result: Total | Each = run_ctc(
        logits, labels, lengths, label_lengths, blank, reduction, zero_infinity, True
    )
    return result


def run_ctc(
    logits: Any,
    labels: Any,
    lengths: Any,
    label_lengths: Any,
    blank: int,
    reduction: str,
    zero_infinity: bool,
    gradient: bool,
    checked: bool = False,
) -> tuple[Any, Any]:
    """Compute `ctc`; without `gradient`, dlogits is None.

    `checked` holds labels and lengths as returned by the functions below.
    """
    logits = as_array("logits", logits)
    if logits.dtype not in (np.float32, np.float64):
        raise TypeError(f"logits must be float32 or float64; got dtype {logits.dtype}")
    if logits.ndim != 3 or logits.shape[2] == 0:
        raise ValueError(f"logits must have the shape (T, B, V); got {logits.shape}")
    steps, rows, num_classes = logits.shape
    blank = integer("blank", blank, minimum=0)
    if blank >= num_classes:
        raise ValueError(
            f"blank must be a class from 0 to {num_classes - 1}; got {blank}"
        )
    check_reduction(reduction)
    zero_infinity = flag("zero_infinity", zero_infinity)
    if not checked:
        labels, label_lengths = checked_labels(
            labels, label_lengths, rows, num_classes, blank
        )
        lengths = checked_lengths("lengths", lengths, rows, steps)
    if rows == 0:
        value = np.zeros(0) if reduction == "none" else 0.0
        return value, np.zeros_like(logits, order="C") if gradient else None

    weights = np.ones(rows)
    if reduction == "mean":
        weights = 1.0 / (rows * np.maximum(label_lengths, 1))
    logits = np.ascontiguousarray(logits)
    dlogits = np.empty_like(logits) if gradient else None
    losses = np.empty(rows)
    _core.ctc_loss(
        logits,
        lengths,
        labels,
        label_lengths,
        blank,
        zero_infinity,
        weights,
        losses,
        dlogits,
        get_num_threads(),
    )
    if reduction == "none":
        return losses, dlogits
    return float(np.dot(losses, weights)), dlogits


def checked_lengths(name: str, value: Any, rows: int, most: int) -> NDArray[np.int64]:
    """Return lengths of rows, 0 to `most`, as an array of int64; None means `most`.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If they are not one for each row, or out of range.
    """
    if value is None:
        return np.full(rows, most, np.int64)
    if in_range(value, 0, most) and value.shape == (rows,):  # the common case
        return value
    lengths = as_array(name, value)
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers; got dtype {lengths.dtype}")
    check_shape(name, lengths, (rows,))
    wrong = (lengths < 0) | (lengths > most)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{name} must be 0 to {most}; got {lengths[row]} in row {row}")
    return np.ascontiguousarray(lengths, np.int64)


def checked_labels(
    labels: Any, label_lengths: Any, rows: int, num_classes: int, blank: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return labels (B, L) and their lengths (B,) as arrays of int64.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If the shapes do not fit, or a label within the lengths is no class or the
        blank.
    """
    labels = as_array("labels", labels)
    if labels.size == 0 and labels.dtype.kind == "f":  # np.zeros((B, 0)), [[], []]
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers; got dtype {labels.dtype}")
    if labels.ndim != 2 or labels.shape[0] != rows:
        raise ValueError(
            f"labels must have the shape (B, L) with B = {rows}; got {labels.shape}"
        )
    label_lengths = checked_lengths(
        "label_lengths", label_lengths, rows, labels.shape[1]
    )
    counted = np.arange(labels.shape[1]) < label_lengths[:, np.newaxis]
    wrong = counted & ((labels < 0) | (labels >= num_classes) | (labels == blank))
    if wrong.any():
        row, at = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"labels must be classes from 0 to {num_classes - 1} other than the blank, "
            f"{blank}; got {labels[row, at]} at ({row}, {at})"
        )
    return np.ascontiguousarray(labels, np.int64), label_lengths
