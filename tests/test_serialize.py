"""Files: what is written is read, nothing is half-written, bad files are refused."""

from __future__ import annotations

import errno
import json
import os
import stat
import struct

import numpy as np
import pytest
import safetensors.numpy

from fastcell import serialize
from fastcell.serialize import load, model_class, read_arrays, save, write_arrays


class FakeModel:
    """The part of a module that `save` and `load` use, with one matrix."""

    def __init__(self, rows, columns=2, note=""):
        self.arguments = {"rows": rows, "columns": columns, "note": note}
        self.weight = np.zeros((rows, columns), np.float32)

    def config(self):
        return dict(self.arguments)

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def state_dict(self):
        return {"weight": self.weight.copy()}

    def load_state_dict(self, state, strict=True):
        if set(state) != {"weight"}:
            raise KeyError(f"names {sorted(state)}")
        if state["weight"].shape != self.weight.shape:
            raise ValueError(f"shape {state['weight'].shape}")
        self.weight[...] = state["weight"]


@pytest.fixture
def fake(monkeypatch):
    """Let files name the class above."""
    monkeypatch.setitem(
        serialize.MODEL_CLASSES, "FakeModel", f"{FakeModel.__module__}:FakeModel"
    )
    model = FakeModel(3, note="žluť")
    model.weight[...] = np.arange(6).reshape(3, 2)
    return model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.safetensors"


DTYPES = [
    bool,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.float16,
    np.float32,
    np.float64,
]


def assert_same(actual, expected):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        array = np.asarray(value)
        assert actual[name].dtype == array.dtype.newbyteorder("=")
        assert actual[name].shape == array.shape
        np.testing.assert_array_equal(actual[name], array)


class TestArrays:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0,), (2, 0, 3)])
    def test_what_is_written_is_read(self, path, dtype, shape):
        array = (10 * np.random.default_rng(0).random(shape)).astype(dtype)
        write_arrays(path, {"x": array, "y": np.ones(3, np.float32)})
        arrays, metadata = read_arrays(path)
        assert_same(arrays, {"x": array, "y": np.ones(3, np.float32)})
        assert metadata == {}

    def test_every_bit_of_a_float_is_kept(self, path):
        bits = np.array([0, 1 << 31, 1, 0x7F800000, 0x7FC00001, 0xFF800001], np.uint32)
        write_arrays(path, {"x": bits.view(np.float32)})
        arrays, _ = read_arrays(path)
        np.testing.assert_array_equal(arrays["x"].view(np.uint32), bits)

    def test_names_and_metadata_of_any_text(self, path):
        texts = ["", "a.b.0", "žluť", "😀", '"\\\n\0', " " * 300, "__metadata"]
        arrays = {text: np.full(2, i) for i, text in enumerate(texts)}
        metadata = {text: text[::-1] for text in texts}
        write_arrays(path, arrays, metadata)
        read, texts_read = read_arrays(path)
        assert_same(read, arrays)
        assert texts_read == metadata

    def test_memory_order_and_byte_order(self, path):
        x = np.arange(12.0).reshape(3, 4)
        arrays = {
            "turned": x.T,
            "every other": x[:, ::2],
            "backwards": x[::-1],
            "big-endian": x.astype(">f8"),
            "broadcast": np.broadcast_to(np.float32(2), (3, 2)),
            "scalar": np.float32(3),
            "list": [1, 2, 3],
        }
        write_arrays(path, arrays)
        assert_same(read_arrays(path)[0], arrays)

    def test_nothing_at_all(self, path):
        write_arrays(path, {})
        assert read_arrays(path) == ({}, {})
        write_arrays(path, {}, {"only": "text"})
        assert read_arrays(path) == ({}, {"only": "text"})

    def test_arrays_read_are_writable_and_apart(self, path):
        write_arrays(path, {"x": np.zeros(3), "y": np.zeros(3), "b": np.ones(1, bool)})
        arrays, _ = read_arrays(path)
        for array in arrays.values():
            array[...] = 1
        again, _ = read_arrays(path)
        assert not again["x"].any()
        assert not np.shares_memory(arrays["x"], arrays["y"])

    def test_same_arrays_give_the_same_bytes(self, path):
        metadata = {str(i): "text" for i in range(20)}
        contents = set()
        for order in (1, -1):
            write_arrays(
                path,
                {name: np.zeros(3) for name in "abc"[::order]},
                dict(list(metadata.items())[::order]),
            )
            contents.add(path.read_bytes())
        assert len(contents) == 1

    def test_data_are_aligned_for_readers_that_map_the_file(self, path):
        for length in range(9):
            write_arrays(path, {"x" * length: np.zeros(3)})
            assert struct.unpack("<Q", path.read_bytes()[:8])[0] % 8 == 0

    def test_safetensors_reads_what_is_written(self, path):
        arrays = {"x": np.arange(6.0).reshape(2, 3), "y": np.ones(2, np.int8)}
        write_arrays(path, arrays, {"key": "value"})
        assert_same(safetensors.numpy.load_file(path), arrays)
        with safetensors.safe_open(path, framework="numpy") as file:
            assert file.metadata() == {"key": "value"}

    def test_what_safetensors_writes_is_read(self, path):
        arrays = {"x": np.arange(6.0).reshape(2, 3), "y": np.ones(2, np.int8)}
        safetensors.numpy.save_file(arrays, path, metadata={"key": "value"})
        read, metadata = read_arrays(path)
        assert_same(read, arrays)
        assert metadata == {"key": "value"}

    @pytest.mark.parametrize(
        "arrays, metadata, error, message",
        [
            ({1: np.zeros(1)}, None, TypeError, "array name.*1"),
            ({"\ud800": np.zeros(1)}, None, ValueError, "array name.*Unicode"),
            ({"__metadata__": np.zeros(1)}, None, ValueError, "'__metadata__'"),
            ({"x": np.zeros(1, complex)}, None, TypeError, "'x'.*complex128"),
            ({"x": np.array([None])}, None, TypeError, "'x'.*object"),
            ({"x": np.array(["text"])}, None, TypeError, "'x'.*<U4"),
            ({"x": np.zeros(1, "M8[s]")}, None, TypeError, "'x'.*datetime64"),
            ({}, {"key": 1}, TypeError, "metadata.'key'.*1"),
            ({}, {1: "text"}, TypeError, "metadata key.*1"),
            ({}, {"key": "\ud800"}, ValueError, "metadata.'key'.*Unicode"),
        ],
    )
    def test_bad_argument_is_named_and_nothing_written(
        self, path, arrays, metadata, error, message
    ):
        with pytest.raises(error, match=message):
            write_arrays(path, arrays, metadata)
        assert list(path.parent.iterdir()) == []

    def test_header_that_no_reader_would_take(self, path, monkeypatch):
        monkeypatch.setattr("fastcell.serialize._MAX_HEADER", 1000)
        with pytest.raises(ValueError, match="must fit into 1000 bytes"):
            write_arrays(path, {}, {"key": 1000 * "x"})
        assert list(path.parent.iterdir()) == []


