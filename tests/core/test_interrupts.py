"""Signal handlers during long calls: they run, and their exceptions end the call."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from oracle import same_bits

import fastcell
from fastcell import losses

# The promise is 0.2 s. A machine with other work may be late; the calls take seconds.
MOST_SECONDS = 0.5
DELAY = 0.1

HIDDEN = 1024  # whose weights are read in every step: a millisecond, in little memory
LONG, FOR_BACKWARD = 10_000, 2_000


class Alarm(Exception):
    pass


@contextmanager
def alarmed():
    """Raise Alarm after a while; it must come soon after the signal."""
    came = []

    def ring(signum, frame):
        came.append(time.perf_counter())
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    begin = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, DELAY)
    try:
        with pytest.raises(Alarm):
            yield
        end = time.perf_counter()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(came) == 1
    assert end - begin - DELAY < MOST_SECONDS


@pytest.fixture(params=[1, 2], ids=["one-thread", "two-threads"])
def threads(request):
    before = fastcell.get_num_threads()
    fastcell.set_num_threads(request.param)
    yield request.param
    fastcell.set_num_threads(before)


@pytest.fixture(scope="module", params=[False, True], ids=["one-way", "both-ways"])
def layer(request):
    return fastcell.LSTM(8, HIDDEN, bidirectional=request.param, seed=0)


def inputs(T):
    return np.random.default_rng(T).standard_normal((T, 1, 8), np.float32)


def test_a_long_inference_ends_when_a_handler_raises(layer, threads):
    expected = layer(inputs(5))[0]
    with alarmed():
        layer(inputs(LONG))
    assert same_bits(layer(inputs(5))[0], expected)


def test_a_long_forward_ends_when_a_handler_raises(layer, threads):
    expected = layer(inputs(5))[0]
    with alarmed():
        layer.forward(inputs(LONG))
    assert same_bits(layer.forward(inputs(5))[0], expected)


def test_a_long_backward_ends_and_uses_saved_up(layer, threads):
    x, weights = inputs(FOR_BACKWARD), layer.state_dict()
    y, _, saved = layer.forward(x)
    expected = gradients(layer)
    with alarmed():
        layer.backward(y, saved)
    with pytest.raises(ValueError, match="saved"):
        layer.backward(y, saved)
    assert all(same_bits(layer.params[name], weights[name]) for name in weights)
    assert all(map(same_bits, gradients(layer), expected))


def gradients(layer):
    y, _, saved = layer.forward(inputs(5))
    dx, dstate, grads = layer.backward(y, saved)
    return [dx, *dstate, *grads.values()]


def test_a_layer_of_rows_ends_too(threads):
    linear = fastcell.Linear(2000, 4000)
    x = np.zeros((30_000, 2000), np.float32)
    with alarmed():
        linear(x)


def test_a_loss_ends_too(threads):
    logits = np.zeros((20_000, 10_000), np.float32)
    with alarmed():
        for _ in range(20):  # some tenths of a second each
            losses.cross_entropy(logits, np.zeros(20_000, int))


def test_a_handler_that_returns_changes_nothing():
    layer, x = fastcell.LSTM(8, HIDDEN), inputs(FOR_BACKWARD)
    expected, calls = layer(x)[0], []

    def ring(signum, frame):
        calls.append(layer(inputs(5)))  # a call in the middle of the call

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, DELAY / 2, DELAY / 2)
    try:
        got = layer(x)[0]
        during = len(calls)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert during > 0
    assert same_bits(got, expected)


def test_calls_of_other_threads_are_left_alone():
    # Handlers run in the main thread; the call of another one goes on.
    layer = fastcell.LSTM(8, HIDDEN)
    results = []
    worker = threading.Thread(target=lambda: results.append(layer(inputs(3_000))))
    with alarmed():
        worker.start()
        while not results:
            time.sleep(0.01)
    while not results:  # (Thread.join that was interrupted waits no more)
        time.sleep(0.01)
    assert same_bits(results[0][0], layer(inputs(3_000))[0])


SCRIPT = f"""
import numpy as np, fastcell, signal
# Ignored from the start where the tests are run in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
fastcell.set_num_threads(2)
layer = fastcell.LSTM(8, {HIDDEN})
layer(np.zeros((5, 1, 8), np.float32))
print("ready", flush=True)
layer(np.zeros((10 * {LONG}, 1, 8), np.float32))
"""


def test_ctrl_c_ends_a_script_in_the_middle_of_a_call():
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert script.stdout.readline() == "ready\n"
    time.sleep(0.5)
    begin = time.perf_counter()
    script.send_signal(signal.SIGINT)
    _, errors = script.communicate(timeout=60)
    assert time.perf_counter() - begin < MOST_SECONDS + 1  # and the interpreter's end
    assert errors.endswith("KeyboardInterrupt\n")
