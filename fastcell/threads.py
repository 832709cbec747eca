"""The number of threads that a call may use.

The default is the number of cores that this process may run on. FASTCELL_NUM_THREADS
sets another; it is read when the number is first needed. Code that runs fastcell inside
another framework takes that framework's number as the default (`_follow`).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from fastcell._checks.numbers import integer

MOST_THREADS = 256


def _default() -> int:
    wanted = os.environ.get("FASTCELL_NUM_THREADS")
    if wanted is not None:
        try:
            return min(integer("n", int(wanted), minimum=1), MOST_THREADS)
        except ValueError:
            raise ValueError(
                f"FASTCELL_NUM_THREADS must be an integer >= 1; got {wanted!r}"
            ) from None
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MOST_THREADS)
    return min(os.cpu_count() or 1, MOST_THREADS)


_threads: int | None = None
_followed: Callable[[], int] | None = None


def _follow(number: Callable[[], int]) -> None:
    """Call `number` for the default, each time, unless a number is set."""
    global _followed
    if "FASTCELL_NUM_THREADS" not in os.environ:
        _followed = number


def set_num_threads(n: int) -> None:
    """Let calls use up to `n` threads, the calling one included.

    Outputs and gradients do not depend on it, to the last bit.

    Parameters
    ----------
    n : int
        At least 1; more than 256 counts as 256.

    Examples
    --------
    >>> import fastcell
    >>> before = fastcell.get_num_threads()
    >>> fastcell.set_num_threads(1)
    >>> fastcell.get_num_threads()
    1
    >>> fastcell.set_num_threads(before)
    """
    global _threads
    _threads = min(integer("n", n, minimum=1), MOST_THREADS)


def get_num_threads() -> int:
    """Return the number of threads that calls may use.

    Raises
    ------
    ValueError
        If FASTCELL_NUM_THREADS is no integer >= 1, and `set_num_threads` has set none.
    """
    global _threads
    if _threads is None:
        if _followed is not None:
            return min(_followed(), MOST_THREADS)
        _threads = _default()
    return _threads