class TestWriting:
    @pytest.mark.parametrize("call", ["os.replace", "os.fsync", "os.chmod"])
    @pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
    def test_failure_leaves_the_old_file_and_nothing_else(
        self, path, monkeypatch, call, failure
    ):
        write_arrays(path, {"x": np.zeros(3)})
        before = path.read_bytes()

        def fail(*arguments):
            if failure is OSError:
                raise OSError(errno.ENOSPC, "No space left on device", "temporary")
            raise failure

        monkeypatch.setattr(call, fail)
        with pytest.raises(failure) as caught:
            write_arrays(path, {"x": np.ones(3)})
        monkeypatch.undo()
        if failure is OSError:
            assert caught.value.errno == errno.ENOSPC
            assert caught.value.filename == str(path)
        assert list(path.parent.iterdir()) == [path]
        assert path.read_bytes() == before

    def test_failing_write_leaves_nothing(self, path, monkeypatch):
        real_open = open

        class Full:
            """A file on a disk that is full after the first part."""

            def __init__(self, *arguments):
                self.file = real_open(*arguments)

            def __enter__(self):
                return self

            def __exit__(self, *error):
                self.file.close()

            def write(self, part):
                if self.file.tell():
                    raise OSError(errno.ENOSPC, "No space left on device")
                self.file.write(part)

        monkeypatch.setattr("fastcell._files.open", Full, raising=False)
        with pytest.raises(OSError, match=r"No space left.*file\.safetensors"):
            write_arrays(path, {"x": np.zeros(3)})
        assert list(path.parent.iterdir()) == []

    def test_file_is_complete_before_it_has_its_name(self, path, monkeypatch):
        write_arrays(path, {"x": np.zeros(3)})
        before, events = path.read_bytes(), []
        fsync, replace = os.fsync, os.replace

        def watched_fsync(descriptor):
            events.append("fsync")
            fsync(descriptor)

        def watched_replace(source, target):
            events.append("replace")
            assert path.read_bytes() == before
            assert os.path.dirname(source) == os.path.dirname(target)
            assert read_arrays(source)[0]["x"].tolist() == [1, 1, 1]
            replace(source, target)

        monkeypatch.setattr("os.fsync", watched_fsync)
        monkeypatch.setattr("os.replace", watched_replace)
        write_arrays(path, {"x": np.ones(3)})
        assert events == ["fsync", "replace", "fsync"]  # the last one of the folder
        assert list(path.parent.iterdir()) == [path]

    def test_missing_folder_is_named(self, tmp_path):
        path = tmp_path / "none" / "file.safetensors"
        with pytest.raises(FileNotFoundError) as caught:
            write_arrays(path, {})
        assert caught.value.filename == str(path)

    def test_folder_is_left_alone(self, tmp_path):
        with pytest.raises(IsADirectoryError) as caught:
            write_arrays(tmp_path, {})
        assert caught.value.filename == str(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_pipe_is_left_alone(self, path):
        os.mkfifo(path)
        with pytest.raises(OSError, match=r"Not a regular file.*file\.safetensors"):
            write_arrays(path, {})
        assert stat.S_ISFIFO(path.stat().st_mode)

    def test_link_is_followed(self, tmp_path):
        link, target = tmp_path / "link", tmp_path / "target"
        link.symlink_to(target)
        for value in (1, 2):
            write_arrays(link, {"x": np.array([value])})
            assert link.is_symlink()
            assert read_arrays(target)[0]["x"] == value

    def test_permissions(self, path):
        before = os.umask(0o027)
        try:
            write_arrays(path, {})
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
            path.chmod(0o600)
            write_arrays(path, {})
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        finally:
            os.umask(before)

    def test_longest_name_that_a_file_may_have(self, tmp_path):
        for name in ("x" * 255, "ž" * 127):
            write_arrays(tmp_path / name, {"x": np.ones(1)})
            assert read_arrays(tmp_path / name)[0]["x"] == 1


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

        monkeypatch.setattr("fastcell.serialize.open", Watched, raising=False)
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

        monkeypatch.setattr("fastcell.serialize.open", refuse, raising=False)
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


class TestModels:
    def test_what_is_saved_is_loaded(self, path, fake):
        save(fake, path)
        model = load(path)
        assert type(model) is FakeModel
        assert model.config() == fake.config()
        np.testing.assert_array_equal(model.weight, fake.weight)

    def test_metadata_are_as_documented(self, path, fake):
        save(fake, path)
        _, metadata = read_arrays(path)
        assert set(metadata) == {"fastcell"}
        assert json.loads(metadata["fastcell"]) == {
            "format": 1,
            "class": "FakeModel",
            "config": {"rows": 3, "columns": 2, "note": "žluť"},
        }

    def test_every_class_of_the_table_is_one_of_fastcell(self):
        for name, place in serialize.MODEL_CLASSES.items():
            module, _, attribute = place.partition(":")
            assert module.partition(".")[0] == "fastcell"
            assert attribute == name

    @pytest.mark.parametrize("name", ["os:system", "os.system", "", None, 1, [], {}])
    def test_class_that_files_may_not_name(self, path, name):
        with pytest.raises(ValueError, match=r"class must be RNN, .* or LanguageModel"):
            model_class(name)
        description = {"format": 1, "class": name, "config": {}}
        write_arrays(path, {}, {"fastcell": json.dumps(description)})
        with pytest.raises(ValueError, match=r"class must be RNN, .* or LanguageModel"):
            load(path)

    def test_class_that_load_could_not_build(self, path, fake):
        class Other:
            pass

        class FakeModel(type(fake)):
            """A class of the same name that is not the one of the table."""

        for model in (Other(), FakeModel(2), np.zeros(3), None):
            with pytest.raises(TypeError, match=r"model must be a RNN.*got"):
                save(model, path)
        assert list(path.parent.iterdir()) == []

    @pytest.mark.parametrize(
        "metadata, message",
        [
            ({}, "no model of fastcell.*read_arrays"),
            ({"format": "pt"}, "no model of fastcell.*read_arrays"),
            ({"fastcell": ""}, "metadata 'fastcell' is not valid"),
            ({"fastcell": "{"}, "metadata 'fastcell' is not valid"),
            ({"fastcell": "[" * 10**6}, "metadata 'fastcell' is nested too deeply"),
            ({"fastcell": "[]"}, "no JSON object"),
            ({"fastcell": "7"}, "no JSON object"),
            ({"fastcell": '{"format": 1, "format": 1}'}, "'format' stands there twice"),
            ({"fastcell": '{"format": NaN}'}, "NaN"),
            ({"fastcell": "{}"}, "format must be 1; got None"),
            ({"fastcell": '{"format": 2}'}, "got 2 of a later fastcell"),
            ({"fastcell": '{"format": "1"}'}, "format must be 1; got '1'"),
            ({"fastcell": '{"format": true}'}, "format must be 1; got True"),
            ({"fastcell": '{"format": 1}'}, "class must be RNN.*got None"),
        ],
    )
    def test_bad_metadata_are_named(self, path, metadata, message):
        write_arrays(path, {}, metadata)
        with pytest.raises(ValueError, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")

    @pytest.mark.parametrize(
        "config, message",
        [
            (None, "config must be a JSON object"),
            ([3], "config must be a JSON object"),
            ("rows", "config must be a JSON object"),
            ({}, "no FakeModel can be made of the config"),
            ({"rows": 3, "surprise": 1}, "surprise"),
            ({"rows": "3"}, "no FakeModel can be made of the config"),
            ({"rows": -3}, "no FakeModel can be made of the config"),
            ({"rows": 2**70}, "no FakeModel can be made of the config"),
            ({"rows": 2**60}, "no FakeModel can be made of the config"),
            ({"rows": 1e999}, "config|valid"),
            ({"rows": 4}, "arrays do not fit the FakeModel.*shape"),
        ],
    )
    def test_bad_config_is_named(self, path, fake, config, message):
        description = {"format": 1, "class": "FakeModel", "config": config}
        write_arrays(path, fake.state_dict(), {"fastcell": json.dumps(description)})
        with pytest.raises(ValueError, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")

    def test_error_is_short_however_long_the_file_is(self, path):
        for part in ({"class": "x" * 10_000}, {"format": list(range(10_000))}):
            description = {"format": 1, "class": "LSTM", "config": {}, **part}
            write_arrays(path, {}, {"fastcell": json.dumps(description)})
            with pytest.raises(ValueError, match=r"\.\.\.") as caught:
                load(path)
            assert len(str(caught.value)) < 1000

    def test_deep_config_is_named(self, path, fake):
        # As deep as the parser goes, which is deeper than some other functions go.
        for depth in (100, 500, 900, 950, 980, 990, 1000, 5000):
            config = '{"rows": ' + "[" * depth + "]" * depth + "}"
            description = f'{{"format": 1, "class": "FakeModel", "config": {config}}}'
            write_arrays(path, fake.state_dict(), {"fastcell": description})
            with pytest.raises(ValueError, match=r"config|nested too deeply"):
                load(path)

    def test_arrays_of_other_names(self, path, fake):
        description = {"format": 1, "class": "FakeModel", "config": {"rows": 3}}
        write_arrays(path, {"bias": np.ones(3)}, {"fastcell": json.dumps(description)})
        with pytest.raises(ValueError, match=r"arrays do not fit the FakeModel.*bias"):
            load(path)

    def test_config_that_is_no_json(self, path, fake):
        fake.arguments["note"] = float("nan")
        with pytest.raises(ValueError, match="JSON"):
            save(fake, path)
        fake.arguments["note"] = object()
        with pytest.raises(TypeError, match="JSON"):
            save(fake, path)
        assert list(path.parent.iterdir()) == []


class TestSizesOfAConfiguration:
    """A file must not make `load` take more memory than it holds itself."""

    @pytest.mark.parametrize(
        ("key", "value"),
        [("hidden_size", 10**6), ("input_size", 10**9), ("num_layers", 10**9)],
    )
    def test_sizes_past_the_files_own_raise(self, tmp_path, key, value):
        import fastcell

        path = tmp_path / "model.safetensors"
        layer = fastcell.LSTM(2, 3, seed=0)
        config = {**layer.config(), key: value}
        description = {"format": 1, "class": "LSTM", "config": config}
        serialize.write_arrays(
            path, layer.state_dict(), {"fastcell": json.dumps(description)}
        )
        with pytest.raises(ValueError, match=r"parameters|num_layers"):
            fastcell.load(path)
