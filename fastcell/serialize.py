"""Models and arrays in safetensors files: no pickle, nothing half-written.

A file need not be trusted: only classes of a fixed table are built, from configurations
that are checked first. `fastcell._checks.array_files` reads and writes the arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeVar, overload

from fastcell._checks.array_files import parse_json, read_arrays, short, write_arrays
from fastcell._checks.files import Path
from fastcell._checks.numbers import shown
from fastcell._checks.open_files import name_of
from fastcell._checks.schema import shortened
from fastcell.module import Module, at_most
from fastcell.named_classes import CLASSES, class_named, one_of_them
from fastcell.parameters import ParameterGroup

AnyModule = TypeVar("AnyModule", bound=Module)

__all__ = [
    "load",
    "model_class",
    "read_arrays",
    "save",
    "write_arrays",
]

_FORMAT = 1
# The most layers that share one array: the file holds it once, but each layer allocates
# its own before they share.
_MOST_SHARED = 16
# Limits of a configuration: building a layer takes a fraction of a millisecond, however
# little the file holds for it, and Python nests at most some hundred calls.
_MOST_LAYERS = 10_000
_DEEPEST = 150  # nested objects and lists, of which a layer takes three
_METADATA_KEY = "fastcell"


def save(model: Module, path: Path | BinaryIO) -> None:
    """Write a model to a safetensors file: configuration, parameters and precision.

    The write is atomic: an existing file of that name stays unchanged until the new one
    is complete on the disk.

    Parameters
    ----------
    model : Module
        A layer or a model of fastcell.
    path : path, or binary file
        The destination; the usual suffix is ``.safetensors``. An object with a method
        `write`, such as an open file or `io.BytesIO`, receives the bytes at once and
        stays open.

    Raises
    ------
    TypeError
        If `model` is of a class that `load` could not build, or `path` neither a path
        nor a binary file.
    ValueError
        If it holds more than 10,000 layers, or more than 50 within each other, or more
        than 16 layers share all of their arrays.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import fastcell, os, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "linear.safetensors")
    >>> model = fastcell.Linear(3, 2, seed=0)
    >>> fastcell.save(model, path)
    >>> bool((fastcell.load(path).params["weight"] == model.params["weight"]).all())
    True
    >>> folder.cleanup()
    """
    name = class_name(model)
    description = {"format": _FORMAT, "class": name, "config": model.config()}
    _check_extent("model", description["config"])
    arrays = model.state_dict()
    # The configuration lacks the arrays that a user made two layers share.
    if shared := getattr(getattr(model, "params", None), "aliases", {}):
        description["shared"] = shared
        if _elements(arrays, shared) > _most_elements(arrays):
            raise ValueError(
                f"model must share its arrays among less layers: it has "
                f"{_elements(arrays, shared):,} parameters in {_elements(arrays, {}):,}"
            )
    text = json.dumps(description, allow_nan=False)
    write_arrays(path, arrays, {_METADATA_KEY: text})


@overload
def load(path: Path | BinaryIO, expect: None = None) -> Module: ...


@overload
def load(path: Path | BinaryIO, expect: type[AnyModule]) -> AnyModule: ...


def load(path: Path | BinaryIO, expect: type[Module] | None = None) -> Module:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : path, or binary file
        The file. It need not be trusted: no code in it is run, and only classes of
        fastcell are built. An object with a method `read` is read from its present
        position to the end of the model, and stays open.
    expect : type, optional
        The class that the model must be of, or a base class. It is also the type that
        type checkers infer.

    Returns
    -------
    model : Module
        A model of the saved class, with the same configuration, parameters and
        precision. Old files without precisions by layer only hold "bf16" of a whole
        model; other layers have their default precision.

    Raises
    ------
    TypeError
        If `path` is neither a path nor a binary file, or `expect` no class of modules.
    OSError
        If the file cannot be read.
    ValueError
        If it is no safetensors file, is damaged, or holds no model of fastcell; or if
        names, shapes or dtypes of its arrays differ from those of its configuration.

    Examples
    --------
    >>> import fastcell, io
    >>> file = io.BytesIO()
    >>> fastcell.save(fastcell.GRU(3, 4), file)
    >>> position = file.seek(0)
    >>> fastcell.load(file, fastcell.GRU).hidden_size
    4
    >>> fastcell.load("nowhere.safetensors")
    Traceback (most recent call last):
    ...
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.safetensors'
    """
    if expect is not None and not (
        isinstance(expect, type) and issubclass(expect, Module)
    ):
        raise TypeError(f"expect must be a class of modules; got {shown(expect)}")
    arrays, metadata = read_arrays(path)
    path = name_of(path)
    if _METADATA_KEY not in metadata:
        raise ValueError(
            f"{path}: no model of fastcell: the metadata have no entry "
            f"{_METADATA_KEY!r}; read_arrays reads such a file"
        )
    description = parse_json(
        path, f"metadata {_METADATA_KEY!r}", metadata[_METADATA_KEY]
    )
    if not isinstance(description, dict):
        raise ValueError(f"{path}: the metadata {_METADATA_KEY!r} are no JSON object")
    number = description.get("format")
    if type(number) is not int or number != _FORMAT:
        raise ValueError(
            f"{path}: the format must be {_FORMAT}; got {short(number)}"
            + (" of a later fastcell" if type(number) is int and number > 1 else "")
        )
    name, config = description.get("class"), description.get("config")
    if not isinstance(name, str) or name not in _all_classes():
        raise ValueError(
            f"{path}: the class must be {one_of_them(CLASSES)}; got {short(name)}"
        )
    if not isinstance(config, dict):
        raise ValueError(f"{path}: the config must be a JSON object")
    _check_extent(f"{path}: the config", config)
    shared = description.get("shared", {})
    if not isinstance(shared, dict) or not all(
        isinstance(first, str) and first in arrays for first in shared.values()
    ):
        raise ValueError(
            f"{path}: the shared arrays must be those of the file, by name"
        )
    cls = model_class(name)
    if expect is not None and not issubclass(cls, expect):
        raise ValueError(
            f"{path}: the class must be {expect.__name__}, as expect says; got {name!r}"
        )
    # Errors of these two come from the file's content, so they name the file.
    try:
        # Layers of a model may share arrays that `shared` does not list.
        most = max(_elements(arrays, shared), 2 * _elements(arrays, {}))
        with at_most(min(most, _most_elements(arrays))):
            model = cls.from_config(config)
    except Exception as error:
        raise ValueError(
            f"{path}: no {name} can be made of the config {shortened(short(config))}: "
            f"{shortened(error)}"
        ) from error
    try:
        for alias, first in shared.items():
            params = model.params
            if not isinstance(params, ParameterGroup):
                raise TypeError(f"a {name} has no parts that could share arrays")
            if params.aliases.get(alias) != first:
                params.share(alias, first)
        _check_dtypes(model, arrays)
        model.load_state_dict(arrays)
    except Exception as error:
        raise ValueError(
            f"{path}: the arrays do not fit the {name} of the config: "
            f"{shortened(error)}"
        ) from error
    return model


