"""Arrays for the gradients of a layer's parameters: new zeros, or a running sum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastcell._checks.arrays import check_shape, real_array
from fastcell._checks.names import mapping_of


def gradient_arrays(
    shapes: Mapping[str, tuple[int, ...]],
    dtype: np.dtype,
    add_to: dict[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Return arrays that gradients can be added to: zeros, or `add_to` itself.

    Raises
    ------
    TypeError
        If `add_to` is no mapping, or has an array of another dtype.
    ValueError
        If it has other names, or an array of another shape or one not contiguous.

    Examples
    --------
    >>> gradient_arrays({"bias": (2,)}, np.dtype(np.float32))
    {'bias': array([0., 0.], dtype=float32)}
    """
    if add_to is None:
        return {name: np.zeros(shape, dtype) for name, shape in shapes.items()}
    mapping_of("add_to", add_to, "gradients by name, a mapping")
    if set(add_to) != set(shapes):
        raise ValueError(
            f"add_to must hold {', '.join(shapes)}; got {', '.join(map(str, add_to))}"
        )
    for name, shape in shapes.items():
        label = f"add_to[{name!r}]"
        array = check_shape(label, real_array(label, add_to[name], dtype), shape)
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError(f"{label} must be contiguous and writable")
    return add_to
