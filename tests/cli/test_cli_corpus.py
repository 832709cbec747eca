"""Reading of a text by the command line: in little memory, with the same windows."""

import hashlib
import os
import tracemalloc

import numpy as np
import pytest

from fastcell import cli
from fastcell.cli import corpus as cli_corpus
from fastcell.cli.corpus import read_corpus
from fastcell.cli.training import Settings
from fastcell.data import CharVocabulary, TextStreams, split_text

LINE = "it was the best of times, it was the worst of times: été.\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(**options):
    return Settings(**{"text": "text.txt", "out": "model", **options})


@pytest.mark.parametrize(
    "extra", ["", "".join(map(chr, range(500, 900))), "\U0001f600"]
)
def test_windows_are_those_of_the_text_in_memory(folder, extra):
    text = LINE * 80 + extra + LINE * 9
    (folder / "text.txt").write_text(text, encoding="utf-8")
    corpus = read_corpus(settings(batch_size=3, sequence_length=20))
    vocabulary = CharVocabulary.from_text(text)
    train, valid = split_text(vocabulary.encode(text), (0.9, 0.1))
    assert corpus.vocabulary == vocabulary
    assert corpus.settings.sha256 == hashlib.sha256(text.encode()).hexdigest()
    for ours, whole in ((corpus.train, train), (corpus.valid, valid)):
        expected = TextStreams(whole, ours.batch_size, 20)
        assert len(ours) == len(expected)
        for window, other in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(window, other)
    assert os.listdir() == ["text.txt"]


@pytest.mark.parametrize(
    ("count", "dtype"), [(256, np.uint8), (257, np.uint16), (70_000, np.int32)]
)
def test_ids_take_as_few_bytes_as_they_need(folder, count, dtype):
    text = "".join(chr(0x10000 + k) for k in range(count))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    vocabulary, ids, _ = cli_corpus._encoded(settings(), print)
    assert ids.dtype == dtype
    np.testing.assert_array_equal(ids, vocabulary.encode(text))


def test_large_text_takes_less_than_three_bytes_a_character(folder):
    count = 2 * 10**7
    (folder / "text.txt").write_text(LINE.replace("é", "e") * (count // len(LINE)))
    tracemalloc.start()
    try:
        corpus = read_corpus(settings())
        windows = [corpus.train[i] for i in (0, len(corpus.train) - 1)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(windows) == 2
    # Of which the ids, mapped from the disk, are one byte and not counted here.
    assert peak < 2 * count


def test_large_text_is_not_read_in_silence(folder, monkeypatch):
    monkeypatch.setattr(cli_corpus, "_LARGE", 1000)
    (folder / "text.txt").write_text(LINE * 80)
    said = []
    read_corpus(settings(), said.append)
    assert len(said) == 2
    assert all("text.txt" in line for line in said)


def test_text_that_changes_while_it_is_read_is_refused(folder, monkeypatch):
    (folder / "text.txt").write_text(LINE * 80)
    real = CharVocabulary.from_texts

    def changing(parts):
        vocabulary = real(parts)
        (folder / "text.txt").write_text(LINE * 80 + "new: ü")
        return vocabulary

    monkeypatch.setattr(CharVocabulary, "from_texts", changing)
    with pytest.raises(ValueError, match=r"text\.txt: changed while it was read"):
        read_corpus(settings())


@pytest.mark.parametrize("batch_size", [100, 300, 32, 20])
def test_short_streams_are_warned_of_with_their_numbers(folder, batch_size):
    (folder / "text.txt").write_text("to be or " * 300)  # 2,430 of them to train on
    corpus = read_corpus(settings(batch_size=batch_size, sequence_length=128))
    assert corpus.train.num_steps == (2430 - 1) // batch_size
    for number in ("2,430", str(batch_size), str(2429 // batch_size), "128"):
        assert number in corpus.warning


def test_long_streams_are_not_warned_of(folder):
    (folder / "text.txt").write_text("to be or " * 300)
    assert read_corpus(settings()).warning is None


@pytest.mark.parametrize("batch_size", [350, 1215, 2430, 10**6])
def test_streams_of_a_few_characters_are_refused_with_their_numbers(
    folder, capsys, batch_size
):
    (folder / "text.txt").write_text("to be or " * 300)
    assert cli.main(["train", "text.txt", "--batch-size", str(batch_size)]) == 2
    error = capsys.readouterr().err
    assert "too short" in error
    assert f"{batch_size:,} streams of {2429 // batch_size}" in error


def test_windows_of_two_characters_are_the_users_choice(folder):
    (folder / "text.txt").write_text("to be or " * 300)
    assert read_corpus(settings(sequence_length=2, batch_size=800)).warning is None


def test_warning_is_shown(folder, capsys):
    (folder / "text.txt").write_text("to be or " * 300)
    options = ["--hidden-size=4", "--batch-size=100", "--steps=1", "--quiet"]
    assert cli.main(["train", "text.txt", *options]) == 0
    error = capsys.readouterr().err
    assert error.startswith("fastcell: warning: text.txt: 2,430 characters")
    assert error.count("\n") == 1
