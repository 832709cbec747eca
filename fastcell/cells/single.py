"""The base of RNNCell, LSTMCell and GRUCell: one step of one layer, as in torch."""

from __future__ import annotations

from typing import Any, Generic

import numpy as np

from fastcell.layers.recurrent import Recurrent
from fastcell.layers.saved import Saved
from fastcell.layers.states import StateT
from fastcell.module import Module
from fastcell.parameters import UnsuffixedParameters
from fastcell.threads import get_num_threads


class RecurrentCell(Module, Generic[StateT]):
    """One step of a layer, with the layer's weights under names without a suffix.

    For many steps a layer is faster, and for streaming ``layer.session()``: it keeps
    state and weights ready, and takes a quarter of the time of such a call.
    """

    def __init__(self, layer: Recurrent[StateT]) -> None:
        self._layer = layer
        self._parameters = UnsuffixedParameters(layer._parameters, "_l0")

    def children(self) -> dict[str, Module]:
        """Return nothing: the layer inside is the cell itself."""
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
        # Most calls: the checks below take longer than the step.
        quick: StateT | None = layer._stack.step(
            packed, x, state, layer.dtype, get_num_threads()
        )
        if quick is not None:
            return quick
        _, state = layer(*self._to_layer(x, state))
        after: StateT = self._states(state, lambda part: part[0])
        return after

    def forward(self, x: Any, state: Any = None) -> tuple[StateT, Saved]:
        """Return the next state, and what `backward` needs."""
        _, state, saved = self._layer.forward(*self._to_layer(x, state))
        return self._states(state, lambda part: part[0]), saved

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
        """
        dstate = self._states(dstate, _with_layer)
        dx, dstate, grads = self._layer.backward(None, saved, dstate)
        grads = {name.removesuffix("_l0"): grad for name, grad in grads.items()}
        return dx[0], self._states(dstate, lambda part: part[0]), grads

    _takes_precision = False

    @property
    def precision(self) -> str:
        """Of the recurrent products; see `fastcell.module.Module.to`."""
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

        An unbatched x (I,) becomes (1, I), which the layer takes as unbatched too.
        """
        x = np.asarray(x)
        if x.ndim not in (1, 2):
            raise ValueError(f"x must have the shape (B, I) or (I,); got {x.shape}")
        if state is not None:
            state = self._states(state, _with_layer)
        return x[np.newaxis], state

    def _states(self, state: Any, change: Any) -> Any:
        if isinstance(state, (tuple, list)):
            return tuple(change(part) for part in state)
        return change(state)


def _with_layer(part: Any) -> np.ndarray | None:
    """Put a layer axis before a part of a state."""
    return None if part is None else np.asarray(part)[np.newaxis]
