# cython: language_level=3
"""Addresses of SciPy's BLAS functions sgemm and dgemm.

The module is separate because importing ``scipy.linalg.cython_blas`` takes 0.3 s:
fastcell._core imports it when a product first needs a BLAS.
"""

from libc.stdint cimport uintptr_t
from scipy.linalg.cython_blas cimport dgemm, sgemm


def addresses():
    """Return the addresses of sgemm and dgemm, Fortran interface."""
    return <uintptr_t> sgemm, <uintptr_t> dgemm
