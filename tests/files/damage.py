"""Random damage to files: to bytes, and to values of the trees that they hold.

The damage depends on the generator only, so a seed identifies a file.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

from fastcell.serialize import read_arrays, write_arrays
from fastcell.train.checkpoint import read_checkpoint, write_checkpoint


def nested(depth: int, kind: str = "list") -> Any:
    """Return lists or dictionaries within each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {kind: value}
    return value


# Plain values where others are meant.
VALUES = [
    *(None, True, False, -1, 0, 1, 2, 7, 2**31, 2**53, 2**63, 2**64, 2**70, 10**400),
    *(0.5, -0.5, -0.0, 1e308, 5e-324, "", "x", "lstm", "\0", "é" * 3000, "1", "inf"),
    *([], [[]], [1, 2, 3], ["a", "b"], {}, {"a": 1}, {"": None}, {"dict": {}}),
    *({"class": "Linear", "config": {}}, {"bit_generator": "PCG64"}, {"tuple": [1]}),
    *(nested(40), nested(40, "dict")),
]
DEEP = [nested(120), nested(120, "dict"), nested(400), nested(400, "config")]
# And what a tree of arrays may hold besides.
LEAVES = [
    *(float("nan"), float("inf"), -float("inf"), (), (1, 2), (None, None)),
    *(np.zeros(0), np.zeros(3), np.ones((1, 2, 3), np.float32), np.array(2.5)),
    *(np.full(2, np.nan), np.arange(3), np.zeros((2, 3, 6), np.float32)),
    *(np.zeros((2, 3, 6)), np.float32(0.1), np.int64(-3), np.bool_(True)),
]


def changed_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content cut, with other bytes, or with parts doubled or left out."""
    header = int.from_bytes(content[:8], "little")
    # Most of what matters stands in the header, most bytes do not.
    end = 8 + header if rng.random() < 0.8 else len(content)
    at, to = sorted(rng.integers(0, end + 1, 2).tolist())
    kind = rng.integers(5)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[at:to] + content[at:]
    if kind == 2:
        return content[:at] + content[to:]
    changed = bytearray(content)
    for place in rng.integers(0, end, rng.integers(1, 5)):
        changed[place] = rng.integers(256) if kind == 3 else ord(rng.choice([*'0-{"']))
    return bytes(changed)


def changed_tree(tree: Any, rng: np.random.Generator, values: list[Any]) -> Any:
    """Return a copy of dictionaries and lists of which something is another."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.integers(1, 3)):
        tree = _changed_once(tree, rng, values)
    return tree


def _changed_once(tree: Any, rng: np.random.Generator, values: list[Any]) -> Any:
    places = list(_places(tree))
    if not places:
        return values[rng.integers(len(values))]
    # Of each depth as many: most leaves lie deep down.
    depths = sorted({depth for *_, depth in places})
    depth = depths[rng.integers(len(depths))]
    chosen = [place for place in places if place[2] == depth]
    holder, key, _ = chosen[rng.integers(len(chosen))]
    kind = rng.integers(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"{key}x" if rng.random() < 0.5 else ""] = holder.pop(key)
    elif kind == 1:
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == 2:
        other, its, _ = places[rng.integers(len(places))]
        holder[key] = copy.deepcopy(other[its])
    elif kind == 3 and isinstance(holder, dict):
        holder["unknown"] = copy.deepcopy(values[rng.integers(len(values))])
    elif kind == 4 and type(holder[key]) in (int, float):
        factor = [-1, 0, 2, 10, 2**40, 2**70][rng.integers(6)]
        holder[key] = type(holder[key])(holder[key] * factor + int(rng.integers(-1, 2)))
    else:
        holder[key] = copy.deepcopy(values[rng.integers(len(values))])
    return tree


def _places(node: Any, depth: int = 0) -> Any:
    """Yield what holds something, under which key, and how deep."""
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    else:
        return
    for key, value in items:
        yield node, key, depth
        yield from _places(value, depth + 1)


def _unfolded(node: Any) -> Any:
    """Return a tree with its tuples as lists, so that they can be changed."""
    if isinstance(node, dict):
        return {key: _unfolded(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_unfolded(value) for value in node]
    return node


def damage_checkpoint(path: Any, rng: np.random.Generator) -> None:
    """Damage a checkpoint, in place: its bytes, its header, or the tree it holds."""
    kind = rng.integers(4)
    if kind == 0:
        content = path.read_bytes()
        path.write_bytes(changed_bytes(content, rng))
    elif kind == 1:
        _damage_header(path, rng)
    else:
        tree = _unfolded(read_checkpoint(path))
        if kind == 2:
            tree = changed_tree(tree, rng, VALUES + LEAVES)
        else:  # a part of it, so that small parts have their turn
            part = [*tree][rng.integers(len(tree))]
            held = changed_tree([tree[part]], rng, VALUES + LEAVES)
            tree[part] = held[0] if isinstance(held, list) and held else held
        position = tree.get("position") if isinstance(tree, dict) else None
        if isinstance(position, dict) and isinstance(position.get("state"), list):
            position["state"] = tuple(position["state"])
        info = tree.get("info") if isinstance(tree, dict) else None
        if isinstance(info, dict) and isinstance(info.get("b"), list):
            info["b"] = tuple(info["b"])
        write_checkpoint(path, tree)


def damage_model(path: Any, rng: np.random.Generator) -> None:
    """Damage a file of a model, in place: bytes, description or arrays."""
    kind = rng.integers(6)
    if kind == 0:
        path.write_bytes(changed_bytes(path.read_bytes(), rng))
    elif kind < 5:
        _damage_header(path, rng)
    else:
        arrays, metadata = read_arrays(path)
        name = [*arrays][rng.integers(len(arrays))]
        array = arrays.pop(name)
        kind = rng.integers(5)
        if kind == 0:
            arrays[name] = array.astype([np.float64, np.int32][rng.integers(2)])
        elif kind == 1:
            arrays[name] = array[..., :-1]
        elif kind == 2:
            arrays[name] = array[np.newaxis]
        elif kind == 3:
            arrays[name + "x"] = array
        write_arrays(path, arrays, metadata)


def _damage_header(path: Any, rng: np.random.Generator) -> None:
    """Damage what the metadata say, as JSON or as text."""
    arrays, metadata = read_arrays(path)
    text = metadata["fastcell"]
    if rng.random() < 0.9:
        description = json.loads(text)
        if rng.random() < 0.8:
            description.pop("crc32", None)  # or it would tell that something changed
        text = json.dumps(changed_tree(description, rng, VALUES + DEEP))
    else:
        at = int(rng.integers(len(text)))
        deep = ["[" * 10_000, '{"dict":' * 10_000, "1" + "0" * 5000, '"\\ud800"', "NaN"]
        text = text[:at] + deep[rng.integers(len(deep))] + text[at + 1 :]
    write_arrays(path, arrays, {"fastcell": text})
