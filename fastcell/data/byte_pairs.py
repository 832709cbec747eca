"""Byte pair vocabulary, on the `tokenizers` package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.arrays import row_of_ids
from fastcell._checks.names import iterable_of, string_of, strings_of
from fastcell._checks.numbers import flag, integer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class BytePairVocabulary:
    r"""A vocabulary of subwords, learned from text by byte pair encoding.

    Learning starts from the 256 bytes, and merges the most frequent pair of neighbours
    within a word until `vocab_size` is reached (Sennrich, Haddow and Birch 2016,
    arXiv:1508.07909; on bytes, Radford et al. 2019). Any text can be encoded and is
    decoded without loss. Needs the package `tokenizers` (`pip install tokenizers`).

    Parameters
    ----------
    texts : iterable of str
        The text to learn from.
    vocab_size : int
        The number of ids: specials, bytes and merged pairs. There are fewer if no pair
        is left that occurs `min_count` times.
    min_count : int, default 2
        Least number of occurrences of a pair to merge.
    specials : sequence of str, default ("<pad>",)
        Tokens with the first ids; no text is encoded to them. Id 0 is the padding of
        sequences in a batch.

    Attributes
    ----------
    specials : tuple of str
        As given.

    Raises
    ------
    ImportError
        If `tokenizers` is not installed.
    TypeError, ValueError
        If an argument is not as described above.

    Examples
    --------
    ::

        vocabulary = BytePairVocabulary([text], vocab_size=1000)
        ids = vocabulary.encode("to be, or not to be")
        vocabulary.decode(ids)
    """

    def __init__(
        self,
        texts: Iterable[str],
        vocab_size: int,
        min_count: int = 2,
        specials: Sequence[str] = ("<pad>",),
    ) -> None:
        tokenizers = tokenizers_package()
        min_count = integer("min_count", min_count, minimum=1)
        specials = strings_of("specials", specials)
        vocab_size = integer("vocab_size", vocab_size, minimum=256 + len(specials))
        texts = list(iterable_of("texts", texts, "an iterable of strings"))
        for place, text in enumerate(texts):
            check_text(f"texts[{place}]", text)
        if not any(texts):
            raise ValueError("texts must hold at least one character; got none")
        bytes_of = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        model = tokenizers.Tokenizer(tokenizers.models.BPE())
        model.pre_tokenizer = bytes_of
        model.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_count,
            special_tokens=list(specials),
            initial_alphabet=sorted(bytes_of.alphabet()),
            show_progress=False,
        )
        model.train_from_iterator(texts, trainer)
        self._take(model, specials)

    def _take(self, model: Any, specials: tuple[str, ...]) -> None:
        # Text that spells a special token is encoded as plain text.
        model.encode_special_tokens = True
        self._model = model
        self.specials = specials
        ids = [model.token_to_id(special) for special in specials]
        if ids != list(range(len(specials))):
            raise ValueError(f"specials must differ, and have the first ids; got {ids}")

    def index(self, special: str) -> int:
        """Return the id of a special token.

        Raises
        ------
        TypeError
            If it is not a string.
        ValueError
            If it is not a special token.
        """
        if string_of("special", special) not in self.specials:
            raise ValueError(
                f"special must be one of the specials, {self.specials}; got {special!r}"
            )
        return self.specials.index(special)

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the ids (N,) of a text.

        Raises
        ------
        TypeError
            If `text` is not a string.
        ValueError
            If it is not valid Unicode.
        """
        check_text("text", text)
        return np.array(self._model.encode(text).ids, np.int32)

    def decode(self, ids: ArrayLike, *, specials: bool = True) -> str:
        """Return the text of ids.

        Parameters
        ----------
        ids : array of integers
            One-dimensional.
        specials : bool, default True
            Whether to write special tokens, or leave them out.

        Raises
        ------
        TypeError
            If `ids` are not integers.
        ValueError
            If they are not one-dimensional, or one is out of range.
        """
        flag("specials", specials)
        chosen = row_of_ids(ids, len(self))
        if not chosen:
            return ""
        text: str = self._model.decode(chosen, skip_special_tokens=not specials)
        return text

    def to_json(self) -> str:
        """Return the vocabulary as a JSON object."""
        tree = json.loads(self._model.to_str())
        return json.dumps({"specials": self.specials, "tokenizer": tree})

    @classmethod
    def from_json(cls, text: str) -> BytePairVocabulary:
        """Return the vocabulary that `to_json` wrote.

        Raises
        ------
        ImportError
            If `tokenizers` is not installed.
        ValueError
            If `text` is not such a vocabulary.
        """
        tokenizers = tokenizers_package()
        string_of("text", text, "the JSON of a vocabulary")
        try:
            tree = json.loads(text)
            specials, inner = tuple(tree["specials"]), json.dumps(tree["tokenizer"])
        except Exception as error:
            raise ValueError(f"text: the vocabulary is not valid: {error!r}") from None
        model = tokenizer_from("text: the vocabulary", inner)
        if not isinstance(model.model, tokenizers.models.BPE):
            raise ValueError(
                f"the vocabulary must be one of byte pairs; got {model.model!r}"
            )
        vocabulary = cls.__new__(cls)
        vocabulary._take(model, specials)
        return vocabulary

    def __reduce__(self) -> tuple[Any, ...]:
        # The package's own pickle loses `encode_special_tokens`.
        return type(self).from_json, (self.to_json(),)

    def __len__(self) -> int:
        count: int = self._model.get_vocab_size()
        return count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BytePairVocabulary):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((len(self), self.specials))

    def __repr__(self) -> str:
        return f"<BytePairVocabulary of {len(self)} pieces>"


def check_text(name: str, text: Any) -> None:
    """Check that a text is a string of valid Unicode.

    Raises
    ------
    TypeError, ValueError
        If it is not.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string; got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must be valid Unicode: {error}") from None


def tokenizer_from(name: str, text: str) -> Any:
    """Return the `tokenizers.Tokenizer` of a JSON text.

    Raises
    ------
    ImportError
        If `tokenizers` is not installed.
    ValueError
        If the text is not a tokenizer; the error begins with `name`.
    """
    tokenizers = tokenizers_package("TokenizerVocabulary")
    try:
        return tokenizers.Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the package raises Exception or panics
        raise ValueError(f"{name} is not valid: {error!r}") from None


def tokenizers_package(who: str = "BytePairVocabulary") -> Any:
    """Return the package `tokenizers`.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            f"{who} needs the package tokenizers, which is not installed: "
            "pip install tokenizers"
        ) from error
    return tokenizers
