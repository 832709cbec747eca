"""Use of PyTorch's OpenMP threads by fastcell."""

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

BEGIN = """
import os
import torch
import fastcell, fastcell.torch
from fastcell import _core
from fastcell.torch.openmp import share_threads

torch.set_num_threads(2)
torch.manual_seed(0)
lstm = fastcell.torch.LSTM(64, 128)
x = torch.randn(200, 32, 64)

def results():
    lstm.zero_grad()
    y = lstm(x)[0]
    y.square().sum().backward()
    return [y.detach(), *(p.grad.clone() for p in lstm.parameters())]

def same(a, b):
    return all(torch.equal(i, j) for i, j in zip(a, b, strict=True))

def threads():
    return len(os.listdir("/proc/self/task"))
"""

has_openmp = pytest.mark.skipif(
    not torch.backends.openmp.is_available() or not os.path.isdir("/proc/self/task"),
    reason="PyTorch has no OpenMP here, or the system does not count threads",
)


def run(text):
    environment = {k: v for k, v in os.environ.items() if k != "FASTCELL_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + text],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@has_openmp
def test_no_thread_is_started_beside_pytorchs():
    before, after = run("""
assert share_threads()
a = torch.randn(1500, 1500)
(a @ a).exp()
before = threads()
for _ in range(5):
    results()
print(before, threads())
""")
    assert before == after


@has_openmp
def test_the_bits_are_those_of_own_threads():
    run("""
shared = results()
_core.use_openmp(0, 0, 0, 0)
assert same(shared, results())
torch.set_num_threads(1)
assert same(shared, results())
""")


@has_openmp
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_threads_of_its_own():
    # Of PyTorch's there are none: a child that wanted them would hang, as PyTorch's own
    # large operators do there.
    (code,) = run("""
def numbers():
    with torch.no_grad():
        return lstm(x)[0].numpy().tobytes()

wanted = numbers()
child = os.fork()
if child == 0:
    import signal
    signal.alarm(60)
    os._exit(numbers() != wanted)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")
    assert code == "0"
