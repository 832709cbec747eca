"""Memory of one instruction set: refused under another, whose layout differs."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import by_name, joined, problem, same_bits

import fastcell
from fastcell import _core

pytestmark = pytest.mark.skipif(
    len(_core.isas()) < 2, reason="this CPU has one instruction set"
)


@pytest.fixture
def other_isa(isa):
    """Return a function that goes over to another set than the test began under."""

    def select():
        name = next(other for other in _core.isas() if other != isa)
        _core.select_isa(name)
        return name

    return select


def both_sets(what, made, now):
    return f"^{what} was made under the instruction set {made}, and {now} is in use now"


@by_name
def test_backward_refuses_what_another_set_saved(cell, isa, other_isa):
    made = problem(cell, num_layers=2).as_float32()
    y, _, saved = made.layer.forward(made.x, joined(made.state))
    now = other_isa()
    with pytest.raises(RuntimeError, match=both_sets("saved", isa, now)):
        made.layer.backward(np.ones_like(y), saved)


def test_backward_works_again_under_the_set_of_forward(isa, other_isa):
    layer = fastcell.LSTM(3, 9, seed=0)
    x = np.ones((4, 2, 3), np.float32)
    y, _, saved = layer.forward(x)
    expected, *_ = layer.backward(y, saved)
    y, _, saved = layer.forward(x)
    other_isa()
    with pytest.raises(RuntimeError):
        layer.backward(y, saved)
    _core.select_isa(isa)
    assert same_bits(layer.backward(y, saved)[0], expected)


USES = {
    "step": lambda session, x: session.step(x),
    "state": lambda session, x: session.state,
    "setting the state": lambda session, x: setattr(session, "state", session.zero),
    "reset": lambda session, x: session.reset(),
    "reset of a row": lambda session, x: session.reset([0]),
    "fork": lambda session, x: session.fork(),
}


@pytest.mark.parametrize("use", USES)
def test_a_session_of_another_set_refuses(use, isa, other_isa):
    layer = fastcell.GRU(3, 9, num_layers=2, seed=0)
    session = layer.session()
    session.zero = session.state
    x = np.ones(3, np.float32)
    session.step(x)
    before = session.state
    now = other_isa()
    with pytest.raises(RuntimeError, match=both_sets("session", isa, now)):
        USES[use](session, x)
    _core.select_isa(isa)
    assert same_bits(session.state, before)


def test_layers_pack_their_weights_again(isa, other_isa):
    model = fastcell.Sequential(
        [fastcell.LSTM(3, 9, seed=0), fastcell.Linear(9, 5, seed=1)]
    )
    x = np.ones((4, 2, 3), np.float32)
    model(x)
    other_isa()
    fresh = fastcell.Sequential(
        [fastcell.LSTM(3, 9, seed=0), fastcell.Linear(9, 5, seed=1)]
    )
    assert same_bits(model(x)[0], fresh(x)[0])
