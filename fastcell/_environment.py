"""FASTCELL_ISA: which instruction set the environment asks for."""

from __future__ import annotations

import os
import sys
from itertools import pairwise

from fastcell import _core

VARIABLE = "FASTCELL_ISA"


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
        message = f"{VARIABLE}: {error}"
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
