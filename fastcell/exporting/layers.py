"""From a model to the C statements of its step: layer by layer, or a refusal."""

from __future__ import annotations

import numpy as np

from fastcell.exporting.arrays import gate_columns, gate_row
from fastcell.exporting.program import Program, Value
from fastcell.exporting.recurrent import add_recurrent
from fastcell.layers import Dropout, Embedding, LayerNorm, Linear, Sequential
from fastcell.layers.activation import Activation
from fastcell.layers.highway import Highway
from fastcell.layers.recurrent import Recurrent
from fastcell.layers.residual import Residual
from fastcell.models import (
    FeedForward,
    Forecaster,
    FrameModel,
    LanguageModel,
    SequenceClassifier,
    SequenceRegressor,
    SequenceTagger,
)
from fastcell.module import Module

_EXPORTED = (Recurrent, Linear, LayerNorm, Activation, Embedding, Dropout, Residual)
_KINDS = "recurrent layers of one direction, Linear, LayerNorm, Activation, Embedding, "
_KINDS += "Dropout, Residual, Highway, Sequential, and models of these"
_STEPWISE = (SequenceClassifier, SequenceRegressor, SequenceTagger, FrameModel)


def add_model(program: Program, model: Module) -> tuple[int, bool, Value]:
    """Add a model's step, and return its inputs, whether they are ids, and its output.

    Raises
    ------
    TypeError
        If the model is none.
    ValueError
        If a part of it has no form in C.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a layer or a model; got {type(model).__name__}")
    chain = _chain("model", model)
    first = _first(chain[0][1])
    if isinstance(first, Embedding):
        x, ids = Value("x", 1, False), True
    else:
        x, ids = Value("x", _width(chain), False), False
    y = x
    for path, layer in chain:
        y = _add(program, path, layer, y, ids)
    if isinstance(model, (Forecaster, FrameModel)) and model.residual:
        y = _add_rows(program, x, y)
    return x.width, ids, y


def _chain(path: str, model: Module) -> list[tuple[str, Module]]:
    """Return the layers of a model's step, with their names."""
    if isinstance(model, Sequential):
        return [
            part
            for name, layer in model.children().items()
            for part in _chain(f"{path}.{name}", layer)
        ]
    if isinstance(model, (LanguageModel, FeedForward)):
        return _chain(path, model.network)
    if isinstance(model, _STEPWISE):
        readout = model._readout
        if isinstance(model, FrameModel) and model.residual and model.head != "values":
            raise _refusal(path, model, "residual=True needs head='values'")
        if getattr(readout, "kind", "last") != "last" or model.encoder.bidirectional:
            raise _refusal(
                path, model, "only pooling='last' of one direction is a step's"
            )
        return [
            *_chain(path, model.encoder.network),
            (f"{path}.decoder", model.decoder),
        ]
    if isinstance(model, Forecaster):
        decoder = (f"{path}.decoder", model.feedback.decoder)
        return [*_chain(path, model.encoder.network), decoder]
    if not isinstance(model, _EXPORTED):
        raise _refusal(path, model, f"exported are {_KINDS}")
    return [(path, model)]


def _first(layer: Module) -> Module:
    """Return what reads a layer's input."""
    if isinstance(layer, Residual):
        return _first(_chain("layer", layer.layer)[0][1])
    return layer


def _width(chain: list[tuple[str, Module]]) -> int:
    """Return the features that a step reads."""
    for _, layer in chain:
        inner = layer
        while isinstance(inner, Residual):
            inside = _chain("layer", inner.layer)
            found = [part for _, part in inside if not _keeps_width(part)]
            if not found:
                break
            inner = found[0]
        for name in ("input_size", "in_features", "features"):
            if hasattr(inner, name):
                return int(getattr(inner, name))
    raise ValueError("model must have a layer that knows its number of inputs")


def _keeps_width(layer: Module) -> bool:
    return isinstance(layer, (Dropout, Activation))


def _refusal(path: str, layer: Module, reason: str) -> ValueError:
    return ValueError(f"{path}, {type(layer).__name__}, has no form in C: {reason}")


def _add(program: Program, path: str, layer: Module, x: Value, ids: bool) -> Value:
    """Add one layer, and return its output."""
    if isinstance(layer, Dropout):
        return x
    _check(program, path, layer)
    if isinstance(layer, Embedding):
        if not (ids and x.at == "x"):
            raise _refusal(path, layer, "an Embedding must be the first layer")
        return _add_embedding(program, layer)
    wanted = next(
        (
            int(getattr(layer, n))
            for n in ("input_size", "in_features", "features")
            if hasattr(layer, n)
        ),
        x.width,
    )
    if wanted != x.width:
        raise ValueError(f"{path} must have {x.width} inputs, as it gets; got {wanted}")
    if isinstance(layer, Recurrent):
        return add_recurrent(program, layer, x)
    if isinstance(layer, Linear):
        return _add_linear(program, layer, x)
    if isinstance(layer, LayerNorm):
        return _add_layer_norm(program, layer, x)
    if isinstance(layer, Activation):
        return _add_activation(program, layer, x)
    assert isinstance(layer, Residual)
    return _add_residual(program, path, layer, x)


