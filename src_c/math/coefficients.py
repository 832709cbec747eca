"""Compute the polynomial coefficients of ``elementary.h``.

``exp(r) - 1 = r + r * r * q(r)`` on ``|r| <= ln(2) / 2``.  ``q`` is the Chebyshev
fit (within a few percent of minimax) of ``(exp(r) - 1 - r) / r**2``, computed with
50 digits and rounded to the type at the end.

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


if __name__ == "__main__":
    report("float32", 4, 10)
    report("float64", 9, 19)
