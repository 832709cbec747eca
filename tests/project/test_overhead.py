"""bench/overhead.py: its counts, and a run of it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "overhead.py"
TIME_LIMIT = 120.0  # seconds, on a busy machine

SAMPLES = """\
    7fd303ea0204 accumulate_tiles.constprop.0 (/x/fastcell/_core.cpython-311.so)
    7fd303ea0205 accumulate_tiles.constprop.0 (/x/fastcell/_core.cpython-311.so)
    7f25ebb14f32 sgemm_kernel (/x/libscipy_openblas64_-32a4b2a6.so)
    7fd303e67d17 __pyx_pw_8fastcell_5_core_5Stack_3pack (/x/fastcell/_core.so)
    7fd303e67d18 __Pyx_GetItemInt (/x/fastcell/_core.so)
    7fd303e67d19 PyLong_AsSsize_t (inlined) (/x/fastcell/_core.so)
    7f25ec78c0ba __memset_avx512_unaligned_erms (/usr/lib/libc.so.6)
ffffffffa1001000 clear_page_erms ([kernel.kallsyms])

        55d1c0de [unknown] (/usr/bin/python3.11)
"""


@pytest.fixture(scope="module")
def overhead():
    spec = importlib.util.spec_from_file_location("overhead", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_kernels_and_blas_are_inside_and_all_else_is_outside(overhead):
    samples = overhead.parse(SAMPLES.splitlines())
    assert samples.total() == 9
    inside = {key for key in samples if overhead.is_inside(*key)}
    assert {symbol for _, symbol in inside} == {
        "accumulate_tiles.constprop.0",
        "sgemm_kernel",
    }
    assert overhead.outside(samples) == pytest.approx(6 / 9)
    kernels = Counter({("_core.so", "adam"): 3})
    assert overhead.outside(kernels) == 0


def test_models_train_as_they_are_set_up(overhead):
    for make in overhead.MODELS.values():
        trainer, data = make()
        assert trainer.fit(data, steps=1)[-1]["train_loss"] > 0


def test_script_prints_a_share_for_a_tiny_model():
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed (Debian: linux-perf)")
    process = subprocess.run(
        [sys.executable, SCRIPT, "tiny", "--seconds", "0.5", "--where", "2"],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    if "not permitted" in process.stderr or "o permission" in process.stderr:
        pytest.skip("perf may not sample here: see kernel.perf_event_paranoid")
    assert process.returncode == 0, process.stderr
    head, row, *worst = process.stdout.splitlines()
    assert head.split()[0] == "model"
    name, _, share = row.split()[:3]
    assert name == "tiny"
    assert 50 < float(share.rstrip("%")) < 100  # of 2 units
    assert len(worst) == 2
    assert all(re.match(r" +\d+\.\d% +\S.* \(.+\)$", line) for line in worst)


def test_unknown_model_is_named():
    process = subprocess.run(
        [sys.executable, SCRIPT, "huge"],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert process.returncode == 2
    assert "model must be of language, sentiment" in process.stderr
    assert "got huge" in process.stderr
