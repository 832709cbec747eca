"""Helpers for programs that train on data, such as those of examples/.

They give a command line whose help is the program's docstring, and one line instead of
a traceback if the data are missing or damaged.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def command_line(doc: str) -> argparse.ArgumentParser:
    r"""Return a parser of the command line whose ``--help`` prints `doc`.

    Parameters
    ----------
    doc : str
        The docstring of the program, printed unchanged.

    Examples
    --------
    >>> from fastcell.programs import command_line
    >>> text = command_line("Digits.\n\n    digits.py FOLDER\n").format_help()
    >>> "    digits.py FOLDER\n" in text
    True
    """
    import argparse

    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


@contextmanager
def reading_data(path: str | os.PathLike[str], source: str) -> Iterator[None]:
    """End the program with one line if reading data inside fails.

    The line goes to stderr and names the file: that of the error, or else `path`. The
    exit code is 2. All exceptions count, because damaged data may make a parser raise
    any of them.

    Parameters
    ----------
    path : path
        The file that is read, or the folder of several.
    source : str
        Where to get the data; the line says so if they are missing.

    Raises
    ------
    SystemExit
        In place of any exception from inside.

    Examples
    --------
    >>> import contextlib, io
    >>> from fastcell.programs import reading_data
    >>> said = io.StringIO()
    >>> with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
    ...     with reading_data("digits.txt", "https://example.org"):
    ...         digits = [int(word) for word in "1 2 x".split()]
    >>> print(said.getvalue().partition(": ")[2], end="")
    digits.txt: invalid literal for int() with base 10: 'x'
    """
    try:
        yield
    except Exception as error:
        where = os.fsdecode(path)
        if isinstance(error, OSError):
            text = f"{error.filename or where}: {error.strerror or error}"
        elif isinstance(error, ValueError):
            text = " ".join(str(error).split())
        else:
            text = " ".join(f"{type(error).__name__}: {error}".split())
        if where not in text:
            text = f"{where}: {text}"
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            text += f"; the data are from {source}, and --help tells more"
        program = os.path.basename(sys.argv[0])
        print(f"{program}: {text[:1000]}", file=sys.stderr)
        raise SystemExit(2) from None
