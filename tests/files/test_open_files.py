"""Saving to and loading from files that the caller has opened."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pytest
from refusals import refuses

import fastcell
from fastcell.serialize import read_arrays, write_arrays


def model():
    return fastcell.GRU(3, 5, seed=0).to("bf16")


def alike(a, b):
    return a.config() == b.config() and all(
        np.array_equal(value, b.state_dict()[name])
        for name, value in a.state_dict().items()
    )


class Grudging:
    """A file that takes and gives few bytes at once, as pipes and sockets do."""

    def __init__(self, content=b""):
        self.content = bytearray(content)

    def write(self, data):
        part = bytes(data[:7])
        self.content += part
        return len(part)

    def read(self, size):
        part = bytes(self.content[: min(size, 5)])
        del self.content[: len(part)]
        return part


class Silent(Grudging):
    """A file whose write tells nothing."""

    def write(self, data):
        self.content += data


def test_a_buffer_holds_the_bytes_of_the_file(path):
    buffer = io.BytesIO()
    fastcell.save(model(), buffer)
    fastcell.save(model(), path)
    assert buffer.getvalue() == path.read_bytes()
    buffer.seek(0)
    assert alike(fastcell.load(buffer), model())
    assert not buffer.closed


@pytest.mark.parametrize("opened", [open, gzip.open])
def test_an_open_file_is_written_and_read_and_stays_open(path, opened):
    with opened(path, "wb") as file:
        fastcell.save(model(), file)
        assert not file.closed
    with opened(path, "rb") as file:
        assert alike(fastcell.load(file), model())
        assert not file.closed


@pytest.mark.parametrize("kind", [Grudging, Silent])
def test_a_file_may_take_and_give_few_bytes_at_once(kind):
    file = kind()
    fastcell.save(model(), file)
    assert alike(fastcell.load(file), model())
    assert not file.content


def test_models_one_after_the_other_are_read_one_after_the_other():
    buffer = io.BytesIO(b"before")
    buffer.seek(6)
    others = [model(), fastcell.Linear(2, 1, seed=1)]
    for other in others:
        fastcell.save(other, buffer)
    buffer.seek(6)
    for other in others:
        assert alike(fastcell.load(buffer), other)
    with pytest.raises(ValueError, match="at least 8 bytes; got 0"):
        fastcell.load(buffer)


def test_arrays_go_through_open_files_too():
    buffer = io.BytesIO()
    write_arrays(buffer, {"x": np.arange(3)}, {"unit": "s"})
    buffer.seek(0)
    arrays, metadata = read_arrays(buffer)
    assert arrays["x"].tolist() == [0, 1, 2] and metadata == {"unit": "s"}


CUT = [0, 7, 8, 20, -1]


@pytest.mark.parametrize("end", CUT)
def test_what_is_cut_short_is_refused(end):
    buffer = io.BytesIO()
    fastcell.save(model(), buffer)
    with pytest.raises(ValueError, match="<BytesIO>: not a valid safetensors file"):
        fastcell.load(io.BytesIO(buffer.getvalue()[:end]))


def test_a_size_that_is_not_there_takes_no_memory():
    header = b'{"x":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}'
    header %= (1 << 60, 1 << 60)
    content = len(header).to_bytes(8, "little") + header
    with pytest.raises(ValueError, match=f"tells of {1 << 60} bytes"):
        read_arrays(io.BytesIO(content))


NO_FILES = [1, True, 1.5, None, [], object()]


@pytest.mark.parametrize("value", NO_FILES)
def test_what_is_neither_path_nor_file_is_refused(value):
    got = ["path must be a path or a binary file", f"got {type(value).__name__}"]
    refuses(TypeError, got, fastcell.load, value)
    refuses(TypeError, got, fastcell.save, model(), value)


def test_a_file_of_text_is_refused(path):
    with open(path, "w") as file:
        refuses(TypeError, ["path", "binary"], fastcell.save, model(), file)
    with open(path) as file:
        refuses(TypeError, ["path", "binary"], fastcell.load, file)


STDOUT = """
import fastcell
for call in (lambda: fastcell.load(1), lambda: fastcell.save(fastcell.Linear(1, 1), 1)):
    try:
        call()
    except TypeError:
        print("refused", flush=True)
"""


def test_a_number_does_not_close_the_output_of_the_process(run_python):
    done = run_python(STDOUT)
    assert done.stdout.split() == ["refused", "refused"], done.stderr


def test_layers_that_share_arrays_share_them_when_loaded():
    first, second = (fastcell.Linear(3, 3, seed=seed) for seed in (0, 1))
    second.params.share("weight", first.params)
    inner = fastcell.Sequential([second, first])
    others = [fastcell.Sequential([first, inner]), fastcell.Sequential([first] * 16)]
    for other in others:
        buffer = io.BytesIO()
        fastcell.save(other, buffer)
        buffer.seek(0)
        loaded = fastcell.load(buffer)
        assert list(loaded.params) == list(other.params)
        assert alike(loaded, other)
        loaded.params["0.weight"] = np.eye(3, dtype=np.float32)
        loaded.params["0.bias"] = np.zeros(3, np.float32)
        x = np.ones((1, 3), np.float32)
        assert (loaded.children()["1"](x) == x).all() or other is others[0]
        assert loaded.params.aliases.keys() == other.params.aliases.keys()
    refuses(
        ValueError,
        ["model must share"],
        fastcell.save,
        fastcell.Sequential([first] * 17),
        io.BytesIO(),
    )


@pytest.mark.parametrize(
    "shared", [[], {"1.weight": 1}, {"1.weight": "2.weight"}, {"9.w": "0.weight"}]
)
def test_shared_arrays_that_cannot_be_are_refused(shared, path):
    layer = fastcell.Linear(3, 3, seed=0)
    model = fastcell.Sequential([layer, layer])
    description = {"format": 1, "class": "Sequential", "config": model.config()}
    text = json.dumps({**description, "shared": shared})
    write_arrays(path, model.state_dict(), {"fastcell": text})
    with pytest.raises(ValueError, match=str(path)):
        fastcell.load(path)
