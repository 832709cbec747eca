"""The heads of a model of frames by their names, with what each may be given."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcell._numbers import flag, real, shown, size
from fastcell.models.heads import BernoulliHead, Head, ValuesHead
from fastcell.models.mixture_head import MixtureHead

_HEADS = ("bernoulli", "mixture", "values")
_MIXTURES = 20  # those of Graves 2013


def head_named(
    name: Any,
    frame_size: int,
    mixtures: Any,
    correlated: Any,
    min_scale: Any,
    dtype: np.dtype,
) -> Head:
    """Return a head by the name and with the options that `FrameModel` takes.

    Raises
    ------
    TypeError, ValueError
        If there is no such head, or an option is not for it, or out of its range.
    """
    if not isinstance(name, str) or name not in _HEADS:
        raise ValueError(f"head must be one of {', '.join(_HEADS)}; got {shown(name)}")
    min_scale = real("min_scale", min_scale, minimum=0)
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
        return MixtureHead(frame_size, count, correlated, min_scale, dtype)
    for option, value in (("mixtures", mixtures), ("correlated", correlated)):
        if value is not None:
            raise ValueError(
                f'{option} must be left out for the head "{name}"; got {value!r}'
            )
    if min_scale:
        raise ValueError(f'min_scale must be 0 for the head "{name}"; got {min_scale}')
    kind = BernoulliHead if name == "bernoulli" else ValuesHead
    return kind(frame_size, dtype)
