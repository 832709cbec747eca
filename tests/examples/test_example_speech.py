"""The speech example runs on generated wav files and digits."""

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

PROGRAM = Path(__file__).parents[2] / "examples" / "speech.py"
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


def tones(labels, random, rate=8000):
    """Say words: no is a low tone, yes one that rises."""
    parts = [np.zeros(800)]
    for label in labels:
        t = np.arange(random.integers(1600, 2400)) / rate
        pitch = 400 + 40 * random.standard_normal() + (1500 * t if label else 0)
        gap = np.zeros(random.integers(1400, 2000))
        parts += [0.3 * np.sin(2 * np.pi * pitch * t), gap]
    sound = np.concatenate(parts)
    return sound + 0.001 * random.standard_normal(len(sound))


def write_tones(folder, random):
    """Write all files of four words, of which half start with no."""
    for number in range(16):
        labels = [int(digit) for digit in f"{number:04b}"]
        pcm = np.round(tones(labels, random) * 20000).astype(np.int16)
        name = "_".join(map(str, labels))
        wavfile.write(folder / f"{name}.wav", 8000, pcm)


def test_it_learns_to_tell_the_words_of_wav_files(tmp_path):
    write_tones(tmp_path, np.random.default_rng(0))
    output, found = run(tmp_path, tmp_path, "--epochs", 8, "--threads", 1)
    for errors, words in found:
        assert words == 32
        assert errors < 4
    assert re.search(r"heard:  (yes|no)", output)
    model = fastcell.load(tmp_path / "speech.safetensors")
    assert model.vocabulary == ("no", "yes")
    _, other = run(tmp_path, *(tmp_path, "--epochs", 1, "--cell", "gru", "--seed", 1))
    assert [words for _, words in other] == [32, 32]


def test_it_cuts_recordings_in_their_pauses(tmp_path, example):
    random = np.random.default_rng(0)
    sound, labels = tones([0, 1, 1, 0, 1], random), [1, 2, 2, 1, 2]
    words = example.cut(sound, labels)
    assert [label for _, (label,) in words] == labels
    np.testing.assert_array_equal(np.concatenate([w for w, _ in words]), sound)
    for word, _ in words:  # each begins and ends in silence, and says something
        assert np.abs(word[:300]).max() < 0.02
        assert np.abs(word[-300:]).max() < 0.02
        assert np.abs(word).max() > 0.2
    assert example.cut(sound, labels[1:]) == []
    click = sound.copy()
    click[200:260] += 0.3  # no word
    assert len(example.cut(click, labels)) == 5

    write_tones(tmp_path, random)
    train, test = example.yes_no(tmp_path, [10, 0], random)
    assert (len(train), len(test)) == (8 + 10, 8)
    assert all(labels[0] == 1 for _, labels in train[:8])
    assert all(labels[0] == 2 for _, labels in test)
    assert {len(labels) for _, labels in train[8:]} <= set(range(3, 10))
    assert {labels[0] for _, labels in train[8:]} == {1, 2}


def test_folders_without_recordings_are_refused(tmp_path):
    process = subprocess.run(
        [sys.executable, PROGRAM, tmp_path],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert process.returncode == 2
    [line] = process.stderr.splitlines()
    where = f"{tmp_path}: neither wav files of both kinds nor digits"
    assert line.startswith(f"speech.py: {where}; the data are from https://")


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
    train, test = example.digit_strings(file, [20, 10], random)
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
        *(tmp_path, tmp_path, "--epochs", 1, "--hidden", 8),
        *("--strings", 16, 4, "--beam", 3, "--threads", 1),
    )
    assert all(3 * 4 <= words <= 7 * 4 for _, words in found)
    assert len(fastcell.load(tmp_path / "speech.safetensors").vocabulary) == 10
