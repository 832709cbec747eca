"""Vocabulary of a Hugging Face tokenizer: text to ids and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcell._checks.arrays import row_of_ids
from fastcell._checks.names import string_of
from fastcell._checks.numbers import flag, shown
from fastcell.data.byte_pairs import check_text, tokenizer_from, tokenizers_package

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class TokenizerVocabulary:
    r"""The vocabulary of a Hugging Face tokenizer, with the tokenizer's ids.

    It encodes and decodes as the tokenizer, without truncation or padding. It is a
    copy: later changes of the tokenizer have no effect. Special tokens spelled in a
    text, such as ``<s>``, are encoded as special, as by the tokenizer; for untrusted
    text, see ``tokenizer.encode_special_tokens``.

    Needs the package `tokenizers` (`pip install tokenizers`), unless the tokenizer is a
    slow one of `transformers`.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer, or a tokenizer of transformers
        Such as ``tokenizers.Tokenizer.from_file("tokenizer.json")`` or
        ``transformers.AutoTokenizer.from_pretrained(...)``. A tokenizer of transformers
        written in Python ("slow") is used directly, and can be neither copied nor saved
        with a model.
    add_special_tokens : bool, default False
        Whether `encode` adds the tokenizer's special tokens, such as those of the
        beginning and the end.

    Attributes
    ----------
    specials : tuple of str
        The special tokens, in the order of their ids.
    add_special_tokens : bool
        As given.

    Raises
    ------
    ImportError
        If `tokenizers` is needed and not installed.
    TypeError
        If `tokenizer` is not a tokenizer.
    ValueError
        If it has no token.

    Examples
    --------
    ::

        from tokenizers import Tokenizer

        vocabulary = TokenizerVocabulary(Tokenizer.from_file("tokenizer.json"))
        model = LanguageModel(len(vocabulary), 64, 256, vocabulary=vocabulary)
        model.generate("To be, or not", 20)
    """

    def __init__(self, tokenizer: Any, *, add_special_tokens: bool = False) -> None:
        self.add_special_tokens = flag("add_special_tokens", add_special_tokens)
        # A fast tokenizer of transformers wraps a tokenizers.Tokenizer.
        inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if isinstance(tokenizer, type) or not _can(tokenizer, "encode", "decode"):
            raise TypeError(
                "tokenizer must be a tokenizers.Tokenizer, or a tokenizer of "
                f"transformers; got {shown(tokenizer)}"
            )
        self._tokenizer: Any
        if _can(inner, "to_str", "token_to_id"):
            copy = tokenizer_from("tokenizer", inner.to_str())
            copy.encode_special_tokens = inner.encode_special_tokens
            self._tokenizer = _Fast(copy, self.add_special_tokens)
        elif _can(tokenizer, "get_vocab", "convert_tokens_to_ids"):
            self._tokenizer = _Slow(tokenizer, self.add_special_tokens)
        else:
            raise TypeError(
                "tokenizer must be a tokenizers.Tokenizer, or a tokenizer of "
                f"transformers; got {shown(tokenizer)}"
            )
        ids: dict[str, int] = self._tokenizer.ids()
        if not ids:
            raise ValueError("tokenizer must have at least one token; got none")
        # Ids may have gaps where tokens were removed.
        self._ids = ids
        self._size = max(ids.values()) + 1
        self.specials: tuple[str, ...] = tuple(
            sorted(self._tokenizer.specials(), key=ids.__getitem__)
        )

    def index(self, token: str) -> int:
        """Return the id of a token, such as a special one.

        Raises
        ------
        TypeError
            If it is not a string.
        ValueError
            If it is not in the vocabulary.
        """
        if string_of("token", token) not in self._ids:
            raise ValueError(
                f"token must be one of the {len(self._ids)} of the vocabulary; "
                f"got {shown(token)}"
            )
        return self._ids[token]

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the ids (N,) of a text, as from the tokenizer.

        Raises
        ------
        TypeError
            If `text` is not a string.
        ValueError
            If it is not valid Unicode, or the tokenizer refuses it.
        """
        check_text("text", text)
        try:
            return np.array(self._tokenizer.encode(text), np.int32)
        except Exception as error:  # tokenizers raises plain Exception
            raise ValueError(f"text: the tokenizer refuses it: {error}") from None

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
        text: str = self._tokenizer.decode(chosen, skip_special_tokens=not specials)
        return text

    def to_json(self) -> str:
        """Return the vocabulary as a JSON object.

        Raises
        ------
        ValueError
            If the tokenizer is a slow one of transformers.
        """
        return json.dumps(
            {
                "tokenizer": json.loads(self._tokenizer.to_str()),
                "add_special_tokens": self.add_special_tokens,
                "encode_special_tokens": self._tokenizer.spells,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> TokenizerVocabulary:
        """Return the vocabulary that `to_json` wrote.

        Raises
        ------
        ImportError
            If `tokenizers` is not installed.
        ValueError
            If `text` is not such a vocabulary.
        """
        tokenizers_package("TokenizerVocabulary")
        try:
            tree = json.loads(string_of("text", text, "the JSON of a vocabulary"))
            inner = tree["tokenizer"]
            added = flag("add_special_tokens", tree["add_special_tokens"])
            spells = flag("encode_special_tokens", tree["encode_special_tokens"])
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise ValueError(f"text: the vocabulary is not valid: {error!r}") from None
        tokenizer = tokenizer_from("text: the vocabulary", json.dumps(inner))
        tokenizer.encode_special_tokens = spells
        return cls(tokenizer, add_special_tokens=added)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_json, (self.to_json(),)

    def __len__(self) -> int:
        """Return the largest id plus 1, the `vocab_size` of models."""
        return self._size

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenizerVocabulary):
            return NotImplemented
        return self is other or self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((len(self), self.specials))

    def __repr__(self) -> str:
        return f"<TokenizerVocabulary of {len(self)} tokens>"


class _Fast:
    """A private copy of a `tokenizers.Tokenizer`."""

    def __init__(self, tokenizer: Any, add_special_tokens: bool) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._of = tokenizer
        self._added = add_special_tokens
        self.spells = bool(tokenizer.encode_special_tokens)
        self.decode = tokenizer.decode
        self.to_str = tokenizer.to_str

    def ids(self) -> dict[str, int]:
        """Return the id of each token."""
        found: dict[str, int] = self._of.get_vocab(with_added_tokens=True)
        return found

    def specials(self) -> list[str]:
        """Return the special tokens."""
        added = self._of.get_added_tokens_decoder().values()
        return [token.content for token in added if token.special]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ids: list[int] = self._of.encode(text, add_special_tokens=self._added).ids
        return ids


class _Slow:
    """A tokenizer of transformers written in Python."""

    spells = False

    def __init__(self, tokenizer: Any, add_special_tokens: bool) -> None:
        self._of = tokenizer
        self._added = add_special_tokens

    def ids(self) -> dict[str, int]:
        """Return the id of each token."""
        return dict(self._of.get_vocab())

    def specials(self) -> list[str]:
        """Return the special tokens."""
        ids = self.ids()
        return [token for token in self._of.all_special_tokens if token in ids]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ids: list[int] = self._of.encode(text, add_special_tokens=self._added)
        return ids

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        """Return the text of ids, without cleaning up spaces."""
        text: str = self._of.decode(
            ids,
            skip_special_tokens=skip_special_tokens,
            clean_up_tokenization_spaces=False,
        )
        return text

    def to_str(self) -> str:
        """Raise, as such a tokenizer cannot be written."""
        raise ValueError(
            f"a tokenizer written in Python, as this {type(self._of).__name__}, cannot "
            "be written to a file: take the fast one of transformers"
        )


def _can(value: Any, *methods: str) -> bool:
    return all(callable(getattr(value, method, None)) for method in methods)
