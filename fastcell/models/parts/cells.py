"""A model's cell, by its name, and the options of its recurrent layers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from fastcell._checks.names import one_of
from fastcell._checks.numbers import shown
from fastcell.cells import REGISTRY, Cell, offered
from fastcell.layers.options import Options

# What a model chooses itself: sizes, and what its other parts rely on.
_OF_THE_MODEL = {
    *("input_size", "hidden_size", "num_layers", "dropout", "dtype", "seed"),
    *("batch_first", "bidirectional", "merge", "go_backwards", "zero_output_for_mask"),
}


class HasLayerOptions(Protocol):
    """A model, or a part of one, that keeps the options of its layers."""

    layer_options: dict[str, Any]


def cell_named(name: Any, layer_options: Mapping[str, Any] | None = None) -> Cell:
    """Return the cell of a name; its layers have the options.

    Parameters
    ----------
    name : str
        Of `fastcell.cells.REGISTRY`; "rnn" means "rnn_tanh".
    layer_options : mapping of str to value, optional
        Arguments of the layers of that cell: those of
        `fastcell.layers.options.Options`, such as init, forget_bias and zoneout, and
        those of the layer's class, such as activations and cell_clip of an LSTM. Their
        values are checked when a layer is made.

    Raises
    ------
    TypeError
        If the options are no mapping.
    ValueError
        If there is no such cell, or its layers do not have such an argument, or the
        model chooses that argument itself.

    Examples
    --------
    >>> layer = cell_named("gru", {"init": "orthogonal", "zoneout": 0.1}).layer(2, 3)
    >>> layer.config()["init"]
    'orthogonal'
    """
    known = isinstance(name, str) and name in REGISTRY
    cell = REGISTRY[name] if known else offered()[one_of("cell", name, offered())]
    if layer_options is None:
        return cell
    if not isinstance(layer_options, Mapping):
        raise TypeError(
            "layer_options must be a mapping from names of arguments to values; got "
            f"{shown(layer_options)}"
        )
    own = [p for p in inspect.signature(cell.layer_class).parameters if p != "options"]
    taken = [p for p in (*own, *Options.__annotations__) if p not in _OF_THE_MODEL]
    for option in layer_options:
        if option not in taken:
            raise ValueError(
                f"layer_options must name arguments of {cell.layer_class.__name__}: "
                f"{', '.join(dict.fromkeys(taken))}; got {shown(option)}"
            )
    return replace(cell, options={**cell.options, **layer_options})


def kept_options(layer_options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options, which a layer has taken, as values that JSON can hold."""
    return {name: _plain(value) for name, value in (layer_options or {}).items()}


def options_config(model: HasLayerOptions) -> dict[str, Any]:
    """Return the configuration's entry for the layers' options; empty without any."""
    return {"layer_options": model.layer_options} if model.layer_options else {}


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value
