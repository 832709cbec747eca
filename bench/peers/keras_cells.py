"""LSTMs with layer normalization and with zoneout in Keras 3 on PyTorch.

Keras' LSTM has neither. Users write a cell of their own for `keras.layers.RNN`: with
Keras' LayerNormalization, or around Keras' LSTMCell. Keras runs it in a loop over the
steps.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from judge import zoneout
from keras import ops

from fastcell._judge.cases import Case
from peers import Arrays, BaseEngine, Run


class NormalizedLSTMCell(keras.layers.Layer):
    """An LSTM cell with layer normalization of both products and of c."""

    def __init__(self, units: int, **given: Any) -> None:
        super().__init__(**given)
        self.units, self.state_size, self.output_size = units, [units, units], units
        self.of_x = keras.layers.LayerNormalization(epsilon=1e-5)
        self.of_h = keras.layers.LayerNormalization(epsilon=1e-5)
        self.of_c = keras.layers.LayerNormalization(epsilon=1e-5)

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        self.kernel = self.add_weight(shape=(input_shape[-1], 4 * self.units))
        self.recurrent_kernel = self.add_weight(shape=(self.units, 4 * self.units))
        for norm, gates in ((self.of_x, 4), (self.of_h, 4), (self.of_c, 1)):
            norm.build((None, gates * self.units))

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """Return y and the new states."""
        h, c = states
        a = self.of_x(ops.matmul(inputs, self.kernel))
        a = a + self.of_h(ops.matmul(h, self.recurrent_kernel))
        i, f, g, o = ops.split(a, 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(self.of_c(c))
        return h, [h, c]

    def parameters(self) -> dict[str, Any]:
        """Return the variables by our names."""
        return {
            "weight_ih": self.kernel,
            "weight_hh": self.recurrent_kernel,
            "bias_ih": self.of_x.beta,
            "bias_hh": self.of_h.beta,
            "weight_ln_ih": self.of_x.gamma,
            "weight_ln_hh": self.of_h.gamma,
            "weight_ln_c": self.of_c.gamma,
            "bias_ln_c": self.of_c.beta,
        }


class ZoneoutLSTMCell(keras.layers.LSTMCell):
    """Keras' LSTM cell with zoneout of h.

    `keep` has where units keep h, an array (B, H) for each step; None: at random.
    """

    def __init__(self, units: int, zoneout: float, **given: Any) -> None:
        super().__init__(units, **given)
        self.zoneout, self.keep = zoneout, None

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """Return y and the new states."""
        new, (_, c) = super().call(inputs, states, training=training)
        if self.keep is None:
            keep = keras.random.uniform(ops.shape(new)) < self.zoneout
        else:
            keep = next(self.keep)
        h = ops.where(keep, states[0], new)
        return h, [h, c]

    def parameters(self) -> dict[str, Any]:
        """Return the variables by our names; the bias is the sum of both."""
        return {
            "weight_ih": self.kernel,
            "weight_hh": self.recurrent_kernel,
            "bias_ih": self.bias,
        }


class Engine(BaseEngine):
    """See :class:`peers.BaseEngine`."""

    label = "Keras"
    cells = ("lstm", "lstm_layer_norm")

    def __init__(self) -> None:
        if keras.backend.backend() != "torch":
            raise RuntimeError("Keras runs on another backend: see KERAS_BACKEND")

    def versions(self) -> dict[str, str]:
        return {"keras": keras.__version__}

    def set_num_threads(self, n: int) -> None:
        torch.set_num_threads(n)

    def train(
        self,
        case: Case,
        weights: Arrays,
        x: np.ndarray,
        dy: np.ndarray,
        keep: np.ndarray | None = None,
    ) -> list[Run]:
        """See :class:`peers.BaseEngine`; `keep`: where units keep h, default random."""
        cell: Any
        if case.cell == "lstm":
            cell = ZoneoutLSTMCell(case.H, zoneout.rate(case))
        else:
            cell = NormalizedLSTMCell(case.H)
        layer = keras.layers.RNN(cell, return_sequences=True)
        layer.build((case.B, case.T, case.I))
        given = {name.removesuffix("_l0"): array for name, array in weights.items()}
        if case.cell == "lstm":
            given["bias_ih"] = given["bias_ih"] + given.pop("bias_hh")
        variables = cell.parameters()
        for name, variable in variables.items():
            array = given[name]
            variable.assign(array.T if array.ndim == 2 else array)
        values = [variable.value for variable in variables.values()]
        x_torch = torch.from_numpy(np.ascontiguousarray(x.swapaxes(0, 1)))
        x_torch.requires_grad_()
        dy_torch = torch.from_numpy(np.ascontiguousarray(dy.swapaxes(0, 1)))
        masks = None if keep is None else torch.from_numpy(keep)

        def call() -> Any:
            if masks is not None:
                # Keras calls the cell with the first step twice, for the shapes.
                cell.keep = chain(masks[:1], masks)
            y = layer(x_torch, training=True)
            return y, torch.autograd.grad(y, (x_torch, *values), dy_torch)

        def read(result: Any) -> Arrays:
            y, (dx, *grads) = result
            found = {"y": _time_first(y), "dx": _time_first(dx)}
            for name, grad in zip(variables, grads, strict=True):
                array = grad.numpy()
                found[f"{name}_l0"] = array.T if array.ndim == 2 else array
            found.setdefault("bias_hh_l0", found["bias_ih_l0"])
            return found

        return [Run(self.label, call, read)]


def _time_first(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy().swapaxes(0, 1)
