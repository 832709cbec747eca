"""Training calls of all layers (forward, backward) and models (loss, backward)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastcell
from fastcell import models
from fastcell.cells import REGISTRY
from fastcell.layers import Activation, Pooling

f32 = np.float32
OTHER_STATES = ("c", "n", "m")  # beside h
LARGE = {"x", "h", "images"}  # arguments that may be kept and not copied
T, B, I = 6, 5, 3  # noqa: E741  (the letter of DESIGN)
LENGTHS = np.array([6, 1, 3, 4, 5])


@dataclass
class Call:
    """A module, the arguments of one training call, and how to go back from it.

    once: does backward use `saved` up? kept: the arguments that forward keeps and does
    not copy.
    """

    module: Any
    arguments: dict[str, Any]
    once: bool = False
    kept: tuple[str, ...] = ()
    steps: str = "forward"

    def __post_init__(self) -> None:
        self._start = self.module.rng_state()

    def forward(self) -> tuple[Any, ...]:
        """Return the results, the last of which is `saved`: each time the same."""
        self.module.set_rng_state(self._start)
        if self.steps == "loss":
            return self.module.loss(tuple(self.arguments.values()))
        named = dict(self.arguments)
        others = [named.pop(name) for name in OTHER_STATES if name in named]
        if others:
            named["state"] = (named.pop("state"), *others)
        return self.module.forward(**named)

    def backward(self, results: tuple[Any, ...], dy: Any = None) -> list[np.ndarray]:
        """Return all gradients; dy is, by default, of ones."""
        if self.steps == "loss":
            return list(arrays_of(self.module.backward(results[-1])))
        if dy is None:
            dy = self.dy(results)
        return list(arrays_of(self.module.backward(dy, results[-1])))

    def dy(self, results: tuple[Any, ...]) -> Any:
        first = results[0]
        if isinstance(first, tuple):
            return tuple(map(np.ones_like, first))
        return np.ones_like(first)


def arrays_of(value: Any) -> Iterator[np.ndarray]:
    """Yield the arrays in tuples and dicts, one after the other."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for name in value:
            yield from arrays_of(value[name])
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from arrays_of(part)


def overwrite(array: np.ndarray) -> None:
    """Write other valid values over all of an array."""
    if array.dtype == bool:
        np.logical_not(array, out=array)
    elif array.dtype.kind == "i":
        array[...] = np.flip(array) // 2
    else:
        array[...] = 1 - array


def reals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(f32)


def ids(*shape: int, below: int = 7) -> np.ndarray:
    return np.random.default_rng(2).integers(1, below, shape)


def flags(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).random(shape) < 0.6


def _of_a_layer(cell: Any, *, everything: bool = True, **options: Any) -> Call:
    budget = options.pop("memory_budget", None)
    layer = cell.layer(I, 9, seed=1, **options)
    passes = layer.num_layers * (2 if layer.bidirectional else 1)
    arguments = {"x": reals(T, B, I), "state": reals(passes, B, layer.output_size)}
    for seed, name in enumerate(cell.states[1:], 4):
        arguments[name] = abs(reals(passes, B, 9, seed=seed))  # n is positive
    if everything:
        arguments |= {"lengths": LENGTHS.copy()}
        arguments |= {"mask": flags(T, B), "reset": ~flags(T, B)}
    if layer.batch_first:
        for name in ("x", "mask", "reset"):
            arguments[name] = np.ascontiguousarray(arguments[name].swapaxes(0, 1))
    if budget is not None:
        arguments["memory_budget"] = budget
    return Call(layer, arguments, True, ("x",))


def _of_a_cell(cell: Any) -> Call:
    arguments = {"x": reals(B, I), "state": reals(B, 4)}
    for seed, name in enumerate(cell.states[1:], 4):
        arguments[name] = abs(reals(B, 4, seed=seed))
    return Call(cell.cell_class(I, 4, seed=1), arguments, True, ("x",))


