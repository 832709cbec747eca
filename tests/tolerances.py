"""The tolerances of all tests, with their reasons.

Errors are relative to the largest element of the compared array, or to 1 if that is
larger: states are sums of terms of the size of 1, which may cancel.
"""

from __future__ import annotations

import numpy as np

# A layer's outputs and states against the NumPy steps in float64.
# float64: the same roundings in another order, some tens of 1.1e-16 over a few dozen
# steps. float32: roundings of 6e-8 and functions within 3 ulp, summed over up to 250
# units; a recurrent network carries them along for up to 50 steps.
FORWARD = {np.float64: 5e-15, np.float32: 3e-6}

# Gradients of float32 against those of float64: the same, and once more backwards;
# weight gradients are sums over up to 450 pairs.
GRADIENT_FLOAT32 = 6e-6

# Central differences of float64: the step squared is 1e-12, rounding is 1.1e-16 of a
# loss of up to some hundreds, divided by the step. Relative to 1 + |derivative|.
DIFFERENCE_STEP = 1e-6
DIFFERENCE = 2e-8

# exp, sigmoid and tanh, in units in the last place (DESIGN, promise 2). float64 is
# checked against long double, which has to be longer.
ULP = 3
# The largest errors over all float32 values are 1.10, 2.41 and 2.52, whatever the set
# (docs/architecture.md). Samples may not be above, so a coefficient that is off by a
# few units in its last places shows here, long before it breaks the promise.
ULP_FLOAT32 = {"exp": 1.2, "sigmoid": 2.5, "tanh": 2.6}

# Gradients of float64 among themselves, where they are equal but for roundings: of some
# hundred sums of terms of the size of 1.
GRADIENT_FLOAT64 = 1e-13

# A dense layer against NumPy's product: roundings in another order.
DENSE = {np.float64: 1e-13, np.float32: 2e-6}

# Another library's float64 results: its own roundings and its own order of sums.
PEER_FLOAT64 = 1e-11
# The same in float32, where each of us is off by some 1e-7 a step.
PEER_FLOAT32 = 2e-5
# Our error against float64 over PyTorch's own (DESIGN, promise 2).
PEER_ERROR_RATIO = 2.0

# Narrow products against float32, root mean square over that of the values. A bfloat16
# has 8 bits, a rounding error of up to 2^-9; 8-bit integers have steps of 1/127 of the
# largest value. Errors of a sum average out, those of a recurrence add up. The gradient
# of relu jumps where rounding moves a sum across zero: some units are on in one
# precision and off in the other.
NARROW = {"bf16": 0.02, "int8": 0.05, "gradient": 0.05, "gradient of relu": 0.2}

# A mean of n random values may be this many standard errors away from the expectation.
STANDARD_ERRORS = 5.0


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference over the largest element of `expected`, or 1."""
    expected = np.asarray(expected, np.float64)
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    difference = np.abs(np.asarray(actual, np.float64) - expected)
    return float(difference.max(initial=0)) / scale


# Normalized features against exact sums: the roundings of a difference and a quotient,
# and in float32 one more. Near 0 what counts is the mean's own rounding, over the
# spread: 1.1e-16 of 1e6 over 3, and less of all others.
SCALED = {
    np.float64: {"rtol": 1e-12, "atol": 1e-10},
    np.float32: {"rtol": 2e-7, "atol": 1e-10},
}

# An mLSTM against its recurrent formula in long double. float32: roundings of 6e-8 of
# sums over up to 96 steps and 130 keys, over a divisor that may be as small as exp(-4).
MLSTM = {np.float64: 1e-13, np.float32: 1e-5}
# With gates of up to 1e4, and a divisor that does not cancel: exponents are differences
# of such numbers, which double rounds to 1e-12; float32 keeps m to 5e-4, but the
# exponents follow from the m that is kept.
MLSTM_OF_LARGE_GATES = {np.float64: 2e-12, np.float32: 1e-5}
