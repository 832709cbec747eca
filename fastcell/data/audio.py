"""Features of sound: log-mel energies, MFCC, stacked frames."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastcell._checks.arrays import as_array
from fastcell._checks.numbers import integer, real

# Lower bound of energies before the logarithm: about that of 16-bit rounding.
_FLOOR = 1e-10


def frames(
    samples: Any, rate: int, frame: float = 0.025, hop: float = 0.010
) -> np.ndarray:
    """Split sound into overlapping frames.

    Frame i holds ``N`` samples from ``i * H`` on, with ``N = round(frame * rate)`` and
    ``H = round(hop * rate)``. There are ``1 + (len - N) // H`` frames, all complete.

    Parameters
    ----------
    samples : array of floats, shape (len,)
        The sound.
    rate : int
        Samples per second.
    frame, hop : float
        Length of a frame, and distance between starts of frames, in seconds.

    Returns
    -------
    ndarray, shape (T, N)
        A view that must not be written to.

    Raises
    ------
    TypeError
        If `samples` are not floats.
    ValueError
        If they are not one-dimensional, shorter than a frame, NaN or infinite, or a
        length is less than one sample.

    Examples
    --------
    >>> frames(np.arange(7.0), rate=1, frame=3, hop=2)
    array([[0., 1., 2.],
           [2., 3., 4.],
           [4., 5., 6.]])
    """
    samples = as_array("samples", samples)
    rate = integer("rate", rate, minimum=1)
    size = round(real("frame", frame, above=0) * rate)
    step = round(real("hop", hop, above=0) * rate)
    if samples.dtype.kind != "f":
        raise TypeError(f"samples must be floats; got dtype {samples.dtype}")
    if samples.ndim != 1:
        raise ValueError(f"samples must have the shape (N,); got {samples.shape}")
    if size < 1 or step < 1:
        raise ValueError(
            f"frame and hop must be one sample of 1/{rate} s at least; "
            f"got {frame} s and {hop} s"
        )
    if len(samples) < size:
        raise ValueError(
            f"samples must fill a frame, {size} of them; got {len(samples)}"
        )
    if not np.isfinite(samples).all():
        raise ValueError("samples must be finite; got NaN or infinity")
    return np.lib.stride_tricks.sliding_window_view(samples, size)[::step]


def mel(frequency: Any) -> Any:
    """Return the pitch in mel, ``2595 log10(1 + f / 700)`` (O'Shaughnessy 1987)."""
    return 2595 * np.log10(1 + np.asarray(frequency, np.float64) / 700)


def mel_filters(
    num_mels: int, size: int, rate: int, low: float = 20.0, high: float | None = None
) -> np.ndarray:
    r"""Return triangular filters, evenly spaced on the mel scale.

    With :math:`m_0 < \dots < m_{M+1}` evenly spaced from mel(low) to mel(high), and
    bins at :math:`f_k = k \, rate / size`,

    .. math::
        w_{jk} = \max\left(0, \min\left(
            \frac{mel(f_k) - m_{j-1}}{m_j - m_{j-1}},
            \frac{m_{j+1} - mel(f_k)}{m_{j+1} - m_j} \right)\right)

    Parameters
    ----------
    num_mels : int
        Number of filters M.
    size : int
        Length of the Fourier transform.
    rate : int
        Samples per second.
    low, high : float
        Start of the first filter and end of the last, in hertz; by default `high` is
        half the rate.

    Returns
    -------
    ndarray of float64, shape (M, size // 2 + 1)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, or a filter holds no bin.

    Examples
    --------
    >>> mel_filters(2, 8, 8000).round(2)
    array([[0.  , 0.63, 0.  , 0.  , 0.  ],
           [0.  , 0.37, 0.89, 0.38, 0.  ]])
    """
    num_mels = integer("num_mels", num_mels, minimum=1)
    size = integer("size", size, minimum=2)
    rate = integer("rate", rate, minimum=1)
    low = real("low", low, minimum=0)
    high = rate / 2 if high is None else real("high", high, above=0, maximum=rate / 2)
    if low >= high:
        raise ValueError(f"low must be below high, {high:g} Hz; got {low:g} Hz")
    edges = np.linspace(mel(low), mel(high), num_mels + 2)[:, np.newaxis]
    bins = mel(np.arange(size // 2 + 1) * rate / size)
    up = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters: np.ndarray = np.maximum(0, np.minimum(up, down))
    empty = ~filters.any(axis=1)
    if empty.any():
        raise ValueError(
            f"num_mels must be less for {size} samples at {rate} a second: filter "
            f"{int(np.argmax(empty))} of {num_mels} holds no bin"
        )
    return filters


def log_mel(
    samples: Any,
    rate: int,
    num_mels: int = 40,
    frame: float = 0.025,
    hop: float = 0.010,
    *,
    low: float = 20.0,
    high: float | None = None,
) -> np.ndarray:
    r"""Return logarithms of the energies in mel bands.

    With the frames :math:`x_t` of N samples, Hann's window :math:`h_n = \frac12 -
    \frac12 \cos(2 \pi n / N)`, the Fourier transform of the next power of two K, and
    the filters w of `mel_filters`,

    .. math::
        X_{tk} &= \sum_n h_n x_{tn} e^{-2 \pi i n k / K} \\
        E_{tj} &= \log \max\left(10^{-10}, \sum_k w_{jk} |X_{tk}|^2\right)

    Parameters
    ----------
    samples : array of floats, shape (len,)
        The sound, from -1 to 1.
    rate : int
        Samples per second.
    num_mels : int
        Number of bands M.
    frame, hop : float
        As for `frames`.
    low, high : float
        As for `mel_filters`.

    Returns
    -------
    ndarray of float32, shape (T, M)

    Raises
    ------
    TypeError, ValueError
        As for `frames` and `mel_filters`.

    Examples
    --------
    >>> second = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    >>> energies = log_mel(second, 8000)
    >>> energies.shape, int(energies[0].argmax())
    ((98, 40), 18)
    """
    # Stubs of scipy are a separate package, which may not be installed.
    from scipy import fft  # type: ignore[import-untyped, unused-ignore]

    cut = frames(samples, rate, frame, hop)
    length = cut.shape[1]
    size = max(2, 1 << (length - 1).bit_length())
    filters = mel_filters(num_mels, size, rate, low, high)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    spectrum = fft.rfft(cut * window, size, axis=1)
    power: np.ndarray = spectrum.real**2 + spectrum.imag**2
    energies: np.ndarray = np.log(np.maximum(power @ filters.T, _FLOOR))
    return energies.astype(np.float32)


def mfcc(
    samples: Any,
    rate: int,
    num_coefficients: int = 13,
    num_mels: int = 40,
    frame: float = 0.025,
    hop: float = 0.010,
    *,
    low: float = 20.0,
    high: float | None = None,
) -> np.ndarray:
    r"""Return mel-frequency cepstral coefficients.

    The cosine transform of the log-mel energies E of `log_mel`, over the M bands
    (Davis and Mermelstein 1980, doi:10.1109/TASSP.1980.1163420):

    .. math::
        c_{ti} = \sqrt{\frac{2 - [i = 0]}{M}} \sum_{j=0}^{M-1} E_{tj}
            \cos\left(\frac{\pi i (j + 1/2)}{M}\right)

    Parameters
    ----------
    samples, rate, num_mels, frame, hop, low, high
        As for `log_mel`.
    num_coefficients : int
        Number of coefficients, from i = 0; at most M.

    Returns
    -------
    ndarray of float32, shape (T, num_coefficients)

    Raises
    ------
    TypeError, ValueError
        As for `log_mel`; or if there are fewer bands than coefficients.

    Examples
    --------
    >>> mfcc(np.zeros(8000), 8000).shape
    (98, 13)
    """
    # Stubs of scipy are a separate package, which may not be installed.
    from scipy import fft  # type: ignore[import-untyped, unused-ignore]

    num_coefficients = integer("num_coefficients", num_coefficients, minimum=1)
    energies = log_mel(samples, rate, num_mels, frame, hop, low=low, high=high)
    bands = energies.shape[1]
    if num_coefficients > bands:
        raise ValueError(
            f"num_coefficients must be num_mels, {bands}, at most; "
            f"got {num_coefficients}"
        )
    # The level is handled separately: if all bands are equal, as in silence, the other
    # coefficients are then exactly 0, without rounding errors of the level.
    level = energies[:, :1].astype(np.float64)
    cosines: np.ndarray = fft.dct(energies - level, type=2, axis=1, norm="ortho")
    cosines[:, :1] += math.sqrt(bands) * level
    return cosines[:, :num_coefficients].astype(np.float32)


def stack_frames(features: Any, count: int) -> np.ndarray:
    """Join each group of `count` successive frames into one.

    The sequence is shorter and each step wider, so recurrent layers take fewer steps.
    Up to ``count - 1`` frames at the end are dropped.

    Parameters
    ----------
    features : array, shape (T, F)
        The frames.
    count : int
        Number of frames to stack.

    Returns
    -------
    ndarray, shape (T // count, count * F)

    Raises
    ------
    ValueError
        If `features` is not two-dimensional, or `count` less than 1.

    Examples
    --------
    >>> stack_frames(np.arange(10).reshape(5, 2), 2)
    array([[0, 1, 2, 3],
           [4, 5, 6, 7]])
    """
    features = as_array("features", features)
    count = integer("count", count, minimum=1)
    if features.ndim != 2:
        raise ValueError(f"features must have the shape (T, F); got {features.shape}")
    steps, width = features.shape
    kept = features[: steps // count * count]
    return np.ascontiguousarray(kept).reshape(steps // count, count * width)
