"""The mLSTM: an LSTM with a matrix as memory; forward, over a sequence or by a step."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import check_shape, floats, real_array, rows_of
from fastcell._checks.numbers import flag, real
from fastcell.threads import get_num_threads

# c (B, H, K, N), n (B, H, K), m (B, H, 1)
MLSTMState = tuple[np.ndarray, np.ndarray, np.ndarray]


@overload
def mlstm(
    q: Any,
    k: Any,
    v: Any,
    i: Any,
    f: Any,
    state: Any = None,
    *,
    scale: float | None = None,
    eps: float = 1e-6,
    return_state: Literal[True] = True,
) -> tuple[np.ndarray, MLSTMState]: ...
@overload
def mlstm(
    q: Any,
    k: Any,
    v: Any,
    i: Any,
    f: Any,
    state: Any = None,
    *,
    scale: float | None = None,
    eps: float = 1e-6,
    return_state: Literal[False],
) -> np.ndarray: ...
def mlstm(
    q: Any,
    k: Any,
    v: Any,
    i: Any,
    f: Any,
    state: Any = None,
    *,
    scale: float | None = None,
    eps: float = 1e-6,
    return_state: bool = True,
) -> np.ndarray | tuple[np.ndarray, MLSTMState]:
    r"""Return the outputs of an mLSTM over a sequence, and its state after it.

    The mLSTM of Beck et al. (2024, arXiv:2405.04517) has no recurrent weights: queries,
    keys, values and the pre-activations of the gates come from the input alone. For
    each of the H heads, with a matrix C as memory, a normalizer n and a stabilizer m,

    .. math::
        m_t &= \max(\log\sigma(f_t) + m_{t-1}, i_t) \\
        C_t &= f' C_{t-1} + i' k_t v_t^T, \qquad n_t = f' n_{t-1} + i' k_t \\
        y_t &= \frac{s\, C_t^T q_t}
            {\max(|s\, n_t \cdot q_t|, e^{-m_t}) + \varepsilon} \\
        f' &= e^{\log\sigma(f_t) + m_{t-1} - m_t}, \qquad i' = e^{i_t - m_t}

    Chunks of steps are computed at once, by products of matrices, so results differ
    from those of `mlstm_step` by rounding. They do not depend on the number of threads,
    nor on other sequences and heads. A NaN stays in its head, and does not reach
    earlier steps.

    Parameters
    ----------
    q, k : array, shape (B, H, T, K)
        Queries and keys, float32 or float64. Arrays with strides, such as a transposed
        (B, T, H, K), are not copied if their last axis is contiguous.
    v : array, shape (B, H, T, N)
        Values, of the dtype of `q`, as `i`, `f` and `state`.
    i, f : array, shape (B, H, T)
        Pre-activations of the input gate, which is exponential, and of the forget gate.
    state : tuple of three arrays, optional
        The state before: c (B, H, K, N), n (B, H, K) and m (B, H, 1); default: zeros.
    scale : float, optional
        The factor s; default: ``K ** -0.5``.
    eps : float, default 1e-6
        Added to the divisor; at least 0.
    return_state : bool, default True
        Whether the state is returned; if not, no time is spent on it.

    Returns
    -------
    y : ndarray, shape (B, H, T, N)
    state : tuple of three ndarrays
        The state after the last step, new arrays; not with ``return_state=False``.

    Raises
    ------
    TypeError
        If an array is not of the dtype of `q`, or that is neither float32 nor float64;
        or `state` is no tuple.
    ValueError
        If the shapes do not fit, or an option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> q = k = np.ones((2, 4, 5, 8), np.float32)  # 2 sequences, 4 heads, 5 steps
    >>> v = np.ones((2, 4, 5, 16), np.float32)
    >>> gates = np.zeros((2, 4, 5), np.float32)
    >>> y, state = fastcell.mlstm(q, k, v, gates, gates)
    >>> y.shape, [part.shape for part in state]
    ((2, 4, 5, 16), [(2, 4, 8, 16), (2, 4, 8), (2, 4, 1)])
    """
    q = floats("q", q)
    if q.ndim != 4 or q.shape[3] == 0:
        raise ValueError(f"q must have the shape (B, H, T, K); got {q.shape}")
    inputs = _checked(q, k, v, i, f, q.shape[:3], q.shape[:3])
    before = None if state is None else _checked_state(state, q, inputs[2])
    after = _new_state(q, inputs[2]) if flag("return_state", return_state) else None
    y = _run(inputs, before, after, scale, eps, False)
    return y if after is None else (y, after)


def mlstm_step(
    q: Any,
    k: Any,
    v: Any,
    i: Any,
    f: Any,
    state: Any = None,
    *,
    scale: float | None = None,
    eps: float = 1e-6,
    in_place: bool = False,
) -> tuple[np.ndarray, MLSTMState]:
    """Return the output of one step of an mLSTM, and its state after it.

    The formula is that of `mlstm`, of Beck et al. (2024, arXiv:2405.04517). The memory
    is read and written once.

    Parameters
    ----------
    q, k : array, shape (B, H, K)
        Query and key, float32 or float64.
    v : array, shape (B, H, N)
        Value, of the dtype of `q`, as `i`, `f` and `state`.
    i, f : array, shape (B, H, 1)
        Pre-activations of the input gate and of the forget gate.
    state : tuple of three arrays, optional
        The state before: c (B, H, K, N), n (B, H, K) and m (B, H, 1); default: zeros.
    scale : float, optional
        The factor s; default: ``K ** -0.5``.
    eps : float, default 1e-6
        Added to the divisor; at least 0.
    in_place : bool, default False
        Whether the arrays of `state`, which is required then, are overwritten and
        returned. They must be contiguous and writable.

    Returns
    -------
    y : ndarray, shape (B, H, N)
    state : tuple of three ndarrays
        The state after the step: new arrays, or with `in_place` the given ones.

    Raises
    ------
    TypeError
        If an array is not of the dtype of `q`, or that is neither float32 nor float64;
        or `state` is no tuple.
    ValueError
        If the shapes do not fit, an option is out of range, or `in_place` is given
        without arrays of `state` that can be written to.

    Examples
    --------
    >>> import numpy as np
    >>> import fastcell
    >>> q = k = v = np.ones((1, 1, 4), np.float32)
    >>> gate = np.zeros((1, 1, 1), np.float32)
    >>> y, state = fastcell.mlstm_step(q, k, v, gate, gate)
    >>> y.round(3)
    array([[[1., 1., 1., 1.]]], dtype=float32)
    >>> y, state = fastcell.mlstm_step(q, k, v, gate, gate, state, in_place=True)
    """
    q = floats("q", q)
    if q.ndim != 3 or q.shape[2] == 0:
        raise ValueError(f"q must have the shape (B, H, K); got {q.shape}")
    B, H, _ = q.shape
    inputs = _checked(q, k, v, i, f, (B, H), (B, H, 1))
    before = None if state is None else _checked_state(state, q, inputs[2])
    in_place = flag("in_place", in_place)
    after = _writable(state) if in_place else _new_state(q, inputs[2])
    q, k, v, i, f = inputs
    axis = (q[:, :, np.newaxis], k[:, :, np.newaxis], v[:, :, np.newaxis], i, f)
    return _run(axis, before, after, scale, eps, True)[:, :, 0], after


Inputs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _checked(
    q: np.ndarray,
    k: Any,
    v: Any,
    i: Any,
    f: Any,
    rows: tuple[int, ...],
    gates: tuple[int, ...],
) -> Inputs:
    """Return the inputs as arrays whose last axis, but for gates, is contiguous."""
    k = check_shape("k", real_array("k", k, q.dtype), q.shape, ", that of q")
    v = real_array("v", v, q.dtype)
    if v.ndim != q.ndim or v.shape[:-1] != rows or v.shape[-1] == 0:
        wanted = ", ".join(map(str, rows))
        raise ValueError(f"v must have the shape ({wanted}, N); got {v.shape}")
    i = check_shape("i", real_array("i", i, q.dtype), gates)
    f = check_shape("f", real_array("f", f, q.dtype), gates)
    return rows_of(q), rows_of(k), rows_of(v), _whole_items(i), _whole_items(f)


def _whole_items(gate: np.ndarray) -> np.ndarray:
    """Return the array, or a copy if its strides are no multiples of its items."""
    if any(stride % gate.itemsize for stride in gate.strides):
        return np.ascontiguousarray(gate)
    return gate


def _checked_state(state: Any, q: np.ndarray, v: np.ndarray) -> MLSTMState:
    """Return the state (c, n, m) that belongs to queries and values."""
    if not isinstance(state, (tuple, list)):
        raise TypeError(
            f"state must be a tuple of arrays (c, n, m); got {type(state).__name__}"
        )
    if len(state) != 3:
        raise ValueError(f"state must be (c, n, m); got {len(state)} arrays")
    heads, K, N = q.shape[:2], q.shape[-1], v.shape[-1]
    shapes = ((*heads, K, N), (*heads, K), (*heads, 1))
    c, n, m = (
        check_shape(name, real_array(name, part, q.dtype), shape)
        for name, part, shape in zip(
            ("c of state", "n of state", "m of state"), state, shapes, strict=True
        )
    )
    return c, n, m


def _writable(state: Any) -> MLSTMState:
    """Return a checked state if its own arrays can be written to."""
    if state is None:
        raise ValueError("in_place must be False without a state; got True")
    for part in state:
        if not isinstance(part, np.ndarray):
            kind = type(part).__name__
            raise TypeError(f"state must be NumPy's arrays with in_place; got {kind}")
        if not (part.flags.c_contiguous and part.flags.writeable):
            raise ValueError(
                "state must be contiguous, writable arrays with in_place; got "
                + ("one of strides" if part.flags.writeable else "a read-only one")
            )
    c, n, m = state
    return c, n, m


def _new_state(q: np.ndarray, v: np.ndarray) -> MLSTMState:
    B, H = q.shape[:2]
    K, N = q.shape[-1], v.shape[-1]
    return (
        np.empty((B, H, K, N), q.dtype),
        np.empty((B, H, K), q.dtype),
        np.empty((B, H, 1), q.dtype),
    )


def _run(
    inputs: Inputs,
    before: MLSTMState | None,
    after: MLSTMState | None,
    scale: float | None,
    eps: float,
    step: bool,
) -> np.ndarray:
    """Return y, and fill `after`."""
    q, _, v, _, _ = inputs
    factor = q.shape[3] ** -0.5 if scale is None else real("scale", scale)
    eps = real("eps", eps, minimum=0)
    y = np.empty((*q.shape[:3], v.shape[3]), q.dtype)
    if before is not None:
        c, n, m = (np.ascontiguousarray(part) for part in before)
        before = (c, n, m)
    _core.mlstm(inputs, y, before, after, factor, eps, step, get_num_threads())
    return y
