"""Compute the polynomial coefficients of ``elementary.h`` and ``log_sigmoid.h``.

``exp(r) - 1 = r + r * r * q(r)`` on ``|r| <= ln(2) / 2``.  ``q`` is the Chebyshev
fit (within a few percent of minimax) of ``(exp(r) - 1 - r) / r**2``, computed with
50 digits and rounded to the type at the end.

``artanh(s) = s + s**3 * l(s**2)`` on ``0 <= s <= 1/3``, with ``l`` likewise.

Run ``python coefficients.py``; needs mpmath.
"""

import mpmath

mpmath.mp.dps = 50


def q(r):
    """Return (exp(r) - 1 - r) / r**2, by its series where that cancels."""
    if abs(r) < mpmath.mpf("1e-8"):
        return mpmath.mpf(1) / 2 + r / 6 + r * r / 24
    return (mpmath.exp(r) - 1 - r) / (r * r)


def report(name, degree, digits):
    """Print the coefficients, highest power first, and the error of exp(r)."""
    half = mpmath.log(2) / 2 * mpmath.mpf("1.0001")
    poly, error = mpmath.chebyfit(q, [-half, half], degree + 1, error=True)
    print(f"{name}: degree {degree}, |error of exp| <= {float(error * half**2):.2e}")
    for coefficient in poly:
        print("   ", mpmath.nstr(coefficient, digits))


def l(w):  # noqa: E743  (the letter of log_sigmoid.h)
    """Return (artanh(s) - s) / s**3 of w = s**2, by its series where that cancels."""
    if w < mpmath.mpf("1e-6"):
        return mpmath.mpf(1) / 3 + w / 5 + w * w / 7 + w**3 / 9
    s = mpmath.sqrt(w)
    return (mpmath.atanh(s) - s) / s**3


def report_artanh(name, degree, digits):
    """Print the coefficients, highest power first, and the error of artanh(s)."""
    ninth = mpmath.mpf(1) / 9
    poly, error = mpmath.chebyfit(l, [0, ninth], degree + 1, error=True)
    print(f"{name}: degree {degree}, |error of artanh| <= {float(error * ninth):.2e} s")
    for coefficient in poly:
        print("   ", mpmath.nstr(coefficient, digits))


if __name__ == "__main__":
    report("float32", 4, 10)
    report("float64", 9, 19)
    report_artanh("float32", 4, 10)
    report_artanh("float64", 9, 19)
