"""Forward values against ONNX Runtime, the only peer of the reset-before GRU."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import joined, split
from tolerances import PEER_FLOAT32, error

import fastcell

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.peers

# ONNX orders gates i o f c and z r h; ours are i f g o and r z n.
LAYERS = {
    "lstm": ("LSTM", fastcell.LSTM, {}, [0, 3, 1, 2], {}),
    "gru reset after": (
        "GRU",
        fastcell.GRU,
        {},
        [1, 0, 2],
        {"linear_before_reset": 1},
    ),
    "gru reset before": (
        "GRU",
        fastcell.GRU,
        {"reset_after": False},
        [1, 0, 2],
        {"linear_before_reset": 0},
    ),
    "rnn tanh": ("RNN", fastcell.RNN, {}, [0], {"activations": ["Tanh"]}),
    "rnn relu": (
        "RNN",
        fastcell.RNN,
        {"nonlinearity": "relu"},
        [0],
        {"activations": ["Relu"]},
    ),
}


def in_onnx_order(array, order, H):
    gates = array.reshape(len(order), H, *array.shape[1:])
    return gates[order].reshape(array.shape)


def run_onnx(operator, layer, order, attributes, x, state, lengths):
    H, suffixes = layer.hidden_size, layer._suffixes()
    weights = layer.state_dict()
    attributes = dict(attributes, hidden_size=H)
    if layer.bidirectional:
        attributes["direction"] = "bidirectional"
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * len(suffixes)

    def stacked(*names):
        return np.stack(
            [
                np.concatenate([in_onnx_order(weights[n + s], order, H) for n in names])
                for s in suffixes
            ]
        )

    given = {
        "X": x,
        "W": stacked("weight_ih"),
        "R": stacked("weight_hh"),
        "B": stacked("bias_ih", "bias_hh"),
        "lengths": np.asarray(lengths, np.int32),
        "h0": state[0],
    }
    if len(state) > 1:
        given["c0"] = state[1]
    outputs = ["Y", "Y_h", "Y_c"][: 1 + len(state)]
    node = onnx.helper.make_node(operator, list(given), outputs, **attributes)
    kinds = {np.float32: onnx.TensorProto.FLOAT, np.int32: onnx.TensorProto.INT32}
    graph = onnx.helper.make_graph(
        [node],
        operator,
        [
            onnx.helper.make_tensor_value_info(n, kinds[a.dtype.type], a.shape)
            for n, a in given.items()
        ],
        [
            onnx.helper.make_tensor_value_info(n, kinds[np.float32], None)
            for n in outputs
        ],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8
    )
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    y, *final = session.run(None, given)
    T, D, B, _ = y.shape
    return y.transpose(0, 2, 1, 3).reshape(T, B, D * H), tuple(final)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    "operator, layer_class, options, order, attributes", LAYERS.values(), ids=LAYERS
)
def test_values_are_onnx_runtimes(
    operator, layer_class, options, order, attributes, bidirectional, isa
):
    random = np.random.default_rng(0)
    for T, B, inputs, H in ((7, 3, 5, 9), (1, 1, 1, 16), (5, 8, 33, 40)):
        layer = layer_class(inputs, H, bidirectional=bidirectional, seed=0, **options)
        D = 2 if bidirectional else 1
        x = random.standard_normal((T, B, inputs)).astype(np.float32)
        state = tuple(
            random.standard_normal((D, B, H)).astype(np.float32) for _ in layer.states
        )
        lengths = random.integers(1, T + 1, B)
        y, final = layer(x, joined(state), lengths=lengths)
        expected, final_expected = run_onnx(
            operator, layer, order, attributes, x, state, lengths
        )
        assert error(y, expected) <= PEER_FLOAT32
        for got, wanted in zip(split(final), final_expected, strict=True):
            assert error(got, wanted) <= PEER_FLOAT32
