"""Threads of the pool and of the caller, and fork (DESIGN, promises 1 and 5). Equal
bits for any number of threads are in test_bits.py; here for long calls and for layers
that are not recurrent."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from oracle import by_name, joined, problem, same_bits

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY

# A call below some million FLOP stays on one thread: these are above.
LARGE = {"T": 24, "B": 11, "I": 48, "H": 70}


def everything(made):
    y, final, gradients = made.train()
    return [y, *final, *gradients.values(), made.call()[0]]


def all_same(some, others):
    return all(same_bits(a, b) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("B", [1, 2])
@by_name
def test_teams_that_share_the_units_do_not_change_the_results(
    cell, B, isa, set_threads
):
    # Too few rows for the threads. Shares are of odd numbers of panels: with vectors of
    # 16, 3 of 64 units backwards, and of an LSTM 9 of 16 units forwards.
    made = problem(cell, T=60, B=B, I=20, H=137).as_float32()
    set_threads(1)
    expected = everything(made)
    for threads in (2, 3):
        set_threads(threads)
        for _ in range(3):
            assert all_same(everything(made), expected), threads


@by_name
def test_teams_of_more_members_than_cores_disband_and_go_on(cell, set_threads):
    # They wait for one another's time slices, which ends a team after a few steps; the
    # next is made after ten times as long.
    made = problem(cell, T=60, B=1, I=20, H=500).as_float32()
    set_threads(1)
    expected = everything(made)
    set_threads(4 * (os.cpu_count() or 1))
    for _ in range(8):
        assert all_same(everything(made), expected)
        time.sleep(0.03)


@by_name
def test_what_threads_cost_does_not_change_the_results(cell, isa, set_threads, costs):
    made = problem(cell, T=60, B=1, I=20, H=137).as_float32()
    set_threads(1)
    expected = everything(made)
    set_threads(2)
    for turn in (0, 1e9):
        costs(turn, 0, 0, 1)
        assert all_same(everything(made), expected), turn


def test_what_threads_cost_decides_who_computes(costs):
    stack = _core.Stack("lstm", "float32", 64, 64, 0, 1, 1)
    step, call = 2 * 4 * 64 * 64, 50 * 4 * 4 * 64 * 64  # FLOP, and ns at 1 FLOP/ns
    margin, turn_margin = 1.2, 0.9

    def decided(*ns, threads=2):
        costs(*ns, 1)
        d = stack.describe(50, 1, threads, 0)
        return d["threads"], d["members"], bool(d["small"])

    assert decided(0, 0, 0) == (2, 2, False)
    assert decided(0.99 * step / 2 / turn_margin, 0, 0) == (2, 2, False)
    assert decided(1.01 * step / 2 / turn_margin, 0, 0) == (2, 1, False)
    assert decided(0, 0.99 * call / 2 / margin, 0) == (2, 2, False)
    assert decided(0, 1.01 * call / 2 / margin, 0) == (1, 1, False)
    assert decided(0, 0, 0.99 * call / 2 / margin) == (2, 2, False)
    assert decided(0, 0, 1.01 * call / 2 / margin) == (2, 2, True)
    assert decided(1e9, 1e9, 1e9, threads=1) == (1, 1, False)


@pytest.mark.parametrize("bad", [(-1, 0, 0, 0), (0, np.nan, 0, 0), (0, 0, np.inf, 0)])
def test_costs_of_threads_are_checked(bad, costs):
    with pytest.raises(ValueError, match=r"costs must be four finite numbers >= 0"):
        costs(*bad)


GET_COSTS = "from fastcell import _core; print(_core.thread_costs())"


def test_the_environment_sets_what_threads_cost(run_python):
    done = run_python(GET_COSTS, FASTCELL_THREAD_COSTS="1.5,2,3e3,40")
    assert done.stdout.strip() == "((1.5, 2.0, 3000.0, 40.0), True)", done.stderr


@pytest.mark.parametrize("wanted", ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1,2,-3,4"])
def test_the_costs_of_the_environment_are_checked(wanted, run_python):
    done = run_python(GET_COSTS, FASTCELL_THREAD_COSTS=wanted)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "FASTCELL_THREAD_COSTS: must be four finite numbers >= 0" in last
    assert last.endswith(f"got {wanted!r}")


def test_the_gather_path_does_not_depend_on_the_number_of_threads(isa, set_threads):
    random = np.random.default_rng(0)
    model = fastcell.Sequential(
        [fastcell.Embedding(50, 40, seed=0), fastcell.LSTM(40, 64, seed=1)]
    )
    ids = random.integers(0, 50, (20, 11))
    dy = random.standard_normal((20, 11, 64)).astype(np.float32)
    results = []
    for threads in (1, 2, 3, 4):
        set_threads(threads)
        y, (h, c), saved = model.forward(ids)
        _, (dh, dc), grads = model.backward(dy, saved)
        results.append([y, h, c, dh, dc, *grads.values()])
    assert all(all_same(result, results[0]) for result in results[1:])


def test_a_dense_layer_does_not_depend_on_the_number_of_threads(isa, set_threads):
    random = np.random.default_rng(0)
    layer = fastcell.Linear(70, 130, seed=0)
    x = random.standard_normal((40, 17, 70)).astype(np.float32)
    dy = random.standard_normal((40, 17, 130)).astype(np.float32)
    results = []
    for threads in (1, 2, 3, 4):
        set_threads(threads)
        y, saved = layer.forward(x)
        dx, grads = layer.backward(dy, saved)
        results.append([y, dx, *grads.values()])
    assert all(all_same(result, results[0]) for result in results[1:])


COUNT_THREADS = """
import os, sys
import numpy as np, fastcell
made = fastcell.LSTM(64, 64, seed=0)
before = len(os.listdir("/proc/self/task"))
fastcell.set_num_threads(3)
made(np.zeros((50, 16, 64), np.float32))
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts the tasks in /proc")
def test_three_threads_are_two_and_the_caller(run_python):
    done = run_python(COUNT_THREADS)
    assert done.stdout.strip() == "2", done.stderr


