"""Whole texts as ids: a byte of a character, and never the text itself in memory."""

from __future__ import annotations

import hashlib
import os
import tracemalloc

import numpy as np
import pytest

from fastcell.cli import main
from fastcell.data import CharVocabulary, TextStreams, demo_text, read_text
from fastcell.data.characters import read_characters

TEXT = "To be, or not to be – that is\r\nthe question: \U0001f600\n" * 3


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def test_ids_are_those_of_the_text(path):
    ids, vocabulary, sha256 = read_characters(path)
    text = read_text(path)
    assert vocabulary == CharVocabulary.from_text(text)
    assert ids.dtype == np.uint8
    assert not ids.flags.writeable
    np.testing.assert_array_equal(ids, vocabulary.encode(text))
    assert sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_no_path_is_the_demo():
    ids, vocabulary, _ = read_characters(None)
    assert vocabulary.decode(ids) == demo_text()


@pytest.mark.parametrize(
    ("count", "dtype"), [(256, np.uint8), (257, np.uint16), (70_000, np.int32)]
)
def test_ids_take_as_few_bytes_as_they_need(tmp_path, count, dtype):
    path = tmp_path / "many.txt"
    symbols = [chr(0x10000 + k) for k in range(count)]
    path.write_text("".join(symbols[::-1]), encoding="utf-8")
    ids, vocabulary, _ = read_characters(path)
    assert ids.dtype == dtype
    assert vocabulary.symbols == tuple(symbols)
    np.testing.assert_array_equal(ids, np.arange(count)[::-1])


@pytest.mark.parametrize("more", ["a", "?"])
def test_a_text_that_changes_while_it_is_read_is_refused(path, monkeypatch, more):
    texts = iter(["abc", "abc" + more])
    monkeypatch.setattr("fastcell.data.characters.iter_text", lambda _: [next(texts)])
    with pytest.raises(ValueError, match=r"text\.txt: changed while it was read"):
        read_characters(path)


def test_a_text_takes_little_more_than_a_byte_of_each_character(tmp_path):
    path = tmp_path / "large.txt"
    count = 12_000_000
    path.write_text("to be, or n\n" * (count // 12))
    tracemalloc.start()
    try:
        ids, _, _ = read_characters(path)
        streams = TextStreams(ids, 32, 64)
        assert sum(len(x) for x, _ in streams[-3:]) > 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A megabyte is read at a time, and has some bytes of each character on its way.
    assert peak < count + 12e6


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize(
    "count, batch_size, seq_len", [(100, 7, 5), (15, 7, 3), (2, 1, 1)]
)
def test_windows_of_narrow_ids_are_those_of_wide_ones(
    dtype, count, batch_size, seq_len
):
    wide = np.random.default_rng(0).integers(200, size=count)
    if dtype == np.int16:
        wide *= 100
    kept = wide.astype(dtype)
    kept.flags.writeable = False
    views = [kept, np.repeat(kept, 2)[::2]]  # of any strides
    views[1].flags.writeable = False
    for narrow in views:
        found, wanted = (
            TextStreams(tokens, batch_size, seq_len) for tokens in (narrow, wide)
        )
        assert len(found) == len(wanted)
        for pair, true in zip(found, wanted, strict=True):
            for window, there in zip(pair, true, strict=True):
                np.testing.assert_array_equal(window, there)
                assert window.dtype == np.int32
                assert window.flags.c_contiguous
                assert not window.flags.writeable


def test_narrow_ids_that_may_be_written_to_are_copied():
    ids = np.arange(11, dtype=np.uint8)
    streams = TextStreams(ids, 2, 3)
    ids[:] = 0
    assert streams[0][0].tolist() == [[0, 5], [1, 6], [2, 7]]


def test_negative_ids_are_refused_in_narrow_arrays():
    ids = np.array([1, 2, -1, 3], np.int8)
    ids.flags.writeable = False
    with pytest.raises(ValueError, match=r"tokens.*-1"):
        TextStreams(ids, 1, 2)


@pytest.mark.parametrize("place", [0, 70_000, 150_000])
def test_a_character_that_is_unknown_is_named_in_a_long_text(place):
    text = "ab" * 80_000
    text = text[:place] + "?" + text[place + 1 :]
    with pytest.raises(ValueError, match=rf"text\[{place}\] is '\?'"):
        CharVocabulary("ab").encode(text)


def test_a_long_text_is_encoded_as_its_parts():
    text = "".join(map(chr, np.random.default_rng(0).integers(60, 99, 200_000)))
    vocabulary = CharVocabulary.from_text(text)
    parts = [vocabulary.encode(text[k : k + 1000]) for k in range(0, len(text), 1000)]
    np.testing.assert_array_equal(vocabulary.encode(text), np.concatenate(parts))
    assert vocabulary.symbols == tuple(sorted(set(text)))


def test_surrogates_are_characters():
    text = "a\ud800b"
    assert CharVocabulary.from_text(text).symbols == ("a", "b", "\ud800")


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "folder"])
def test_a_text_that_is_no_file_is_refused_in_one_line(tmp_path, capsys, kind):
    text = kind if kind == "/dev/zero" else str(tmp_path / kind)
    if kind == "pipe":
        os.mkfifo(text)
    elif kind == "folder":
        os.mkdir(text)
    out = tmp_path / "model"
    assert main(["train", text, "-o", str(out)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert text in line
    assert not out.exists()