def _of_pooling(kind: str) -> Call:
    layer = Pooling(4, kind, kind == "last", seed=0)
    arguments = {"h": reals(T, B, 4), "lengths": LENGTHS.copy()}
    return Call(layer, arguments, kind == "attention")


def _of_attention(kind: str, *shape: int) -> Call:
    layer = fastcell.Attention(4, 4, kind, seed=0)
    sequences = shape[-1]
    arguments = {
        "query": reals(*shape, 4),
        "memory": reals(T, sequences, 4),
        "memory_lengths": LENGTHS[:sequences].copy(),
    }
    return Call(layer, arguments)


def _layers() -> dict[str, Callable[[], Call]]:
    found: dict[str, Callable[[], Call]] = {}
    for name, cell in REGISTRY.items():
        found[name] = lambda cell=cell: _of_a_layer(cell)
        if not cell.proj_size:
            found[f"{name}-step"] = lambda cell=cell: _of_a_cell(cell)
    lstm, gru = REGISTRY["lstm"], REGISTRY["gru"]
    found |= {
        "two-ways": lambda: _of_a_layer(lstm, num_layers=2, bidirectional=True),
        "dropout": lambda: _of_a_layer(gru, num_layers=2, dropout=0.3),
        "batch-first": lambda: _of_a_layer(lstm, batch_first=True),
        "recompute": lambda: _of_a_layer(lstm, bidirectional=True, memory_budget=8000),
        "segments": lambda: _of_a_layer(lstm, num_layers=2, memory_budget=0),
        "float64": lambda: Call(
            fastcell.GRU(I, 4, dtype=float, seed=0),
            {"x": reals(T, B, I).astype(float)},
            True,
            ("x",),
        ),
        "large": lambda: Call(
            fastcell.GRU(20, 64, seed=0), {"x": reals(30, 8, 20)}, True, ("x",)
        ),
        "linear": lambda: Call(
            fastcell.Linear(I, 4, seed=0), {"x": reals(T, B, I)}, kept=("x",)
        ),
        "embedding": lambda: Call(fastcell.Embedding(7, 4), {"ids": ids(T, B)}),
        "layer_norm": lambda: Call(fastcell.LayerNorm(I), {"x": reals(T, I)}),
        "tanh": lambda: Call(Activation("tanh"), {"x": reals(T, I)}),
        "relu": lambda: Call(Activation("relu"), {"x": reals(T, I)}),
        "drop": lambda: Call(fastcell.Dropout(0.5, seed=1), {"x": reals(T, I)}),
        "ids": lambda: Call(
            fastcell.Sequential(
                [
                    fastcell.Embedding(7, 4, seed=0),
                    fastcell.LSTM(4, 5, seed=0),
                    fastcell.Linear(5, 2, seed=0),
                ]
            ),
            {"x": ids(T, B), "lengths": LENGTHS.copy()},
            True,
        ),
        "sequential": lambda: Call(
            fastcell.Sequential(
                [
                    fastcell.Linear(I, 4, seed=0),
                    fastcell.GRU(4, 5, seed=0),
                    fastcell.Sequential([fastcell.LSTM(5, 5, seed=1), Activation()]),
                ]
            ),
            {"x": reals(T, B, I), "mask": flags(T, B)},
            True,
            ("x",),
        ),
        "dense": lambda: Call(
            fastcell.Sequential([fastcell.Linear(I, 4, seed=0), fastcell.LayerNorm(4)]),
            {"x": reals(T, B, I)},
            True,
            ("x",),
        ),
    }
    for kind in ("last", "mean", "max", "attention"):
        found[f"pooling-{kind}"] = lambda kind=kind: _of_pooling(kind)
    for kind in ("additive", "dot", "general"):
        for shape in ((2, B), (1,), (B,), (2, 1)):
            name = f"attention-{kind}-{'x'.join(map(str, shape))}"
            found[name] = lambda kind=kind, shape=shape: _of_attention(kind, *shape)
    return found


