"""The load of other programs on this machine, and a warning about it."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
#: Share of the cores' time above which figures are disturbed.
MOST_BUSY = 0.1


def busy_share(seconds: float = 0.3) -> float | None:
    """Return the share of the time of this process's cores that others use, 0 to 1.

    This process and its workers sleep for `seconds`, so all use is by other programs.
    The load average is not used: it covers the last minute, with our own runs.

    Returns
    -------
    float or None
        None if the system does not report it.
    """
    before = _times()
    time.sleep(seconds)
    after = _times()
    if before is None or after is None:
        return None
    busy, total = (b - a for a, b in zip(before, after, strict=True))
    return busy / total if total > 0 else None


def warning(share: float | None) -> str | None:
    """Return a warning about figures taken now, or None if the machine is quiet."""
    if share is None or share <= MOST_BUSY:
        return None
    return (
        f"warning: other programs use {share:.0%} of the cores; "
        "figures taken now are disturbed"
    )


def _times() -> tuple[float, float] | None:
    """Return the busy and the total ticks of the cores that this process may run on."""
    try:
        lines = _STAT.read_text().splitlines()
        cores = {f"cpu{n}" for n in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return None
    busy = total = 0.0
    for line in lines:
        name, *ticks = line.split()
        if name in cores:
            user, nice, system, idle, wait, *others = map(float, ticks[:8])
            busy += user + nice + system + sum(others)  # interrupts, and other guests
            total += user + nice + system + idle + wait + sum(others)
    return (busy, total) if total else None