GET_THREADS = "import fastcell; print(fastcell.get_num_threads())"


@pytest.mark.parametrize("wanted, got", [("3", "3"), ("100000", "256")])
def test_the_environment_sets_the_number_of_threads(wanted, got, run_python):
    done = run_python(GET_THREADS, FASTCELL_NUM_THREADS=wanted)
    assert done.stdout.strip() == got, done.stderr


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "", "1.5"])
def test_the_environment_is_checked(wanted, run_python):
    done = run_python(GET_THREADS, FASTCELL_NUM_THREADS=wanted)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"FASTCELL_NUM_THREADS must be an integer >= 1; got {wanted!r}" in last


@pytest.mark.parametrize(
    "n, error", [(0, ValueError), (-2, ValueError), (1.5, TypeError), ("2", TypeError)]
)
def test_set_num_threads_refuses(n, error, set_threads):
    before = fastcell.get_num_threads()
    with pytest.raises(error, match=r"n must be an integer"):
        set_threads(n)
    assert fastcell.get_num_threads() == before


def in_threads(jobs, workers=8):
    """Run all jobs at once: every worker waits for the others before it begins."""
    gate = threading.Barrier(workers)

    def begin(job):
        gate.wait(timeout=60)
        return job()

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(begin, job) for job in jobs]
        return [future.result(timeout=60) for future in futures]


@pytest.mark.parametrize("threads", [1, 2])
@by_name
def test_one_layer_serves_many_python_threads(cell, threads, set_threads):
    set_threads(threads)
    made = problem(cell, num_layers=2, **LARGE).as_float32()
    small = problem(cell, num_layers=2, T=3, B=2, I=48, H=70, seed=0).as_float32()
    small.layer = made.layer  # the same layer, batches of two sizes
    expected = everything(made), everything(small)

    def job(asked, wanted):
        return lambda: all(all_same(everything(asked), wanted) for _ in range(3))

    jobs = [job((made, small)[i % 2], expected[i % 2]) for i in range(8)]
    assert all(in_threads(jobs))


def test_a_step_in_one_thread_does_not_stop_the_others():
    layer = fastcell.LSTM(256, 512, seed=0)
    x = np.zeros((400, 8, 256), np.float32)
    turns = 0

    def work():
        layer(x)

    worker = threading.Thread(target=work)
    worker.start()
    while worker.is_alive():
        turns += 1
        worker.join(0.001)
    # Had the call held the GIL, the loop would have turned once or twice.
    assert turns > 5


@pytest.fixture
def hasty_switches():
    """Let Python change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_edits_before_threads_start_are_seen_by_all_of_them(
    set_threads, hasty_switches
):
    set_threads(1)
    layer = fastcell.GRU(3, 8, seed=0)
    x = np.ones((2, 1, 3), np.float32)
    for trial in range(50):
        layer.params["weight_hh_l0"][...] = trial / 10
        layer.params["bias_ih_l0"][...] = -trial / 50
        fresh = fastcell.GRU(3, 8, seed=0)
        fresh.load_state_dict(layer.state_dict())
        expected = fresh(x)[0]

        def job(expected=expected):
            y, _, saved = layer.forward(x)
            layer.backward(y, saved)  # raises if the version moved in between
            return same_bits(y, expected)

        assert all(in_threads([job] * 8))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_leaves_both_sides_able_to_compute(busy, set_threads):
    set_threads(2)
    made = problem(REGISTRY["lstm"], **LARGE).as_float32()
    expected = everything(made)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            made.call()

    worker = threading.Thread(target=work)
    if busy:  # the pool has a job at the moment of the fork
        worker.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(30)  # a child that hangs dies, and the test fails
                same = all_same(everything(made), expected)
                os._exit(0 if same else 1)
            assert all_same(everything(made), expected)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        if busy:
            worker.join(timeout=60)


@by_name
def test_sessions_of_one_layer_run_in_many_threads(cell):
    made = problem(cell, T=20, B=1, H=33, num_layers=2).as_float32()
    expected, _ = made.call()

    def job():
        session = made.layer.session()
        session.state = joined(made.state)
        return all(same_bits(session.step(made.x[t]), expected[t]) for t in range(20))

    assert all(in_threads([job] * 8))
