"""Recipes of the data sets, vocabularies and readers."""

from __future__ import annotations

import functools

import numpy as np
from calls_of_layers import OPTIONAL, reals
from calls_of_training import _path
from public_calls import recipe

from fastcell import data

# ------------------------------------------------------------------------- vocabularies


def _chars():
    return data.CharVocabulary("abc")


def _words():
    return data.WordVocabulary(["a", "b", "a"])


@functools.cache
def _pairs():
    return data.BytePairVocabulary(["abab abab"], 260)


@functools.cache
def _tokenizer():
    return data.TokenizerVocabulary(_pairs()._model)


@recipe("CharVocabulary", symbols="str")
def _():
    return data.CharVocabulary, {"symbols": "abc"}


@recipe("CharVocabulary.from_text", text="str")
def _():
    return data.CharVocabulary.from_text, {"text": "abc"}


@recipe("CharVocabulary.from_texts")
def _():
    return data.CharVocabulary.from_texts, {"texts": ["abc"]}


@recipe(
    "WordVocabulary",
    max_size=OPTIONAL,
    unknown=OPTIONAL,
)
def _():
    return data.WordVocabulary, {
        "tokens": ["a", "b"],
        "min_count": 1,
        "max_size": 9,
        "specials": ["<pad>", "<unk>"],
        "unknown": "<unk>",
    }


@recipe("BytePairVocabulary")
def _():
    return data.BytePairVocabulary, {
        "texts": ["abab"],
        "vocab_size": 260,
        "min_count": 2,
        "specials": ["<pad>"],
    }


for _name, _make, _text in (
    ("CharVocabulary", _chars, "ab"),
    ("WordVocabulary", _words, "a b"),
    ("BytePairVocabulary", _pairs, "ab"),
    ("TokenizerVocabulary", _tokenizer, "ab"),
):
    _argument = "words" if _name == "WordVocabulary" else "text"

    # Of characters, those of "junk" are unknown.
    _known = {} if _name == "CharVocabulary" else {_argument: "str"}

    @recipe(f"{_name}.encode", **_known)
    def _(make=_make, argument=_argument, text=_text):
        return make().encode, {argument: text}

    @recipe(f"{_name}.decode")
    def _(make=_make, name=_name):
        special = {} if name == "CharVocabulary" else {"specials": True}
        return make().decode, {"ids": [0, 1], **special}

    @recipe(f"{_name}.from_json")
    def _(make=_make):
        return type(make()).from_json, {"text": make().to_json()}


@recipe("WordVocabulary.index", word="str")
def _():
    return _words().index, {"word": "a"}


@recipe("BytePairVocabulary.index")
def _():
    return _pairs().index, {"special": "<pad>"}


@recipe("TokenizerVocabulary")
def _():
    arguments = {"tokenizer": _pairs()._model, "add_special_tokens": True}
    return data.TokenizerVocabulary, arguments


@recipe("TokenizerVocabulary.index")
def _():
    return _tokenizer().index, {"token": "<pad>"}


# ---------------------------------------------------------------------------- data sets

_LISTS = [reals(3, 2), reals(2, 2)]


@recipe("Sequences", targets=OPTIONAL, dtype=OPTIONAL, lengths=OPTIONAL, seed="huge")
def _():
    return data.Sequences, {
        "sequences": list(_LISTS),
        "targets": [0, 1],
        "batch_size": 2,
        "shuffle": True,
        "seed": 0,
        "bucket": True,
        "dtype": np.float32,
        "check_finite": True,
    }


@recipe("Sequences", lengths=OPTIONAL)
def _():
    arguments = {"sequences": reals(3, 4, 2), "lengths": np.array([4, 2, 1])}
    return data.Sequences, arguments


@recipe("Sequences", weights=OPTIONAL)
def _():
    arguments = {"sequences": list(_LISTS), "targets": [0, 1]}
    return data.Sequences, {**arguments, "weights": np.ones(2)}


@recipe("SequencePairs", seed="huge")
def _():
    return data.SequencePairs, {
        "sources": [[1, 2], [3]],
        "targets": [[1], [2, 3]],
        "batch_size": 2,
        "shuffle": True,
        "seed": 0,
        "bucket": True,
    }


@recipe("Epochs.epoch")
def _():
    return data.Sequences(list(_LISTS)).epoch, {"n": 1}


@recipe("Windows", seed="huge", dtype=OPTIONAL)
def _():
    return data.Windows, {
        "recordings": [reals(9, 2)],
        "given": 3,
        "ahead": 2,
        "batch_size": 2,
        "stride": 1,
        "shuffle": True,
        "seed": 0,
        "dtype": np.float32,
    }


@recipe("Utterances", seed="huge", noise="huge")
def _():
    return data.Utterances, {
        "features": list(_LISTS),
        "labels": [[1], [2]],
        "batch_size": 2,
        "noise": 0.1,
        "seed": 0,
    }


