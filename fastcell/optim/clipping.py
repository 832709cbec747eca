"""Clipping of gradients, in place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastcell import _core
from fastcell._numbers import real

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def grad_norm(grads: Mapping[str, NDArray[np.floating]]) -> float:
    """Euclidean norm of all gradients, taken as one vector.

    Parameters
    ----------
    grads : mapping of str to array of float32 or float64
        As a layer's or model's ``backward`` returns it.

    Returns
    -------
    norm : float
        Squares are added up in float64: large float32 gradients do not overflow. NaN or
        infinite if a gradient is.

    Raises
    ------
    TypeError
        If a gradient is not an array of float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.optim import grad_norm
    >>> grad_norm({"weight": np.array([[3.0, 0.0]]), "bias": np.array([4.0])})
    5.0
    """
    _check_grads(grads)
    return _norm(grads)


def clip_grad_norm(
    grads: Mapping[str, NDArray[np.floating]],
    max_norm: float,
    *,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients by one factor so that their norm is at most `max_norm`.

    The factor is ``min(1, max_norm / (norm + 1e-6))``, as in
    ``torch.nn.utils.clip_grad_norm_`` (Pascanu, Mikolov & Bengio 2013,
    arXiv:1211.5063).

    Parameters
    ----------
    grads : mapping of str to array of float32 or float64
        Changed in place.
    max_norm : float
        Positive and finite; `grad_norm` measures without clipping.
    error_if_nonfinite : bool
        Raise, before any change, if the norm is NaN or infinite. Otherwise a NaN
        spreads to all gradients, and an infinity turns all finite ones to zero.

    Returns
    -------
    norm : float
        The norm before clipping.

    Raises
    ------
    TypeError
        If a gradient is not a writable array of float32 or float64.
    ValueError
        If `max_norm` is not positive and finite, or, on demand, if the norm is not
        finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.optim import clip_grad_norm
    >>> grads = {"weight": np.array([[3.0, 0.0]]), "bias": np.array([4.0])}
    >>> clip_grad_norm(grads, max_norm=1.0)
    5.0
    >>> grads["bias"].round(3)
    array([0.8])
    """
    max_norm = real("max_norm", max_norm, above=0)
    _check_grads(grads, writable=True)
    norm = _norm(grads)
    if error_if_nonfinite and not math.isfinite(norm):
        names = [k for k, g in grads.items() if not np.isfinite(g).all()]
        of_these = f" (look at {', '.join(names)})" if names else ""
        raise ValueError(f"the norm of grads must be finite; got {norm}{of_these}")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1.0:  # true for NaN, which has to spread
        _core.scale([g for g in grads.values() if g.flags.c_contiguous], factor)
        with np.errstate(invalid="ignore"):
            for grad in grads.values():
                if not grad.flags.c_contiguous:
                    np.multiply(grad, factor, out=grad)
    return norm


def clip_grad_value(
    grads: Mapping[str, NDArray[np.floating]], clip_value: float
) -> None:
    """Clip every element of the gradients to ``[-clip_value, clip_value]``.

    Parameters
    ----------
    grads : mapping of str to array of float32 or float64
        Changed in place; a NaN stays.
    clip_value : float
        Positive and finite.

    Raises
    ------
    TypeError
        If a gradient is not a writable array of float32 or float64.
    ValueError
        If `clip_value` is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcell.optim import clip_grad_value
    >>> grads = {"weight": np.array([0.1, -3.0])}
    >>> clip_grad_value(grads, 0.5)
    >>> grads["weight"]
    array([ 0.1, -0.5])
    """
    clip_value = real("clip_value", clip_value, above=0)
    _check_grads(grads, writable=True)
    for grad in grads.values():
        np.clip(grad, -clip_value, clip_value, out=grad)


def _norm(grads: Mapping[str, NDArray[np.floating]]) -> float:
    squares = _core.sums_of_squares([np.ascontiguousarray(g) for g in grads.values()])
    return math.sqrt(sum(squares))


def _check_grads(
    grads: Mapping[str, NDArray[np.floating]], writable: bool = False
) -> None:
    for name, grad in grads.items():
        if not isinstance(grad, np.ndarray):
            raise TypeError(
                f"grads[{name!r}] must be an array; got {type(grad).__name__}"
            )
        if grad.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"grads[{name!r}] must be float32 or float64; got dtype {grad.dtype}"
            )
        if writable and not grad.flags.writeable:
            raise TypeError(f"grads[{name!r}] must be writable; got a read-only array")
