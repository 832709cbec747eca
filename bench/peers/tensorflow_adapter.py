"""The adapter of Keras on TensorFlow: keras.layers.LSTM, GRU, SimpleRNN, tf.function.

Sequences are batch first; arrays are transposed outside the timed calls.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from judge.ragged import RaggedCase

from fastcell._judge.cases import Case
from peers import Arrays, BaseEngine, Run, padded, state_names

LAYERS = {
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "rnn": keras.layers.SimpleRNN,
}

#: Keras' gates as indices into torch's: LSTM i f c o, GRU z r h.
GATE_ORDER = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}


class Engine(BaseEngine):
    """See :class:`peers.BaseEngine`."""

    label = "Keras"
    threads_fixed = True

    def __init__(self) -> None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError("Keras runs on another backend: see KERAS_BACKEND")
        self._num_threads: int | None = None

    def versions(self) -> dict[str, str]:
        return {"tensorflow": tf.__version__, "keras": keras.__version__}

    def set_num_threads(self, n: int) -> None:
        if self._num_threads not in (None, n):
            raise RuntimeError("TensorFlow cannot change its threads once it runs")
        if self._num_threads is None:
            tf.config.threading.set_intra_op_parallelism_threads(n)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        self._num_threads = n

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        layer = _layer(case, weights)
        x_tf = _batch_first(x)
        compiled = tf.function(lambda x: layer(x))

        def read(result: Any) -> Arrays:
            y, *states = (value.numpy() for value in result)
            names = state_names(case.cell)
            return {"y": y.swapaxes(0, 1), **dict(zip(names, states, strict=True))}

        return [Run(self.label, lambda: compiled(x_tf), read)]

    def train(
        self, case: Case, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        return [self._training(case, weights, x, dy, None, self.label)]

    def ragged(
        self, case: RaggedCase, weights: Arrays, x: np.ndarray, dy: np.ndarray
    ) -> list[Run]:
        mask = tf.constant(np.ascontiguousarray(case.mask().T))
        run = self._training(case, weights, x, dy, mask, f"{self.label} mask")
        # Where the mask is False, Keras repeats the output before.
        return padded([run], case, suffix="")

    def _training(
        self,
        case: Case,
        weights: Arrays,
        x: np.ndarray,
        dy: np.ndarray,
        mask: Any,
        label: str,
    ) -> Run:
        layer = _layer(case, weights)
        x_tf, dy_tf = _batch_first(x), _batch_first(dy)

        @tf.function
        def forward_and_backward(x: Any, dy: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y, *_ = layer(x, mask=mask)
            sources = [x, *(weight.value for weight in layer.weights)]
            return y, tape.gradient(y, sources, output_gradients=dy)

        def read(result: Any) -> Arrays:
            y, (dx, *grads) = result
            return {
                "y": y.numpy().swapaxes(0, 1),
                "dx": dx.numpy().swapaxes(0, 1),
                **_as_torch(case, [grad.numpy() for grad in grads]),
            }

        return Run(label, lambda: forward_and_backward(x_tf, dy_tf), read)


def _layer(case: Case, weights: Arrays) -> Any:
    layer = LAYERS[case.cell](case.H, return_sequences=True, return_state=True)
    layer.build((case.B, case.T, case.I))
    W, R, b_ih, b_hh = (_gates(array, case) for array in weights.values())
    bias = np.stack([b_ih, b_hh]) if case.cell == "gru" else b_ih + b_hh
    layer.set_weights([W.T, R.T, bias])
    return layer


def _as_torch(case: Case, grads: list[np.ndarray]) -> Arrays:
    """Gradients of kernel, recurrent kernel and bias under torch's names."""
    W, R, bias = grads
    both = bias if case.cell == "gru" else (bias, bias)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    arrays = zip(names, (W.T, R.T, *both), strict=True)
    return {name: _gates(value, case, back=True) for name, value in arrays}


def _batch_first(array: np.ndarray) -> Any:
    return tf.constant(np.ascontiguousarray(array.swapaxes(0, 1)))


def _gates(array: np.ndarray, case: Case, back: bool = False) -> np.ndarray:
    """Reorder the gates from torch's order to Keras', or back."""
    order = np.array(GATE_ORDER[case.cell])
    order = np.argsort(order) if back else order
    blocks = array.reshape(-1, case.H, *array.shape[1:])[order]
    return blocks.reshape(array.shape)
