"""Environment variables that configure the core when fastcell is imported.

FASTCELL_ISA names an instruction set. FASTCELL_THREAD_COSTS, four numbers joined by
commas, replaces the measured costs of threads (`_core.set_thread_costs`): whether calls
share their work is then the same on every machine.
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
    """Select the instruction set named by FASTCELL_ISA, if it is set.

    Raises
    ------
    ImportError
        If there is no such set, or this CPU lacks it: no other set is used in its
        place.
    SystemExit
        Instead of it on the command line, after a line on stderr.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    try:
        _core.select_isa(wanted)
    except (ValueError, UnicodeError) as error:
        _refuse(f"{VARIABLE}: {error}")


def set_thread_costs() -> None:
    """Set the costs of sharing work from FASTCELL_THREAD_COSTS, if it is set.

    Raises
    ------
    ImportError
        If they are not four finite numbers >= 0.
    SystemExit
        Instead of it on the command line.
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
    """Return whether this process is ``fastcell`` or ``python -m fastcell``."""
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    # While the package of `-m` is imported, sys.argv[0] is still "-m".
    if program == "-m":
        return ("-m", "fastcell") in pairwise(sys.orig_argv)
    return os.path.basename(program) == "fastcell"
