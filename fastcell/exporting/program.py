"""A C program under construction: its arrays, its state, its statements, its text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastcell.exporting.arrays import padded, text_of
from fastcell.exporting.sources import primitives, sources, template


class Value(NamedTuple):
    """A row of numbers in C.

    Attributes
    ----------
    at : str
        An expression, the address of its first number.
    width : int
    whole : bool
        Whether memory follows it up to a multiple of the lanes.
    """

    at: str
    width: int
    whole: bool = True


class Program:
    """What the layers of a model add to an exported file.

    Parameters
    ----------
    name : str
        Prefix of the public names.
    dtype : {"float32", "int8"}
        Of the weights of recurrent layers.
    lanes : int
        Units and columns are padded to a multiple of it.

    Attributes
    ----------
    statements : list of str
        Of the step, in their order.
    multiply_adds : int
        Of a step's products.
    """

    def __init__(self, name: str, dtype: str, lanes: int) -> None:
        self.name, self.dtype, self.lanes = name, dtype, lanes
        self.statements: list[str] = []
        self.notes: list[str] = []
        self.multiply_adds = 0
        self._arrays: dict[str, np.ndarray] = {}
        self._constants: list[str] = []
        self._functions: list[str] = []
        self._roots: set[str] = set()
        self._states: dict[str, int] = {}
        self._values = 0
        self._work = 0
        self._integers = 0

    @property
    def has_pairs(self) -> bool:
        """Whether a cell exchanges neighbouring units, which one vector has to hold."""
        items = sources().needed(self._roots, ())
        return any("vswap_pairs" in item.words for item in items)

    @property
    def state(self) -> str:
        """The type of the state."""
        return f"{self.name}_state"

    def array(self, name: str, values: np.ndarray) -> str:
        """Add a constant array, and return its name."""
        self._arrays[name] = values
        return name

    def optional(self, name: str, values: np.ndarray | None) -> str:
        """Return `array` of values, or NULL of None."""
        return "NULL" if values is None else self.array(name, values)

    def constant(self, text: str) -> None:
        """Add a definition that functions of layers need."""
        self._constants.append(text)

    def function(self, text: str) -> None:
        """Add the function of a layer."""
        self._functions.append(text)

    def uses(self, *names: str) -> None:
        """Note that functions of the core or of the templates are called."""
        self._roots |= {*names}

    def kept(self, name: str, numbers: int) -> str:
        """Add numbers that a step leaves to the next, and return their address."""
        self._states[name] = numbers
        return f"s->{name}"

    def row(self, width: int) -> Value:
        """Return memory for a row that a statement writes."""
        at, self._values = self._values, self._values + padded(width, self.lanes)
        return Value(f"s->values + {at}" if at else "s->values", width)

    def work(self, numbers: int, integers: int = 0) -> None:
        """Provide memory that layers use one after the other."""
        self._work = max(self._work, numbers)
        self._integers = max(self._integers, integers)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constant arrays."""
        return sum(max(a.nbytes, 1) for a in self._arrays.values())

    @property
    def state_bytes(self) -> int:
        """The size of the state's type."""
        numbers = sum(self._states.values()) + self._values + self._work
        return 4 * max(numbers, 1) + padded(self._integers, 4)

    def header(self, inputs: int, outputs: int, ids: bool) -> str:
        """Return the text of the header."""
        upper = self.name.upper()
        fields = {**self._states, "values": self._values, "work": self._work}
        lines = [f"    float {name}[{n}];" for name, n in fields.items() if n]
        if self._integers:
            lines.append(f"    signed char integers[{padded(self._integers, 4)}];")
        return template("header.h").substitute(
            name=self.name,
            upper=upper,
            notes="".join(f" *     {note}\n" for note in self.notes),
            includes="#include <stdint.h>\n\n" if ids else "",
            inputs=inputs,
            outputs=outputs,
            fields="\n".join(lines or ["    float unused[1];"]),
            given="an id" if ids else f"[{upper}_INPUTS]",
            kind=_kind(ids),
        )

    def source(self, header: str, result: Value, ids: bool) -> str:
        """Return the text of the C file, which includes `header`.

        Raises
        ------
        ValueError
            If a public name is also one inside.
        """
        vectors, given = primitives()
        if self.has_pairs and self.lanes == 1:
            raise ValueError(
                "lanes must be at least 2 for cells of pairs of units; got 1"
            )
        items = sources().needed(self._roots, given)
        inside = {name for item in items for name in item.names} | given
        for public in (self.state, f"{self.name}_reset", f"{self.name}_step"):
            if public in inside:
                raise ValueError(
                    f"name must be another than {self.name!r}: the file has a "
                    f"{public} of its own"
                )
        copy = f"memcpy(y, {result.at}, {result.width} * sizeof *y);"
        statements = "".join(f"    {line}\n" for line in [*self.statements, copy])
        if "s->" not in statements and "(s," not in statements:
            statements = f"    (void)s;\n{statements}"
        arrays = (text_of(name, values) for name, values in self._arrays.items())
        return template("source.c").substitute(
            name=self.name,
            header=header,
            lanes=self.lanes,
            pairs="#define NET_PAIRS\n" if self.has_pairs else "",
            vectors=vectors,
            items="\n".join(f"{item.text}\n" for item in items),
            arrays="\n".join([*arrays, *self._constants]),
            functions="\n".join(self._functions),
            kind=_kind(ids),
            statements=statements,
        )


def _kind(ids: bool) -> str:
    """Return the type of what a step reads."""
    return "int32_t" if ids else "float"
