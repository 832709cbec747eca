"""ONNX Runtime on its CPU provider: a model of one recurrent node, inference only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from fastcell._judge.cases import Case
from fastcell._judge.engines import Arrays, BaseEngine, Run, state_names

#: ONNX's gate order of each cell, as indices into torch's.
#: LSTM: torch i f g o, ONNX i o f c (its c is torch's g). GRU: torch r z n, ONNX z r h.
GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}

#: linear_before_reset=1 is torch's GRU: the reset gate multiplies R h + bias_hh.
ATTRIBUTES: dict[str, dict[str, int]] = {
    "lstm": {},
    "gru": {"linear_before_reset": 1},
    "rnn": {},
}


class Engine(BaseEngine):
    """See :class:`fastcell._judge.engines.BaseEngine`.

    Parameters
    ----------
    allow_spinning : bool, optional
        ``session.intra_op.allow_spinning``; None keeps the default.
    """

    label = "ONNX Runtime"

    def __init__(self, allow_spinning: bool | None = None) -> None:
        self._allow_spinning = allow_spinning
        self._num_threads = 1

    def versions(self) -> dict[str, str]:
        """The versions of the runtime and of the package that writes the model."""
        import onnx

        return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}

    def notes(self) -> list[str]:
        """How its idle threads wait, if not by the default."""
        if self._allow_spinning is None:
            return []
        return [
            f"ONNX Runtime ran with session.intra_op.allow_spinning="
            f"{int(self._allow_spinning)}"
        ]

    def set_num_threads(self, n: int) -> None:
        """Set the number of threads of later sessions."""
        self._num_threads = n

    def forward(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Forward by a model without initial states."""
        model = build_model(case, weights, with_state=False)
        return [self.sequence(self.label, case, model, x)]

    def step(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        """Steps by a model of one step, whose states are carried."""
        session = self._session(build_model(case, weights, with_state=True))
        call = _carry_state(case, session, x)
        return [Run(self.label, call, lambda y: {"y": y.reshape(-1)})]

    def sequence(self, label: str, case: Case, model: Any, x: np.ndarray) -> Run:
        """Return the run of a model over whole sequences."""
        run = self._session(model).run
        feed = {"x": x}

        def read(result: list[np.ndarray]) -> Arrays:
            arrays = {"y": result[0][:, 0]}
            for name, value in zip(state_names(case.cell), result[1:], strict=True):
                arrays[name] = value[0]
            return arrays

        return Run(label, lambda: run(None, feed), read)

    def _session(self, model: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._num_threads
        options.inter_op_num_threads = 1
        if self._allow_spinning is not None:
            options.add_session_config_entry(
                "session.intra_op.allow_spinning", str(int(self._allow_spinning))
            )
        return onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )


def build_model(case: Case, weights: Arrays, with_state: bool) -> Any:
    """Return a model of one node with the weights as initializers and all sizes fixed.

    Inputs are x (T, B, I) and, if `with_state`, the state h (and c) (1, B, H); outputs
    are y (T, 1, B, H), then the last state.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    states = state_names(case.cell)
    T, B, I, H = case.T, case.B, case.I, case.H  # noqa: E741
    initializers = {
        "W": _gates(weights["weight_ih_l0"], case)[None],
        "R": _gates(weights["weight_hh_l0"], case)[None],
        "B": np.concatenate(
            [_gates(weights["bias_ih_l0"], case), _gates(weights["bias_hh_l0"], case)]
        )[None],
    }
    inputs = ["x", "W", "R", "B"]
    if with_state:
        inputs += ["", *(f"initial_{name}" for name in states)]
    outputs = ["y", *states]
    node = helper.make_node(
        case.cell.upper(), inputs, outputs, hidden_size=H, **ATTRIBUTES[case.cell]
    )

    def value(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [node],
        case.cell,
        [
            value("x", (T, B, I)),
            *(value(name, (1, B, H)) for name in inputs[5:]),
        ],
        [value("y", (T, 1, B, H)), *(value(name, (1, B, H)) for name in states)],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    # Opset 14 and IR 8: all current versions of ONNX Runtime support them, and later
    # opsets only add types to the recurrent operators.
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8
    )
    onnx.checker.check_model(model)
    return model


def _gates(array: np.ndarray, case: Case) -> np.ndarray:
    """Reorder the gates, which are blocks of H rows, from torch's order to ONNX's."""
    blocks = array.reshape(-1, case.H, *array.shape[1:])
    return blocks[list(GATE_ORDER[case.cell])].reshape(array.shape)


def _carry_state(case: Case, session: Any, x: np.ndarray) -> Callable[[], np.ndarray]:
    run = session.run
    zero = np.zeros((1, case.B, case.H), np.float32)
    feed = {"x": x[None], "initial_h": zero}
    if case.cell == "lstm":
        feed["initial_c"] = zero

    def lstm() -> np.ndarray:
        result: list[np.ndarray] = run(None, feed)
        y, feed["initial_h"], feed["initial_c"] = result
        return y

    def other() -> np.ndarray:
        result: list[np.ndarray] = run(None, feed)
        y, feed["initial_h"] = result
        return y

    return lstm if case.cell == "lstm" else other
