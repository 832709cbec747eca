"""The program of docs/tutorial.md runs on a table and learns it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastcell
from fastcell.data import read_csv_sequences

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
TIME_LIMIT = 120.0  # seconds, on a busy machine


@pytest.fixture(scope="module")
def program():
    blocks = re.findall(
        r"<!-- tutorial program -->\n```python\n(.*?)```", TUTORIAL.read_text(), re.S
    )
    assert len(blocks) == 1
    return blocks[0]


@pytest.fixture(scope="module")
def done(program, tmp_path_factory):
    """Run the program in a folder of its own, where the table is."""
    folder = tmp_path_factory.mktemp("tutorial")
    random = np.random.default_rng(0)
    rows = ["walk,x,y,label"]
    for i in range(120):
        label, drift = ("up", 0.5) if random.random() < 0.5 else ("down", -0.5)
        steps = random.normal((0.3, drift), 0.6, size=(random.integers(3, 15), 2))
        rows += [f"w{i},{x:.3f},{y:.3f},{label}" for x, y in steps.cumsum(0)]
    (folder / "walks.csv").write_text("\n".join(rows) + "\n")
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        env={**os.environ, "FASTCELL_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    return folder, process


def test_program_has_at_most_20_lines(program):
    code = ast.unparse(ast.parse(program)).splitlines()
    assert len([line for line in code if line.strip()]) <= 20
    assert all(len(line) <= 88 for line in program.splitlines())


def test_table_of_the_tutorial_is_one_that_the_reader_takes(tmp_path):
    (table,) = re.findall(r"```csv\n(.*?)```", TUTORIAL.read_text(), re.S)
    path = tmp_path / "walks.csv"
    path.write_text(table)
    data = read_csv_sequences(path, "walk", ["x", "y"], "label")
    assert [len(s) for s in data.sequences] == [3, 2]
    assert data.classes == ("down", "up")


def test_training_shows_its_accuracy_and_learns(done):
    _, process = done
    shown = [float(a) for a in re.findall(r"accuracy (\d\.\d+)", process.stderr)]
    assert len(shown) >= 6
    assert max(shown) > 0.85


def test_stream_ends_with_what_the_saved_model_says_of_the_whole(done):
    folder, process = done
    data = read_csv_sequences(folder / "walks.csv", "walk", ["x", "y"], "label")
    lines = process.stdout.splitlines()
    assert len(lines) == len(data.sequences[-1])
    beliefs = [
        {name: float(p) for name, p in re.findall(r"(\w+) ([\d.]+)", line)}
        for line in lines
    ]
    for belief in beliefs:
        assert set(belief) == {"down", "up"}
        assert abs(sum(belief.values()) - 1) < 0.0021  # two roundings to 0.001
    model = fastcell.load(folder / "walks.safetensors")
    likeliest = max(beliefs[-1], key=beliefs[-1].get)
    assert model.predict(data.sequences[-1][:, np.newaxis]) == [likeliest]
