"""Examples of frame models learn and sample generated data."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from examples_run import load, run

import fastcell

KEYS = 88


@pytest.fixture
def random():
    return np.random.default_rng(0)


def figures(printed, name):
    return [float(n) for n in re.findall(rf"^{name}: ([\d.]+) ", printed, re.M)]


def save_music(path, pieces):
    """Write pieces as the files of the data set have them."""
    arrays = {}
    for part, of_part in pieces.items():
        arrays[f"{part}_len"] = np.array([len(p) for p in of_part], np.int32)
        arrays[f"{part}_roll"] = np.packbits(np.concatenate(of_part), axis=1)
    np.savez(path, **arrays)


def chords(random):
    """Return a piece of four chords in turn, and a key that sounds or does not."""
    roll = np.zeros((random.integers(9, 17), KEYS), np.uint8)
    for t, frame in enumerate(roll):
        chord = t % 4
        frame[[30 + chord, 40 + 2 * chord, 60 + chord]] = 1
        frame[80] = random.integers(2)
    return roll


def notes_of(data):
    """Read a MIDI file of one track: notes as (start, end, key) in ticks."""
    assert data[:14] == b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 0, 240])
    assert data[14:18] == b"MTrk"
    assert int.from_bytes(data[18:22], "big") == len(data) - 22
    at, time, sounding, notes = 22, 0, {}, []
    while True:
        delta = 0
        while data[at] & 128:
            delta, at = delta << 7 | data[at] & 127, at + 1
        time, at = time + (delta << 7 | data[at]), at + 1
        if data[at] == 0xFF:
            assert data[at:] == b"\xff\x2f\x00"
            assert not sounding
            return sorted(notes)
        status, key, strength = data[at : at + 3]
        at += 3
        if status == 0x90:
            assert strength > 0
            assert key not in sounding
            sounding[key] = time
        else:
            assert status == 0x80
            notes.append((sounding.pop(key), time, key))


def roll_of(notes, frames, ticks):
    roll = np.zeros((frames, KEYS), bool)
    for start, end, key in notes:
        assert start % ticks == end % ticks == 0
        assert start < end
        roll[start // ticks : end // ticks, key - 21] = True
    return roll


def test_music(tmp_path, random):
    parts = (("train", 40), ("valid", 10), ("test", 12))
    pieces = {part: [chords(random) for _ in range(n)] for part, n in parts}
    save_music(tmp_path / "jsb.npz", pieces)
    saved = tmp_path / "new.safetensors"
    options = ["--epochs", 30, "--batch", 2, "--hidden", 16, "--lr", 0.02]
    printed = run("music", tmp_path, *options, "--save", saved)
    found = figures(printed, "nll")
    assert len(found) == 2
    assert math.log(2) - 0.05 < found[1] < math.log(2) + 0.5  # of the one key
    model = fastcell.load(saved)
    piece = model.generate(None, 128, seed=0)
    notes = notes_of(saved.with_suffix(".mid").read_bytes())
    assert (roll_of(notes, 128, 120) == (piece > 0)).all()
    chord = np.arange(128) % 4
    assert (piece[np.arange(128), 30 + chord] > 0).mean() > 0.8
    assert (piece[np.arange(128), 31 + chord] > 0).mean() < 0.2


def test_a_midi_file_reads_back(tmp_path, random):
    write_midi, path = load("music").write_midi, tmp_path / "a.mid"
    roll = random.random((300, KEYS)) < 0.1
    roll[:, 3], roll[50:290], roll[:, 87] = True, False, random.random(300) < 0.5
    write_midi(path, roll)  # with a rest that takes three bytes
    assert (roll_of(notes_of(path.read_bytes()), 300, 120) == roll).all()
    write_midi(path, np.zeros((5, KEYS)))
    assert notes_of(path.read_bytes()) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "00"), (127, "7f"), (128, "81 00"), (16383, "ff 7f"), (16384, "81 80 00")],
)
def test_numbers_of_midi(value, expected):
    assert load("music").number(value) == bytes.fromhex(expected)


def save_digits(path, random):
    """Write small pictures: all white from one of four columns on, or all black."""
    arrays = {}
    for part, count in (("train", 600), ("test", 60)):
        x = np.zeros((count, 8, 8), np.uint8)
        for picture, kind in zip(x, random.integers(0, 5, count), strict=True):
            picture[:, kind + 3 :] = 255 * (kind < 4)
        arrays |= {f"x_{part}": x, f"y_{part}": np.zeros(count, np.uint8)}
    np.savez(path, **arrays)


@pytest.mark.parametrize("by", ["row", "strip"])
def test_images(tmp_path, random, by):
    save_digits(tmp_path / "mnist.npz", random)
    saved = tmp_path / "model.safetensors"
    options = ["--by", by, "--epochs", 60, "--hidden", 24, "--save", saved]
    printed = run("images", tmp_path, *options)
    found = figures(printed, "nats")
    assert len(found) == 2
    # There are log 5 nats in a picture; by row there are 2.9 in the first row alone, as
    # its pixels are drawn each on its own.
    low, high = (2.4, 5) if by == "row" else (1.3, 3)
    assert low < found[1] < high
    assert len(re.findall(r"^[.#]{8}$", printed, re.M)) == 8
    model = fastcell.load(saved)
    if by == "row":
        drawn = model.generate(None, 8, seed=0, count=200)
        assert drawn[..., :3].mean() < 0.05
        assert 0.3 < drawn[..., 3:].mean() < 0.8
    else:
        rows = model.generate(np.zeros((1, 200), int), 16, seed=0).reshape(8, 2, 200)
        assert (rows == rows[0]).all(axis=(0, 1)).mean() > 0.5
        assert len(np.unique(rows[0], axis=1).T) >= 5


def test_strips_are_pictures(random):
    images = load("images")
    pictures = random.integers(0, 2, (7, 28, 28))
    tokens = images.strips(pictures)
    assert tokens.shape == (7, 196)
    assert tokens[2, 8] == pictures[2, 1, 4:8] @ [8, 4, 2, 1]
    assert (images.of_strips(tokens, (28, 28)) == pictures).all()


def test_pixels_are_white_by_their_brightness(tmp_path):
    grey = np.zeros((50, 28, 28), np.uint8)
    grey[:, :14], grey[:, 14:21] = 255, 51
    np.savez(tmp_path / "mnist.npz", x_train=grey, x_test=grey[:3])
    read = load("images").read
    x, test = read(tmp_path / "mnist.npz")
    assert (x.shape, test.shape) == ((50, 28, 28), (3, 28, 28))
    assert x[:, :14].all()
    assert not x[:, 21:].any()
    assert abs(x[:, 14:21].mean() - 0.2) < 0.02
    assert (read(tmp_path / "mnist.npz")[0] == x).all()


def test_a_sheet_of_drawings(tmp_path, random):
    image = pytest.importorskip("matplotlib.image")
    path = tmp_path / "sheet.png"
    load("images").plot(random.random((9, 28, 28)) < 0.5, path)
    assert image.imread(path).shape[:2] == (3 * 30 * 3, 3 * 30 * 3)


@pytest.mark.parametrize("name", ["music", "images"])
def test_help_and_a_folder_without_data(name, tmp_path):
    assert "--epochs" in run(name, "--help")
    run(name, tmp_path, error="No such file")


def test_music_that_is_no_roll(tmp_path):
    np.savez(tmp_path / "jsb.npz", train_len=[1])
    run("music", tmp_path, error="must have the array 'train_roll'")
