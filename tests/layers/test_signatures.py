"""What `inspect.signature` and `help` show of the layers and the single cells."""

from __future__ import annotations

import inspect
import re

import pytest

import fastcell
from fastcell.cells import REGISTRY
from fastcell.layers.recurrent import Recurrent

LAYERS = {cell.layer_class for cell in REGISTRY.values()}
LAYERS |= {fastcell.PeepholeLSTM, fastcell.CoupledLSTM}
STEPS = {cell.cell_class for cell in REGISTRY.values()}
SIZES = {"input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"}
OF_LAYERS = SIZES | {"bidirectional", "dtype", "seed", "options"}
OF_STEPS = {"input_size", "hidden_size", "bias", "dtype", "seed", "init"}


def named(classes):
    classes = sorted(classes, key=lambda cls: cls.__name__)
    return pytest.mark.parametrize("cls", classes, ids=lambda cls: cls.__name__)


@named(LAYERS)
def test_the_signature_of_a_layer_has_all_arguments(cls):
    assert {*inspect.signature(cls).parameters} >= OF_LAYERS


@named(STEPS)
def test_the_signature_of_a_single_cell_has_all_arguments(cls):
    own = {*inspect.signature(cls).parameters}
    assert own >= OF_STEPS
    layer = {c.layer_class for c in REGISTRY.values() if c.cell_class is cls}.pop()
    arguments = {*inspect.signature(layer).parameters} - OF_LAYERS - {"proj_size"}
    assert arguments <= own


@named(STEPS)
def test_the_arguments_of_a_single_cell_reach_its_layer(cls):
    given = {"bias": False, "seed": 7, "init": "glorot"}
    config = cls(3, 4, **given, dtype="f8").config()
    assert config["dtype"] == "float64"
    assert {name: config[name] for name in given} == given
    own = inspect.signature(cls).parameters
    if "forget_bias" in own:
        assert cls(3, 4, forget_bias=2.5).config()["forget_bias"] == 2.5
        chosen = {"init": "chrono", "chrono_steps": 9}
        assert cls(3, 4, **chosen).config()["chrono_steps"] == 9
    if "positive" in own:
        assert cls(3, 4, positive=True).config()["positive"]


@named(LAYERS)
def test_the_help_of_a_layer_describes_each_argument(cls):
    text = "\n".join(
        inspect.getdoc(part) or ""
        for base in cls.__mro__
        if issubclass(base, Recurrent) and base is not Recurrent
        for part in (base, base.__init__)
    )
    entries = "\n".join(re.findall(r"^[\w*, ]+(?=$| : )", text, re.M))
    for name in inspect.signature(cls).parameters:
        assert re.search(rf"\b{name}\b", entries), name
