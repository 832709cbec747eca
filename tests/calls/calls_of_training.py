"""Recipes of losses, optimizers, schedules, the trainer, callbacks and files."""

from __future__ import annotations

import functools
import json
import os
import tempfile

import numpy as np
from calls_of_layers import OPTIONAL, reals
from public_calls import recipe

import fastcell
from fastcell import callbacks, losses, optim, rtneural, serialize, train
from fastcell.models import LanguageModel

ANY_NUMBER = "negative huge nan"


# ----------------------------------------------------------------------------- losses


@recipe(
    "cross_entropy",
    ignore_index="negative",
    weight=OPTIONAL,
    sample_weight=OPTIONAL,
)
def _():
    return losses.cross_entropy, {
        "logits": reals(2, 3),
        "targets": np.array([0, 2]),
        "weight": np.array([1.0, 2.0, 0.5]),
        "sample_weight": np.array([1.0, 2.0]),
        "ignore_index": -100,
        "label_smoothing": 0.1,
        "reduction": "mean",
    }


@recipe("cross_entropy")
def _():
    probabilities = np.full((2, 3), 0.25, np.float32)
    arguments = {"logits": reals(2, 3), "targets": probabilities}
    return losses.cross_entropy, {**arguments, "reduction": "none"}


@recipe("binary_cross_entropy", weight=OPTIONAL, pos_weight=OPTIONAL)
def _():
    return losses.binary_cross_entropy, {
        "logits": reals(2, 3),
        "targets": np.ones((2, 3), np.float32),
        "weight": np.ones((2, 3)),
        "pos_weight": np.ones(3),
        "reduction": "mean",
    }


for _loss in (losses.mse, losses.mae, losses.huber):

    @recipe(_loss.__name__, weight=OPTIONAL, delta="huge")
    def _(loss=_loss):
        arrays = {"predictions": reals(2, 3), "targets": reals(2, 3)}
        options = {"weight": np.ones((2, 3)), "ignore_nan": True, "reduction": "sum"}
        if loss is losses.huber:
            options["delta"] = 0.5
        return loss, {**arrays, **options}


@recipe("ctc", lengths=OPTIONAL, label_lengths=OPTIONAL)
def _():
    return losses.ctc, {
        "logits": reals(4, 2, 3),
        "labels": np.array([[1, 2], [2, 1]]),
        "lengths": np.array([4, 3]),
        "label_lengths": np.array([2, 1]),
        "blank": 0,
        "reduction": "mean",
        "zero_infinity": False,
    }


# ------------------------------------------------------------------------- optimizers


def _params():
    return {"weight": reals(2, 3), "bias": reals(3)}


_OPTIMIZERS = {
    optim.SGD: {"momentum": 0.9, "dampening": 0.1, "nesterov": False},
    optim.RMSprop: {"alpha": 0.9, "eps": 1e-8, "momentum": 0.1, "centered": True},
    optim.Adagrad: {"lr_decay": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-8},
    optim.Adam: {"betas": (0.9, 0.99), "eps": 1e-8, "amsgrad": True},
    optim.AdamW: {"betas": (0.9, 0.99), "eps": 1e-8, "amsgrad": True},
}
_UNBOUNDED = ("lr", "weight_decay", "eps", "lr_decay", "momentum")
_UNBOUNDED = (*_UNBOUNDED, "initial_accumulator_value")

for _class, _options in _OPTIMIZERS.items():
    _accepts = {n: "huge" for n in _UNBOUNDED if n in {**_options, "lr": 1}}
    _accepts["weight_decay"] = "huge"
    if _class is optim.SGD:
        _accepts["dampening"] = "negative huge"

    @recipe(_class.__name__, **_accepts)
    def _(cls=_class, options=_options):
        return cls, {"params": _params(), "lr": 0.1, "weight_decay": 0.0, **options}


@recipe("Optimizer.step")
def _():
    return optim.Adam(_params()).step, {"grads": _params()}


@recipe("Optimizer.step")
def _():
    optimizer = optim.Adam(_params())

    def call(weight):
        optimizer.step({"weight": weight, "bias": reals(3)})

    return call, {"weight": reals(2, 3)}