@recipe("Utterances.batch", random=OPTIONAL)
def _():
    return data.Utterances(_LISTS, [[1], [2]], 2).batch, {
        "rows": [0, 1],
        "random": np.random.default_rng(0),
    }


@recipe("TextStreams")
def _():
    arguments = {"tokens": np.arange(20) % 3, "batch_size": 2, "seq_len": 3}
    return data.TextStreams, arguments


# -------------------------------------------------------------------------------- files


@functools.cache
def _file(name, text):
    path = _path(name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _text():
    return _file("text.txt", "abcabc\n" * 5)


@functools.cache
def _tokens():
    path = _path("tokens.npy")
    data.encode_file(_text(), path, data.CharVocabulary("abc\n"))
    return path


def _table():
    return _file("table.csv", "id,a,label\nx,1,u\nx,2,u\ny,3,v\n")


@recipe("TokenFile")
def _():
    return data.TokenFile, {"path": _tokens()}


@recipe("TokenFile.columns", starts="generator")
def _():
    return data.TokenFile(_tokens()).columns, {"starts": [0, 2], "count": 3}


@recipe("encode_file", path="str", end_of_line="none str")
def _():
    return data.encode_file, {
        "text": _text(),
        "path": _path("encoded.npy"),
        "vocabulary": data.WordVocabulary(["abcabc", "<eol>"]),
        "end_of_line": "<eol>",
    }


@recipe("write_tokens", path="str")
def _():
    return data.write_tokens, {
        "path": _path("parts.npy"),
        "parts": [np.array([1, 2])],
        "vocab_size": 3,
    }


@recipe("read_text")
def _():
    return data.read_text, {"path": _text()}


@recipe("iter_text")
def _():
    return data.iter_text, {"path": _text(), "block_size": 9}


@recipe("iter_words", end_of_line="none str")
def _():
    return data.iter_words, {"texts": ["a b\n"], "end_of_line": "<eol>"}


@recipe("read_csv_sequences", target_column=OPTIONAL, classes=OPTIONAL)
def _():
    return data.read_csv_sequences, {
        "path": _table(),
        "id_column": "id",
        "feature_columns": ["a"],
        "target_column": "label",
        "target": "class",
        "per_step": False,
        "classes": ["u", "v"],
        "dtype": np.float32,
        "delimiter": ",",
        "missing": "skip",
        "missing_values": ["NA"],
    }


@recipe("iter_csv_sequences", target_column=OPTIONAL)
def _():
    return data.iter_csv_sequences, {
        "path": _table(),
        "id_column": "id",
        "feature_columns": ["a"],
        "target_column": "label",
        "dtype": np.float32,
        "delimiter": ",",
        "missing": "skip",
        "missing_values": ["NA"],
    }


@recipe(
    "sequences_from_table",
    target_column=OPTIONAL,
    time_column=OPTIONAL,
    classes=OPTIONAL,
    id_column="none",
)
def _():
    columns = {"id": ["x", "x", "y"], "a": [1, 2, 3], "label": ["u", "u", "v"]}
    return data.sequences_from_table, {
        "frame": columns,
        "id_column": "id",
        "feature_columns": ["a"],
        "target_column": "label",
        "time_column": "a",
        "target": "class",
        "per_step": True,
        "classes": ["u", "v"],
        "missing": "skip",
        "dtype": np.float32,
    }


@functools.cache
def _wav():
    import wave

    path = _path("sound.wav")
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(800))
    return path


@recipe("read_wav")
def _():
    return data.read_wav, {"path": _wav()}


@recipe("split_text", text="str")
def _():
    return data.split_text, {"text": "abcdefghij", "fractions": (0.5, 0.5)}


# -------------------------------------------------------------------------------- sound

SOUND = {"samples": reals(800), "rate": 8000, "frame": 0.025, "hop": 0.01}


@recipe("frames", hop="huge")
def _():
    return data.frames, dict(SOUND)


@recipe("log_mel", high=OPTIONAL, hop="huge")
def _():
    return data.log_mel, {**SOUND, "num_mels": 8, "low": 20.0, "high": 3000.0}


@recipe("mfcc", high=OPTIONAL, hop="huge")
def _():
    options = {"num_coefficients": 3, "num_mels": 8, "low": 20.0, "high": 3000.0}
    return data.mfcc, {**SOUND, **options}


@recipe("mel_filters", high=OPTIONAL)
def _():
    arguments = {"num_mels": 8, "size": 200, "rate": 8000}
    return data.mel_filters, {**arguments, "low": 20.0, "high": 3000.0}


@recipe("mean_and_spread", features="rank")
def _():
    return data.mean_and_spread, {"features": reals(5, 2)}


@recipe("read_npz")
def _():
    path = _path("arrays.npz")
    np.savez(path, x=reals(2))
    return data.read_npz, {"path": path}


@recipe("normalize")
def _():
    return data.normalize, {"features": reals(5, 2)}


@recipe("stack_frames")
def _():
    return data.stack_frames, {"features": reals(6, 2), "count": 2}
