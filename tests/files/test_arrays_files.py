"""Files of arrays: round trips, and atomic writing."""

from __future__ import annotations

import errno
import os
import stat
import struct

import numpy as np
import pytest
import safetensors.numpy

from fastcell.serialize import read_arrays, write_arrays

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

    @pytest.mark.parametrize("bad", ["a\0b", b"a\0b"])
    def test_path_with_a_null_character(self, bad):
        for call in (read_arrays, lambda path: write_arrays(path, {})):
            with pytest.raises(ValueError, match="path must be without null char"):
                call(bad)

    def test_header_that_no_reader_would_take(self, path, monkeypatch):
        monkeypatch.setattr("fastcell._checks.array_files._MAX_HEADER", 1000)
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

            def fileno(self):
                return self.file.fileno()

            def write(self, part):
                if self.file.tell():
                    raise OSError(errno.ENOSPC, "No space left on device")
                self.file.write(part)

        monkeypatch.setattr("fastcell._checks.files.open", Full, raising=False)
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
