"""Where the C headers of the package are, for extension modules that call its core."""

from __future__ import annotations

from pathlib import Path


def get_include() -> str:
    """Return the folder of ``fastcell.h`` and ``fastcell_python.h``.

    Extension modules in C, C++ or Cython put it on their include path, and need to link
    nothing: see docs/embedding.md.

    Returns
    -------
    str
        An existing folder.

    Examples
    --------
    >>> import os
    >>> import fastcell
    >>> os.path.exists(os.path.join(fastcell.get_include(), "fastcell.h"))
    True
    """
    package = Path(__file__).parent
    installed = package / "_src_c" / "include"
    # An editable install has no copies: the headers are those of the source tree.
    found = installed if installed.is_dir() else package.parent / "src_c" / "include"
    return str(found)
