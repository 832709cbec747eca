"""Reader of arrays in .npz files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.names import path_of
from fastcell.data.files import one_line, reading

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_npz(path: str | os.PathLike[str], *names: str) -> list[NDArray[Any]]:
    """Read arrays of a .npz file, as written by `numpy.savez`.

    Python objects are never unpickled.

    Parameters
    ----------
    path : path
    *names : str
        Names of the arrays.

    Returns
    -------
    list of ndarray
        In the order of the names.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a .npz file, is damaged or truncated, or lacks an array; the error
        is one line that names the file.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastcell.data import read_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "digits.npz")
    ...     np.savez(path, x=np.zeros((5, 28, 28)), y=np.arange(5))
    ...     x, y = read_npz(path, "x", "y")
    >>> x.shape, y
    ((5, 28, 28), array([0, 1, 2, 3, 4]))
    """
    name = path_of("path", path)
    with reading(path) as file:
        try:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name")
            with arrays:
                there = arrays.files
                found = [arrays[wanted] for wanted in names if wanted in there]
        except OSError as error:
            if error.errno is not None:
                raise
            raise ValueError(f"{name}: must be a .npz file; {error}") from None
        except Exception as error:  # damaged files may raise anything
            raise ValueError(
                f"{name}: must be a whole .npz file; {one_line(error)}"
            ) from None
    for wanted in names:
        if wanted not in there:
            others = ", ".join(map(repr, there[:20])) or "none"
            raise ValueError(f"{name}: must have the array {wanted!r}; got {others}")
    return found
