"""The safetensors format without its package: the same bytes, the same refusals."""

import json

import numpy as np
import pytest
import safetensors
from safetensors.numpy import save as package_save

from fastcell._checks import plain_safetensors as plain

DTYPES = [
    *("bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32"),
    *("float32", "float64", "int64", "uint64"),
]


def some_arrays(seed):
    random = np.random.default_rng(seed)
    arrays = {}
    for i in range(random.integers(0, 9)):
        dtype = random.choice(DTYPES)
        shape = tuple(random.integers(0, 4, random.integers(0, 4)))
        values = random.integers(0, 2, shape).astype(dtype)
        arrays[f"{random.choice(['b', 'a', 'ä', 'weight'])}{i}"] = np.asarray(values)
    return arrays


@pytest.mark.parametrize("seed", range(40))
def test_it_writes_the_bytes_of_the_package(seed):
    arrays = some_arrays(seed)
    assert plain.save(arrays) == package_save(arrays)


@pytest.mark.parametrize("seed", range(40))
def test_it_reads_what_the_package_reads(seed):
    content = package_save(some_arrays(seed))
    found, expected = plain.deserialize(content), safetensors.deserialize(content)
    by_name = {name: tensor for name, tensor in expected}
    assert sorted(by_name) == sorted(name for name, _ in found)
    for name, tensor in found:
        assert tensor["dtype"] == by_name[name]["dtype"]
        assert list(tensor["shape"]) == list(by_name[name]["shape"])
        assert bytes(tensor["data"]) == bytes(by_name[name]["data"])


def file_of(header, data=b""):
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + data


def entry(begin=0, end=8, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"a": entry(end=4)}, 4),
        ({"a": entry(begin=4, end=12)}, 12),
        ({"a": entry(), "b": entry(begin=12, end=20)}, 20),
        ({"a": entry(), "b": entry(begin=4, end=12)}, 12),
        ({"a": entry()}, 12),
        ({"a": entry(dtype="F33")}, 8),
        ({"a": entry(dtype=["F32"])}, 8),
        ({"a": entry(shape=(-2,))}, 8),
        ({"a": entry(shape=(2.0,))}, 8),
        ({"a": entry(shape=(1 << 62, 8), end=0)}, 0),
        ({"a": entry(end=True)}, 1),
        ({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, 8),
        ({"a": [0, 8]}, 8),
        ({"a": entry(), "__metadata__": {"k": 1}}, 8),
    ],
)
def test_it_refuses_what_the_package_refuses(header, size):
    content = file_of(header, bytes(size))
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(content)
    with pytest.raises(plain.SafetensorError):
        plain.deserialize(content)
