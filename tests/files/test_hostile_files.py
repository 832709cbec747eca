"""Foreign and hostile files: one error that names the file, and no harm."""

from __future__ import annotations

import errno
import json
import os
import struct

import numpy as np
import pytest

from fastcell.serialize import load, read_arrays, save, write_arrays


def file_of(header, data=b"", length=None):
    """Return the bytes of a file; a header that is no bytes is encoded as JSON."""
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def raw(text):
    return text.replace("ENTRY", json.dumps(entry())).encode()


# Content of the file, and what the error must say of it.
HOSTILE = {
    "empty": (b"", "at least 8 bytes; got 0"),
    "a few bytes": (b"1234567", "at least 8 bytes; got 7"),
    "no header": (struct.pack("<Q", 0), "header is not valid"),
    "text": (b"To be, or not to be: that is the question", "header has"),
    "length past the end": (file_of(b"{}", length=3), "header has 3 bytes.*10"),
    "length of 2^63": (file_of(b"{}", length=2**63), "header has 9223372036854775808"),
    "length of 2^64 - 1": (file_of(b"{}", length=2**64 - 1), "1844674407370955161"),
    "length within the header": (file_of({"a": entry()}, b"1234", 9), "header"),
    "header not UTF-8": (file_of(b'{"\xff": 1}'), "header.*utf-8"),
    "header not JSON": (file_of(b"{nonsense}"), "header is not valid"),
    "header of NaN": (file_of(b'{"a": NaN}'), "NaN"),
    "header cut off": (file_of(b'{"a": {"dtype": "F32"'), "header is not valid"),
    "header with a rest": (file_of(b"{}\0\0"), "header is not valid"),
    "header a list": (file_of([]), "JSON object"),
    "header a number": (file_of(b"7"), "JSON object"),
    "header too deep": (file_of(b'{"a":' + b"[" * 10**6), "header is nested too"),
    "digits without end": (
        file_of(b'{"a": ' + b"9" * 10**5 + b"}"),
        "header is not valid",
    ),
    "data missing": (file_of({"a": entry()}, b"12"), "4 bytes of data, but 2 follow"),
    "data left over": (file_of({}, b"1234"), "0 bytes of data, but 4 follow"),
    "offsets past the end": (
        file_of({"a": entry(offsets=(0, 2**60))}, b"1234"),
        "1152921504606846976 bytes of data, but 4",
    ),
    "offsets beyond 64 bits": (file_of({"a": entry(offsets=(0, 2**70))}), "data"),
    "offsets that overlap": (
        file_of({"a": entry(), "b": entry(shape=(2,), offsets=(0, 8))}, b"12345678"),
        "offset",
    ),
    "offsets with a hole": (
        file_of({"a": entry(), "b": entry(offsets=(8, 12))}, b"123456789012"),
        "offset",
    ),
    "offsets with a hole at the start": (
        file_of({"a": entry(offsets=(4, 8))}, b"12345678"),
        "offset",
    ),
    "offsets backwards": (
        file_of({"a": entry(offsets=(4, 0)), "b": entry()}, b"1234"),
        "offset",
    ),
    "offset negative": (file_of({"a": entry(offsets=(-4, 0))}), "-4"),
    "offset a float": (file_of({"a": entry(offsets=(0, 4.0))}, b"1234"), "no offsets"),
    "one offset": (file_of({"a": entry(offsets=(4,))}, b"1234"), "no offsets"),
    "three offsets": (file_of({"a": entry(offsets=(0, 4, 4))}, b"1234"), "no offsets"),
    "no offsets": (file_of({"a": {"dtype": "F32", "shape": []}}), "'a' has no offsets"),
    "entry a list": (file_of({"a": ["F32", [1], [0, 4]]}, b"1234"), "no offsets"),
    "entry null": (file_of({"a": None}), "no offsets"),
    "no shape": (
        file_of({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"1234"),
        "shape",
    ),
    "shape for fewer bytes": (file_of({"a": entry(shape=(2,))}, b"1234"), "shape"),
    "shape that overflows": (
        file_of({"a": entry(shape=(2**40, 2**40))}, b"1234"),
        "overflow",
    ),
    "shape that overflows to what fits": (
        file_of({"a": entry(shape=(2**62 + 1,))}, b"1234"),
        "overflow",
    ),
    "shape that overflows before a zero": (
        file_of({"a": entry(shape=(2**40, 2**40, 0), offsets=(0, 0))}),
        "overflow",
    ),
    "shape of nothing too large": (
        file_of({"a": entry(shape=(0, 2**63), offsets=(0, 0))}),
        "'a' has a shape that NumPy does not have",
    ),
    "shape of 65 dimensions": (
        file_of({"a": entry(shape=(1,) * 65)}, b"1234"),
        "'a' has a shape that NumPy does not have",
    ),
    "shape negative": (file_of({"a": entry(shape=(-1,))}, b"1234"), "-1"),
    "shape a float": (file_of({"a": entry(shape=(1.0,))}, b"1234"), "floating point"),
    "dtype unknown": (file_of({"a": entry("Q7")}, b"1234"), "Q7"),
    "dtype that NumPy lacks": (
        file_of({"a": entry("BF16", (2,))}, b"1234"),
        "'a' has the dtype BF16",
    ),
    "dtype a number": (file_of({"a": entry(7)}, b"1234"), "7"),
    "bool of 2": (file_of({"a": entry("BOOL", (4,))}, b"\0\1\2\0"), "not 0 or 1"),
    "array twice": (
        file_of(raw('{"a": ENTRY, "a": ENTRY}'), b"1234"),
        "key 'a' stands there twice",
    ),
    "array twice, once escaped": (
        file_of(raw('{"a": ENTRY, "\\u0061": ENTRY}'), b"1234"),
        "key 'a' stands there twice",
    ),
    "array of a long name twice": (
        file_of(raw('{"a": ENTRY, "a": ENTRY}'.replace("a", "a" * 10_000)), b"1234"),
        "stands there twice",
    ),
    "dtype twice": (
        file_of(raw('{"a": {"dtype": "F32", "dtype": "I32"}}')),
        "key 'dtype' stands there twice",
    ),
    "metadata twice": (
        file_of(raw('{"__metadata__": {}, "__metadata__": {}}')),
        "key '__metadata__' stands there twice",
    ),
    "metadata key twice": (
        file_of(raw('{"__metadata__": {"k": "1", "k": "2"}}')),
        "key 'k' stands there twice",
    ),
    "metadata a list": (file_of({"__metadata__": []}), "header"),
    "metadata of numbers": (file_of({"__metadata__": {"k": 1}}), "string"),
    "lone surrogate": (file_of(raw('{"\\ud800": ENTRY}'), b"1234"), "header"),
}


class TestHostileFiles:
    @pytest.mark.parametrize("reader", [read_arrays, load])
    @pytest.mark.parametrize("case", HOSTILE)
    def test_one_error_that_names_file_and_thing(self, path, reader, case):
        content, message = HOSTILE[case]
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            reader(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert len(str(caught.value)) < 1000

    def test_truncation_at_every_byte(self, path, fake):
        save(fake, path)
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            for reader in (read_arrays, load):
                with pytest.raises(ValueError, match=r"file\.safetensors: "):
                    reader(path)

    @pytest.mark.parametrize("num_flips", [1, 4])
    def test_random_changes_give_a_model_or_one_error(self, path, fake, num_flips):
        save(fake, path)
        content = path.read_bytes()
        rng = np.random.default_rng(num_flips)
        outcomes = {"model": 0, "error": 0}
        for _ in range(300):
            changed = bytearray(content)
            for position in rng.integers(len(content), size=num_flips):
                changed[position] = rng.integers(256)
            path.write_bytes(changed)
            for reader in (read_arrays, load):
                try:
                    reader(path)
                except ValueError as error:
                    assert str(error).startswith(f"{path}: ")
                    outcomes["error"] += 1
                else:
                    outcomes["model"] += 1
        assert outcomes["error"] > 100
        assert outcomes["model"] > 0

    def test_random_headers_give_arrays_or_one_error(self, path):
        # Built of the right words in the wrong places: deeper than flipped bytes go.
        rng = np.random.default_rng(0)
        words = [
            *("{", "}", "[", "]", ",", ":", "null", "true", "-1", "1e9", "4", "0", "1"),
            *('"a"', '"F32"', '"BOOL"', '"dtype"', '"shape"', '"data_offsets"'),
            *(
                '"__metadata__"',
                '"fastcell"',
                str(2**64),
                "[0, 4]",
                json.dumps(entry()),
            ),
        ]
        start = json.dumps({"a": entry(), "__metadata__": {"fastcell": "{}"}})
        pieces = start.replace(",", " , ").replace(":", " : ").split()
        for _ in range(300):
            changed = list(pieces)
            for _ in range(rng.integers(1, 4)):
                changed[rng.integers(len(changed))] = words[rng.integers(len(words))]
            path.write_bytes(file_of(" ".join(changed).encode(), b"1234"))
            for reader in (read_arrays, load):
                try:
                    reader(path)
                except ValueError as error:
                    assert str(error).startswith(f"{path}: ")

    @pytest.mark.parametrize("reader", [read_arrays, load])
    def test_large_file_of_another_kind_is_not_read(self, path, reader, monkeypatch):
        with open(path, "wb") as file:
            file.write(file_of({"a": entry()}))
            file.truncate(2**33)  # sparse: it takes no space
        sizes = []

        class Watched:
            def __init__(self, *arguments):
                self.file = open(*arguments)  # noqa: SIM115

            def __enter__(self):
                return self

            def __exit__(self, *error):
                self.file.close()

            def fileno(self):
                return self.file.fileno()

            def read(self, size=-1):
                assert size >= 0, "the whole file would be read"
                sizes.append(size)
                return self.file.read(size)

        monkeypatch.setattr("fastcell._checks.array_files.open", Watched, raising=False)
        with pytest.raises(ValueError, match="4 bytes of data"):
            reader(path)
        assert sum(sizes) < 1000

    @pytest.mark.parametrize("reader", [read_arrays, load])
    def test_missing_file(self, path, reader):
        with pytest.raises(FileNotFoundError) as caught:
            reader(path)
        assert caught.value.filename == str(path)

    @pytest.mark.parametrize("reader", [read_arrays, load])
    def test_folder(self, tmp_path, reader):
        with pytest.raises(IsADirectoryError) as caught:
            reader(tmp_path)
        assert caught.value.filename == str(tmp_path)

    @pytest.mark.parametrize("reader", [read_arrays, load])
    def test_pipe_and_device_do_not_hang(self, path, reader):
        os.mkfifo(path)
        with pytest.raises(OSError, match=r"Not a regular file.*file\.safetensors"):
            reader(path)
        with pytest.raises(OSError, match=r"Not a regular file.*/dev/zero"):
            reader("/dev/zero")

    @pytest.mark.parametrize("reader", [read_arrays, load])
    def test_file_without_permission_is_named(self, path, reader, monkeypatch):
        # The superuser may read everything, so the refusal is made here.
        path.write_bytes(b"")

        def refuse(*arguments):
            raise PermissionError(errno.EACCES, "Permission denied", "elsewhere")

        monkeypatch.setattr("fastcell._checks.array_files.open", refuse, raising=False)
        with pytest.raises(PermissionError) as caught:
            reader(path)
        assert caught.value.filename == str(path)

    @pytest.mark.parametrize("make", [str, os.fsencode])
    def test_any_kind_of_path(self, path, make):
        write_arrays(make(path), {"x": np.ones(1)})
        assert read_arrays(make(path))[0]["x"] == 1
        path.write_bytes(b"")
        with pytest.raises(ValueError, match=f"^{path}: "):
            read_arrays(make(path))
