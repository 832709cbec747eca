"""Standardization: means and standard deviations of features, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastcell._checks.arrays import all_finite, as_array


def mean_and_spread(features: Any) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the mean of each feature and its standard deviation.

    With the frames :math:`x_t` of a feature,

    .. math::
        \mu = x_1 + \frac1T \sum_t (x_t - x_1), \qquad
        \sigma = \sqrt{\frac1T \sum_t (x_t - \mu)^2}

    in float64. The first frame is subtracted before summing, so a large mean costs no
    digits of a small spread (Chan, Golub and LeVeque 1983,
    doi:10.1080/00031305.1983.10483115). A spread of at most one unit in the last place
    of the feature's largest value is rounding of a constant, and set to 0.

    Parameters
    ----------
    features : array of floats or integers, shape (..., F)
        Frames, over all axes except the last. The unit in the last place is that of
        this dtype.

    Returns
    -------
    mean, spread : ndarray of float64, shape (F,)

    Raises
    ------
    TypeError
        If `features` are not real numbers.
    ValueError
        If they have fewer than two axes, no frame, NaN or infinity.

    Examples
    --------
    >>> from fastcell.data import mean_and_spread
    >>> mean, spread = mean_and_spread([[1.0, 0.1], [3.0, 0.1]])
    >>> mean, spread
    (array([2. , 0.1]), array([1., 0.]))

    Moments of the training frames, applied to any frames:

    >>> frames = np.array([[1.0, 0.1], [5.0, 0.1]])
    >>> (frames - mean) / np.where(spread > 0, spread, 1)
    array([[-1.,  0.],
           [ 3.,  0.]])
    """
    exponent, mean, spread, _ = _moments(_real(features))
    return np.ldexp(mean, exponent), np.ldexp(spread, exponent)


def normalize(features: Any) -> np.ndarray:
    """Subtract the mean of each feature over the frames, and divide by the spread.

    For log energies this removes effects of loudness and microphone. Mean and spread
    are those of `mean_and_spread`, in float64.

    Parameters
    ----------
    features : array of floats, shape (T, F)
        The frames of one recording. A constant feature, up to one unit in the last
        place, becomes 0.

    Returns
    -------
    ndarray, shape and dtype of `features`
        float64 for integers.

    Raises
    ------
    TypeError, ValueError
        As for `mean_and_spread`; or if `features` have more than two axes.

    Examples
    --------
    >>> from fastcell.data import normalize
    >>> normalize(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    features = _real(features)
    if features.ndim != 2:
        raise ValueError(f"features must have the shape (T, F); got {features.shape}")
    _, _, spread, centred = _moments(features)
    constant = spread == 0
    centred /= np.where(constant, 1, spread)
    centred[:, constant] = 0
    dtype = features.dtype if features.dtype.kind == "f" else np.float64
    return centred.astype(dtype, copy=False)


def _real(features: Any) -> np.ndarray:
    features = as_array("features", features)
    if features.dtype.kind not in "fiub":
        raise TypeError(f"features must be real numbers; got dtype {features.dtype}")
    checked: np.ndarray = features
    return checked


def _moments(features: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return scaled moments of features, in units of 2 to the power `exponent`.

    Returns
    -------
    exponent : (F,) array of int
        The largest value of a feature is from a half to 1 in these units, so squares do
        not overflow, and a unit in the last place is constant.
    mean, spread : (F,) arrays of float64
    centred : (T, F) array of float64
        The features without their mean.
    """
    if features.ndim < 2:
        raise ValueError(
            f"features must have the shape (T, F) or more axes; got {features.shape}"
        )
    frames = math.prod(features.shape[:-1])
    if frames == 0:
        raise ValueError(f"features must hold a frame; got the shape {features.shape}")
    features = features.reshape(frames, features.shape[-1])
    if features.dtype not in (np.float16, np.float32, np.float64):
        features = features.astype(np.float64)
    if not all_finite(features):
        raise ValueError("features must be finite; got NaN or infinity")
    digits = np.finfo(features.dtype)
    centred = features.astype(np.float64)
    _, exponent = np.frexp(np.abs(centred).max(axis=0))
    centred = np.ldexp(centred, -exponent, out=centred)
    first = centred[0].copy()
    centred -= first
    mean = centred.mean(axis=0)
    centred -= mean
    spread = np.sqrt(np.einsum("tf,tf->f", centred, centred) / len(centred))
    last_place = np.maximum(
        digits.eps / 2, np.ldexp(float(digits.smallest_subnormal), -exponent)
    )
    return exponent, first + mean, np.where(spread > last_place, spread, 0), centred
