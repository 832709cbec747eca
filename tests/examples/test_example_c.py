"""The examples in C: an audio effect, and the same steps on other processors."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from examples_run import EXAMPLES
from exported import needs_cc

TARGETS = ("host", "cortex-m3", "cortex-m4", "aarch64", "wasm")


def run(name, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "c" / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_cc
def test_an_amplifier_is_learned_and_runs_in_c(tmp_path):
    out = run("amp.py", "--out", tmp_path / "amp", "--seconds", 10, "--epochs", 10)
    assert float(re.search(r"ESR of the C program: (\S+)", out)[1]) < 0.2
    # Roundings of another instruction set than the session's, over 96,000 steps.
    assert float(re.search(r"difference to Python: (\S+)", out)[1]) < 1e-4
    assert float(re.search(r"Hz: (\S+) times real time", out)[1]) > 1


@needs_cc
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_the_bits_of_the_library(target, dtype):
    out = run("targets.py", target, "--dtype", dtype)
    if "not run" in out:
        pytest.skip(out.strip())
    assert out == f"{target}: 100 steps, equal bits\n"
