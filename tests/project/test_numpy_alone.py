"""fastcell with NumPy alone: the same results, from its own products and code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastcell

# A module that is None cannot be imported.
WITHOUT = """
import sys
for name in (
    *("scipy", "scipy.linalg", "scipy.linalg.cython_blas", "scipy.fft", "tqdm"),
    *("safetensors", "safetensors.numpy"),
):
    sys.modules[name] = None
"""

TRAINING = """
import json
import numpy as np
import fastcell
layer = fastcell.LSTM(8, 40, seed=0)
x = np.random.default_rng(0).standard_normal((30, 16, 8)).astype(np.float32)
y, _, saved = layer.forward(x)
dx, _, grads = layer.backward(y, saved)
linear = fastcell.Linear(40, 7, seed=0)
z, kept = linear.forward(y)
linear.backward(z, kept)
step = layer.session().step(x[0, :1])
print(json.dumps([float(a.sum()) for a in (y, dx, *grads.values(), z, step)]))
"""

FIT = """
import numpy as np
from fastcell.models import LanguageModel
from fastcell.optim import Adam
from fastcell.train import Trainer
model = LanguageModel(3, 4, 8, seed=0)
ids = np.tile([0, 1, 2], 20)[:, np.newaxis]
data = [(ids[i : i + 10], ids[i + 1 : i + 11]) for i in range(0, 50, 10)]
Trainer(model, Adam(model.params, lr=0.05)).fit(data, data, epochs=2)
"""


def run(code, isa):
    paths = [str(Path(fastcell.__file__).parents[1])]
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FASTCELL_ISA": isa},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_training_gives_the_same_numbers(isa):
    if isa not in fastcell._core.cpu_info()["isas"]:
        pytest.skip(f"the CPU has no {isa}")
    done = [run(start + TRAINING, isa) for start in ("", WITHOUT)]
    assert [d.returncode for d in done] == [0, 0], done[1].stderr
    whole, alone = (np.array(json.loads(d.stdout)) for d in done)
    assert np.allclose(alone, whole, rtol=1e-4, atol=1e-4)


def test_info_names_what_is_missing():
    code = "from fastcell.cli import main; main(['info'])"
    done = run(WITHOUT + code, "portable")
    assert done.returncode == 0, done.stderr
    assert "none, since scipy is not installed" in done.stdout


def test_the_trainer_prints_its_lines():
    done = run(WITHOUT + FIT, "portable")
    assert done.returncode == 0, done.stderr
    assert "train loss" in done.stderr


def test_the_demo_runs(tmp_path):
    out = str(tmp_path / "model.safetensors")
    arguments = ["demo", "--steps=1", "--out", out, "--quiet"]
    done = run(f"{WITHOUT}from fastcell.cli import main; main({arguments})", "portable")
    assert done.returncode == 0, done.stderr
    assert fastcell.load(out).params
