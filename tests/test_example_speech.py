"""examples/speech.py runs on sound that it makes, on wav files, and on digits."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

import fastcell

PROGRAM = Path(__file__).parent.parent / "examples" / "speech.py"
TIME_LIMIT = 120.0  # seconds, on a busy machine


def run(folder, *arguments):
    """Run the example in a folder; return its output, its errors and the words."""
    process = subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        cwd=folder,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    )
    assert process.returncode == 0, process.stderr
    found = re.findall(r"word error rate, .*: (\d+)/(\d+)", process.stdout)
    assert len(found) == 2  # of the best path, and of the beams
    return process.stdout, [(int(errors), int(words)) for errors, words in found]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("speech", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_learns_to_tell_the_tones_that_it_makes(tmp_path):
    output, found = run(tmp_path, "--epochs", 20)
    for errors, words in found:
        assert words == 80
        assert errors < 8
    assert re.search(r"heard:  (yes|no)", output)
    model = fastcell.load(tmp_path / "speech.safetensors")
    assert model.vocabulary == ("no", "yes")


def test_it_reads_wav_files_named_by_their_words(tmp_path, example):
    random = np.random.default_rng(0)
    for samples, labels in example.tones(8, random):
        name = "_".join(str(label - 1) for label in labels)
        pcm = np.round(samples * 20000).astype(np.int16)
        wavfile.write(tmp_path / f"{name}.wav", example.RATE, pcm)
    train, test = example.yes_no(tmp_path)
    assert len(train) > 0
    assert len(test) > 0
    assert all(labels[0] == 1 for _, labels in train)
    assert all(labels[0] == 2 for _, labels in test)
    _, found = run(tmp_path, "--data", tmp_path, "--epochs", 1, "--cell", "gru")
    assert [words for _, words in found] == [4 * len(test)] * 2


def test_it_joins_digits_of_one_speaker(tmp_path, example):
    random = np.random.default_rng(1)
    digit, speaker, index = (a.ravel() for a in np.mgrid[:10, :2, :8])
    length = random.integers(800, 1200, len(digit))
    level = 1000 * (1 + digit) + 100 * speaker + index  # a sample tells its recording
    file = tmp_path / "fsdd_pcm16_8khz.npz"
    np.savez(
        file,
        audio=np.repeat(level, length).astype(np.int16),
        length=length,
        digit=digit,
        speaker=speaker,
        index=index,
    )
    train, test = example.digit_strings(file, (20, 10), random)
    assert (len(train), len(test)) == (20, 10)
    for part, indices in ((train, range(5, 8)), (test, range(5))):
        for samples, labels in part:
            assert 3 <= len(labels) <= 7
            levels = np.round(samples * 32768).astype(int)
            assert set(levels % 100) <= set(indices)
            assert len(set(levels // 100 % 10)) == 1
            heard = levels[np.r_[True, levels[1:] != levels[:-1]]] // 1000
            assert set(heard) == set(labels)
    _, found = run(
        *(tmp_path, "--data", tmp_path, "--epochs", 1, "--hidden", 8),
        *("--strings", 16, 4, "--beam", 3, "--threads", 1),
    )
    assert all(3 * 4 <= words <= 7 * 4 for _, words in found)
    assert len(fastcell.load(tmp_path / "speech.safetensors").vocabulary) == 10
