"""Character ids in small dtypes, and texts read in parts."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fastcell.cli import main
from fastcell.data import CharVocabulary, TextStreams


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
