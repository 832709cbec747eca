"""Every cell of the registry, exported: one file with all of them, built four ways."""

from __future__ import annotations

import numpy as np
import pytest
from exported import BUILDS, Net, needs_cc, ulps

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY

pytestmark = needs_cc
SIZES = (5, 8, 9, 17)
# Sums over a whole row are in an order that depends on the lanes, so a normalized value
# that is nearly 0 may differ in more ulp of its own; the row's own size is 1.
WHOLE_ROW = ("lstm_layer_norm", "gru_layer_norm")
LAYER_NORM = 6 * 2.0**-24


def layers(seed=0):
    """Return a layer of each cell, each reading the output of the one before."""
    found, width = [], 3
    for i, cell in enumerate(REGISTRY.values()):
        units = SIZES[i % len(SIZES)]
        options = dict(cell.options)
        if cell.proj_size:
            options["proj_size"] = cell.proj_size(units)
        layer = cell.layer_class(width, units, seed=seed + i, **options)
        scale_up(layer)
        found.append(layer)
        width = layer.output_size
    return found


def scale_up(layer):
    """Make the parameters larger, so that gates are not all near one half."""
    random = np.random.default_rng(3)
    for name in layer.params:
        array = np.array(layer.params[name])
        layer.params[name] = array * 1.5 + random.normal(0, 0.1, array.shape)


def state_of(net, k, layer):
    """Return the state of exported layer k as the library's."""
    h = net.h(k)[: layer.output_size][np.newaxis, np.newaxis].copy()
    others = len(layer.states) - 1
    if not others:
        return h
    rows = net.c(k).reshape(others, 1, 1, -1)[..., : layer.hidden_size]
    return h, *rows.copy()


def differences(net, stack, steps=50):
    """Return the largest difference of each cell's step, in ulp and absolute.

    Each step starts from the exported state, so differences do not add up.
    """
    sessions = [layer.session() for layer in stack]
    random = np.random.default_rng(1)
    worst = {name: [0.0, 0.0] for name in REGISTRY}
    for _ in range(steps):
        before = [state_of(net, k, layer) for k, layer in enumerate(stack)]
        x = random.standard_normal(3).astype(np.float32)
        y = net(x)
        for k, (name, layer) in enumerate(zip(REGISTRY, stack, strict=True)):
            sessions[k].state = before[k]
            sessions[k].step(x)
            after, ours = sessions[k].state, state_of(net, k, layer)
            pairs = zip(after, ours, strict=True) if isinstance(ours, tuple) else [(after, ours)]
            x = ours[0].reshape(-1) if isinstance(ours, tuple) else ours.reshape(-1)
            for theirs, mine in pairs:
                worst[name][0] = max(worst[name][0], ulps(mine, theirs))
                worst[name][1] = max(worst[name][1], float(np.abs(mine - theirs).max()))
        np.testing.assert_array_equal(y, x)
    return worst
