"""The base of RNNCell, LSTMCell and GRUCell: one step of one layer, as in torch."""

from __future__ import annotations

from typing import Any, Generic

import numpy as np

from fastcell._checks.arrays import check_shape, real_array
from fastcell.layers.recurrent import Recurrent
from fastcell.layers.saved import Saved, check_saved
from fastcell.layers.states import StateT, parts_of
from fastcell.module import Module
from fastcell.parameters import UnsuffixedParameters
from fastcell.threads import get_num_threads


class RecurrentCell(Module, Generic[StateT]):
    """One step of a layer, with the layer's weights under names without a suffix.

    A layer is faster for many steps, and ``layer.session()`` for streaming: it keeps
    state and packed weights, and takes a quarter of the time of this call.
    """

    _takes_precision = False

    def __init__(self, layer: Recurrent[StateT]) -> None:
        self._layer = layer
        self._parameters = UnsuffixedParameters(layer._parameters, "_l0")

    def children(self) -> dict[str, Module]:
        """Return no parts: the layer inside is the cell itself."""
        return {}

    def __call__(self, x: Any, state: Any = None) -> StateT:
        """Return the next state.

        Parameters
        ----------
        x : array, shape (B, I) or (I,)
        state : array or tuple of two, optional
            h, or (h, c), each (B, H) or (H,). Default: zeros.

        Returns
        -------
        ndarray or tuple of two
            The next h, or (h, c).

        Raises
        ------
        TypeError, ValueError
            If a dtype or a shape is wrong.
        """
        layer = self._layer
        _, packed = layer._packed(False)
        # The usual case: the checks below take longer than the step.
        quick: StateT | None = layer._stack.step(
            packed, x, state, layer.dtype, get_num_threads()
        )
        if quick is not None:
            return quick
        _, state = layer(*self._to_layer(x, state))
        after: StateT = self._states(state, _first)
        return after

    def forward(self, x: Any, state: Any = None) -> tuple[StateT, Saved]:
        """Return the next state, and what `backward` needs."""
        _, state, saved = self._layer.forward(*self._to_layer(x, state))
        return self._states(state, _first), saved

    def backward(
        self, dstate: Any, saved: Saved
    ) -> tuple[np.ndarray, StateT, dict[str, np.ndarray]]:
        """Return the gradients of x, of the state before, and of the parameters.

        Parameters
        ----------
        dstate : array or tuple of two, or None
            Gradient of the next state; None, also for a part of two, for zeros.
        saved : Saved
            From `forward`; used up.

        Raises
        ------
        TypeError, ValueError
            If a dtype or a shape is wrong, or `saved` is not from `forward`, or used.
        """
        check_saved(saved, Saved)
        rows = () if saved._layout.unbatched else (saved.look()[0].rows,)
        dstate = self._to_states("dstate", dstate, rows, parts_may_be_none=True)
        dx, dstate, grads = self._layer.backward(None, saved, dstate)
        grads = {name.removesuffix("_l0"): grad for name, grad in grads.items()}
        return dx[0], self._states(dstate, _first), grads

    @property
    def precision(self) -> str:
        """Precision of the recurrent products; see `fastcell.module.Module.to`."""
        return self._layer.precision

    def _check_precision(self, precision: str) -> None:
        self._layer._check_precision(precision)

    def _set_precision(self, precision: str) -> None:
        self._layer._set_precision(precision)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        config = self._layer.config()
        for name in (
            "num_layers",
            "batch_first",
            "dropout",
            "bidirectional",
            "proj_size",
            "zero_output_for_mask",
        ):
            config.pop(name, None)
        return config

    def _to_layer(self, x: Any, state: Any) -> tuple[np.ndarray, Any]:
        """Put a time axis before x and a layer axis before the state.

        An unbatched x (I,) becomes (1, I), which is unbatched for the layer too. All
        checks are here, because errors of the layer name axes that the cell lacks.
        """
        size = self._layer.input_size
        if hasattr(x, "batch_sizes"):
            raise TypeError(
                f"x must be one step, (B, I) or (I,); got {type(x).__name__}: a layer "
                "takes sequences"
            )
        x = real_array("x", x, self._layer.dtype)
        if x.ndim not in (1, 2) or x.shape[-1] != size:
            raise ValueError(
                f"x must have the shape (B, I) or (I,) with I = {size}; got {x.shape}"
            )
        return x[np.newaxis], self._to_states("state", state, x.shape[:-1])

    def _to_states(
        self,
        name: str,
        state: Any,
        rows: tuple[int, ...],
        *,
        parts_may_be_none: bool = False,
    ) -> Any:
        """Check a state of the caller, and put a layer axis before its parts."""
        if state is None:
            return None
        names = self._layer.states
        parts = parts_of(name, state, names)
        found: list[np.ndarray | None] = []
        for part_name, part in zip(names, parts, strict=True):
            if part is None and parts_may_be_none:
                found.append(None)
                continue
            label = f"{name} {part_name}"
            array = real_array(label, part, self._layer.dtype)
            shape = (*rows, self._layer.hidden_size)
            found.append(check_shape(label, array, shape)[np.newaxis])
        return found[0] if len(names) == 1 else tuple(found)

    def _states(self, state: Any, change: Any) -> Any:
        if isinstance(state, (tuple, list)):
            return tuple(change(part) for part in state)
        return change(state)


def _first(part: np.ndarray) -> np.ndarray:
    """Return the states of the one layer; those beside h stand side by side."""
    return np.ascontiguousarray(part[0])
