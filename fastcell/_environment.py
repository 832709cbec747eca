"""What the environment asks of the core.

FASTCELL_ISA names an instruction set. FASTCELL_THREAD_COSTS, four numbers joined by
commas, takes the place of what threads cost on this machine (`_core.set_thread_costs`):
whether calls share their work no longer depends on it then.
"""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import NoReturn

from fastcell import _core

VARIABLE = "FASTCELL_ISA"
COSTS = "FASTCELL_THREAD_COSTS"


def select_isa() -> None:
    """Take the instruction set that the environment names, if it names one.

    Raises
    ------
    ImportError
        If there is no such set, or this CPU lacks it: whatever was computed would be by
        other kernels than were asked for.
    SystemExit
        In that case on the command line, after a line on stderr: no command has begun
        that could say it.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    try:
        _core.select_isa(wanted)
    except (ValueError, UnicodeError) as error:
        _refuse(f"{VARIABLE}: {error}")


def set_thread_costs() -> None:
    """Take the costs of sharing work that the environment gives, if it gives any.

    Raises
    ------
    ImportError
        If they are not four finite numbers from 0 on.
    SystemExit
        In that case on the command line.
    """
    given = os.environ.get(COSTS)
    if given is None:
        return
    try:
        turn, hand_over, wake, flop = map(float, given.split(","))
        _core.set_thread_costs((turn, hand_over, wake, flop))
    except ValueError:
        _refuse(
            f"{COSTS}: must be four finite numbers >= 0 joined by commas, ns of a "
            f"barrier, of a hand-over and of a wake-up, FLOP/ns; got {given!r}"
        )


def _refuse(message: str) -> NoReturn:
    if not _on_command_line():
        raise ImportError(message) from None
    print(f"fastcell: error: {message}", file=sys.stderr)
    raise SystemExit(2) from None


def _on_command_line() -> bool:
    """Is this process the command ``fastcell``, or ``python -m fastcell``?"""
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    # While the package of `-m` is imported, there is no name of a program yet.
    if program == "-m":
        return ("-m", "fastcell") in pairwise(sys.orig_argv)
    return os.path.basename(program) == "fastcell"
