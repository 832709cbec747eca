"""Gradient clipping, by norm or by value, in place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell import _core
from fastcell._checks.names import mapping_of
from fastcell._checks.numbers import flag, real, shown
from fastcell.optim.composition import flat
from fastcell.threads import get_num_threads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def grad_norm(grads: Mapping[str, NDArray[np.floating]]) -> float:
    """Euclidean norm of all gradients, taken as one vector.

    Parameters
    ----------
    grads : mapping of str to array of float32 or float64
        As returned by a layer's or model's ``backward``; or several of these by module
        name, as for an optimizer of several modules. An array that modules share counts
        once in each.

    Returns
    -------
    norm : float
        Squares are summed in float64, so large float32 gradients do not overflow. NaN
        or infinite if a gradient is.

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
    return _norm(_lists(grads)[0])


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
        Changed in place. They may be given by module, as for `grad_norm`.
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
        If `max_norm` is not positive and finite, or if the norm is not finite and
        `error_if_nonfinite` is True.

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
    flag("error_if_nonfinite", error_if_nonfinite)
    lists, copies = _lists(grads, writable=True)
    norm = _norm(lists)
    if error_if_nonfinite and not math.isfinite(norm):
        names = [k for k, g in flat(grads, {}).items() if not np.isfinite(g).all()]
        of_these = f" (look at {', '.join(names)})" if names else ""
        raise ValueError(f"the norm of grads must be finite; got {norm}{of_these}")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1.0:  # true for NaN, which must spread
        for some in lists:
            some.scale(factor, get_num_threads())
        for grad, copy in copies:
            grad[...] = copy
    return norm


def clip_grad_value(
    grads: Mapping[str, NDArray[np.floating]], clip_value: float
) -> None:
    """Clip every element of the gradients to ``[-clip_value, clip_value]``.

    Parameters
    ----------
    grads : mapping of str to array of float32 or float64
        Changed in place; a NaN stays. They may be given by module, as for `grad_norm`.
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
    lists, copies = _lists(grads, writable=True)
    for some in lists:
        some.clip(clip_value, get_num_threads())
    for grad, copy in copies:
        grad[...] = copy


def _norm(lists: Iterable[Any]) -> float:
    return math.sqrt(sum(some.sum_of_squares(get_num_threads()) for some in lists))


def _lists(
    grads: Mapping[str, NDArray[np.floating]], writable: bool = False
) -> tuple[list[Any], list[tuple[NDArray[np.floating], NDArray[np.floating]]]]:
    """Return gradients as the core takes them.

    Returns
    -------
    lists
        For each dtype, the gradients or their copies.
    copies
        Pairs of a gradient that is not C-contiguous and its contiguous copy.
    """
    if type(grads) is dict:
        try:  # the common case: C-contiguous and of one dtype
            return [_core.ParameterList(grads, (), writable)], []
        except ValueError:
            pass
    mapping_of("grads", grads, "a mapping of names to gradients")
    grads = _by_name(grads)
    _check_grads(grads, writable)
    by_dtype: dict[np.dtype, dict[str, NDArray[np.floating]]] = {}
    copies = []
    for name, grad in grads.items():
        array = np.array(grad, order="C", copy=None, subok=False)
        by_dtype.setdefault(grad.dtype, {})[name] = array
        if not np.may_share_memory(array, grad):
            copies.append((grad, array))
    return [_core.ParameterList(g, (), writable) for g in by_dtype.values()], copies


def _by_name(grads: Mapping[str, Any]) -> Mapping[str, NDArray[np.floating]]:
    """Return gradients as a flat mapping, also if they are given by module.

    Raises
    ------
    ValueError
        If two have the same name.
    """
    found = flat(grads, {})
    if len(found) != sum(
        len(g) if isinstance(g, Mapping) else 1 for g in grads.values()
    ):
        raise ValueError(
            "grads must have a distinct name for each gradient; got one name twice, "
            f"among {shown(list(found))}"
        )
    return found


def _check_grads(
    grads: Mapping[str, NDArray[np.floating]], writable: bool = False
) -> None:
    for name, grad in grads.items():
        if not isinstance(grad, np.ndarray):
            raise TypeError(
                f"grads[{name!r}] must be an array of NumPy, as it may be changed in "
                f"place; got {type(grad).__name__}"
            )
        if grad.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"grads[{name!r}] must be float32 or float64; got dtype {grad.dtype}"
            )
        if writable and not grad.flags.writeable:
            raise TypeError(f"grads[{name!r}] must be writable; got a read-only array")
