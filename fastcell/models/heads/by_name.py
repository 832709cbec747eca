"""Heads of frame models by name, with the options that each takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._checks.numbers import flag, real, shown, size
from fastcell.models.heads.base import BernoulliHead, Head, ValuesHead
from fastcell.models.heads.mixture import MixtureHead

_HEADS = ("bernoulli", "mixture", "values")
_MIXTURES = 20  # as in Graves 2013


def head_named(
    name: Any,
    frame_size: int,
    dtype: np.dtype,
    *,
    mixtures: Any,
    correlated: Any,
    min_scale: Any,
    loss: Any,
    delta: Any,
    pos_weight: Any,
    ignore_nan: Any,
) -> Head:
    """Return the head for the arguments of `FrameModel`.

    Raises
    ------
    TypeError, ValueError
        If there is no such head, or it does not take an option or its value.
    """
    if not isinstance(name, str) or name not in _HEADS:
        raise ValueError(f"head must be one of {', '.join(_HEADS)}; got {shown(name)}")
    min_scale = real("min_scale", min_scale, minimum=0)
    ignore_nan = flag("ignore_nan", ignore_nan)
    options = {
        "mixture": {"mixtures": mixtures, "correlated": correlated},
        "values": {"loss": loss, "delta": delta},
        "bernoulli": {"pos_weight": pos_weight},
    }
    for owner, its in options.items():
        for option, value in its.items():
            if owner != name and value is not None:
                raise ValueError(
                    f'{option} must be left out for the head "{name}"; '
                    f"got {shown(value)}"
                )
    if min_scale and name != "mixture":
        raise ValueError(f'min_scale must be 0 for the head "{name}"; got {min_scale}')
    if name == "mixture":
        count = _MIXTURES if mixtures is None else mixtures
        count = size("mixtures", count)
        plane = frame_size == 2
        correlated = flag("correlated", plane if correlated is None else correlated)
        if correlated and not plane:
            raise ValueError(
                "correlated must be False unless frame_size is 2; "
                f"got frame_size {frame_size}"
            )
        return MixtureHead(frame_size, count, correlated, min_scale, dtype, ignore_nan)
    if name == "bernoulli":
        return BernoulliHead(frame_size, dtype, pos_weight, ignore_nan)
    error = "mse" if loss is None else loss
    return ValuesHead(frame_size, dtype, error, delta, ignore_nan)