def _check(program: Program, path: str, layer: Module) -> None:
    """Raise if a layer cannot run step by step, or in the export's precision."""
    dtype = getattr(layer, "dtype", np.float32)
    if dtype != np.float32:
        raise _refusal(path, layer, f"its dtype is {dtype}, and C computes in float32")
    precision = getattr(layer, "precision", "float32")
    if precision not in ("float32", program.dtype):
        raise _refusal(
            path, layer, f"its precision is {precision}, and dtype {program.dtype}"
        )
    for name in ("bidirectional", "go_backwards"):
        if getattr(layer, name, False):
            raise _refusal(path, layer, f"with {name}=True it begins at the end")
    arrays = getattr(layer, "_parameters", None)
    for name, array in ({} if arrays is None else arrays.arrays()).items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path}.{name} must be finite; got NaN or infinity")


def _add_embedding(program: Program, layer: Embedding) -> Value:
    rows, width = layer.num_embeddings, layer.embedding_dim
    name = f"{program.name}_{len(program.statements)}_table"
    program.array(name, layer._parameters.arrays()["weight"])
    program.notes.append(f"Embedding: {rows} ids -> {width}")
    program.uses("net_row")
    return Value(f"net_row({name}, *x, {rows}, {width})", width, False)


def _add_linear(program: Program, layer: Linear, x: Value) -> Value:
    arrays = layer._parameters.arrays()
    y = program.row(layer.out_features)
    columns = -(-layer.out_features // program.lanes) * program.lanes
    tag = f"{program.name}_{len(program.statements)}"
    w = program.array(f"{tag}_dense", gate_columns(arrays["weight"], 1, columns))
    bias = arrays.get("bias")
    row = None if bias is None else gate_row(bias, 1, columns)
    b = program.optional(f"{tag}_dense_bias", row)
    program.uses("net_product")
    program.multiply_adds += arrays["weight"].size
    program.notes.append(f"Linear: {x.width} -> {y.width}")
    program.statements.append(
        f"net_product({x.at}, {x.width}, {w}, {b}, {columns}, {y.at});"
    )
    return y


def _add_layer_norm(program: Program, layer: LayerNorm, x: Value) -> Value:
    arrays = layer._parameters.arrays()
    y = program.row(x.width)
    tag = f"{program.name}_{len(program.statements)}"
    w = program.array(f"{tag}_gain", arrays["weight"])
    b = program.array(f"{tag}_shift", arrays["bias"])
    eps = f"{float(np.float32(layer.eps))!r}f"
    program.uses("net_layer_norm")
    program.notes.append(f"LayerNorm: {x.width}")
    program.statements.append(
        f"net_layer_norm({x.at}, {w}, {b}, {eps}, {x.width}, {y.at});"
    )
    return y


def _add_activation(program: Program, layer: Activation, x: Value) -> Value:
    x = _whole(program, x)
    y = program.row(x.width)
    columns = -(-x.width // program.lanes) * program.lanes
    function = f"net_{layer.kind}"
    program.uses(function)
    program.notes.append(f"Activation: {layer.kind}")
    program.statements.append(f"{function}({x.at}, {columns}, {y.at});")
    return y


def _add_residual(program: Program, path: str, layer: Residual, x: Value) -> Value:
    h = x
    for name, part in _chain(f"{path}.layer", layer.layer):
        h = _add(program, name, part, h, False)
    if h.width != x.width:
        raise ValueError(
            f"{path}.layer must return its {x.width} inputs' number; got {h.width}"
        )
    if not isinstance(layer, Highway):
        return _add_rows(program, x, h)
    y = program.row(x.width)
    _check(program, f"{path}.gate", layer.gate)
    a = _add_linear(program, layer.gate, x)
    program.uses("net_highway")
    program.statements.append(
        f"net_highway({x.at}, {h.at}, {a.at}, {x.width}, {y.at});"
    )
    return y


def _add_rows(program: Program, x: Value, h: Value) -> Value:
    """Add the sum of h and of as many numbers of x."""
    y = program.row(h.width)
    program.uses("net_add")
    program.statements.append(f"net_add({x.at}, {h.at}, {h.width}, {y.at});")
    return y


def _whole(program: Program, x: Value) -> Value:
    """Return a row in memory up to whole vectors: itself, or a copy."""
    if x.whole:
        return x
    y = program.row(x.width)
    program.statements.append(f"memcpy({y.at}, {x.at}, {x.width} * sizeof *y);")
    return y