@recipe("Optimizer.load_state_dict")
def _():
    optimizer = optim.Adam(_params())
    return optimizer.load_state_dict, {"state": optimizer.state_dict()}


@recipe("Optimizer.load_state_dict", lr="huge")
def _():
    optimizer = optim.SGD(_params(), momentum=0.9)

    def call(**values):
        values["momentum_buffer.bias"] = values.pop("bias")
        optimizer.load_state_dict({**optimizer.state_dict(), **values})

    return call, {"lr": 0.1, "steps": 3, "bias": reals(3)}


@recipe("grad_norm")
def _():
    return optim.grad_norm, {"grads": _params()}


@recipe("clip_grad_norm", max_norm="huge")
def _():
    return optim.clip_grad_norm, {
        "grads": _params(),
        "max_norm": 1.0,
        "error_if_nonfinite": False,
    }


@recipe("clip_grad_value", clip_value="huge")
def _():
    return optim.clip_grad_value, {"grads": _params(), "clip_value": 1.0}


@recipe("clip_grad_norm", weight="rank")
def _():
    def call(weight):
        optim.clip_grad_norm({"weight": weight, "bias": reals(3)}, 1.0)

    return call, {"weight": reals(2, 3)}


# -------------------------------------------------------------------------- schedules


@recipe("step", gamma="huge")
def _():
    return optim.step, {"step_size": 3, "gamma": 0.5}


@recipe("cosine")
def _():
    return optim.cosine, {"total_steps": 3, "final_factor": 0.5}


@recipe("warmup", then=OPTIONAL)
def _():
    return optim.warmup, {"warmup_steps": 3, "then": optim.step(3)}


@recipe("plateau", threshold="huge")
def _():
    return optim.plateau, {
        "factor": 0.5,
        "patience": 2,
        "threshold": 0.1,
        "cooldown": 1,
        "min_factor": 0.1,
        "mode": "min",
    }


_SCHEDULES = {
    "step": lambda: optim.step(3),
    "cosine": lambda: optim.cosine(3),
    "warmup": lambda: optim.warmup(3, optim.plateau()),
    "plateau": optim.plateau,
}
for _name, _schedule in _SCHEDULES.items():

    @recipe(f"{_name}.__call__")
    def _(make=_schedule):
        return make(), {"step": 1}


for _name in ("plateau", "warmup"):

    @recipe(f"{_name}.update", metric=ANY_NUMBER)
    def _(make=_SCHEDULES[_name]):
        return make().update, {"metric": 1.0}

    @recipe(f"{_name}.load_state_dict")
    def _(make=_SCHEDULES[_name]):
        return make().load_state_dict, {"state": make().state_dict()}


@recipe("Schedule.update", metric=ANY_NUMBER)
def _():
    return optim.cosine(3).update, {"metric": 1.0}


@recipe("Schedule.load_state_dict")
def _():
    return optim.cosine(3).load_state_dict, {"state": {}}


@recipe("warmup.load_state_dict")
def _():
    return optim.warmup(3).load_state_dict, {"state": {}}


# ------------------------------------------------------------------- trainer, callbacks


@functools.cache
def _model():
    return LanguageModel(4, 2, 3, seed=0)


IDS = np.array([[0, 1], [2, 3], [1, 1]])
BATCHES = [(IDS[:-1], IDS[1:]), (IDS[1:], IDS[:-1])]


def _trainer():
    model = _model()
    return train.Trainer(model, optim.SGD(model.params), progress=False)


@recipe("Trainer", clip_norm="none huge", clip_value="none huge", schedule=OPTIONAL)
def _():
    return train.Trainer, {
        "model": _model(),
        "optimizer": optim.SGD(_model().params),
        "clip_norm": 1.0,
        "schedule": optim.cosine(3),
        "callbacks": [callbacks.EarlyStopping(2)],
        "progress": False,
        "clip_value": 1.0,
    }


@functools.cache
def folder():
    # Removed when the program ends.
    _keep.append(tempfile.TemporaryDirectory())
    return _keep[-1].name


_keep = []


def _path(name):
    return os.path.join(folder(), name)


