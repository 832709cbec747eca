"""Vocabularies of models, to and from a model's configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastcell._checks.numbers import shown
from fastcell.data import (
    BytePairVocabulary,
    CharVocabulary,
    TokenizerVocabulary,
    WordVocabulary,
)

Vocabulary = CharVocabulary | WordVocabulary | BytePairVocabulary | TokenizerVocabulary

# By their names in configurations, where characters are a list.
_CLASSES: dict[str, type[Vocabulary]] = {
    "WordVocabulary": WordVocabulary,
    "BytePairVocabulary": BytePairVocabulary,
    "TokenizerVocabulary": TokenizerVocabulary,
}
_KEYS = {"class", "json"}


def vocabulary_of(value: Any) -> Vocabulary | None:
    """Return the vocabulary that an argument `vocabulary` specifies.

    Parameters
    ----------
    value : vocabulary, iterable of str, mapping or None
        A vocabulary, its characters, or what `vocabulary_config` returned for it.

    Raises
    ------
    ImportError
        If the vocabulary needs a package that is not installed.
    TypeError, ValueError
        If it specifies none.

    Examples
    --------
    >>> vocabulary_of("helo")
    <CharVocabulary of 4 symbols: 'helo'>
    """
    if value is None or isinstance(value, Vocabulary):
        return value
    if isinstance(value, Mapping) and value.keys() == _KEYS:
        name, text = value["class"], value["json"]
        if not isinstance(name, str) or name not in _CLASSES:
            raise ValueError(
                f"vocabulary must be one of {', '.join(_CLASSES)}; got {shown(name)}"
            )
        return _named(_CLASSES[name].from_json, text)
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        is_tokenizer = hasattr(value, "encode") and hasattr(value, "decode")
        hint = ": say TokenizerVocabulary(vocabulary)" if is_tokenizer else ""
        raise TypeError(
            f"vocabulary must be characters, or a vocabulary; got {shown(value)}{hint}"
        )
    return _named(CharVocabulary, value)


def vocabulary_config(vocabulary: Vocabulary | None) -> Any:
    """Return a vocabulary as plain values that JSON can hold.

    Raises
    ------
    ValueError
        If it is a tokenizer that cannot be written.
    """
    if vocabulary is None:
        return None
    if isinstance(vocabulary, CharVocabulary):
        return list(vocabulary.symbols)
    return {"class": type(vocabulary).__name__, "json": vocabulary.to_json()}


def text_of(vocabulary: Vocabulary, ids: Any) -> str:
    """Return the text of ids; words are separated by a space."""
    text = vocabulary.decode(ids)
    return text if isinstance(text, str) else " ".join(text)


def _named(make: Any, value: Any) -> Vocabulary:
    try:
        made: Vocabulary = make(value)
    except TypeError as error:
        raise TypeError(f"vocabulary: {error}") from None
    except ValueError as error:
        raise ValueError(f"vocabulary: {error}") from None
    return made
