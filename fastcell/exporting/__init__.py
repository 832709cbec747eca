"""Export of models as C source: one file without dependencies, and its header."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from fastcell._checks.names import one_of
from fastcell._checks.numbers import integer, shown
from fastcell.exporting.layers import add_model
from fastcell.exporting.program import Program

__all__ = ["ExportedC", "export_c"]

_LANES = (1, 2, 4, 8, 16)
_LONGEST = 60


class ExportedC(NamedTuple):
    """An exported C file and its sizes.

    Attributes
    ----------
    source, header : str
        Paths of the two files.
    inputs, outputs : int
        Numbers that a step reads and writes; of a model of ids, 1 id.
    weight_bytes : int
        Bytes of the constant arrays, padding included.
    state_bytes : int
        Bytes of the state with the memory of a step.
    multiply_adds : int
        Of the products of one step.
    """

    source: str
    header: str
    inputs: int
    outputs: int
    weight_bytes: int
    state_bytes: int
    multiply_adds: int


def export_c(
    model: Any,
    path: str | os.PathLike[str],
    *,
    name: str = "net",
    dtype: str = "float32",
    lanes: int = 8,
) -> ExportedC:
    """Write a model's step as one C99 file and a header, and return their sizes.

    The file needs no library, allocates no memory and has constant data only. It is
    compiled by any C99 compiler; see docs/embedding.md for flags, vectors and numbers.
    ``net_reset(&state)`` begins a sequence, ``net_step(&state, x, y)`` reads one step.
    A step computes what the session of the model does; the classes' scores of a
    classifier or a tagger are those before softmax.

    Parameters
    ----------
    model : Module
        Recurrent layers of one direction, of any cell; `Linear`, `LayerNorm`,
        `Activation`, `Embedding`, `Dropout`, `Residual`, `Highway` and `Sequential` of
        them; or a language model, tagger, classifier, regressor, forecaster, frame
        model or feed-forward network. float32.
    path : str or path
        The C file; the header is beside it, with the suffix .h. Both are replaced.
    name : str, default "net"
        Prefix of the public names, an identifier.
    dtype : {"float32", "int8"}, default "float32"
        Of the weights of recurrent layers: int8 computes as ``model.quantize()``.
    lanes : {1, 2, 4, 8, 16}, default 8
        Units are padded to a multiple of it, for vectors of that many numbers. 1 is
        smallest, for processors without vectors.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a layer has no form in C, which the message names; or an argument is out of
        range.
    OSError
        If a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import fastcell
    >>> model = fastcell.Sequential([fastcell.GRU(1, 8), fastcell.Linear(8, 1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = fastcell.export_c(model, f"{folder}/net.c")
    >>> made.multiply_adds, made.inputs, made.outputs
    (224, 1, 1)
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a path; got {shown(path)}")
    source = Path(os.fsdecode(path))
    if source.suffix == ".h":
        raise ValueError(
            f"path must be that of the C file; got {shown(str(source))}, its header"
        )
    if not isinstance(name, str):
        raise TypeError(f"name must be a string; got {shown(name)}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or len(name) > _LONGEST:
        raise ValueError(f"name must be an identifier of C; got {shown(name)}")
    one_of("dtype", dtype, ("float32", "int8"))
    lanes = integer("lanes", lanes, minimum=1)
    if lanes not in _LANES:
        raise ValueError(f"lanes must be of {_LANES}; got {lanes}")
    program = Program(name, dtype, lanes)
    inputs, ids, y = add_model(program, model)
    header = source.with_suffix(".h")
    text = program.source(header.name, y, ids)
    header.write_text(program.header(inputs, y.width, ids))
    source.write_text(text)
    return ExportedC(
        str(source),
        str(header),
        inputs,
        y.width,
        program.weight_bytes,
        program.state_bytes,
        program.multiply_adds,
    )
