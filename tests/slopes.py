"""Gradients of models and layers against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tolerances import DIFFERENCE, DIFFERENCE_STEP


def assert_slopes(
    value: Callable[[], float],
    arrays: Mapping[str, np.ndarray],
    grads: Mapping[str, np.ndarray],
    changed: Callable[[], Any] = lambda: None,
    directions: int = 3,
) -> None:
    """Assert that gradients are the slopes of a value, along random directions.

    Parameters
    ----------
    value : callable
        The value at what the arrays hold.
    arrays, grads : mapping of str to ndarray
        What it depends on, and its gradients. The arrays are written to and put back.
    changed : callable
        Called after each write.
    directions : int
        How many are tried for each array.
    """
    assert set(grads) == set(arrays)
    random = np.random.default_rng(0)
    for name, array in arrays.items():
        grad, before = grads[name], array.copy()
        assert (grad.shape, grad.dtype) == (array.shape, array.dtype), name
        for _ in range(directions):
            direction = random.standard_normal(array.shape)
            sides = []
            for step in (DIFFERENCE_STEP, -DIFFERENCE_STEP):
                array[...] = before + step * direction
                changed()
                sides.append(value())
            array[...] = before
            changed()
            expected = (sides[0] - sides[1]) / (2 * DIFFERENCE_STEP)
            got = float((grad * direction).sum())
            assert abs(got - expected) <= DIFFERENCE * (1 + abs(expected)), name


def assert_gradients(model: Any, batch: Any) -> None:
    """Assert that the gradients of a model are the slopes of its loss."""
    _, saved = model.loss(batch)
    grads = model.backward(saved)
    assert set(grads) == set(model.state_dict())
    assert_slopes(
        lambda: model.loss(batch)[0],
        model.params.arrays(),
        grads,
        model.params.changed,
    )
