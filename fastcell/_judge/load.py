"""Whether other programs use the machine that is to be measured."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
#: Of the time of the cores: above this, figures are disturbed.
MOST_BUSY = 0.1


def busy_share(seconds: float = 0.3) -> float | None:
    """Return the share of the time of this process's cores that is in use, 0 to 1.

    This process waits so long, and so do its workers: what is in use then is used by
    others. The load average would tell of the last minute, our own runs included.

    Returns
    -------
    float or None
        None where the system does not say.
    """
    before = _times()
    time.sleep(seconds)
    after = _times()
    if before is None or after is None:
        return None
    busy, total = (b - a for a, b in zip(before, after, strict=True))
    return busy / total if total > 0 else None


def warning(share: float | None) -> str | None:
    """Return what to say of figures taken now, or None if the machine is quiet."""
    if share is None or share <= MOST_BUSY:
        return None
    return (
        f"warning: other programs use {share:.0%} of the cores; "
        "figures taken now are disturbed"
    )


def _times() -> tuple[float, float] | None:
    """Return the busy and all ticks of the cores that this process may run on."""
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
