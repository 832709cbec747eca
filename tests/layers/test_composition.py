"""Several modules under names: in a Sequential, an optimizer, a user's module."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import refuses

import fastcell
from fastcell import Module
from fastcell.models import FeedForward
from fastcell.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from fastcell.train import Trainer

f32 = np.float32
X = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(f32)
OPTIMIZERS = [SGD, RMSprop, Adagrad, Adam, AdamW]


def named():
    return fastcell.Sequential(
        {
            "encoder": fastcell.GRU(3, 4, dropout=0.2, num_layers=2, seed=0),
            "head": fastcell.Linear(4, 2, seed=1),
        }
    )


def pair():
    return fastcell.Linear(3, 2, seed=0), fastcell.Linear(3, 1, seed=1)


# -------------------------------------------------------------------------- Sequential


def test_names_are_prefixes_of_parameters_and_gradients():
    model = named()
    plain = fastcell.Sequential(model.layers)
    y, _, saved = model.forward(X)
    _, _, grads = model.backward(np.ones_like(y), saved)
    assert set(grads) == set(model.params) == set(model.state_dict())
    assert {name.partition(".")[0] for name in grads} == {"encoder", "head"}
    assert len(grads) == len(plain.params)
    assert list(model.rng_state()) == ["encoder"]


def test_names_are_saved_and_loaded(path):
    model = named()
    fastcell.save(model, path)
    loaded = fastcell.load(path)
    assert list(loaded.params) == list(model.params)
    assert loaded.config() == model.config()
    assert (loaded(X)[0] == model(X)[0]).all()
    assert list(fastcell.Sequential.from_config(model.config()).children()) == [
        "encoder",
        "head",
    ]


@pytest.mark.parametrize("name", ["", "a.b", 0])
def test_a_sequential_refuses_names(name):
    layers = {name: fastcell.Linear(3, 2)}
    refuses(ValueError, ["layers", "dot", repr(name)], fastcell.Sequential, layers)


# -------------------------------------------------------------------------- optimizers


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
@pytest.mark.parametrize("of_params", [False, True], ids=["modules", "params"])
def test_an_optimizer_of_several_modules_is_one_for_each(optimizer_class, of_params):
    a, b = pair()
    c, d = pair()
    parts = {"policy": a.params, "value": b.params} if of_params else None
    both = optimizer_class(parts or {"policy": a, "value": b}, lr=0.1)
    alone = [optimizer_class(m.params, lr=0.1) for m in (c, d)]
    for step in range(3):
        ga, gb = (
            {n: np.full_like(p, step - 1.5) for n, p in m.state_dict().items()}
            for m in (a, b)
        )
        if step % 2:
            both.step({"policy": ga, "value": gb})
        else:
            both.step(
                {f"policy.{n}": g for n, g in ga.items()}
                | {f"value.{n}": g for n, g in gb.items()}
            )
        alone[0].step(ga)
        alone[1].step(gb)
    for mine, its in ((a, c), (b, d)):
        for name, array in mine.state_dict().items():
            assert (array == its.state_dict()[name]).all(), name
    assert (a(X) == c(X)).all()  # the change was noticed
    state = both.state_dict()
    other = optimizer_class({"policy": c, "value": d}, lr=0.2)
    other.load_state_dict(state)
    assert other.lr == 0.1
    assert other.steps == 3


def test_gradients_of_shared_parameters_are_added_up():
    layer = fastcell.Linear(3, 2, seed=0)
    before = layer.state_dict()
    ones = {name: np.ones_like(array) for name, array in before.items()}
    SGD({"a": layer, "b": layer}, lr=1.0).step({"a": ones, "b": ones})
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name] - f32(2))


def test_an_optimizer_refuses_a_gradient_by_module_that_it_lacks():
    a, b = pair()
    optimizer = SGD({"policy": a, "value": b}, lr=1.0)
    grads = {n: np.ones_like(p) for n, p in a.state_dict().items()}
    refuses(ValueError, ["grads", "value.weight"], optimizer.step, {"policy": grads})
    refuses(ValueError, ["grads", "other.weight"], optimizer.step, {"other": grads})


@pytest.mark.parametrize("name", ["", "a.b", 0])
def test_an_optimizer_refuses_names(name):
    refuses(ValueError, ["params", "dot", repr(name)], Adam, {name: pair()[0]})


def test_an_optimizer_refuses_modules_beside_arrays():
    parts = {"a": pair()[0], "b": np.zeros(3)}
    refuses(TypeError, ["params", "modules", "ndarray", "'b'"], Adam, parts)


def test_a_trainer_refuses_an_optimizer_of_another_model():
    model, other = (FeedForward(3, [4], 2, seed=seed) for seed in (0, 1))
    optimizer = Adam(other.params)
    refuses(
        ValueError, ["optimizer", "of the model", "none"], Trainer, model, optimizer
    )
    Trainer(model, Adam(model.params))
    part = model.children()["output"]
    Trainer(model, Adam({"output": part}))  # the rest stays as it is


# ------------------------------------------------------------------- one's own modules


class Net(Module):
    def __init__(self):
        self.size = 4
        self.rnn = fastcell.GRU(3, 4, 2, dropout=0.5, seed=0)
        self.heads = [fastcell.Linear(4, 2, seed=1), fastcell.Linear(4, 1, seed=2)]
        self.by_name = {"skip": fastcell.Dropout(0.5, seed=3), "other": 5}
        self.cell = fastcell.GRUCell(3, 4, seed=5)
        self.note = None


def test_a_module_registers_its_attributes():
    net = Net()
    names = ["rnn", "heads.0", "heads.1", "by_name.skip", "cell"]
    assert list(net.children()) == names
    assert "rnn.weight_ih_l1" in net.params
    assert "cell.weight_ih" in net.params
    assert net.params["heads.1.bias"] is net.heads[1].params["bias"]
    assert set(net.rng_state()) == {"rnn", "by_name.skip"}


def test_a_modules_parameters_are_stepped_loaded_and_noticed():
    net, other = Net(), Net()
    optimizer = SGD(net.params, lr=1.0)
    optimizer.step({n: np.ones_like(p) for n, p in net.state_dict().items()})
    assert not (net.rnn(X)[0] == other.rnn(X)[0]).all()
    other.load_state_dict(net.state_dict())
    assert (net.rnn(X)[0] == other.rnn(X)[0]).all()
    assert net.to("bf16").rnn.precision == "bf16"
    net.late = fastcell.Linear(2, 2)
    assert "late.weight" in net.params


def test_a_module_has_its_own_arrays_or_parts_that_have():
    class Both(fastcell.Linear):
        def __init__(self):
            super().__init__(3, 2)
            self.more = fastcell.Linear(2, 2)

    with pytest.raises(TypeError, match="Both must have its own parameters or parts"):
        _ = Both().params