@recipe(
    "Trainer.fit",
    valid_data=OPTIONAL,
    epochs=OPTIONAL,
    steps=OPTIONAL,
    checkpoint="none str",
    checkpoint_seconds="none huge",
    checkpoint_steps=OPTIONAL,
    validate_every=OPTIONAL,
)
def _():
    return _trainer().fit, {
        "train_data": list(BATCHES),
        "valid_data": list(BATCHES),
        "epochs": 1,
        "steps": 1,
        "checkpoint": _path("fit.checkpoint"),
        "checkpoint_seconds": 9.0,
        "checkpoint_steps": 5,
        "validate_every": 3,
    }


@recipe("Trainer.fit", epochs=OPTIONAL, steps=OPTIONAL)
def _():
    return _trainer().fit, {"train_data": BATCHES[:1], "epochs": 1, "steps": 1}


@recipe("Trainer.fit", best="none str")
def _():
    return _trainer().fit, {
        "train_data": list(BATCHES),
        "valid_data": list(BATCHES),
        "best": _path("best.safetensors"),
        "monitor": "valid_loss",
        "mode": "min",
    }


@recipe("Trainer.assess")
def _():
    return _trainer().assess, {"data": BATCHES}


@recipe("Trainer.evaluate")
def _():
    return _trainer().evaluate, {"data": BATCHES}


@functools.cache
def _checkpoint():
    path = _path("run.checkpoint")
    _trainer().fit(BATCHES, checkpoint=path)
    return path


@recipe("Trainer.resume")
def _():
    return _trainer().resume, {"path": _checkpoint()}


@recipe("EarlyStopping", monitor="str", min_delta="huge")
def _():
    return callbacks.EarlyStopping, {
        "patience": 2,
        "monitor": "valid_loss",
        "mode": "min",
        "min_delta": 0.1,
    }


@recipe("SaveBest", path="str", monitor="str")
def _():
    arguments = {"path": "best.safetensors", "monitor": "valid_loss", "mode": "max"}
    return callbacks.SaveBest, arguments


@recipe("CSVLogger", path="str")
def _():
    return callbacks.CSVLogger, {"path": "log.csv"}


@recipe("JSONLogger", path="str")
def _():
    return callbacks.JSONLogger, {"path": "log.jsonl"}


@recipe("History.plot", path="none str")
def _():
    from matplotlib import pyplot

    records = [{"step": 1, "train_loss": 1.0}, {"step": 2, "train_loss": 0.5}]

    def call(path):
        pyplot.close(train.History(records).plot(path))

    return call, {"path": _path("history.png")}


@recipe("History.column", name="str")
def _():
    return train.History([{"step": 1}]).column, {"name": "step"}


# ------------------------------------------------------------------------------- files


@recipe("set_num_threads")
def _():
    return fastcell.set_num_threads, {"n": 1}


@functools.cache
def _saved():
    path = _path("model.safetensors")
    fastcell.save(_model(), path)
    return path


@recipe("load", expect=OPTIONAL)
def _():
    return fastcell.load, {"path": _saved(), "expect": fastcell.Module}


@recipe("save", path="str")
def _():
    return fastcell.save, {"model": _model(), "path": _path("saved.safetensors")}


@recipe("export_c", path="str", name="str")
def _():
    return fastcell.export_c, {
        "model": fastcell.GRU(3, 4, seed=0),
        "path": _path("net.c"),
        "name": "net",
        "dtype": "int8",
        "lanes": 4,
    }


@recipe("read_arrays")
def _():
    return serialize.read_arrays, {"path": _saved()}


@recipe("write_arrays", path="str", arrays="dict", metadata=OPTIONAL)
def _():
    return serialize.write_arrays, {
        "path": _path("arrays.safetensors"),
        "arrays": {"a": reals(2)},
        "metadata": {"key": "value"},
    }


@recipe("model_class")
def _():
    return serialize.model_class, {"name": "LSTM"}


@functools.cache
def _of_rtneural():
    layer = {"type": "dense", "shape": [2], "weights": [[[1.0, 2.0]], [0.0, 1.0]]}
    path = _path("model.json")
    with open(path, "w") as file:
        json.dump({"in_shape": [1], "layers": [layer]}, file)
    return path


@recipe("read_rtneural")
def _():
    return rtneural.read_rtneural, {"path": _of_rtneural()}
