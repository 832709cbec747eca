"""From the results of the core to those of a layer, and the gradients back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import check_shape, real_array, rows_of
from fastcell._checks.names import one_of
from fastcell.layers.batches import Layout
from fastcell.layers.empty_rows import POLICIES, empty_rows, without_rows
from fastcell.layers.last_outputs import last_outputs, with_last_gradient
from fastcell.layers.merging import merge_of, merged, merged_gradient
from fastcell.layers.saved import Saved
from fastcell.layers.states import States


class Outputs:
    """What a layer makes of y and the final states of the core.

    Parameters
    ----------
    merge, zero_length : str
        As the layer's.
    zero_output_for_mask : bool
    num_layers, directions, size : int
        L, D and P.
    states : States
    dtype : dtype

    Raises
    ------
    ValueError
        If merge or zero_length is unknown, or merge is not for such a layer.
    """

    def __init__(
        self,
        merge: Any,
        zero_length: Any,
        zero_output_for_mask: bool,
        num_layers: int,
        directions: int,
        size: int,
        states: States,
        dtype: np.dtype,
    ) -> None:
        self.merge = merge_of(merge, directions == 2, num_layers)
        self.zero_length = one_of("zero_length", zero_length, POLICIES)
        self._zero_output_for_mask = zero_output_for_mask
        self._passes = num_layers * directions
        self._directions = directions
        self._width = directions * size
        self._merged_width = self._width if self.merge == "concat" else size
        self._states = states
        self._dtype = dtype
        self.are_plain = self.merge == "concat" and self.zero_length == "keep"

    def config(self) -> dict[str, Any]:
        """Return the arguments that are not the defaults."""
        given = {"merge": self.merge, "zero_length": self.zero_length}
        defaults = {"merge": "concat", "zero_length": "keep"}
        return {name: it for name, it in given.items() if it != defaults[name]}

    def run(
        self,
        call: _core.Batch,
        layout: Layout,
        last: bool,
        forward: Callable[..., None],
    ) -> tuple[np.ndarray, Any, np.ndarray | None]:
        """Return y, the final state, and the outputs that the gradient of y reads.

        Parameters
        ----------
        last : bool
            Whether y has the last outputs only.
        forward : callable
            ``forward(y, h, c)`` fills y (T, B, D P), if it is not None, and the final
            states.
        """
        T, B, n = call.steps, call.rows, self._width
        state = self._states.empty(B)
        y = None if last else layout.empty((T, B, n), self._dtype)
        y_core = None if y is None else layout.to_core(y)
        forward(y_core, *state)
        if y_core is not None and self._zero_output_for_mask and call.mask is not None:
            y_core[call.mask == 0] = 0
        if self.zero_length == "zero":
            state = without_rows(state, empty_rows(call))
        if y is None:
            y = last_outputs(state[0], self._directions)
            y = y.reshape(layout.last_shape(B, n))
        parts = y if self.merge == "mul" else None
        y = merged(y, self.merge)
        y = y if last else layout.finished(y)
        return y, self._states.to_caller(state, layout), parts

    def gradients(
        self, dy: Any, dstate: Any, saved: Saved, call: _core.Batch
    ) -> tuple[Any, Any, Any]:
        """Check the gradients of y and of the final state; return those for the core.

        They are dy (T, B, D P), dh and dc, each None for zeros.

        Raises
        ------
        TypeError, ValueError
            If a dtype or a shape is wrong.
        """
        T, B, n, layout = call.steps, call.rows, self._merged_width, saved._layout
        if dy is not None:
            if saved.last:
                dy = real_array("dy", dy, self._dtype)
                check_shape("dy", dy, layout.last_shape(B, n))
            else:
                dy = layout.gradient("dy", dy, (T, B, n), self._dtype)
            dy = merged_gradient(dy, saved.parts(), self.merge)
        dh, dc = self._states.to_core(
            "dstate", dstate, layout, B, parts_may_be_none=True
        )
        if dy is not None and saved.last:
            dy = dy.reshape(B, self._width)
            dh, dy = with_last_gradient(dh, dy, self._passes, self._directions), None
        elif dy is not None:
            dy = layout.to_core(dy)
            if self._zero_output_for_mask and call.mask is not None:
                seen = (call.mask != 0)[..., np.newaxis]
                dy = np.where(seen, dy, self._dtype.type(0))
            dy = rows_of(dy)
        if self.zero_length == "zero":
            dh, dc = without_rows((dh, dc), empty_rows(call))
        return dy, dh, dc
