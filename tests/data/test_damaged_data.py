"""Damaged, truncated and malicious data files: one-line errors that name the file."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import struct
import warnings

import numpy as np
import pytest
from scipy.io import wavfile

from fastcell.data import (
    CharVocabulary,
    TextStreams,
    TokenFile,
    WordVocabulary,
    encode_file,
    iter_csv_sequences,
    read_csv_sequences,
    read_npz,
    read_text,
    read_wav,
    write_tokens,
)

SOUND = np.random.default_rng(0).integers(-(2**15), 2**15, 24).astype(np.int16)


def wav(samples=SOUND, rate=8000):
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def npz(save=np.savez):
    file = io.BytesIO()
    save(file, x=np.arange(6.0).reshape(2, 3), y=np.arange(3))
    return file.getvalue()


def npy(header, content=b"\0" * 64):
    header = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def tokens(path):
    found = TokenFile(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.asarray(found)
    if len(found) > 2:
        list(TextStreams(found, 2, 3))
    return found


def table(path):
    return read_csv_sequences(path, "id", ["x", "y"], "label", missing="skip")


TEXT = "To be, or not to be:\r\nthat is the question – whether 'tis nobler\n" * 3
TABLE = 'id,x,y,label\na,1,2.5,up\na,2,-1e3,up\n"b, c",3,NA,down\nd,5,7,down\n'
IDS = "{'descr': '|u1', 'fortran_order': False, 'shape': (40,), }"

# How a file is read, what its name ends in, and a small one that can be.
READERS = {
    "wav": (read_wav, ".wav", wav()),
    "wav, float": (read_wav, ".wav", wav(SOUND.reshape(-1, 2) / np.float32(2**15))),
    "npz": (lambda p: read_npz(p, "x", "y"), ".npz", npz()),
    "npz, packed": (
        lambda p: read_npz(p, "x", "y"),
        ".npz",
        npz(np.savez_compressed),
    ),
    "npy": (tokens, ".npy", npy(IDS, bytes(40))),
    "csv": (table, ".csv", TABLE.encode()),
    "csv, one by one": (
        lambda p: list(iter_csv_sequences(p, "id", "x", "label")),
        ".csv",
        TABLE.replace("NA", "0").encode(),
    ),
    "text": (read_text, ".txt", TEXT.encode()),
    "gz": (read_text, ".gz", gzip.compress(TEXT.encode(), mtime=0)),
    "bz2": (read_text, ".bz2", bz2.compress(TEXT.encode())),
    "xz": (read_text, ".xz", lzma.compress(TEXT.encode())),
}


@pytest.fixture
def damaged(tmp_path):
    def check(name, content):
        """Read it; tell whether it was refused, in one line with its name."""
        reader, ending, _ = READERS[name]
        path = tmp_path / f"damaged{ending}"
        path.write_bytes(content)
        try:
            reader(path)
        except (ValueError, OSError) as error:
            text = str(error)
            assert str(path) in text, text
            assert len(text.splitlines()) == 1
            assert len(text) < 1000
            return True
        return False

    return check


@pytest.mark.filterwarnings("ignore")  # of NumPy, about headers
@pytest.mark.parametrize("name", READERS)
class TestDamage:
    def test_what_is_whole_is_read(self, damaged, name):
        assert not damaged(name, READERS[name][2])

    def test_cut_short_at_every_byte(self, damaged, name):
        content = READERS[name][2]
        refused = [damaged(name, content[:size]) for size in range(len(content))]
        # A shorter text is a text, and a table without its last row a table.
        assert all(refused) or name in ("text", "csv", "csv, one by one")
        assert refused[0]

    @pytest.mark.parametrize("changes", [1, 4])
    def test_changed_bytes(self, damaged, name, changes):
        content = READERS[name][2]
        random = np.random.default_rng(changes)
        refused = 0
        for _ in range(150):
            changed = bytearray(content)
            for place in random.integers(len(content), size=changes):
                changed[place] = random.integers(256)
            refused += damaged(name, changed)
        assert refused > 0

    def test_parts_that_are_exchanged_doubled_or_left_out(self, damaged, name):
        content = READERS[name][2]
        random = np.random.default_rng(0)
        for _ in range(100):
            a, b, c, d = sorted(random.integers(len(content) + 1, size=4))
            parts = [content[:a], content[c:d], content[b:c], content[a:b], content[d:]]
            if random.integers(2):
                parts[random.integers(5)] *= 3
            if random.integers(2):
                del parts[random.integers(5)]
            damaged(name, b"".join(parts))

    def test_no_file_a_folder_a_pipe_and_a_device(self, tmp_path, name):
        reader = READERS[name][0]
        with pytest.raises(FileNotFoundError) as caught:
            reader(tmp_path / "none")
        assert caught.value.filename == str(tmp_path / "none")
        with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
            reader(tmp_path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match=r"Not a regular file.*pipe"):
            reader(tmp_path / "pipe")
        with pytest.raises(OSError, match=r"Not a regular file.*/dev/zero"):
            reader("/dev/zero")

    @pytest.mark.parametrize("junk", [None, 7, [], object(), 2.5])
    def test_what_is_no_path(self, name, junk):
        with pytest.raises(TypeError, match="path must be a path; got"):
            READERS[name][0](junk)

    def test_a_path_with_a_nul(self, name):
        with pytest.raises(ValueError, match="path"):
            READERS[name][0]("a\0b")


HEADERS = {
    "unclosed bracket": (IDS[:-2], "must be a .npy file"),
    "brackets without end": ("(" * 5000, "must be a .npy file"),
    "signs without end": ("-" * 9000 + "1", "must be a .npy file"),
    "key without hash": ("{[]: 1, " + IDS[1:], "unhashable"),
    "no dict": ("7", "must be a .npy file"),
    "nothing": ("", "must be a .npy file"),
    "NUL": ("\0", "must be a .npy file"),
    "not literal": (IDS.replace("40", "10**30"), "must be a .npy file"),
    "negative length": (IDS.replace("40", "-5"), "length of 0 or more; got -5"),
    "length a bool": (IDS.replace("40", "True"), "length of 0 or more; got True"),
    "length a float": (IDS.replace("40", "4.0"), "shape is not valid"),
    "length beyond 64 bits": (IDS.replace("40", str(2**70)), "must hold .* ids"),
    "length past the end": (IDS.replace("40", "65"), "must hold 65 ids.* got 64"),
    "two dimensions": (IDS.replace("(40,)", "(4, 10)"), "one dimension"),
    "no dimension": (IDS.replace("(40,)", "()"), "one dimension"),
    "order a number": (IDS.replace("False", "3"), "fortran_order is not a valid bool"),
    "floats": (IDS.replace("|u1", "<f4"), "must hold integers.*float32"),
    "objects": (IDS.replace("|u1", "|O"), "must hold integers.*object"),
    "no bytes": (IDS.replace("|u1", "|V0"), "must hold integers"),
    "unknown dtype": (IDS.replace("|u1", "<i0"), "descr is not a valid dtype"),
    "a key too many": (IDS.replace("}", "'more': 1}"), "must be a .npy file"),
    "too long": (IDS.replace(", }", "," + " " * 20000 + "}"), "must be a .npy file"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", HEADERS)
def test_hostile_headers_of_token_files(tmp_path, case):
    header, message = HEADERS[case]
    path = tmp_path / "ids.npy"
    path.write_bytes(npy(header))
    with pytest.raises(ValueError, match=message) as caught:
        TokenFile(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def format_of(tag=1, channels=1, rate=8000, block=2, bits=16, more=b""):
    content = struct.pack("<HHIIHH", tag, channels, rate, 16000, block, bits) + more
    return b"fmt " + struct.pack("<I", len(content)) + content


def sound_of(*parts, data=b"\1\0" * 8, size=None, riff=b"RIFF"):
    size = len(data) if size is None else size
    parts = b"".join(parts) + b"data" + struct.pack("<I", size) + data
    return riff + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts


WAVS = {
    "empty": (b"", "must begin with RIFF"),
    "of another kind": (sound_of(format_of()).replace(b"WAVE", b"AVI "), "WAVE"),
    "nothing more": (sound_of()[:12], "neither format nor samples"),
    "no format": (sound_of(), "format must come before the samples"),
    "no samples": (sound_of(format_of())[:36], "cut short: it holds no samples"),
    "size 0": (sound_of(format_of(), size=0), "must hold samples"),
    "size past the end": (sound_of(format_of(), size=17), "17 bytes.*got 16"),
    "half a sample": (sound_of(format_of(), size=15), "2 bytes each; got 15"),
    "rate 0": (sound_of(format_of(rate=0)), "at least 1; got 0"),
    "channels 0": (sound_of(format_of(channels=0)), "channels.*got 0"),
    "block 0": (sound_of(format_of(block=0)), "got 0 bytes in all"),
    "block of 8 bytes": (sound_of(format_of(block=8, bits=64)), "got 8 bytes"),
    "block of no channel's size": (sound_of(format_of(channels=3)), "got 2 bytes"),
    "bits 0": (sound_of(format_of(bits=0)), "bits.*got 0"),
    "bits too many": (sound_of(format_of(bits=17)), "bits.*got 17"),
    "mu-law": (sound_of(format_of(7, block=1, bits=8)), "format 7"),
    "float of 16 bits": (sound_of(format_of(3)), "4 or 8 of a float"),
    "format too short": (sound_of(b"fmt \4\0\0\0\1\0\1\0"), "16 bytes; got 4"),
    "part past the end": (sound_of(b"LIST\xff\xff\0\0"), "part b'LIST'.*65,535"),
    "part without a name": (sound_of(b"\0" * 8, format_of()), "names of letters"),
    "not a number": (
        sound_of(format_of(3, block=4, bits=32), data=struct.pack("<f", np.nan)),
        "finite",
    ),
}


@pytest.mark.parametrize("case", WAVS)
def test_hostile_wav_files(tmp_path, case):
    content, message = WAVS[case]
    path = tmp_path / "sound.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_wav(path)
    assert str(caught.value).startswith(f"{path}: ")


EXTENSIBLE = struct.pack("<HHIH14s", 22, 16, 0, 1, b"")
WHOLE_WAVS = {
    "plain": sound_of(format_of()),
    "other parts": sound_of(b"LIST\3\0\0\0abc\0", format_of(), b"fact\4\0\0\0\0\0\0\0"),
    "extensible": sound_of(format_of(0xFFFE, more=EXTENSIBLE)),
    "written to a pipe": sound_of(format_of(), size=0xFFFFFFFF),
    "RF64": sound_of(
        b"ds64" + struct.pack("<IQQQI", 28, 0, 16, 8, 0),
        format_of(),
        size=0xFFFFFFFF,
        riff=b"RF64",
    )
    + b"LIST\0\0\0\0",
    "12 bits": sound_of(format_of(bits=12)),
    "more behind": sound_of(format_of()) + b"LIST\0\0\0\0",
}


@pytest.mark.parametrize("case", WHOLE_WAVS)
def test_ways_to_write_the_same_sound(tmp_path, case):
    path = tmp_path / "sound.wav"
    path.write_bytes(WHOLE_WAVS[case])
    samples, rate = read_wav(path)
    np.testing.assert_array_equal(samples, np.full(8, 2**-15, np.float32))
    assert rate == 8000


def test_24_bits_are_scaled_to_one(tmp_path):
    path = tmp_path / "sound.wav"
    values = [-(2**23), 2**23 - 1, -1, 1, 0, 2**22]
    data = b"".join(v.to_bytes(3, "little", signed=True) for v in values)
    path.write_bytes(sound_of(format_of(block=3, bits=24), data=data))
    samples, _ = read_wav(path)
    np.testing.assert_array_equal(samples, np.float32(values) / np.float32(2**23))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, "f4", "f8", ">i2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sounds_are_those_that_scipy_writes(tmp_path, kind, channels):
    path = tmp_path / "sound.wav"
    written = np.arange(-9, 9).reshape(-1, channels).astype(kind)
    wavfile.write(path, 11025, written)
    samples, rate = read_wav(path)
    rate_there, there = wavfile.read(path)
    mean = there.reshape(-1, channels).mean(axis=1, dtype=np.float64)
    if there.dtype == np.uint8:
        mean = (mean - 128) / 128
    elif there.dtype.kind == "i":
        mean /= -float(np.iinfo(there.dtype).min)
    assert rate == rate_there == 11025
    np.testing.assert_array_equal(samples, mean.astype(np.float32))


def test_arrays_that_are_not_there_are_named(tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(npz())
    with pytest.raises(
        ValueError, match=r"data\.npz: must have the array 'z'; got 'x', 'y'"
    ):
        read_npz(path, "x", "z")
    with open(path, "wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match=r"data\.npz: .*one array without a name"):
        read_npz(path, "x")
    np.savez(path, x=np.array([None, {}], object))
    with pytest.raises(ValueError, match=r"data\.npz: .*allow_pickle"):
        read_npz(path, "x")


@pytest.mark.parametrize("vocabulary", [CharVocabulary("ab"), WordVocabulary(["ab"])])
def test_nothing_is_encoded_over_its_own_text(tmp_path, vocabulary):
    path, link, hard = (tmp_path / name for name in ("text", "link", "hard"))
    path.write_text("ab")
    link.symlink_to(path)
    hard.hardlink_to(path)
    for to in (path, link, hard, tmp_path / "." / "text"):
        with pytest.raises(ValueError, match="they are one file"):
            encode_file(path, to, vocabulary)
        assert path.read_text() == "ab"


def test_tokens_are_not_written_over_what_they_are_read_from(tmp_path):
    path = tmp_path / "ids.npy"
    kept = write_tokens(path, [np.arange(3)], 4)
    write_tokens(path, [np.asarray(kept)[::-1]], 4)
    assert np.asarray(TokenFile(path)).tolist() == [2, 1, 0]
