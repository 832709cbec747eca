"""The files of ``fastcell bench``: reading results, and protection from overwriting."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastcell._checks.files import check_apart, check_regular, named_errors
from fastcell._checks.schema import items, number, refuse, shortened, shown, text, whole

#: The creator in the metadata of pictures, by which they are recognised.
PROGRAM = "fastcell bench"
PICTURES = ("png", "svg", "pdf")

_MOST_BYTES = 2**26  # a result of thousands of figures has a few megabytes
_MACHINE = ("fastcell", "cpu")
_SIZES = ("T", "B", "I", "H", "threads")
_FIGURE = {
    "mode": text,
    "cell": text,
    **dict.fromkeys(_SIZES, whole(1)),
    "median": number(above=0),
}

#: Mode, cell, T, B, I, H, number of threads.
Key = tuple[str, str, int, int, int, int, int]


@dataclass(frozen=True)
class Result:
    """The result of an earlier run.

    Attributes
    ----------
    path : str
        The file it was read from.
    machine : dict
        The machine it was measured on.
    precision : str
        The precision of the layers.
    medians : dict
        Seconds of one call, for each figure.
    """

    path: str
    machine: dict[str, Any]
    precision: str
    medians: dict[Key, float]

    def about(self) -> str:
        """Return the file, the version and the CPU in one line."""
        version, cpu = (shortened(self.machine[key], 80) for key in _MACHINE)
        return f"{self.path}, fastcell {version}, {cpu}"


def read(path: str) -> Result:
    """Read a file of ``fastcell bench --json``, of this version or an earlier one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such result; the error names the entry.
    """
    with named_errors(path):
        check_regular(path, os.stat(path).st_mode)
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{path}: must be a result of {PROGRAM}; it is too large")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError(
            f"{path}: must be a result of {PROGRAM}, in JSON; it is none"
        ) from None
    where = f"{path}: a result of {PROGRAM}"
    if not isinstance(found, dict):
        refuse(where, "a dictionary", found)
    machine = _entry(where, found, "machine")
    if not isinstance(machine, dict):
        refuse(f"{where}: machine", "a dictionary", machine)
    for key in _MACHINE:
        text(f"{where}: machine.{key}", _entry(f"{where}: machine", machine, key))
    precision = _entry(where, found, "precision")
    text(f"{where}: precision", precision)
    figures = _entry(where, found, "figures")
    items(_check_figure)(f"{where}: figures", figures)
    medians = {
        (f["mode"], f["cell"], *(f[size] for size in _SIZES)): float(f["median"])
        for f in figures
    }
    return Result(path, machine, precision, medians)


def _check_figure(where: str, figure: Any) -> None:
    if not isinstance(figure, dict):
        refuse(where, "a dictionary", figure)
    for key, schema in _FIGURE.items():
        schema(f"{where}.{key}", _entry(where, figure, key))


def _entry(where: str, found: dict[str, Any], key: str) -> Any:
    if key not in found:
        raise ValueError(f"{where} must have the entry {key!r}; it is missing")
    return found[key]


def picture_kind(path: str) -> str:
    """Return the format of a picture by its suffix.

    Raises
    ------
    ValueError
        If the suffix is unknown.

    Examples
    --------
    >>> picture_kind("ratios.SVG")
    'svg'
    """
    kind = os.path.splitext(path)[1].lstrip(".").lower()
    if kind not in PICTURES:
        endings = ", ".join(f".{known}" for known in PICTURES)
        raise ValueError(f"must end with one of {endings}; got {shown(path)}")
    return kind


def check_outputs(
    results: str | None, picture: str | None, older: str | None, force: bool
) -> None:
    """Check the output files before the minutes of measuring.

    Parameters
    ----------
    results, picture : str, optional
        The files to write.
    older : str, optional
        The result to compare with.
    force : bool
        Whether files of other programs, and `older`, may be replaced.

    Raises
    ------
    OSError
        If there is no such folder, or a file could not be written.
    ValueError
        If a file would be lost.
    """
    if results is not None and picture is not None:
        check_apart(picture, results)
    outputs = (("--json", results, read), ("--plot", picture, _check_picture))
    for option, path, check in outputs:
        if path is None:
            continue
        _check_writable(path)
        if force:
            continue
        with _offering_force(option):
            if older is not None:
                check_apart(path, older)
            # An empty file, as mktemp makes one, may be replaced.
            if os.path.exists(path) and os.path.getsize(path):
                check(path)


@contextlib.contextmanager
def _offering_force(option: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{option}: {error} (--force replaces it)") from None


def _check_writable(path: str) -> None:
    with named_errors(path):
        if os.path.exists(path):
            check_regular(path, os.stat(path).st_mode)
        else:
            folder = os.path.dirname(os.path.realpath(path))
            os.stat(os.path.join(folder, ""))


def _check_picture(path: str) -> None:
    with named_errors(path), open(path, "rb") as file:
        if PROGRAM.encode() not in file.read(_MOST_BYTES):
            raise ValueError(f"{path}: must be a picture of {PROGRAM}; it is none")
