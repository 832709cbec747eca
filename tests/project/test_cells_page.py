"""docs/cells.md against the registry, the C core and the options of layers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cells.md").read_text()
CELL_COLUMNS = ("cell=", "written", "gates", "states", "parameters", "saved", "heads")
# What the column "written" calls the sizes.
SIZES = {"I": 3, "H": 4, "P": 1}


def tables(first):
    """Yield the tables whose first column has this name, as lists of dicts."""
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.M):
        # A bar within code is written with a backslash.
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()]
        header, _, *rows = [[cell.strip() for cell in line] for line in lines]
        if header[0] == first:
            yield [dict(zip(header, row, strict=True)) for row in rows]


def parameters_of(text):
    """Return the parameters in a cell of a table, with the axes of each."""
    found = re.findall(r"`(\w+)` \(([^)]*)\)", text)
    return {
        name: tuple(axis.replace(" ", "") for axis in axes.split(", "))
        for name, axes in found
    }


SHORT = {row["short"]: row["parameters"] for t in tables("short") for row in t}
ROWS = [row for table in tables("cell=") for row in table]
CELLS = {row["cell="].strip("`"): row for row in ROWS}
by_row = pytest.mark.parametrize("name", CELLS)


def test_the_page_has_each_cell_once():
    assert len(CELLS) == len(ROWS)
    assert set(CELLS) == set(REGISTRY)
    assert all(tuple(row) == CELL_COLUMNS for row in ROWS)


@by_row
def test_a_cell_is_what_the_core_says(name):
    row, core = CELLS[name], _core.describe_cell(name)
    assert tuple(row["gates"].split()) == core["gates"]
    assert tuple(row["states"].split()) == core["states"]
    assert int(row["saved"]) == core["slots"]
    assert row["heads"] == ("yes" if core["takes_heads"] else "no")


@by_row
def test_a_cell_has_the_parameters_of_the_core(name):
    parts = re.split(r", (?![^(]*\))", CELLS[name]["parameters"])
    given = parameters_of(", ".join(SHORT.get(part, part) for part in parts))
    core = _core.describe_cell(name)["parameters"]
    expected = {
        parameter: tuple(axis.removeprefix("1") for axis in axes)
        for parameter, axes in core.items()
    }
    assert given == expected


@by_row
def test_what_is_written_is_the_cell(name):
    classes = {key: value for key, value in vars(fastcell).items() if key[0].isupper()}
    layer = eval(CELLS[name]["written"].strip("`"), {**classes, **SIZES})
    assert isinstance(layer, Recurrent)
    assert layer._core_cell == name
    assert layer.num_heads == 1 or CELLS[name]["heads"] == "yes"


def test_the_page_has_each_option():
    (rows,) = tables("option")
    names = [row["option"].strip("`") for row in rows if "default" in row]
    assert names == list(Options.__annotations__)


def test_the_defaults_of_the_options_are_those_of_a_layer():
    plain = fastcell.GRU(3, 4).config()
    for row in next(tables("option")):
        given = {row["option"].strip("`"): ast.literal_eval(row["default"])}
        assert fastcell.GRU(3, 4, **given).config() == plain


def test_each_library_of_the_comparison_has_a_version_and_a_source():
    read = {row["library"]: row for row in next(tables("library"))}
    assert all(row["version"] and row["source"] for row in read.values())
    for rows in (*tables("cell"), *tables("feature")):
        for row in rows:
            _, *libraries = row
            assert [name for both in libraries for name in both.split(" / ")] == [*read]
            assert all(row.values())
