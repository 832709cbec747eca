"""Hugging Face tokenizers as vocabularies, alone and in models."""

from __future__ import annotations

import copy
import io
import json
import pickle

import numpy as np
import pytest
from refusals import refuses

import fastcell
from fastcell.data import (
    BytePairVocabulary,
    CharVocabulary,
    TextStreams,
    TokenizerVocabulary,
    WordVocabulary,
)
from fastcell.models import LanguageModel
from fastcell.optim import Adam
from fastcell.train import Trainer

tokenizers = pytest.importorskip("tokenizers")

TEXT = "the cat and the dog and the bird, <s> and the cat"


def tokenizer():
    """Byte pairs, with a token of the beginning and one of the end put around texts."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=60, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    made.train_from_iterator([TEXT], trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return made


class Slow:
    """What is used of a tokenizer of transformers that is written in Python."""

    all_special_tokens = ("<s>", "<none>")

    def __init__(self):
        self.tokens = {"<s>": 3, "a": 0, "b": 1}

    def get_vocab(self):
        return self.tokens

    def convert_tokens_to_ids(self, tokens):
        raise NotImplementedError

    def encode(self, text, add_special_tokens=True):
        return [3] * add_special_tokens + [self.tokens[c] for c in text]

    def decode(self, ids, skip_special_tokens, clean_up_tokenization_spaces=True):
        assert not clean_up_tokenization_spaces
        names = {i: token for token, i in self.tokens.items()}
        kept = [i for i in ids if i != 3 or not skip_special_tokens]
        return "".join(names.get(i, "") for i in kept)


class Fast(Slow):
    """What is used of one that has a tokenizer of `tokenizers` inside."""

    def __init__(self):
        self.backend_tokenizer = tokenizer()


# ------------------------------------------------------------------- ids of a tokenizer


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: Fast()])
@pytest.mark.parametrize("text", ["", TEXT, "the bird", "the cats <s>dog</s>"])
def test_ids_and_texts_are_those_of_the_tokenizer(wrap, text):
    own = tokenizer()
    vocabulary = TokenizerVocabulary(wrap(own))
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int32
    assert ids.tolist() == own.encode(text, add_special_tokens=False).ids
    for kept in (True, False):
        wanted = own.decode(ids.tolist(), skip_special_tokens=not kept)
        assert vocabulary.decode(ids, specials=kept) == wanted
    assert len(vocabulary) == own.get_vocab_size()


def test_special_tokens_are_put_around_a_text_if_asked():
    around = TokenizerVocabulary(tokenizer(), add_special_tokens=True)
    assert around.encode("the").tolist()[:: len(around.encode("the")) - 1] == [1, 2]
    assert around.decode(around.encode("the cat"), specials=False) == "the cat"
    assert around.specials == ("<unk>", "<s>", "</s>")
    assert [around.index(token) for token in around.specials] == [0, 1, 2]
    assert "the" in around
    assert "THE" not in around
    assert around.index("the") == around.encode("the")[1]


def test_no_text_is_cut_short_or_padded():
    own = tokenizer()
    own.enable_truncation(2)
    own.enable_padding(length=50)
    vocabulary = TokenizerVocabulary(own)
    assert vocabulary.decode(vocabulary.encode(TEXT)) == TEXT
    assert 10 < len(vocabulary.encode(TEXT)) < 50
    assert own.truncation["max_length"] == 2  # nothing was done to it


def test_what_is_added_later_is_not_in_the_vocabulary():
    own = tokenizer()
    vocabulary = TokenizerVocabulary(own)
    size = len(vocabulary)
    own.add_tokens(["zebra"])
    assert "zebra" not in vocabulary
    assert len(vocabulary) == size == own.get_vocab_size() - 1


def test_a_text_that_spells_a_special_token_has_it_or_not_as_the_tokenizer_says():
    own = tokenizer()
    assert 1 in TokenizerVocabulary(own).encode("<s>")
    own.encode_special_tokens = True
    vocabulary = TokenizerVocabulary(own)
    for copied in (vocabulary, TokenizerVocabulary.from_json(vocabulary.to_json())):
        assert 1 not in copied.encode("<s>")


@pytest.mark.parametrize("added", [False, True])
def test_json_copies_and_pickles(added):
    vocabulary = TokenizerVocabulary(tokenizer(), add_special_tokens=added)
    for again in (
        TokenizerVocabulary.from_json(vocabulary.to_json()),
        copy.deepcopy(vocabulary),
        pickle.loads(pickle.dumps(vocabulary)),
    ):
        assert again == vocabulary
        assert hash(again) == hash(vocabulary)
        assert again.encode(TEXT).tolist() == vocabulary.encode(TEXT).tolist()
        assert again.specials == vocabulary.specials
    other = TokenizerVocabulary(tokenizer(), add_special_tokens=not added)
    assert vocabulary != other


def test_a_tokenizer_written_in_python_is_taken_as_it_is():
    vocabulary = TokenizerVocabulary(Slow())
    assert len(vocabulary) == 4  # 2 is the id of nothing
    assert vocabulary.specials == ("<s>",)
    assert vocabulary.encode("ab").tolist() == [0, 1]
    assert vocabulary.decode([3, 1]) == "<s>b"
    assert vocabulary.decode([3, 1], specials=False) == "b"
    around = TokenizerVocabulary(Slow(), add_special_tokens=True)
    assert around.encode("ab").tolist() == [3, 0, 1]
    words = ["text", "the tokenizer refuses it"]
    refuses(ValueError, words, vocabulary.encode, "c")
    model = LanguageModel(4, 2, 3, vocabulary=vocabulary)
    assert set(model.generate("a", 9, seed=0)) <= set("ab<s>")
    words = ["cannot be written", "Slow"]
    refuses(ValueError, words, vocabulary.to_json)
    refuses(ValueError, words, fastcell.save, model, io.BytesIO())


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"tokenizer": {}}', "null"])
def test_bad_json_is_refused(text):
    refuses(ValueError, ["text: the vocabulary is not valid"],
            TokenizerVocabulary.from_json, text)  # fmt: skip
    tree = json.loads(TokenizerVocabulary(tokenizer()).to_json())
    tree["tokenizer"]["model"] = {"type": "BPE", "vocab": 3}
    refuses(ValueError, ["text: the vocabulary is not valid"],
            TokenizerVocabulary.from_json, json.dumps(tree))  # fmt: skip


def test_bad_arguments_are_named():
    vocabulary = TokenizerVocabulary(tokenizer())
    for junk in (None, "gpt2", 3, tokenizers.Tokenizer, json):
        refuses(TypeError, ["tokenizer must be"], TokenizerVocabulary, junk)
    empty = tokenizers.Tokenizer(tokenizers.models.BPE())
    refuses(ValueError, ["at least one token"], TokenizerVocabulary, empty)
    refuses(TypeError, ["text"], vocabulary.encode, b"the")
    refuses(ValueError, ["text", "Unicode"], vocabulary.encode, "\ud800")
    refuses(ValueError, ["got 1000"], vocabulary.decode, [1000])
    refuses(ValueError, ["ids", "one dimension"], vocabulary.decode, [[0]])
    refuses(ValueError, ["token", "'zebra'"], vocabulary.index, "zebra")


# -------------------------------------------------------------- vocabularies in a model

VOCABULARIES = {
    "characters": lambda: CharVocabulary.from_text(TEXT),
    "words": lambda: WordVocabulary(TEXT.split()),
    "byte pairs": lambda: BytePairVocabulary([TEXT], 262),
    "tokenizer": lambda: TokenizerVocabulary(tokenizer()),
}


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_a_model_keeps_its_vocabulary_in_its_file(kind):
    vocabulary = VOCABULARIES[kind]()
    model = LanguageModel(len(vocabulary), 3, 4, vocabulary=vocabulary, seed=0)
    file = io.BytesIO()
    fastcell.save(model, file)
    file.seek(0)
    again = fastcell.load(file, LanguageModel)
    assert again.vocabulary == vocabulary
    assert again.generate("the cat", 9, seed=1) == model.generate("the cat", 9, seed=1)
    assert copy.deepcopy(model).vocabulary == vocabulary


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_text_is_continued_by_the_tokens_of_the_vocabulary(kind):
    vocabulary = VOCABULARIES[kind]()
    model = LanguageModel(len(vocabulary), 3, 4, vocabulary=vocabulary, seed=0)
    ids = model.generate(vocabulary.encode("the cat"), 9, seed=1)
    text = vocabulary.decode(ids)
    text = " ".join(text) if kind == "words" else text
    assert model.generate("the cat", 9, seed=1) == text
    assert model.unit == ("characters" if kind == "characters" else "tokens")


def test_a_run_on_a_tokenizer_resumes(tmp_path):
    path = tmp_path / "run.checkpoint"
    vocabulary = TokenizerVocabulary(tokenizer())

    def trainer(vocabulary):
        size = len(vocabulary)
        model = LanguageModel(size, 3, 4, vocabulary=vocabulary, seed=0)
        return Trainer(model, Adam(model.params), progress=False)

    streams = TextStreams(vocabulary.encode(TEXT * 9), 2, 5)
    trainer(vocabulary).fit(streams, steps=3, checkpoint=path)
    assert trainer(vocabulary).resume(path).step == 3
    own = tokenizer()
    own.normalizer = tokenizers.normalizers.Lowercase()
    other = TokenizerVocabulary(own)
    refuses(ValueError, ["vocabulary"], trainer(other).resume, path)


def test_a_vocabulary_of_another_size_or_kind_is_refused():
    vocabulary = TokenizerVocabulary(tokenizer())
    words = ["vocabulary", "vocab_size", f"got {len(vocabulary)}"]
    refuses(ValueError, words, LanguageModel, 5, 3, 4, vocabulary=vocabulary)
    refuses(TypeError, ["TokenizerVocabulary(vocabulary)"], LanguageModel, 5, 3, 4,
            vocabulary=tokenizer())  # fmt: skip
    config = LanguageModel(len(vocabulary), 3, 4, vocabulary=vocabulary).config()
    for entry in (
        {"class": "Linear", "json": "{}"},
        {"class": "TokenizerVocabulary", "json": "{}"},
        {"class": "TokenizerVocabulary", "json": 3},
        {"class": ["WordVocabulary"], "json": "{}"},
    ):
        changed = {**config, "vocabulary": entry}
        refuses(ValueError, ["vocabulary"], LanguageModel.from_config, changed)


def test_the_command_line_asks_for_a_prompt_of_tokens(tmp_path, capsys):
    from fastcell.cli import main

    path = str(tmp_path / "model.safetensors")
    vocabulary = WordVocabulary(TEXT.split())
    model = LanguageModel(len(vocabulary), 3, 4, vocabulary=vocabulary, seed=0)
    fastcell.save(model, path)
    assert main(["sample", path, "--length", "3"]) == 2
    assert "--prompt must be given" in capsys.readouterr().err
    assert main(["sample", path, "--prompt", "the", "--length", "3"]) == 0
    text = capsys.readouterr().out.split()
    assert len(text) == 4
    assert text[0] == "the"
