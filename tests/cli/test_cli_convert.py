"""``fastcell convert``: models of RTNeural, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastcell
from fastcell.rtneural import read_rtneural


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(random, width, size, activation="", bias=True):
    weights = [random.normal(size=(width, size)).tolist()]
    weights += [random.normal(size=size).tolist()] if bias else []
    shape = [None, None, size]
    return {
        "type": "dense",
        "activation": activation,
        "shape": shape,
        "weights": weights,
    }


def recurrent(random, kind, width, size):
    gates = 3 if kind == "gru" else 4
    shapes = [(width, gates * size), (size, gates * size)]
    shapes.append((2, gates * size) if kind == "gru" else (gates * size,))
    weights = [random.normal(size=shape).tolist() for shape in shapes]
    return {
        "type": kind,
        "activation": "tanh",
        "shape": [None, None, size],
        "weights": weights,
    }


def keras(layers, x):
    """Return the outputs by the formulas of Keras, in float64."""
    states = [None] * len(layers)
    for x_t in x:
        a = x_t
        for i, layer in enumerate(layers):
            w = [np.array(part) for part in layer["weights"]]
            if layer["type"] == "gru":
                h = np.zeros(len(w[1])) if states[i] is None else states[i]
                xz, xr, xn = np.split(a @ w[0] + w[2][0], 3)
                hz, hr, hn = np.split(h @ w[1] + w[2][1], 3)
                z, n = sigmoid(xz + hz), np.tanh(xn + sigmoid(xr + hr) * hn)
                a = states[i] = z * h + (1 - z) * n
            elif layer["type"] == "lstm":
                H = len(w[1])
                h, c = (np.zeros(H), np.zeros(H)) if states[i] is None else states[i]
                gi, gf, gg, go = np.split(a @ w[0] + h @ w[1] + w[2], 4)
                c = sigmoid(gf) * c + sigmoid(gi) * np.tanh(gg)
                a = sigmoid(go) * np.tanh(c)
                states[i] = a, c
            elif layer["type"] != "activation":
                a = a @ w[0] + (w[1] if len(w) == 2 else 0)
            if layer["type"] not in ("gru", "lstm"):
                function = {"tanh": np.tanh, "sigmoid": sigmoid, "": lambda v: v}
                function["relu"] = lambda v: np.maximum(v, 0)
                a = function[layer["activation"]](a)
        yield a


def write(path, layers, inputs):
    path.write_text(json.dumps({"in_shape": [None, None, inputs], "layers": layers}))
    return path


def test_a_converted_model_computes_the_formulas_of_keras(run, tmp_path):
    random = np.random.default_rng(0)
    layers = [
        {**dense(random, 2, 5, "tanh"), "type": "time-distributed-dense"},
        recurrent(random, "gru", 5, 4),
        recurrent(random, "lstm", 4, 6),
        dense(random, 6, 3, "sigmoid", bias=False),
        {"type": "activation", "activation": "relu", "shape": [None, 3], "weights": []},
        dense(random, 3, 1),
    ]
    source, saved = tmp_path / "model.json", tmp_path / "model.safetensors"
    write(source, layers, 2)
    code, out, _ = run("convert", source, "-o", saved)
    assert code == 0
    assert out.splitlines()[1:3] == ["Activation(tanh)", "GRU(5, 4)"]
    session = fastcell.load(saved).session()
    x = random.normal(size=(20, 2))
    for x_t, expected in zip(x, keras(layers, x), strict=True):
        y = session.step(x_t[np.newaxis].astype(np.float32))[0]
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert run("convert", source, "-o", saved)[0] == 2
    assert run("convert", source, "-o", saved, "--force")[0] == 0


CHANGES = {
    "is of another type": (lambda la: la | {"type": "conv1d"}, "got 'conv1d'"),
    "has another activation": (lambda la: la | {"activation": "elu"}, "must be tanh"),
    "lacks weights": (lambda la: la | {"weights": la["weights"][:2]}, "of 3 arrays"),
    "has a wrong shape": (lambda la: la | {"shape": [None, 5]}, r"shape \(2, 15\)"),
    "has no size": (lambda la: la | {"shape": "4"}, "must end with a size"),
    "has texts": (lambda la: la | {"weights": ["a"] * 3}, "array of numbers"),
    "is too large": (lambda la: la | {"shape": [10**9]}, "from 1 to 4096"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_layer_is_refused_by_name_if_it(kind, tmp_path):
    change, match = CHANGES[kind]
    layer = change(recurrent(np.random.default_rng(0), "gru", 2, 4))
    with pytest.raises(ValueError, match=match) as caught:
        read_rtneural(write(tmp_path / "model.json", [layer], 2))
    assert "layers[0]" in str(caught.value)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.json"
    for text, match in {
        "[1]": "must hold a model of RTNeural",
        "{": "not valid",
        '{"in_shape": [1], "layers": []}': "at least one layer",
        '{"in_shape": [], "layers": []}': "in_shape must end",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=match):
            read_rtneural(path)
