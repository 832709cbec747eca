"""Models in the JSON form of RTNeural: recurrent and dense layers, from Keras' weights.

RTNeural (Chowdhury 2021, arXiv:2106.03037) and programs that train for it write a model
as JSON: for each layer its type, its size, the name of an activation, and the arrays of
Keras. Kernels are (I, G H), GRUs have the gates z, r, n and LSTMs i, f, g, o.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastcell._checks.array_files import parse_json
from fastcell._checks.names import path_of
from fastcell._checks.schema import shown
from fastcell.cells import GRU, LSTM
from fastcell.layers import Activation, Linear, Sequential
from fastcell.layers.activation import KINDS
from fastcell.module import Module

_DENSE = ("dense", "time-distributed-dense")
_TYPES = (*_DENSE, "gru", "lstm", "activation")
_LARGEST = 4096  # units of a layer: far above any that runs in real time


def read_rtneural(path: str | os.PathLike[str]) -> Sequential:
    """Read a model that was written for RTNeural.

    Parameters
    ----------
    path : str or path
        A JSON file with "in_shape" and "layers", of the types dense,
        time-distributed-dense, gru, lstm and activation, and the activations tanh,
        sigmoid and relu.

    Returns
    -------
    Sequential
        The layers in float32: `Linear`, `GRU`, `LSTM` and `Activation`.

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a model; the message names the layer.

    Examples
    --------
    >>> import json, tempfile
    >>> dense = {"type": "dense", "activation": "tanh", "shape": [None, 1]}
    >>> dense["weights"] = [[[1.0], [2.0]], [0.5]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(f"{folder}/model.json", "w") as file:
    ...         json.dump({"in_shape": [None, 2], "layers": [dense]}, file)
    ...     model = read_rtneural(f"{folder}/model.json")
    >>> [type(layer).__name__ for layer in model.layers]
    ['Linear', 'Activation']
    """
    name = path_of("path", path)
    with open(name, encoding="utf-8", errors="replace") as file:
        content = parse_json(name, "file", file.read())
    if not isinstance(content, dict) or not isinstance(content.get("layers"), list):
        raise ValueError(
            f"{name}: must hold a model of RTNeural, with in_shape and layers"
        )
    width = _size(f"{name}: in_shape", content.get("in_shape"))
    layers: list[Module] = []
    for i, layer in enumerate(content["layers"]):
        where = f"{name}: layers[{i}]"
        if not isinstance(layer, dict) or layer.get("type") not in _TYPES:
            kind = layer.get("type") if isinstance(layer, dict) else layer
            raise ValueError(
                f"{where}: the type must be one of {', '.join(_TYPES)}; "
                f"got {shown(kind)}"
            )
        size = _size(f"{where}: shape", layer.get("shape"))
        layers += _layers(where, layer, width, size)
        width = size
    if not layers:
        raise ValueError(f"{name}: layers must hold at least one layer; got none")
    return Sequential(layers)


def _size(where: str, shape: Any) -> int:
    """Return the last size of a shape."""
    last = shape[-1] if isinstance(shape, list) and shape else None
    if type(last) is not int or not 1 <= last <= _LARGEST:
        raise ValueError(
            f"{where} must end with a size from 1 to {_LARGEST}; got {shown(shape)}"
        )
    return last


def _layers(where: str, layer: dict[str, Any], width: int, size: int) -> list[Module]:
    """Return a layer, and its activation as another."""
    kind, activation = layer["type"], layer.get("activation") or ""
    if kind in ("gru", "lstm"):
        if activation not in ("", "tanh"):
            raise ValueError(
                f"{where}: the activation of a {kind} must be tanh; "
                f"got {shown(activation)}"
            )
        return [_recurrent(where, layer, width, size)]
    if activation and activation not in KINDS:
        raise ValueError(
            f"{where}: the activation must be one of {', '.join(KINDS)}; "
            f"got {shown(activation)}"
        )
    after: list[Module] = [Activation(activation)] if activation else []
    if kind == "activation":
        if size != width:
            raise ValueError(f"{where}: shape must end with {width}; got {size}")
        return after
    return [_dense(where, layer, width, size), *after]


def _dense(where: str, layer: dict[str, Any], width: int, size: int) -> Linear:
    weights = _weights(where, layer, 1, 2)
    made = Linear(width, size, bias=len(weights) == 2)
    made.params["weight"] = _array(where, weights, 0, (width, size)).T
    if made.bias:
        made.params["bias"] = _array(where, weights, 1, (size,))
    return made


def _recurrent(where: str, layer: dict[str, Any], width: int, size: int) -> GRU | LSTM:
    weights = _weights(where, layer, 3, 3)
    is_gru = layer["type"] == "gru"
    gates = 3 if is_gru else 4
    made: GRU | LSTM = GRU(width, size) if is_gru else LSTM(width, size)
    # A GRU has a bias for each of the two products, an LSTM one for both.
    shape = (2, gates * size) if is_gru else (gates * size,)
    biases = np.atleast_2d(_array(where, weights, 2, shape))
    arrays = {
        "weight_ih_l0": _array(where, weights, 0, (width, gates * size)).T,
        "weight_hh_l0": _array(where, weights, 1, (size, gates * size)).T,
        "bias_ih_l0": biases[0],
        "bias_hh_l0": biases[1] if is_gru else np.zeros_like(biases[0]),
    }
    for name, array in arrays.items():
        parts = np.split(array, gates)
        if is_gru:  # z r n to r z n
            parts = [parts[1], parts[0], parts[2]]
        made.params[name] = np.concatenate(parts)
    return made


def _weights(where: str, layer: dict[str, Any], least: int, most: int) -> list[Any]:
    weights = layer.get("weights")
    if not isinstance(weights, list) or not least <= len(weights) <= most:
        count = f"{least} arrays" if least == most else f"{least} or {most} arrays"
        raise ValueError(f"{where}: weights must be a list of {count}")
    return weights


def _array(
    where: str, weights: list[Any], i: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Return an array of the layer's, of finite numbers."""
    try:
        array = np.array(weights[i], np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: weights[{i}] must be an array of numbers") from None
    if array.shape != shape:
        raise ValueError(
            f"{where}: weights[{i}] must have the shape {shape}; got {array.shape}"
        )
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: weights[{i}] must be finite in float32")
    return array