def _check_dtypes(model: Module, arrays: Mapping[str, Any]) -> None:
    """Refuse arrays that `load_state_dict` would cast; `save` writes none.

    Raises
    ------
    TypeError
        If one is of another dtype than the parameter.
    """
    params = getattr(model, "params", None)
    for name, own in ({} if params is None else params.arrays()).items():
        if name in arrays and arrays[name].dtype != own.dtype:
            raise TypeError(f"{name} must be {own.dtype}; got {arrays[name].dtype}")


def _elements(arrays: Mapping[str, Any], shared: Mapping[str, str]) -> int:
    """Return the number of elements in the arrays of a model's layers."""
    again: int = sum(arrays[first].size for first in shared.values())
    own: int = sum(array.size for array in arrays.values())
    return own + again


def _most_elements(arrays: Mapping[str, Any]) -> int:
    return _MOST_SHARED * _elements(arrays, {})


def model_class(name: str) -> type[Module]:
    """Return the class of fastcell that files call `name`.

    A container uses this to build its children from its configuration.

    Raises
    ------
    ValueError
        If there is no such class, or files may not name it.

    Examples
    --------
    >>> from fastcell.serialize import model_class
    >>> model_class("os.system")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: name: the class must be Activation, ...; got 'os.system'
    """
    _all_classes()
    return class_named(name)


def class_name(model: Module) -> str:
    """Return what files call the class of a model.

    Raises
    ------
    TypeError
        If `load` could not build one.

    Examples
    --------
    >>> import fastcell
    >>> from fastcell.serialize import class_name
    >>> class_name(fastcell.Linear(1, 1))
    'Linear'
    """
    name = type(model).__name__
    if _all_classes().get(name) is not type(model):
        raise TypeError(
            f"model must be one of {one_of_them(CLASSES)} of fastcell; "
            f"got {type(model).__module__}.{type(model).__qualname__}"
        )
    return name


def _check_extent(what: str, config: Any) -> None:
    """Refuse a configuration of too many layers, or too deeply nested.

    Raises
    ------
    ValueError
        If it exceeds one of the limits.
    """
    objects, depth, level = 0, 0, [config]
    while level:
        inner: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                objects += 1
                inner += node.values()
            elif isinstance(node, (list, tuple)):
                inner += node
        depth += 1
        level = [node for node in inner if isinstance(node, (dict, list, tuple))]
        # Each layer takes two objects: itself and its configuration.
        if objects > 2 * _MOST_LAYERS:
            raise ValueError(f"{what} must hold at most {_MOST_LAYERS:,} layers")
        if depth > _DEEPEST:
            raise ValueError(f"{what} must be at most {_DEEPEST} lists or objects deep")


def _all_classes() -> dict[str, type[Module]]:
    """Return the classes that files may name, including the models."""
    import fastcell.models  # noqa: F401  its classes enter the table

    return CLASSES
