"""Instances of every public class of modules, varied, and calls of them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import fastcell
from fastcell import layers, models

T, B, H = 4, 3, 7
I = 5  # noqa: E741  (the letter of DESIGN)
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((T, B, I)).astype(np.float32)
IDS = RANDOM.integers(3, 9, (T, B))
FLAT = X[0]
LENGTHS = np.array([4, 2, 3])
# Between marks of the beginning (2) and of the end (3).
TARGET = np.array([[2, 2, 2], [7, 3, 8], [5, 0, 3], [3, 0, 0]])
LABELS = np.array([[1, 2], [2, 0], [1, 0]])


def tied() -> fastcell.Sequential:
    """Two layers with one weight, and one layer twice."""
    first, second = (fastcell.Linear(I, I, seed=seed) for seed in (0, 1))
    second.params.share("weight", first.params)
    return fastcell.Sequential([first, second, fastcell.Dropout(0.5, seed=1), first])


MODULES: dict[str, Callable[[], Any]] = {
    "RNN": lambda: fastcell.RNN(I, H, nonlinearity="relu", seed=0),
    "LSTM": lambda: fastcell.LSTM(I, H, 2, dropout=0.5, proj_size=2, seed=0),
    "LSTM, float64": lambda: fastcell.LSTM(I, H, dtype=np.float64, seed=0),
    "LSTM, both ways": lambda: fastcell.LSTM(I, H, bidirectional=True, seed=0),
    "GRU, bf16": lambda: fastcell.GRU(I, H, reset_after=False, seed=0).to("bf16"),
    "GRU, int8": lambda: fastcell.GRU(I, H, seed=0).quantize(),
    "GRU, layer norm": lambda: fastcell.GRU(I, H, layer_norm=True, seed=0),
    "PeepholeLSTM": lambda: fastcell.PeepholeLSTM(I, H, proj_size=2, seed=0),
    "CoupledLSTM": lambda: fastcell.CoupledLSTM(I, H, peephole=True, seed=0),
    "MGU": lambda: fastcell.MGU(I, H, 2, seed=0).to("bf16"),
    "LiGRU": lambda: fastcell.LiGRU(I, H, bidirectional=True, seed=0),
    "IndRNN": lambda: fastcell.IndRNN(I, H, nonlinearity="tanh", seed=0),
    "LRU": lambda: fastcell.LRU(I, H, r_min=0.5, r_max=0.9, seed=0),
    "MinGRU": lambda: fastcell.MinGRU(I, H, positive=True, seed=0),
    "MinLSTM": lambda: fastcell.MinLSTM(I, H, seed=0),
    "SLSTM": lambda: fastcell.SLSTM(I, H, form="clamped", seed=0),
    "RNNCell": lambda: fastcell.RNNCell(I, H, seed=0),
    "MGUCell": lambda: fastcell.MGUCell(I, H, seed=0),
    "LiGRUCell": lambda: fastcell.LiGRUCell(I, H, seed=0),
    "IndRNNCell": lambda: fastcell.IndRNNCell(I, H, seed=0),
    "LRUCell": lambda: fastcell.LRUCell(I, H, max_phase=1.0, seed=0),
    "MinGRUCell": lambda: fastcell.MinGRUCell(I, H, seed=0),
    "MinLSTMCell": lambda: fastcell.MinLSTMCell(I, H, positive=True, seed=0),
    "SLSTMCell": lambda: fastcell.SLSTMCell(I, H, form="plain", seed=0),
    "LSTMCell": lambda: fastcell.LSTMCell(I, H, seed=0),
    "GRUCell": lambda: fastcell.GRUCell(I, H, seed=0).to("bf16"),
    "Linear": lambda: fastcell.Linear(I, H, seed=0),
    "Linear, outputs": lambda: fastcell.Linear(I, H, seed=0).outputs(np.array([4, 1])),
    "Embedding": lambda: fastcell.Embedding(9, I, padding_idx=3, seed=0),
    "Dropout": lambda: fastcell.Dropout(0.5, seed=0),
    "LayerNorm": lambda: fastcell.LayerNorm(I),
    "Activation": lambda: layers.Activation("tanh"),
    "Pooling": lambda: layers.Pooling(I, "attention", seed=0),
    "Attention": lambda: fastcell.Attention(I, I, "additive", seed=0),
    "Sequential": lambda: fastcell.Sequential(
        [
            fastcell.Embedding(9, I, seed=0),
            fastcell.Dropout(0.5, seed=1),
            fastcell.GRU(I, H, seed=2).to("bf16"),
            fastcell.LSTM(H, H, seed=3),
        ]
    ),
    "Sequential, tied": tied,
    "Residual": lambda: layers.Residual(fastcell.GRU(I, I, seed=0).to("bf16")),
    "Highway": lambda: layers.Highway(fastcell.Linear(I, I, seed=0), I, seed=1),
    "FeedForward": lambda: models.FeedForward(I, [H], 3, dropout=0.5, seed=0),
    "SequenceClassifier": lambda: models.SequenceClassifier(
        I, H, 3, dropout=0.5, pooling="attention", seed=0
    ),
    "SequenceRegressor": lambda: models.SequenceRegressor(
        I, H, 2, precision="bf16", seed=0
    ),
    "SequenceTagger": lambda: models.SequenceTagger(9, H, 9, embedding_dim=I, seed=0),
    "LanguageModel": lambda: models.LanguageModel(
        9, H, H, 2, dropout=0.5, tie_weights=True, seed=0
    ),
    "LanguageModel, sampled": lambda: models.LanguageModel(
        9, I, H, sampled_softmax=4, seed=0
    ),
    "Seq2Seq": lambda: models.Seq2Seq(9, 9, I, H, dropout=0.5, seed=0),
    "Captioner": lambda: models.Captioner(I, 9, 4, H, seed=0),
    "SpeechRecognizer": lambda: models.SpeechRecognizer(I, H, num_labels=2, seed=0),
    "FrameModel": lambda: models.FrameModel(I, H, head="mixture", mixtures=2, seed=0),
    "Forecaster": lambda: models.Forecaster(I, H, seed=0),
}

BATCHES: dict[str, tuple[Any, ...]] = {
    "FeedForward": (FLAT, [0, 2, 1]),
    "SequenceClassifier": (X, LENGTHS, [0, 2, 1]),
    "SequenceRegressor": (X, LENGTHS, FLAT[:, :2]),
    "SequenceTagger": (IDS, None, IDS),
    "LanguageModel": (IDS[:-1], IDS[1:]),
    "Seq2Seq": (IDS, LENGTHS, TARGET, LENGTHS),
    "Captioner": (TARGET, LENGTHS, FLAT),
    "SpeechRecognizer": (X, LENGTHS, LABELS[:, :1], [1, 1, 1]),
    "FrameModel": (X, LENGTHS, X),
    "Forecaster": (X, None, X[:2]),
}


def numbers(value: Any) -> Iterable[np.ndarray]:
    """Return all arrays and numbers inside of a result."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [n for part in value for n in numbers(part)]
    if isinstance(value, (np.ndarray, float)):
        return [np.asarray(value)]
    return []


