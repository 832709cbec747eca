"""Token files: texts larger than memory, read, counted and streamed in parts."""

from __future__ import annotations

import bz2
import gzip
import lzma

import numpy as np
import pytest
from oracle import same_bits

from fastcell.data import (
    CharVocabulary,
    TextStreams,
    TokenFile,
    WordVocabulary,
    encode_file,
    iter_text,
    iter_words,
    read_text,
    split_text,
    streams,
    write_tokens,
)
from fastcell.models import LanguageModel
from fastcell.optim import Adam
from fastcell.train import Trainer

TEXT = "Žluťoučký kůň,\r\n úpěl\r ďábelské\n\n ódy 漢字😀 end"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


@pytest.fixture
def ids():
    return np.random.default_rng(0).integers(0, 300, 1003).astype(np.int32)


@pytest.fixture
def tokens(tmp_path, ids):
    return write_tokens(tmp_path / "ids.npy", np.split(ids, [5, 5, 700]), 300)


# ------------------------------------------------------------------ text in parts


@pytest.mark.parametrize("size", [4, 5, 7, 16, 1 << 20])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_parts_are_the_text(tmp_path, size, mark):
    path = tmp_path / "text"
    path.write_bytes(mark + TEXT.encode())
    parts = list(iter_text(path, size))
    assert "".join(parts) == TEXT.replace("\r\n", "\n").replace("\r", "\n")
    assert all(parts)
    assert len(parts) == 1 or max(map(len, parts)) <= size + 1


@pytest.mark.parametrize("module", [bz2, gzip, lzma])
def test_compressed_text_is_read(tmp_path, module):
    path = tmp_path / f"text{ {bz2: '.bz2', gzip: '.gz', lzma: '.xz'}[module] }"
    path.write_bytes(module.compress(b"to be\r\nor not"))
    assert read_text(path) == "to be\nor not"
    assert "".join(iter_text(path, 4)) == "to be\nor not"


@pytest.mark.parametrize("module", [bz2, gzip, lzma])
@pytest.mark.parametrize("damage", ["cut", "other", "flipped"])
def test_damaged_compressed_text_is_named(tmp_path, module, damage):
    name = f"text{ {bz2: '.bz2', gzip: '.gz', lzma: '.xz'}[module] }"
    content = bytearray(module.compress(bytes(range(128)) * 9))
    if damage == "cut":
        content = content[:-9]
    elif damage == "other":
        content = b"plain text"
    else:
        content[len(content) // 2] ^= 0xFF
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: must be a \.\w+ file"):
        read_text(tmp_path / name)


@pytest.mark.parametrize("size", [4, 6, 1 << 20])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0123456789\xff", "byte 10 is 0xff"),
        (b"0123456\xe6\xbc", "byte 7 is 0xe6"),
        (b"\xef\xbb\xbf012\xc3\xc3", "byte 6 is 0xc3"),
    ],
)
def test_the_byte_that_is_not_utf8_is_named(tmp_path, size, content, message):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"UTF-8; {message}"):
        list(iter_text(path, size))


