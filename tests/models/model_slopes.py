"""Helper: central differences of a model's loss along random directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from tolerances import DIFFERENCE_STEP


def slope_errors(model: Any, batch: Any, **options: Any) -> dict[str, float]:
    """Return, for each parameter, how far the gradient's slope is from the difference.

    Before each loss the random generators are put back, so that dropout and draws are
    the same.
    """
    start = model.rng_state()

    def loss() -> Any:
        model.set_rng_state(start)
        return model.loss(batch, **options)

    grads = model.backward(loss()[1])
    arrays = model.params.arrays()
    assert set(grads) == set(arrays) == set(model.state_dict())
    random = np.random.default_rng(11)
    errors = {}
    for name, array in arrays.items():
        assert grads[name].shape == array.shape
        direction = random.standard_normal(array.shape)
        before, ends = array.copy(), []
        for sign in (1, -1):
            array[...] = before + sign * DIFFERENCE_STEP * direction
            model.params.changed()
            ends.append(loss()[0])
        array[...] = before
        model.params.changed()
        expected = (ends[0] - ends[1]) / (2 * DIFFERENCE_STEP)
        got = float((grads[name] * direction).sum())
        errors[name] = abs(got - expected) / (1 + abs(expected))
    return errors