def results(module: Any) -> list[np.ndarray]:
    """Return what a module gives in training and in inference, and its gradients.

    What is random follows from the state of its generators, which go on.
    """
    batch = BATCHES.get(type(module).__name__)
    found: list[Any] = []
    if batch is not None:
        loss, saved = module.loss(batch)
        return list(numbers([loss, module.backward(saved), module.evaluate(batch)]))
    inputs: tuple[Any, ...] = (X,)
    ids = isinstance(module, fastcell.Embedding)
    if isinstance(module, fastcell.Sequential):
        ids = isinstance(module.layers[0], fastcell.Embedding)
    if ids:
        inputs = (IDS,)
    elif isinstance(module, fastcell.Attention):
        inputs = (X, X, LENGTHS)
    elif isinstance(module, layers.Pooling):
        inputs = (X, LENGTHS)
    elif type(module).__name__.endswith("Cell"):
        inputs = (FLAT,)
    elif getattr(module, "dtype", None) == np.float64:
        inputs = (X.astype(np.float64),)
    found.append(module(*inputs))
    if getattr(module, "precision", None) != "int8":
        *trained, saved = module.forward(*inputs)
        found += [trained, module.backward(trained[0], saved)]
    return list(numbers(found))


def same(a: Iterable[np.ndarray], b: Iterable[np.ndarray]) -> bool:
    """Are there the same arrays in both, bit for bit?"""
    a, b = list(a), list(b)
    return len(a) == len(b) > 0 and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(a, b, strict=True)
    )


def out_of_band(value: Any) -> Any:
    """Return what a pickle gives whose arrays lie outside of it, read-only."""
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(text, buffers=[bytes(b.raw()) for b in buffers])


WAYS: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda value, p=protocol: pickle.loads(
            pickle.dumps(value, p)
        )
        for protocol in range(2, 6)
    },
    "pickle out of band": out_of_band,
}
