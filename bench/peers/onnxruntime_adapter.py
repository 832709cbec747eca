"""ONNX Runtime's adapter: further verbs than `fastcell._judge.onnxruntime`.

Its dynamic quantisation to int8 only supports the LSTM.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from fastcell._judge import onnxruntime as judge_onnxruntime
from fastcell._judge.cases import Case
from fastcell._judge.onnxruntime import build_model
from peers import Arrays, BaseEngine, Run


class Engine(judge_onnxruntime.Engine, BaseEngine):
    """See :class:`peers.BaseEngine`."""

    def forward_int8(self, case: Case, weights: Arrays, x: np.ndarray) -> list[Run]:
        model = build_model(case, weights, with_state=False)
        runs = [self.sequence(self.label, case, model, x)]
        if case.cell == "lstm":
            label = f"{self.label} int8"
            runs.append(self.sequence(label, case, quantized(model), x))
        return runs


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with int8 weights and inputs quantised at run time."""
    # Imported here: it takes a second and warns.
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        quantize_dynamic(model, path, weight_type=QuantType.QInt8, per_channel=True)
        return onnx.load(path)
