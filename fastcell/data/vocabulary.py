"""Character vocabulary: text to ids and back."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from fastcell._checks.arrays import as_array, check_ids
from fastcell._checks.names import iterable_of, string_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


_BLOCK = 1 << 16  # characters per block, which fits the caches


class CharVocabulary:
    """A vocabulary of characters; the id of a character is its index.

    Parameters
    ----------
    symbols : iterable of str
        Strings of one character (Unicode code point) each, all distinct.

    Raises
    ------
    TypeError
        If a symbol is not a string.
    ValueError
        If there is no symbol, one is not a single character, or one occurs twice.

    Examples
    --------
    >>> from fastcell.data import CharVocabulary
    >>> vocabulary = CharVocabulary.from_text("hello")
    >>> vocabulary.symbols
    ('e', 'h', 'l', 'o')
    >>> vocabulary.encode("hole")
    array([1, 3, 2, 0], dtype=int32)
    >>> vocabulary.decode([1, 3, 2, 0])
    'hole'
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        if not isinstance(symbols, str):
            iterable_of("symbols", symbols, "an iterable of strings")
        self._symbols = tuple(symbols)
        if not self._symbols:
            raise ValueError("symbols must hold at least one character; got none")
        places: dict[str, int] = {}
        for place, symbol in enumerate(self._symbols):
            if not isinstance(symbol, str):
                raise TypeError(f"symbols[{place}] must be a string; got {symbol!r}")
            if len(symbol) != 1:
                raise ValueError(
                    f"symbols[{place}] must have one character; got {symbol!r}"
                )
            if symbol in places:
                raise ValueError(
                    f"symbols must differ; got {symbol!r} at {places[symbol]} and "
                    f"at {place}"
                )
            places[symbol] = place
        self._code_points = np.array([ord(s) for s in self._symbols], np.uint32)
        # The id of each code point, -1 for those not in the vocabulary. The last entry
        # is that of all larger code points.
        self._ids = np.full(int(self._code_points.max()) + 2, -1, np.int32)
        self._ids[self._code_points] = np.arange(len(self), dtype=np.int32)

    @classmethod
    def from_text(cls, text: str) -> CharVocabulary:
        """Return the vocabulary of the characters of a text, in code point order.

        Raises
        ------
        TypeError
            If `text` is not a string.
        ValueError
            If it is empty.

        Examples
        --------
        >>> from fastcell.data import CharVocabulary
        >>> len(CharVocabulary.from_text("hello"))
        4
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a string; got {type(text).__name__}")
        if not text:
            raise ValueError("text must not be empty")
        return cls.from_texts([text])

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> CharVocabulary:
        """Return the vocabulary of a text that is given in parts, as `from_text`.

        Parameters
        ----------
        texts : iterable of str
            The parts, such as from `fastcell.data.iter_text`.

        Raises
        ------
        TypeError
            If a part is not a string.
        ValueError
            If all parts are empty.

        Examples
        --------
        >>> from fastcell.data import CharVocabulary
        >>> CharVocabulary.from_texts(["he", "llo"]).symbols
        ('e', 'h', 'l', 'o')
        """
        iterable_of("texts", texts, "an iterable of strings")
        there = np.zeros(sys.maxunicode + 1, bool)
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{place}] must be a string; got {text!r:.80}")
            for start in range(0, len(text), _BLOCK):
                there[_code_points(text[start : start + _BLOCK])] = True
        if not there.any():
            raise ValueError("texts must hold at least one character; got none")
        return cls(map(chr, np.flatnonzero(there).tolist()))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The characters, in the order of their ids."""
        return self._symbols

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the ids of the characters of a text.

        Parameters
        ----------
        text : str
            Any length, including 0.

        Returns
        -------
        ids : (len(text),) array of int32

        Raises
        ------
        TypeError
            If `text` is not a string.
        ValueError
            If a character is not in the vocabulary; the error names the first one.

        Examples
        --------
        >>> from fastcell.data import CharVocabulary
        >>> CharVocabulary("helo").encode("hey")
        Traceback (most recent call last):
        ...
        ValueError: text[2] is 'y' (U+0079), which is not among the 4 symbols of the \
