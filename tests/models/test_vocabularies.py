"""Word and byte pair vocabularies: to ids and back."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from refusals import refuses

from fastcell.data import BytePairVocabulary, WordVocabulary

TEXT = "the cat and the dog and the bird"


class TestWords:
    def test_frequent_words_come_first_and_equal_ones_by_the_alphabet(self):
        vocabulary = WordVocabulary(TEXT.split())
        assert vocabulary.words == (
            "<pad>",
            "<unk>",
            "the",
            "and",
            "bird",
            "cat",
            "dog",
        )
        assert vocabulary.specials == ("<pad>", "<unk>")
        assert len(vocabulary) == 7
        assert "cat" in vocabulary
        assert "cow" not in vocabulary

    def test_sentences_are_counted_as_their_words(self):
        sentences = [TEXT.split()[:3], TEXT.split()[3:]]
        assert WordVocabulary(sentences) == WordVocabulary(TEXT.split())
        assert WordVocabulary(iter(sentences)) == WordVocabulary(iter(TEXT.split()))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"min_count": 2}, ("the", "and")),
            ({"min_count": 3}, ("the",)),
            ({"max_size": 4}, ("the", "and")),
            ({"max_size": 2}, ()),
            ({"min_count": 2, "max_size": 3}, ("the",)),
        ],
    )
    def test_rare_words_are_left_out(self, arguments, words):
        vocabulary = WordVocabulary(TEXT.split(), **arguments)
        assert vocabulary.words == ("<pad>", "<unk>", *words)

    def test_special_words_have_the_first_ids_however_frequent(self):
        specials = ("<pad>", "the", "<bos>")
        vocabulary = WordVocabulary(TEXT.split(), specials=specials, unknown="<bos>")
        assert vocabulary.words[:4] == (*specials, "and")
        assert vocabulary.encode("the the cow").tolist() == [1, 1, 2]

    def test_encode_and_decode(self):
        vocabulary = WordVocabulary(TEXT.split())
        ids = vocabulary.encode("the cow  and\nthe dog <pad>")
        assert ids.dtype == np.int32
        assert ids.tolist() == [2, 1, 3, 2, 6, 0]
        assert vocabulary.encode(["the", "cow"]).tolist() == [2, 1]
        assert vocabulary.decode(ids) == ["the", "<unk>", "and", "the", "dog", "<pad>"]
        assert vocabulary.decode(ids, specials=False) == ["the", "and", "the", "dog"]
        assert vocabulary.index("cat") == 5
        assert vocabulary.index("cow") == vocabulary.index("<unk>") == 1
        assert vocabulary.encode("").shape == (0,)
        assert vocabulary.decode([]) == []

    def test_unknown_words_are_errors_if_wanted(self):
        vocabulary = WordVocabulary(TEXT.split(), unknown=None)
        refuses(ValueError, ["words[1]", "'cow'", "7"], vocabulary.encode, "the cow")
        refuses(ValueError, ["'cow'"], vocabulary.index, "cow")

    @pytest.mark.parametrize("unknown", ["<unk>", None])
    def test_json_and_back(self, unknown):
        vocabulary = WordVocabulary(["žluť", "漢", "\ud800"], unknown=unknown)
        again = WordVocabulary.from_json(vocabulary.to_json())
        assert again == vocabulary
        assert hash(again) == hash(vocabulary)
        assert (again.words, again.specials) == (vocabulary.words, vocabulary.specials)
        assert again.unknown == unknown
        assert vocabulary != WordVocabulary(["žluť"], unknown=unknown)

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"tokens": "a text"}, TypeError, ["tokens", "string"]),
            ({"tokens": [1]}, TypeError, ["tokens[0]", "1"]),
            ({"tokens": ["a", ["b", 2]]}, TypeError, ["tokens[1]", "2"]),
            ({"min_count": 0}, ValueError, ["min_count"]),
            ({"max_size": 1}, ValueError, ["max_size", "2"]),
            ({"specials": "<unk>"}, TypeError, ["specials"]),
            ({"specials": ("<unk>", 2)}, TypeError, ["specials[1]", "2"]),
            ({"specials": ("<unk>", "<unk>")}, ValueError, ["specials", "'<unk>'"]),
            ({"specials": ("<pad>",)}, ValueError, ["unknown", "<unk>"]),
            ({"tokens": []}, ValueError, ["tokens", "at least one word", "none"]),
            ({"tokens": [[], []]}, ValueError, ["at least one word", "none"]),
            (
                {"min_count": 9, "specials": (), "unknown": None},
                ValueError,
                ["at least one word"],
            ),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, error, words):
        arguments = {"tokens": TEXT.split(), **arguments}
        refuses(error, words, WordVocabulary, **arguments)

    def test_bad_words_and_ids_are_named(self):
        vocabulary = WordVocabulary(TEXT.split())
        refuses(TypeError, ["words[1]", "2"], vocabulary.encode, ["the", 2])
        refuses(ValueError, ["0 to 6", "got 7"], vocabulary.decode, [0, 7])
        refuses(TypeError, ["ids", "float64"], vocabulary.decode, [0.5])
        refuses(ValueError, ["one dimension"], vocabulary.decode, [[0]])

    @pytest.mark.parametrize(
        "damage",
        [
            lambda tree: "",
            lambda tree: "[" * 100_000,
            lambda tree: json.dumps(tree["words"]),
            lambda tree: json.dumps({**tree, "more": 1}),
            lambda tree: json.dumps({**tree, "words": ["a", 1]}),
            lambda tree: json.dumps({**tree, "words": ["a", "a", "<unk>"]}),
            lambda tree: json.dumps({**tree, "words": []}),
            lambda tree: json.dumps({**tree, "num_specials": 99}),
            lambda tree: json.dumps({**tree, "num_specials": True}),
            lambda tree: json.dumps({**tree, "unknown": "cat"}),
            lambda tree: json.dumps({**tree, "unknown": []}),
        ],
    )
    def test_bad_json_is_refused(self, damage):
        tree = json.loads(WordVocabulary(TEXT.split()).to_json())
        with pytest.raises(ValueError):
            WordVocabulary.from_json(damage(tree))


class TestBytePairs:
    @pytest.fixture
    def vocabulary(self):
        pytest.importorskip("tokenizers")
        return BytePairVocabulary([TEXT], 280, specials=("<pad>", "<eos>"))

    @pytest.mark.parametrize(
        "text", ["", TEXT, "never seen", "漢字 žluť\r\n\t a  b", "<pad> and <eos>"]
    )
    def test_decode_undoes_encode(self, vocabulary, text):
        ids = vocabulary.encode(text)
        assert ids.dtype == np.int32
        assert vocabulary.decode(ids) == text
        assert not set(ids.tolist()) & {0, 1}

    def test_frequent_words_are_one_piece(self, vocabulary):
        assert len(vocabulary.encode(" the and the")) == 3
        assert len(vocabulary.encode("qwx")) == 3
        assert 258 < len(vocabulary) <= 280

    def test_special_tokens(self, vocabulary):
        assert vocabulary.index("<eos>") == 1
        ids = [*vocabulary.encode("the").tolist(), 1, 0]
        assert vocabulary.decode(ids) == "the<eos><pad>"
        assert vocabulary.decode(ids, specials=False) == "the"
        refuses(ValueError, ["'the'"], vocabulary.index, "the")

    def test_json_and_back(self, vocabulary):
        again = BytePairVocabulary.from_json(vocabulary.to_json())
        assert again == vocabulary
        assert again.specials == vocabulary.specials
        text = "the <eos> bird"
        assert again.encode(text).tolist() == vocabulary.encode(text).tolist()

    @pytest.mark.parametrize(
        "text", ["", "{}", "[1]", '{"specials":[],"tokenizer":{}}']
    )
    def test_bad_json_is_refused(self, vocabulary, text):
        refuses(ValueError, ["the vocabulary is not valid"], vocabulary.from_json, text)

    def test_bad_arguments_are_named(self, vocabulary):
        make = BytePairVocabulary
        refuses(TypeError, ["texts"], make, TEXT, 300)
        refuses(TypeError, ["texts[0]"], make, [3], 300)
        refuses(ValueError, ["texts"], make, [""], 300)
        refuses(ValueError, ["vocab_size", "257"], make, [TEXT], 256)
        refuses(ValueError, ["specials"], make, [TEXT], 300, specials=["a", "a"])
        refuses(TypeError, ["text"], vocabulary.encode, b"the")
        refuses(ValueError, ["text", "Unicode"], vocabulary.encode, "\ud800")
        refuses(ValueError, ["got 1000"], vocabulary.decode, [1000])

    def test_missing_package_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "tokenizers", None)
        refuses(
            ImportError, ["pip install tokenizers"], BytePairVocabulary, [TEXT], 300
        )
