"""Word vocabulary: words to ids and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.arrays import row_of_ids
from fastcell._checks.names import iterable_of, string_of, strings_of
from fastcell._checks.numbers import flag, integer, shown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class WordVocabulary:
    """A vocabulary of words; the id of a word is its index.

    Special words come first, then the others by decreasing frequency, and
    alphabetically for equal frequency.

    Parameters
    ----------
    tokens : iterable of str, or of iterables of str
        The words of a text, or of its sentences.
    min_count : int, default 1
        Leave out words that occur less often.
    max_size : int, optional
        Most words to keep, including special ones.
    specials : sequence of str, default ("<pad>", "<unk>")
        Words that are always in the vocabulary, with the first ids. Id 0 is the padding
        of sequences in a batch.
    unknown : str or None, default "<unk>"
        The special word for words not in the vocabulary; with None they are errors.

    Attributes
    ----------
    words : tuple of str
        All words, in the order of their ids.
    specials : tuple of str
        The special words, which come first.
    unknown : str or None
        As given.

    Raises
    ------
    TypeError
        If a token is not a string, or another argument is of the wrong type.
    ValueError
        If a special word occurs twice, `unknown` is not a special word, `max_size` is
        too small for them, or no word is left.

    Examples
    --------
    >>> from fastcell.data import WordVocabulary
    >>> vocabulary = WordVocabulary("to be or not to be".split(), min_count=2)
    >>> vocabulary.words
    ('<pad>', '<unk>', 'be', 'to')
    >>> vocabulary.encode("to be here")
    array([3, 2, 1], dtype=int32)
    >>> vocabulary.decode([3, 2, 1])
    ['to', 'be', '<unk>']
    """

    def __init__(
        self,
        tokens: Iterable[str] | Iterable[Iterable[str]],
        min_count: int = 1,
        max_size: int | None = None,
        specials: Sequence[str] = ("<pad>", "<unk>"),
        *,
        unknown: str | None = "<unk>",
    ) -> None:
        min_count = integer("min_count", min_count, minimum=1)
        specials = _specials(specials)
        if max_size is not None:
            max_size = integer("max_size", max_size, minimum=max(1, len(specials)))
        counts = Counter(_flat(tokens))
        if not counts:
            raise ValueError("tokens must hold at least one word; got none")
        for special in specials:
            counts.pop(special, None)
        kept = sorted((-n, word) for word, n in counts.items() if n >= min_count)
        words = (*specials, *(word for _, word in kept))
        self._set(words[:max_size], len(specials), unknown)

    def _set(self, words: tuple[str, ...], num_specials: int, unknown: Any) -> None:
        """Set the words, in the order of their ids."""
        if not words:
            raise ValueError("tokens must hold at least one word that is kept")
        self._ids = {word: place for place, word in enumerate(words)}
        if len(self._ids) != len(words):
            twice = next(w for w, n in Counter(words).items() if n > 1)
            raise ValueError(f"words must differ; got {twice!r} twice")
        self.words = words
        self.specials = words[:num_specials]
        if unknown is not None and (
            not isinstance(unknown, str) or unknown not in self.specials
        ):
            raise ValueError(
                f"unknown must be one of the specials, {self.specials}, or None; "
                f"got {shown(unknown)}"
            )
        self.unknown = unknown

    def index(self, word: str) -> int:
        """Return the id of a word, or that of `unknown` if the vocabulary lacks it.

        Raises
        ------
        TypeError
            If it is not a string.
        ValueError
            If the vocabulary lacks it, and `unknown` is None.
        """
        return int(self.encode([string_of("word", word)])[0])

    def encode(self, words: str | Iterable[str]) -> NDArray[np.int32]:
        """Return the ids of words.

        Parameters
        ----------
        words : iterable of str, or str
            Any number, including 0. A text is split at white space.

        Returns
        -------
        ids : (N,) array of int32

        Raises
        ------
        TypeError
            If a word is not a string.
        ValueError
            If a word is not in the vocabulary, and `unknown` is None; the error names
            the first one.

        Examples
        --------
        >>> from fastcell.data import WordVocabulary
        >>> vocabulary = WordVocabulary(["a", "b"], specials=(), unknown=None)
        >>> vocabulary.encode("a c")
        Traceback (most recent call last):
        ...
        ValueError: words[1] is 'c', which is not among the 2 words of the vocabulary
        """
        words = words.split() if isinstance(words, str) else strings_of("words", words)
        other = None if self.unknown is None else self._ids[self.unknown]
        ids = [self._ids.get(word, other) for word in words]
        for place, word in enumerate(words):
            if ids[place] is None:
                raise ValueError(
                    f"words[{place}] is {word!r}, which is not among the {len(self)} "
                    "words of the vocabulary"
                )
        return np.array(ids, np.int32)

    def decode(self, ids: ArrayLike, *, specials: bool = True) -> list[str]:
        """Return the words of ids.

        Parameters
        ----------
        ids : array of integers
            One-dimensional.
        specials : bool, default True
            Whether to keep the special words.

        Returns
        -------
        words : list of str

        Raises
        ------
        TypeError
            If `ids` are not integers.
        ValueError
            If they are not one-dimensional, or one is out of range.
        """
        flag("specials", specials)
        first = 0 if specials else len(self.specials)
        chosen = row_of_ids(ids, len(self))
        return [self.words[i] for i in chosen if i >= first]

    def to_json(self) -> str:
        """Return the vocabulary as a JSON object.

        Examples
        --------
        >>> from fastcell.data import WordVocabulary
        >>> text = WordVocabulary("b a b".split()).to_json()
        >>> WordVocabulary.from_json(text).words
        ('<pad>', '<unk>', 'b', 'a')
        """
        return json.dumps(
            {
                "words": self.words,
                "num_specials": len(self.specials),
                "unknown": self.unknown,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> WordVocabulary:
        """Return the vocabulary that `to_json` wrote.

        Raises
        ------
        ValueError
            If `text` is not such a vocabulary.
        """
        try:
            tree = json.loads(string_of("text", text, "the JSON of a vocabulary"))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"text: the vocabulary is not valid JSON: {error}"
            ) from None
        keys = {"words", "num_specials", "unknown"}
        if not isinstance(tree, dict) or tree.keys() != keys:
            raise ValueError(
                f"the vocabulary must be a JSON object with {', '.join(sorted(keys))}"
            )
        words, num_specials = tree["words"], tree["num_specials"]
        if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
            raise ValueError("the words of the vocabulary must be a list of strings")
        if type(num_specials) is not int or not 0 <= num_specials <= len(words):
            raise ValueError(
                f"num_specials of the vocabulary must be from 0 to {len(words)}; "
                f"got {num_specials!r}"
            )
        vocabulary = cls.__new__(cls)
        vocabulary._set(tuple(words), num_specials, tree["unknown"])
        return vocabulary

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WordVocabulary):
            return NotImplemented
        return (self.words, self.specials, self.unknown) == (
            other.words,
            other.specials,
            other.unknown,
        )

    def __hash__(self) -> int:
        return hash((self.words, self.specials, self.unknown))

    def __repr__(self) -> str:
        shown = " ".join(self.words[:8])
        more = " ..." if len(self) > 8 else ""
        return f"<WordVocabulary of {len(self)} words: {shown}{more}>"


def iter_words(
    texts: Iterable[str], end_of_line: str | None = None
) -> Iterator[list[str]]:
    r"""Split a text, given in parts, at white space.

    Parameters
    ----------
    texts : iterable of str
        The text, cut anywhere, such as from `fastcell.data.iter_text`.
    end_of_line : str, optional
        The word that replaces each ``"\n"``.

    Yields
    ------
    words : list of str
        The lists in order are the words of the text.

    Raises
    ------
    TypeError
        If a part is not a string.

    Examples
    --------
    >>> from fastcell.data import iter_words
    >>> list(iter_words(["to be, o", "r not\nto", " be"], "<eos>"))
    [['to', 'be,'], ['or', 'not', '<eos>'], ['to'], ['be']]
    """
    iterable_of("texts", texts, "an iterable of strings")
    if end_of_line is not None:
        string_of("end_of_line", end_of_line, "a word or None")
    begun = ""  # the unfinished word at the end of the parts so far
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{place}] must be a string; got {text!r}")
        if end_of_line is not None:
            text = text.replace("\n", f" {end_of_line} ")
        words = (begun + text).split()
        whole = not words or (begun + text)[-1].isspace()
        begun = "" if whole else words.pop()
        if words:
            yield words
    if begun:
        yield [begun]


def _flat(tokens: Any) -> Iterator[str]:
    """Yield the words of a text, or of its sentences."""
    iterable_of("tokens", tokens, "strings, such as text.split()")
    for place, token in enumerate(tokens):
        if isinstance(token, str):
            yield token
            continue
        try:
            inner = iter(token)
        except TypeError:
            raise TypeError(
                f"tokens[{place}] must be a string or an iterable of strings; "
                f"got {token!r}"
            ) from None
        for word in inner:
            if not isinstance(word, str):
                raise TypeError(f"tokens[{place}] must hold strings; got {word!r}")
            yield word


def _specials(specials: Any) -> tuple[str, ...]:
    specials = strings_of("specials", specials)
    for place, special in enumerate(specials):
        if special in specials[:place]:
            raise ValueError(f"specials must differ; got {special!r} twice")
    checked: tuple[str, ...] = specials
    return checked
