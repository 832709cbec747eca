"""OpenVINO on its CPU plugin: a model of one recurrent operator, inference only.

OpenVINO's sequences are batch first; inputs are transposed outside the timed calls.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from fastcell._judge.cases import Case
from fastcell._judge.engines import Arrays, BaseEngine, Run, state_names

#: OpenVINO's gates as indices into torch's: LSTM f i c o, GRU z r h.
GATE_ORDER = {"lstm": (1, 0, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}

SEQUENCES = {
    "lstm": ops.lstm_sequence,
    "gru": ops.gru_sequence,
    "rnn": ops.rnn_sequence,
}
CELLS = {"lstm": ops.lstm_cell, "gru": ops.gru_cell, "rnn": ops.rnn_cell}

_TANH = {"activations": ["tanh"], "activations_alpha": [], "activations_beta": []}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"linear_before_reset": True},
    "rnn": _TANH,
}


class Engine(BaseEngine):
    """See :class:`fastcell._judge.engines.BaseEngine`."""

    label = "OpenVINO"

    def __init__(self) -> None:
        self._core = openvino.Core()
        self._num_threads = 1

    def versions(self) -> dict[str, str]:
        """The version of OpenVINO, without its build number."""
        return {"openvino": openvino.__version__.split("-")[0]}

    def notes(self) -> list[str]:
        """Its precision, streams and pinning."""
        return [
            "OpenVINO computes in float32 (its default is bfloat16 where the CPU has "
            "it), with one stream and its threads not bound to cores"
        ]

    def set_num_threads(self, n: int) -> None:
        """Set the number of threads of models compiled later."""
        self._num_threads = n

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Forward by a sequence operator."""
        request = self._compiled(_sequence(case, weights)).create_infer_request()
        batch_first = np.ascontiguousarray(x.swapaxes(0, 1))
        request.set_input_tensor(openvino.Tensor(batch_first))
        outputs = [request.get_output_tensor(k) for k in range(1 + _count(case))]

        def call() -> None:
            request.infer()

        def read(_: Any) -> Arrays:
            arrays = {"y": outputs[0].data[:, 0].swapaxes(0, 1).copy()}
            for name, tensor in zip(state_names(case.cell), outputs[1:], strict=True):
                arrays[name] = tensor.data[:, 0].copy()
            return arrays

        return [Run(self.label, call, read)]

    def step(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Steps by a cell operator."""
        compiled = self._compiled(_cell(case, weights))
        call = _carry_state(case, compiled, x)
        return [Run(self.label, call, lambda y: {"y": y.data.reshape(-1).copy()})]

    def _compiled(self, model: Any) -> Any:
        settings = {
            "INFERENCE_NUM_THREADS": self._num_threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        return self._core.compile_model(model, "CPU", settings)


def _sequence(case: Case, weights: Arrays) -> Any:
    """Return a model: x (B, T, I) to y (B, 1, T, H), then the last state (B, 1, H)."""
    x = ops.parameter([case.B, case.T, case.I], np.float32)
    zero = np.zeros((case.B, 1, case.H), np.float32)
    node = SEQUENCES[case.cell](
        x,
        *[zero] * _count(case),
        np.full(case.B, case.T, np.int32),
        *(array[None] for array in _constants(case, weights)),
        hidden_size=case.H,
        direction="forward",
        **ATTRIBUTES[case.cell],
    )
    return openvino.Model(node.outputs(), [x])


def _cell(case: Case, weights: Arrays) -> Any:
    """Return a model: x (B, I) and the state (B, H) to the new state."""
    x = ops.parameter([case.B, case.I], np.float32)
    states = [ops.parameter([case.B, case.H], np.float32) for _ in range(_count(case))]
    node = CELLS[case.cell](
        x,
        *states,
        *_constants(case, weights),
        hidden_size=case.H,
        **ATTRIBUTES[case.cell],
    )
    return openvino.Model(node.outputs(), [x, *states])


def _carry_state(case: Case, compiled: Any, x: np.ndarray) -> Callable[[], Any]:
    """Return a step by two alternating requests; each reads the other's output."""
    shape = (case.B, case.H)
    states = [
        [openvino.Tensor(np.zeros(shape, np.float32)) for _ in range(_count(case))]
        for _ in range(2)
    ]
    x_tensor = openvino.Tensor(np.ascontiguousarray(x))
    requests = []
    for before, after in ((0, 1), (1, 0)):
        request = compiled.create_infer_request()
        request.set_input_tensor(0, x_tensor)
        for k in range(_count(case)):
            request.set_input_tensor(1 + k, states[before][k])
            request.set_output_tensor(k, states[after][k])
        requests.append((request.infer, states[after][0]))
    turns = cycle(requests)

    def call() -> Any:
        infer, y = next(turns)
        infer()
        return y

    return call


def _count(case: Case) -> int:
    return len(state_names(case.cell))


def _constants(case: Case, weights: Arrays) -> list[np.ndarray]:
    """Return W, R and the bias; the GRU's has R's bias of the candidate separately."""
    W, R, b_ih, b_hh = (_gates(array, case) for array in weights.values())
    bias = b_ih + b_hh
    if case.cell == "gru":
        H = case.H
        bias = np.concatenate([bias[: 2 * H], b_ih[2 * H :], b_hh[2 * H :]])
    return [W, R, bias]


def _gates(array: np.ndarray, case: Case) -> np.ndarray:
    """Reorder the gates from torch's order to OpenVINO's."""
    blocks = array.reshape(-1, case.H, *array.shape[1:])
    return blocks[list(GATE_ORDER[case.cell])].reshape(array.shape)
