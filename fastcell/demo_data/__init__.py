"""The text that comes with the package."""

from __future__ import annotations


def tiny_shakespeare() -> str:
    """Return the tiny Shakespeare text of char-rnn: 1,115,394 characters of plays.

    By custom the first 90 % are for training and the last 10 % for validation.

    Examples
    --------
    >>> from fastcell.demo_data import tiny_shakespeare
    >>> text = tiny_shakespeare()
    >>> len(text), len(set(text)), text[:14]
    (1115394, 65, 'First Citizen:')
    """
    import lzma
    from importlib.resources import files

    packed = files(__name__).joinpath("tinyshakespeare.txt.xz").read_bytes()
    return lzma.decompress(packed).decode("ascii")
