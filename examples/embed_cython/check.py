"""Run the example's filters, two in two threads, and compare with fastcell's own GRU.

python check.py
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from gates import Filter

import fastcell

H, T = 24, 2000


def by_filter(gru: fastcell.GRU, x: np.ndarray) -> np.ndarray:
    """Return y (T, H) of the example's loop."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    y = np.empty((T, H), np.float32)
    Filter(*(gru.params[name] for name in names)).run(x, y)
    return y


def by_session(gru: fastcell.GRU, x: np.ndarray) -> np.ndarray:
    """Return y (T, H), step by step in Python."""
    session, y = gru.session(), np.zeros((T + 1, H), np.float32)
    for t in range(T):
        y[t + 1] = session.step(np.concatenate([x[t : t + 1], y[t]])[None])
    return y[1:]


def main() -> None:
    """Compare two signals, filtered at the same time."""
    gru = fastcell.GRU(1 + H, H, seed=0)
    signals = np.random.default_rng(0).standard_normal((2, T), np.float32)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda x: by_filter(gru, x), signals))
    for x, y in zip(signals, results, strict=True):
        assert np.array_equal(y, by_session(gru, x)), "the bits differ"
    print(f"2 signals of {T} steps: the bits of fastcell.GRU")


if __name__ == "__main__":
    main()
