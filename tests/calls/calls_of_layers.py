"""Recipes of the layers, their sessions and pools, and of what all modules have."""

from __future__ import annotations

import functools

import numpy as np
from public_calls import recipe

import fastcell
from fastcell.layers import Activation, Highway, Pooling, Residual

# Kinds of junk that some arguments take: a number without an upper limit, an array of
# whatever numbers, and so on.
OPTIONAL = "none"
SEED = "none huge"


def reals(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def _constructor(cls, sizes, **options):
    accepts = {"seed": SEED, "recurrent_grad_clip": "none huge"}
    accepts |= options.pop("accepts", {})
    arguments = {**sizes, **options}
    accepts = {name: kinds for name, kinds in accepts.items() if name in arguments}
    recipe(cls.__qualname__, **accepts)(lambda: (cls, arguments))


_RECURRENT = {
    "input_size": 2,
    "hidden_size": 3,
    "num_layers": 1,
    "bias": True,
    "batch_first": False,
    "dropout": 0.0,
    "bidirectional": False,
    "dtype": np.float32,
    "seed": 0,
}
_CELL = {"input_size": 2, "hidden_size": 3, "bias": True, "dtype": "f4", "seed": 0}
_RECURRENT["zero_output_for_mask"] = False
_RECURRENT["merge"] = "concat"
_RECURRENT["go_backwards"] = False
_RECURRENT["zero_length"] = "zero"
_RECURRENT["init"] = _CELL["init"] = "glorot"
_RECURRENT["zoneout"] = _RECURRENT["recurrent_dropout"] = 0.0
_RECURRENT["weight_drop"] = _RECURRENT["update_dropout"] = 0.0
_RECURRENT["recurrent_grad_clip"] = 0.5
_RECURRENT["num_heads"] = 1
_GATED = {
    "forget_bias": 1.0,
    "chrono_steps": None,
    "accepts": {"forget_bias": "none negative", "chrono_steps": OPTIONAL},
}
_UNGATED = {
    "forget_bias": None,
    "chrono_steps": None,
    "accepts": {"forget_bias": OPTIONAL, "chrono_steps": OPTIONAL},
}
_constructor(fastcell.RNN, _RECURRENT, nonlinearity="tanh", **_UNGATED)
_VARIANTS = {"peephole": False, "coupled_input_forget": False, "layer_norm": False}
_constructor(fastcell.LSTM, _RECURRENT, proj_size=0, **_VARIANTS, **_GATED)
_constructor(
    fastcell.PeepholeLSTM, _RECURRENT, proj_size=0, coupled_input_forget=False, **_GATED
)
_constructor(fastcell.CoupledLSTM, _RECURRENT, proj_size=0, peephole=False, **_GATED)
_constructor(fastcell.GRU, _RECURRENT, reset_after=True, layer_norm=False, **_GATED)
_constructor(fastcell.MGU, _RECURRENT, **_GATED)
_constructor(fastcell.LiGRU, _RECURRENT, **_GATED)
_constructor(fastcell.RNNCell, _CELL, nonlinearity="tanh")
_constructor(fastcell.LSTMCell, _CELL, **_VARIANTS, **_GATED)
_constructor(fastcell.GRUCell, _CELL, reset_after=True, layer_norm=False, **_GATED)
_constructor(fastcell.MGUCell, _CELL, **_GATED)
_constructor(fastcell.LiGRUCell, _CELL, **_GATED)
_constructor(fastcell.LSTM, {**_RECURRENT, "init": "chrono"}, chrono_steps=9)
_CLIPS = {"cell_clip": 1.0, "gate_clip": 2.0}
_ACTIVATIONS = {"activations": ("sigmoid", ("elu", 1.0), "tanh")}
_CHOSEN = {**_ACTIVATIONS, **_CLIPS, "accepts": dict.fromkeys(_CLIPS, "none huge")}
_CHOSEN["accepts"]["activations"] = OPTIONAL
_constructor(fastcell.LSTM, _RECURRENT, **_CHOSEN)
_constructor(fastcell.LSTMCell, _CELL, **_CHOSEN)
for _made, _sizes in ((fastcell.GRU, _RECURRENT), (fastcell.GRUCell, _CELL)):
    _kinds = {**_CHOSEN, "activations": ("sigmoid", "softsign")}
    del _kinds["cell_clip"]
    _constructor(_made, _sizes, **_kinds)
for _made, _sizes in ((fastcell.RNN, _RECURRENT), (fastcell.RNNCell, _CELL)):
    _kinds = {**_CHOSEN, "activations": ("softsign",)}
    del _kinds["cell_clip"]
    _constructor(_made, _sizes, **_kinds)
_constructor(fastcell.IndRNN, _RECURRENT, nonlinearity="relu", **_UNGATED)
_constructor(fastcell.IndRNNCell, _CELL, nonlinearity="relu")
_RING = {"r_min": 0.5, "r_max": 0.9, "max_phase": 1.0}
_constructor(fastcell.LRU, _RECURRENT, **_RING, **_UNGATED)
_constructor(fastcell.LRUCell, _CELL, **_RING)
_constructor(fastcell.MinGRU, _RECURRENT, positive=False, **_GATED)
_constructor(fastcell.MinGRUCell, _CELL, positive=False, **_GATED)
_constructor(fastcell.MinLSTM, _RECURRENT, positive=False, **_GATED)
_constructor(fastcell.MinLSTMCell, _CELL, positive=False, **_GATED)
_constructor(fastcell.SLSTM, _RECURRENT, num_heads=3, form="plain", **_GATED)
_constructor(fastcell.SLSTMCell, _CELL, num_heads=3, form="plain", **_GATED)
_constructor(
    fastcell.Attention,
    {"query_size": 2, "memory_size": 3},
    kind="additive",
    attention_size=4,
    dtype=np.float32,
    seed=0,
    accepts={"attention_size": OPTIONAL},
)
_constructor(
    fastcell.Embedding,
    {"num_embeddings": 5, "embedding_dim": 2},
    padding_idx=1,
    dtype=np.float32,
    seed=0,
    accepts={"padding_idx": "none negative"},
)
_constructor(fastcell.Dropout, {"p": 0.5}, seed=0)
_constructor(
    fastcell.LayerNorm,
    {"features": 3},
    eps=1e-5,
    dtype=np.float32,
    accepts={"eps": "huge"},
)
_constructor(
    fastcell.Linear,
    {"in_features": 2, "out_features": 3},
    bias=True,
    dtype=np.float32,
    seed=0,
)
_constructor(Activation, {"kind": "tanh"})
_constructor(
    Pooling,
    {"input_size": 2},
    kind="attention",
    bidirectional=False,
    attention_size=3,
    dtype=np.float32,
    seed=0,
    accepts={"attention_size": OPTIONAL},
)


@recipe("Ragged")
def _():
    return fastcell.Ragged, {"values": reals(5, 2), "offsets": np.array([0, 2, 5])}


@recipe("Ragged")
def _():
    return fastcell.Ragged, {"values": [reals(2, 2), reals(3, 2)]}


_constructor(Residual, {"layer": fastcell.GRU(2, 2)})
_constructor(
    Highway,
    {"layer": fastcell.Linear(2, 2)},
    features=2,
    gate_bias=-1.0,
    dtype=np.float32,
    seed=0,
    accepts={"gate_bias": "negative"},
)


@recipe("Sequential")
def _():
    return fastcell.Sequential, {"layers": [fastcell.Linear(2, 3)]}


# ------------------------------------------------------------------ recurrent layers

X = reals(4, 2, 2)  # T, B, I


def sequence():
    return {
        "x": X.copy(),
        "state": np.zeros((1, 2, 3), np.float32),
        "lengths": np.array([4, 2]),
        "mask": np.ones((4, 2), bool),
        "reset": np.zeros((4, 2), bool),
        "outputs": "last",
    }


_OPTIONAL = dict.fromkeys(("state", "lengths", "mask", "reset"), OPTIONAL)


@functools.cache
def gru(**options):
    return fastcell.GRU(2, 3, seed=0, **options)


@functools.cache
def lstm():
    return fastcell.LSTM(2, 3, seed=0)


@recipe("Recurrent.__call__", **_OPTIONAL)
def _():
    return gru(), sequence()


@recipe("Recurrent.__call__", state=OPTIONAL, c="", h="")
def _():
    def call(x, h, c):
        return lstm()(x, (h, c))

    state = np.zeros((1, 2, 3), np.float32)
    return call, {"x": X, "h": state, "c": state}


@recipe("Recurrent.forward", **_OPTIONAL, memory_budget=OPTIONAL)
def _():
    return gru().forward, {**sequence(), "memory_budget": 10**6}


@recipe("Recurrent.backward", dy=OPTIONAL, dstate=OPTIONAL, add_to=OPTIONAL)
def _():
    y, state, saved = gru().forward(X)
    zeros = {name: np.zeros_like(a) for name, a in gru().state_dict().items()}
    return gru().backward, {
        "dy": np.ones_like(y),
        "saved": saved,
        "dstate": np.ones_like(state),
        "add_to": zeros,
    }


@recipe("Traced.trace", **_OPTIONAL)
def _():
    arguments = sequence()
    del arguments["outputs"]
    return gru().trace, arguments


@recipe("Recurrent.session")
def _():
    return gru().session, {"batch_size": 2}


@recipe("Session.step", out=OPTIONAL)
def _():
    return gru().session(2).step, {"x": X[0], "out": np.empty((2, 3), np.float32)}


@recipe("Session.reset", rows="none negative")
def _():
    return gru().session(2).reset, {"rows": [1]}


def _setter(session, state):
    def set_state(state):
        session.state = state

    return set_state, {"state": state}


@recipe("Session.state", state=OPTIONAL)
def _():
    return _setter(gru().session(2), np.zeros((1, 2, 3), np.float32))


@recipe("RecurrentCell.__call__", state=OPTIONAL)
def _():
    return fastcell.GRUCell(2, 3), {"x": X[0], "state": np.zeros((2, 3), np.float32)}


@recipe("RecurrentCell.forward", state=OPTIONAL)
def _():
    cell = fastcell.GRUCell(2, 3)
    return cell.forward, {"x": X[0], "state": np.zeros((2, 3), np.float32)}


@recipe("RecurrentCell.backward", dstate=OPTIONAL)
def _():
    cell = fastcell.GRUCell(2, 3)
    state, saved = cell.forward(X[0])
    return cell.backward, {"dstate": np.ones_like(state), "saved": saved}


# ------------------------------------------------------------------------ the others


def _layer(make, name, given, gradient="dy", **accepts):
    """Make the recipes of `__call__`, `forward` and `backward` of a layer."""
    kind = make().__class__.__qualname__

    @recipe(f"{kind}.__call__", **accepts)
    def _():
        return make(), given()

    @recipe(f"{kind}.forward", **accepts)
    def _():
        return make().forward, given()

    @recipe(f"{kind}.backward")
    def _():
        layer = make()
        *y, saved = layer.forward(**given())
        return layer.backward, {gradient: np.ones_like(y[0]), "saved": saved}


_layer(lambda: fastcell.Dropout(0.5, seed=0), "x", lambda: {"x": X}, x="nan rank")
_layer(lambda: fastcell.LayerNorm(2), "x", lambda: {"x": X}, x="rank")
_layer(lambda: fastcell.Linear(2, 3), "x", lambda: {"x": X}, x="rank")
_layer(lambda: Activation("tanh"), "x", lambda: {"x": X}, x="nan rank")
_layer(
    lambda: fastcell.Embedding(5, 2), "ids", lambda: {"ids": np.array([1, 2])},
    ids="rank",
)  # fmt: skip
_layer(
    lambda: Pooling(2, "mean"),
    "h",
    lambda: {"h": X, "lengths": np.array([4, 2])},
    lengths=OPTIONAL,
)


def _memory():
    return {
        "query": reals(3, 2, 2),
        "memory": reals(4, 2, 3),
        "memory_lengths": np.array([4, 2]),
    }


_layer(
    lambda: fastcell.Attention(2, 3, seed=0),
    "query",
    _memory,
    "dcontext",
    memory_lengths=OPTIONAL,
)


@recipe("Attention.backward", dweights=OPTIONAL)
def _():
    layer = fastcell.Attention(2, 3, seed=0)
    y, weights, saved = layer.forward(**_memory())
    return layer.backward, {"dcontext": y, "saved": saved, "dweights": weights}


@recipe("Attention.keys", memory_lengths=OPTIONAL)
def _():
    arguments = _memory()
    del arguments["query"]
    return fastcell.Attention(2, 3, seed=0).keys, arguments


@recipe("Linear.backward", add_to=OPTIONAL)
def _():
    layer = fastcell.Linear(2, 3)
    y, saved = layer.forward(X)
    zeros = {name: np.zeros_like(a) for name, a in layer.state_dict().items()}
    return layer.backward, {"dy": y, "saved": saved, "add_to": zeros}


@functools.cache
def sequential():
    return fastcell.Sequential(
        [fastcell.Embedding(5, 2), fastcell.GRU(2, 3), fastcell.Linear(3, 2)]
    )


IDS = np.array([[1, 2], [3, 4], [0, 1]])  # T, B
_H = np.zeros((1, 2, 3), np.float32)


def _sequential_arguments():
    arguments = {"x": IDS, "state": _H, "lengths": np.array([3, 2])}
    return {**arguments, "mask": np.ones((3, 2), bool), "reset": np.ones((3, 2), bool)}


@recipe("Sequential.__call__", **_OPTIONAL)
def _():
    return sequential(), _sequential_arguments()


@recipe("Sequential.forward", **_OPTIONAL)
def _():
    return sequential().forward, _sequential_arguments()


@recipe("Sequential.backward", dy=OPTIONAL, dstate=OPTIONAL)
def _():
    y, state, saved = sequential().forward(IDS)
    return sequential().backward, {"dy": y, "saved": saved, "dstate": state}


@recipe("Sequential.from_config")
def _():
    return fastcell.Sequential.from_config, {"config": sequential().config()}


def residual():
    return Residual(gru_of(2))


@functools.cache
def gru_of(size):
    return fastcell.GRU(size, size, seed=0)


def of_residual():
    return {"x": X.copy(), "state": np.zeros((1, 2, 2), np.float32)}


@recipe("Residual.__call__", **_OPTIONAL)
def _():
    return residual(), of_residual()


@recipe("Residual.forward", **_OPTIONAL)
def _():
    return residual().forward, of_residual()


@recipe("Residual.backward", dy=OPTIONAL, dstate=OPTIONAL)
def _():
    around = residual()
    y, state, saved = around.forward(X)
    return around.backward, {"dy": y, "saved": saved, "dstate": state}


@recipe("Residual.from_config")
def _():
    return Residual.from_config, {"config": residual().config()}


@recipe("Residual.session")
def _():
    return residual().session, {"batch_size": 2}


@recipe("Sequential.session")
def _():
    return sequential().session, {"batch_size": 2}


@recipe("SequentialSession.step")
def _():
    return sequential().session(2).step, {"x": np.array([1, 2])}


@recipe("SequentialSession.reset", rows="none negative")
def _():
    return sequential().session(2).reset, {"rows": [1]}


@recipe("SequentialSession.state", state=OPTIONAL)
def _():
    return _setter(sequential().session(2), np.zeros((1, 2, 3), np.float32))


# -------------------------------------------------------------------- matrix memories

_MLSTM = {"state": OPTIONAL, "scale": "none negative huge", "eps": "huge"}


def _mlstm(*steps):
    state = (reals(2, 1, 3, 4), reals(2, 1, 3), reals(2, 1, 1))
    gate = reals(2, 1, *(steps or (1,)))
    return {
        "q": reals(2, 1, *steps, 3),
        "k": reals(2, 1, *steps, 3),
        "v": reals(2, 1, *steps, 4),
        "i": gate,
        "f": gate,
        "state": state,
        "scale": 0.5,
        "eps": 1e-6,
    }


@recipe("mlstm", **_MLSTM)
def _():
    return fastcell.mlstm, {**_mlstm(5), "return_state": True}


@recipe("mlstm_step", **_MLSTM)
def _():
    return fastcell.mlstm_step, {**_mlstm(), "in_place": False}


# ------------------------------------------------------------------------------ pools


@recipe("StreamPool")
def _():
    return fastcell.StreamPool, {"layer": gru(), "capacity": 3}


def _pool():
    pool = fastcell.StreamPool(gru(), 4)
    pool.open(3)
    return pool


@recipe("StreamPool.open")
def _():
    return _pool().open, {"count": 1}


@recipe("StreamPool.close")
def _():
    return _pool().close, {"ids": [1, 2]}


@recipe("StreamPool.reset")
def _():
    return _pool().reset, {"ids": [1, 2]}


@recipe("StreamPool.state")
def _():
    return _pool().state, {"ids": [1, 2]}


@recipe("StreamPool.set_state", state=OPTIONAL)
def _():
    return _pool().set_state, {"ids": [1, 2], "state": _H}


@recipe("StreamPool.step", out=OPTIONAL)
def _():
    out = np.empty((2, 3), np.float32)
    return _pool().step, {"ids": [1, 2], "x": X[0], "out": out}


# ---------------------------------------------------------------- what all modules have


@recipe("Module.load_state_dict")
def _():
    layer = fastcell.Linear(2, 3)
    return layer.load_state_dict, {"mapping": layer.state_dict(), "strict": True}


@recipe("Module.load_state_dict", weight="tensor")
def _():
    layer = fastcell.Linear(3, 2)

    def call(weight):
        layer.load_state_dict({"weight": weight}, strict=False)

    return call, {"weight": reals(2, 3)}


@recipe("Module.from_config")
def _():
    return fastcell.Linear.from_config, {"config": fastcell.Linear(2, 3).config()}


@recipe("Module.to")
def _():
    return fastcell.GRU(2, 3).to, {"precision": "bf16"}


@recipe("Module.quantize")
def _():
    return fastcell.GRU(2, 3).quantize, {"precision": "int8"}


@recipe("Module.set_rng_state")
def _():
    layer = fastcell.Dropout(0.5, seed=0)
    return layer.set_rng_state, {"states": layer.rng_state()}


@recipe("Cell.layer")
def _():
    layer = fastcell.cells.REGISTRY["lstm"].layer
    return layer, {"input_size": 2, "hidden_size": 3, "num_layers": 1}
