"""Isolation of a training call: writes between forward and backward, and concurrent
calls of backward, change no gradient without an error."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from oracle import same_bits
from training_calls import CALLS, LARGE, LAYERS, arrays_of, overwrite

from fastcell._checks.arrays import fingerprint

every_call = pytest.mark.parametrize("name", CALLS)
every_layer = pytest.mark.parametrize("name", LAYERS)
CHANGED = "changed between forward and backward"


def undisturbed(name):
    call = CALLS[name]()
    return call.backward(call.forward())


def assert_same(got, expected):
    assert len(got) == len(expected) > 0
    for a, b in zip(got, expected, strict=True):
        assert same_bits(a, b)


@every_call
def test_what_is_small_is_copied(name):
    expected, call = undisturbed(name), CALLS[name]()
    results = call.forward()
    for argument, value in call.arguments.items():
        if isinstance(value, np.ndarray) and argument not in LARGE:
            overwrite(value)
    assert_same(call.backward(results), expected)


@every_call
def test_an_input_that_was_changed_is_refused_or_was_copied(name):
    expected, call = undisturbed(name), CALLS[name]()
    results = call.forward()
    for argument in LARGE & set(call.arguments):
        overwrite(call.arguments[argument])
    if call.kept:
        with pytest.raises(ValueError, match=CHANGED):
            call.backward(results)
        return
    try:
        got = call.backward(results)
    except ValueError as error:
        assert CHANGED in str(error)
    else:
        assert_same(got, expected)


@every_layer
def test_results_may_be_written_to_or_the_change_is_refused(name):
    expected, call = undisturbed(name), CALLS[name]()
    results = call.forward()
    dy = call.dy(results)
    for array in arrays_of(results[:-1]):
        array += 1
    if name in ("tanh", "relu"):
        with pytest.raises(ValueError, match=f"y was {CHANGED}"):
            call.backward(results, dy)
    else:
        try:
            got = call.backward(results, dy)
        except ValueError as error:  # an Activation within a Sequential
            assert name == "sequential"
            assert CHANGED in str(error)
        else:
            assert_same(got, expected)


@every_call
def test_a_changed_parameter_is_refused_or_does_not_matter(name):
    expected, call = undisturbed(name), CALLS[name]()
    for parameter in list(call.module.params):
        results = call.forward()
        array = call.module.params.arrays()[parameter]
        before = array.copy()
        array *= 2
        array += 1
        call.module.params.changed()
        try:
            got = call.backward(results)
        except ValueError as error:
            assert f"a parameter was {CHANGED}" in str(error)
        else:
            assert_same(got, expected)  # as of a table of vectors
        array[...] = before
        call.module.params.changed()


@pytest.mark.parametrize(
    "name", [n for n in LAYERS if not n.startswith(("relu", "tanh", "drop"))]
)
def test_a_refused_gradient_leaves_saved_usable(name):
    expected, call = undisturbed(name), CALLS[name]()
    results = call.forward()
    good = call.dy(results)
    for wrong in (
        lambda a: a[..., :-1],
        lambda a: a.astype(np.float16),
        lambda a: np.concatenate((a, a)),
    ):
        dy = tuple(map(wrong, good)) if isinstance(good, tuple) else wrong(good)
        with pytest.raises((ValueError, TypeError), match=r"dy|dstate|dcontext"):
            call.backward(results, dy)
    assert_same(call.backward(results), expected)


@every_call
def test_of_several_threads_one_uses_saved_up(name):
    expected, call = undisturbed(name), CALLS[name]()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3):
            results, got, refused = call.forward(), [], []
            ready = threading.Barrier(3)

            def back(results=results, got=got, refused=refused, ready=ready):
                ready.wait()
                try:
                    got.append(call.backward(results))
                except Exception as caught:
                    refused.append(caught)

            threads = [threading.Thread(target=back) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for other in refused:
                assert isinstance(other, ValueError)
                assert "saved was used up by an earlier backward" in str(other)
            assert len(got) == (1 if call.once else 3)
            for gradients in got:
                assert_same(gradients, expected)
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(0, 3), (5,), (4, 6), (7, 9), (11, 3, 5), (40, 6, 31)]
)
def test_a_fingerprint_tells_other_data(shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    other = np.ascontiguousarray(x.swapaxes(0, -1)).swapaxes(0, -1)  # other strides
    assert fingerprint(x) == fingerprint(x.copy()) == fingerprint(other)
    if x.size:
        changed = [-x, x + 1, np.flip(x), np.roll(x, 1), np.zeros_like(x)]
        assert len({fingerprint(a) for a in [x, *changed]}) == 6


def test_a_fingerprint_tells_every_number_of_a_small_array():
    x = np.zeros((9, 14))
    found = {fingerprint(x)}
    for i in range(x.size):
        x.flat[i] = -0.0
        found.add(fingerprint(x))
    assert len(found) == 127