vocabulary
        """
        if isinstance(text, str) and len(text) > _BLOCK:  # bounds temporaries
            ids = np.empty(len(text), np.int32)
            for start in range(0, len(text), _BLOCK):
                part = slice(start, start + _BLOCK)
                ids[part] = self._encode(text[part], start)
            return ids
        return self._encode(text)

    def _encode(self, text: str, place: int = 0) -> NDArray[np.int32]:
        """Return the ids of a part of a text that starts at `place`."""
        code_points = _code_points(text)
        ids = self._ids[np.minimum(code_points, len(self._ids) - 1)]
        unknown = ids < 0
        if unknown.any():
            at = int(np.argmax(unknown))
            raise ValueError(
                f"text[{place + at}] is {text[at]!r} (U+{code_points[at]:04X}), which "
                f"is not among the {len(self)} symbols of the vocabulary"
            )
        return ids

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of ids.

        Parameters
        ----------
        ids : array of integers
            One-dimensional, or a single id.

        Returns
        -------
        text : str

        Raises
        ------
        TypeError
            If `ids` are not integers.
        ValueError
            If they have more than one dimension, or one is out of range.

        Examples
        --------
        >>> from fastcell.data import CharVocabulary
        >>> CharVocabulary("helo").decode([0, 1, 2, 2, 3])
        'hello'
        """
        ids = as_array("ids", ids)
        if ids.ndim > 1:
            raise ValueError(f"ids must have one dimension; got the shape {ids.shape}")
        if not ids.size:  # an empty list becomes an array of floats
            return ""
        ids = check_ids("ids", ids, len(self))
        code_points = self._code_points[ids].astype("<u4")
        text: str = code_points.tobytes().decode("utf-32-le", "surrogatepass")
        return text

    def to_json(self) -> str:
        """Return the symbols as a JSON list.

        Examples
        --------
        >>> from fastcell.data import CharVocabulary
        >>> CharVocabulary("helo").to_json()
        '["h", "e", "l", "o"]'
        """
        import json

        return json.dumps(self._symbols)

    @classmethod
    def from_json(cls, text: str) -> CharVocabulary:
        """Return the vocabulary that `to_json` wrote.

        Raises
        ------
        ValueError
            If `text` is not a JSON list of distinct characters.

        Examples
        --------
        >>> from fastcell.data import CharVocabulary
        >>> CharVocabulary.from_json('["h", "e", "l", "o"]').symbols
        ('h', 'e', 'l', 'o')
        """
        import json

        try:
            symbols = json.loads(string_of("text", text, "the JSON of a vocabulary"))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"text: the vocabulary is not valid JSON: {error}"
            ) from None
        if not isinstance(symbols, list):
            raise ValueError(
                f"the vocabulary must be a JSON list; got a {type(symbols).__name__}"
            )
        try:
            return cls(symbols)
        except TypeError as error:  # a value in a file, not an argument
            raise ValueError(str(error)) from None

    def __len__(self) -> int:
        return len(self._symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._symbols

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CharVocabulary):
            return NotImplemented
        return self._symbols == other._symbols

    def __hash__(self) -> int:
        return hash(self._symbols)

    def __repr__(self) -> str:
        shown = "".join(self._symbols[:40])
        more = "..." if len(self) > 40 else ""
        return f"<CharVocabulary of {len(self)} symbols: {shown!r}{more}>"


def _code_points(text: str) -> NDArray[np.uint32]:
    if not isinstance(text, str):
        raise TypeError(f"text must be a string; got {type(text).__name__}")
    # Lone surrogates, from file names and broken decoders, are symbols like others.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