def _loss(model: Any, **batch: Any) -> Call:
    return Call(model, batch, True, steps="loss")


def _models() -> dict[str, Callable[[], Call]]:
    def sequences(**more: Any) -> dict[str, Any]:
        return {"x": reals(T, B, I), "lengths": LENGTHS.copy(), **more}

    marked = np.array([[1] * B, *ids(4, B).tolist(), [2] * B])
    marked[1:5] = np.maximum(marked[1:5], 3)
    ends = np.array([6, 6, 6, 6, 6])

    def seq2seq(**options: Any) -> Call:
        return _loss(
            models.Seq2Seq(7, 7, 4, 5, seed=0, bos=1, eos=2, **options),
            source=ids(T, B),
            source_lengths=LENGTHS.copy(),
            target=marked.copy(),
            target_lengths=ends.copy(),
        )

    found: dict[str, Callable[[], Call]] = {
        f"classifier-{kind}": lambda kind=kind: _loss(
            models.SequenceClassifier(
                I, 4, 3, bidirectional=True, pooling=kind, seed=0
            ),
            **sequences(y=ids(B, below=3)),
        )
        for kind in ("last", "mean", "max", "attention")
    }
    return found | {
        "classifier-ids": lambda: _loss(
            models.SequenceClassifier(7, 4, 3, embedding_dim=3, dropout=0.2, seed=0),
            x=ids(T, B),
            lengths=LENGTHS.copy(),
            y=ids(B, below=3),
        ),
        "regressor": lambda: _loss(
            models.SequenceRegressor(I, 4, 2, seed=0), **sequences(y=reals(B, 2))
        ),
        "tagger": lambda: _loss(
            models.SequenceTagger(I, 4, 3, seed=0), **sequences(y=ids(T, B, below=3))
        ),
        "recognizer": lambda: _loss(
            models.SpeechRecognizer(I, 4, 3, seed=0),
            **sequences(
                labels=ids(B, 2, below=3), label_lengths=np.array([2, 1, 1, 2, 2])
            ),
        ),
        "frames": lambda: _loss(
            models.FrameModel(I, 4, head="mixture", mixtures=2, seed=0),
            **sequences(y=reals(T, B, I, seed=5)),
        ),
        "forecaster": lambda: _loss(
            models.Forecaster(I, 4, seed=0), **sequences(y=reals(3, B, I, seed=5))
        ),
        "seq2seq": seq2seq,
        "seq2seq-additive": lambda: seq2seq(attention="additive", bidirectional=True),
        "seq2seq-feeding": lambda: seq2seq(attention="general", input_feeding=True),
        "captioner": lambda: _loss(
            models.Captioner(I, 7, 4, 5, bos=1, eos=2, seed=0),
            captions=marked.copy(),
            lengths=ends.copy(),
            images=reals(B, I),
        ),
        "language": lambda: _loss(
            models.LanguageModel(7, 4, 4, tie_weights=True, dropout=0.1, seed=0),
            inputs=ids(T, B),
            targets=ids(T, B),
        ),
        "language-sampled": lambda: _loss(
            models.LanguageModel(7, 4, 5, sampled_softmax=4, seed=0),
            inputs=ids(T, B),
            targets=ids(T, B),
        ),
        "language-lengths": lambda: _loss(
            models.LanguageModel(7, 4, 5, seed=0),
            inputs=ids(T, B),
            lengths=LENGTHS.copy(),
            targets=ids(T, B),
        ),
        "feed_forward": lambda: _loss(
            models.FeedForward(I, [4, 4], 3, "relu", seed=0),
            x=reals(B, I),
            y=ids(B, below=3),
        ),
    }


LAYERS = _layers()
MODELS = _models()
CALLS = {**LAYERS, **MODELS}