def test_an_empty_file_is_named_in_parts_too(tmp_path):
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(ValueError, match=r"empty\.gz: the file is empty"):
        list(iter_text(tmp_path / "empty.gz"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", [None, "<eos>"])
def test_words_do_not_depend_on_where_the_text_is_cut(size, end):
    whole = f"{TEXT}\n  x \u2003y\x1cz\n"
    parts = [whole[i : i + size] for i in range(0, len(whole), size)]
    found = [word for part in iter_words(parts, end) for word in part]
    expected = whole if end is None else whole.replace("\n", f" {end} ")
    assert found == expected.split()


def test_characters_are_counted_in_parts(text):
    expected = CharVocabulary.from_text(read_text(text))
    assert CharVocabulary.from_texts(iter_text(text, 4)) == expected


def test_bad_parts_are_named():
    with pytest.raises(ValueError, match="texts must hold at least one character"):
        CharVocabulary.from_texts(["", ""])
    with pytest.raises(TypeError, match="texts must be an iterable"):
        CharVocabulary.from_texts("text")
    with pytest.raises(TypeError, match=r"texts\[1\]"):
        CharVocabulary.from_texts(["a", b"b"])
    with pytest.raises(TypeError, match=r"texts\[0\]"):
        list(iter_words([1]))


# ---------------------------------------------------------------- ids in files


def test_ids_are_those_written(tokens, ids):
    assert len(tokens) == 1003
    assert tokens.dtype == np.uint16
    assert (np.asarray(tokens) == ids).all()
    assert np.asarray(tokens, np.int64).dtype == np.int64
    assert (np.load(tokens.path, mmap_mode="r") == ids).all()
    assert (np.asarray(TokenFile(tokens.path)) == ids).all()


@pytest.mark.parametrize(
    ("vocab_size", "dtype"),
    [
        (256, np.uint8),
        (257, np.uint16),
        (1 << 16, np.uint16),
        ((1 << 16) + 1, np.int32),
        ((1 << 31) + 1, np.int64),
    ],
)
def test_ids_take_as_few_bytes_as_they_can(path, vocab_size, dtype):
    tokens = write_tokens(path, [[0, vocab_size - 1]], vocab_size)
    assert tokens.dtype == dtype
    assert np.asarray(tokens).tolist() == [0, vocab_size - 1]


def test_parts_of_a_file_are_those_of_an_array(tokens, ids):
    for part in (slice(3, 9), slice(-4, None), slice(9, 3), slice(None)):
        assert (np.asarray(tokens[part]) == ids[part]).all()
        assert (np.asarray(tokens[2:900][part]) == ids[2:900][part]).all()
    shares = (0.7, 0.2, 0.1)
    for mine, theirs in zip(
        split_text(tokens, shares), split_text(ids, shares), strict=True
    ):
        assert isinstance(mine, TokenFile)
        assert (np.asarray(mine) == theirs).all()


@pytest.mark.parametrize("by", ["char", "word"])
def test_an_encoded_file_holds_the_ids_of_the_text(text, tmp_path, by):
    content = read_text(text)
    if by == "char":
        vocabulary, end = CharVocabulary.from_text(content), None
        expected = vocabulary.encode(content)
    else:
        end = "<eos>"
        words = content.replace("\n", " <eos> ").split()
        vocabulary = WordVocabulary(iter_words(iter_text(text), end), max_size=5)
        expected = vocabulary.encode(words)
    tokens = encode_file(text, tmp_path / "ids", vocabulary, end)
    assert tokens.dtype == np.uint8
    assert (np.asarray(tokens) == expected).all()


def test_an_unknown_character_leaves_no_file(text, tmp_path):
    with pytest.raises(ValueError, match="not among the 3 symbols"):
        encode_file(text, tmp_path / "ids", CharVocabulary("abc"))
    assert [p.name for p in tmp_path.iterdir()] == ["text.txt"]


def test_an_error_of_the_text_names_the_text(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        encode_file(tmp_path / "none.txt", tmp_path / "ids", CharVocabulary("abc"))
    assert not list(tmp_path.iterdir())


def test_characters_have_no_end_of_line(text, tmp_path):
    with pytest.raises(ValueError, match="end_of_line"):
        encode_file(text, tmp_path / "ids", CharVocabulary(sorted(set(TEXT))), "<eos>")


@pytest.mark.parametrize(
    ("parts", "kind", "message"),
    [
        ([[1], [300]], ValueError, r"parts\[1\] must be ids from 0 to 299"),
        ([[-1]], ValueError, r"parts\[0\] must be ids"),
        ([[0.5]], TypeError, r"parts\[0\] must be integers"),
        ([[[1]]], ValueError, r"parts\[0\] must have one dimension"),
    ],
)
def test_bad_parts_of_ids_are_named(path, parts, kind, message):
    with pytest.raises(kind, match=message):
        write_tokens(path, parts, 300)
    assert not path.exists()


def test_files_that_hold_no_ids_are_named(path):
    with pytest.raises(FileNotFoundError, match=path.name):
        TokenFile(path)
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match=rf"{path.name}: must be a \.npy file"):
        TokenFile(path)
    for array in (np.zeros(3), np.zeros((2, 2), int)):
        with open(path, "wb") as file:
            np.save(file, array)
        with pytest.raises(ValueError, match=f"{path.name}: must hold integers in one"):
            TokenFile(path)


def test_a_file_cut_short_is_named(tokens):
    with open(tokens.path, "r+b") as file:
        file.truncate(128 + 2 * 1000)
    with pytest.raises(
        ValueError, match="must hold 1,003 ids, as its header says; got 1,000"
    ):
        TokenFile(tokens.path)
    with pytest.raises(ValueError, match="is shorter than when it was opened"):
        np.asarray(tokens)


def test_bad_places_in_a_file_are_named(tokens):
    with pytest.raises(TypeError, match="part must be a slice; got 3"):
        tokens[3]
    with pytest.raises(ValueError, match="part must have the step 1; got 2"):
        tokens[::2]
    with pytest.raises(ValueError, match="starts must leave 4 ids"):
        tokens.columns([0, 1000], 4)


# ---------------------------------------------------------------------- windows


def on_disk(tokens, kind):
    return tokens if kind == "file" else np.load(tokens.path, mmap_mode="r")


@pytest.mark.parametrize("kind", ["file", "memmap"])
@pytest.mark.parametrize("block", [1, 100, 1 << 18])
@pytest.mark.parametrize(
    ("batch_size", "seq_len"), [(1, 7), (4, 7), (5, 40), (334, 3), (3, 1000)]
)
def test_windows_from_the_disk_are_those_of_the_array(
    tokens, ids, monkeypatch, kind, block, batch_size, seq_len
):
    monkeypatch.setattr(streams, "_BLOCK", block)
    expected = TextStreams(ids, batch_size, seq_len)
    got = TextStreams(on_disk(tokens, kind), batch_size, seq_len)
    assert (len(got), got.num_steps) == (len(expected), expected.num_steps)
    places = [*range(len(got)), -1, 0, len(got) // 2]
    for mine, theirs in zip(
        (got[i] for i in places), (expected[i] for i in places), strict=True
    ):
        for a, b in zip(mine, theirs, strict=True):
            assert same_bits(a, b)
            assert not a.flags.writeable
    with pytest.raises(IndexError):
        got[len(got)]


def test_windows_outlive_their_block(tokens, ids, monkeypatch):
    monkeypatch.setattr(streams, "_BLOCK", 1)
    windows = list(TextStreams(tokens, 4, 7))
    for mine, theirs in zip(windows, TextStreams(ids, 4, 7), strict=True):
        assert (mine[0] == theirs[0]).all()


@pytest.mark.parametrize("kind", ["file", "memmap"])
def test_bad_tokens_on_the_disk_are_named(tmp_path, tokens, kind):
    with pytest.raises(ValueError, match="at least batch_size \\+ 1 = 1004; got 1003"):
        TextStreams(on_disk(tokens, kind), 1003, 1)
    np.save(tmp_path / "negative.npy", np.array([1, 2, -3, 4, 5]))
    negative = TextStreams(on_disk(TokenFile(tmp_path / "negative.npy"), kind), 1, 2)
    with pytest.raises(ValueError, match=r"tokens must be ids .*got -3"):
        list(negative)


def test_a_map_of_floats_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(9))
    with pytest.raises(TypeError, match="tokens must be integers; got float64"):
        TextStreams(np.load(tmp_path / "x.npy", mmap_mode="r"), 1, 2)


def test_a_run_from_the_disk_is_resumed_bit_by_bit(tokens, ids, tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_BLOCK", 64)

    def trainer():
        model = LanguageModel(300, 6, 7, dropout=0.2, seed=0)
        return Trainer(model, Adam(model.params, lr=0.01), progress=False)

    whole, first = trainer(), trainer()
    whole.fit(TextStreams(ids, 5, 9), steps=40)  # in memory
    first.fit(TextStreams(tokens, 5, 9), steps=13, checkpoint=tmp_path / "run")
    second = trainer().resume(tmp_path / "run")
    second.fit(TextStreams(tokens, 5, 9), steps=40)
    expected = whole.model.state_dict()
    for name, array in second.model.state_dict().items():
        assert same_bits(array, expected[name]), name


# ----------------------------------------------------------------------- memory

LARGE = """
import os, sys
import numpy as np
from fastcell.data import CharVocabulary, TextStreams, encode_file, iter_text
from fastcell.models import LanguageModel
from fastcell.optim import SGD
from fastcell.train import Trainer

folder = sys.argv[1]
text, ids = os.path.join(folder, "text"), os.path.join(folder, "ids")
line = b"The quick brown fox jumps over the lazy dog; and the moon looks on.\\n"
line = line * (2**20 // len(line))
with open(text, "wb") as file:
    for _ in range(100):
        file.write(line)
size = 100 * len(line)
before = peak()
vocabulary = CharVocabulary.from_texts(iter_text(text))
tokens = encode_file(text, ids, vocabulary)
assert len(tokens) == size
model = LanguageModel(len(vocabulary), 4, 8, seed=0)
trainer = Trainer(model, SGD(model.params, lr=0.1), progress=False)
streams = TextStreams(tokens[: size * 9 // 10], 64, 256)
trainer.fit(streams, steps=20)
characters = sum(inputs.size for inputs, _ in streams)
assert characters == streams.num_steps * 64
print(size / 2**20, before, peak())
"""


def test_a_text_of_100_megabytes_takes_few_of_memory(tmp_path, run_python_with_peak):
    program = f"import sys; sys.argv[1:] = [{str(tmp_path)!r}]\n{LARGE}"
    done = run_python_with_peak(program, FASTCELL_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    size, before, after = map(float, done.stdout.split())
    assert size > 99
    assert after - before < size / 3
