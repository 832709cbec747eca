"""Every cell of the registry, exported: one file with all of them, built several ways.

The exported step has the bits of that instruction set of the library whose products are
of the same kind, fused or not, and whose vectors have as many lanes. Other sets differ
from it as they differ from one another.
"""

from __future__ import annotations

import numpy as np
import pytest
from exported import BUILDS, Net, needs_cc

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY

pytestmark = needs_cc
SIZES = (5, 8, 9, 17)


def every_cell():
    """Return a `Sequential` with a layer of each cell."""
    layers, width = [], 3
    for i, cell in enumerate(REGISTRY.values()):
        units = SIZES[i % len(SIZES)]
        options = dict(cell.options)
        if cell.proj_size:
            options["proj_size"] = cell.proj_size(units)
        layer = cell.layer_class(width, units, seed=i, **options)
        enlarge(layer, i)
        layers.append(layer)
        width = layer.output_size
    return fastcell.Sequential(layers)


def enlarge(layer, seed):
    """Make the parameters larger, so that gates are not all near one half."""
    random = np.random.default_rng(seed)
    for name in layer.params:
        array = np.array(layer.params[name])
        layer.params[name] = array * 1.5 + random.normal(0, 0.1, array.shape)


def check_states(net, session, layers):
    """Compare all states of a step, bit for bit."""
    for k, (part, layer) in enumerate(zip(session._sessions, layers, strict=True)):
        state = part.state if isinstance(part.state, tuple) else (part.state,)
        h = net.h(k)[: layer.output_size]
        np.testing.assert_array_equal(h, state[0].reshape(-1), err_msg=f"h of {layer}")
        if len(state) > 1:
            rows = net.c(k).reshape(len(state) - 1, -1)[:, : layer.hidden_size]
            np.testing.assert_array_equal(
                rows, np.reshape(state[1:], rows.shape), err_msg=f"c of {layer}"
            )


@pytest.fixture
def select_isa():
    before = _core.isa()
    yield _core.select_isa
    _core.select_isa(before)


@pytest.mark.parametrize("build", BUILDS)
def test_every_cell_has_the_bits_of_the_library(build, tmp_path, select_isa):
    flags, isa, lanes = BUILDS[build]
    select_isa(isa)
    model = every_cell()
    net = Net(model, tmp_path, flags, lanes=lanes)
    assert [cell for cell in REGISTRY if f"cell {cell}:" not in net.header] == []
    random = np.random.default_rng(1)
    for _ in range(2):  # the second time after a reset
        session = model.session()
        for x in random.standard_normal((25, 3)).astype(np.float32):
            y = session.step(x[np.newaxis])
            np.testing.assert_array_equal(net(x), y[0])
            check_states(net, session, model.layers)
        assert len(set(y[0].tolist())) > 1
        net.reset()
        assert not net.state.any()
