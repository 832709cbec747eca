"""Many-to-one examples run on generated data and learn it."""

import re

import numpy as np
import pytest
from examples_run import run

import fastcell
from fastcell.data import WordVocabulary


def accuracies(printed):
    return [float(a) / 100 for a in re.findall(r"accuracy: ([\d.]+)%", printed)]


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.mark.parametrize("dev", [True, False])
def test_sentiment(tmp_path, random, dev):
    words = np.array(["film", "the", "a", "plot", "actor"])

    def sentence():
        label, n = random.integers(2), random.integers(2, 9)
        chosen = random.choice(words, n)
        chosen[random.integers(n)] = ("bad", "good")[label]
        return f"{label} {' '.join(chosen)}"

    for part, count in (("train", 300), ("dev", 40), ("test", 60)):
        if part != "dev" or dev:
            lines = [sentence() for _ in range(count)]
            path = tmp_path / f"sst.binary.{part}.txt"
            path.write_text("\n".join(lines), encoding="utf-8")
    saved = tmp_path / "model.safetensors"
    printed = run(
        "sentiment", tmp_path, "--epochs", 12, "--hidden", 12, "--save", saved
    )
    found = accuracies(printed)
    assert len(found) == 2
    assert min(found) > 0.95
    model = fastcell.load(saved)
    text = saved.with_suffix(".words.json").read_text(encoding="utf-8")
    vocabulary = WordVocabulary.from_json(text)
    assert set(vocabulary.words) > {*words, "good", "bad"}
    ids = vocabulary.encode("the good film")[:, np.newaxis]
    assert model.predict(ids).tolist() == [1]


def test_sentiment_of_mr_by_folds(tmp_path, random):
    words = np.array(["film", "the", "a", "plot", "actor"])
    lines = []
    for label in np.arange(200) % 2:
        chosen = random.choice(words, random.integers(2, 9))
        chosen[random.integers(len(chosen))] = ("bad", "good")[label]
        lines.append(f"{label} {' '.join(chosen)}")
    (tmp_path / "rt-polarity.txt").write_text("\n".join(lines), encoding="utf-8")
    saved = tmp_path / "model.safetensors"
    options = ("--name", "mr", "--folds", 4, "--epochs", 15, "--hidden", 12)
    printed = run("sentiment", tmp_path, *options, "--save", saved)
    assert len(re.findall(r"^fold \d of 4: ", printed, re.MULTILINE)) == 4
    assert accuracies(printed)[0] > 0.95
    assert "of 200 sentences" in printed
    assert fastcell.load(saved).num_classes == 2


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "sst.binary.train.txt: the file is empty"),
        ("1 a good film\n1 good\n", "must be of two classes or more; got 1"),
        ("1 a good film\ngood\n", "line 2 must be a class and words; got 'good'"),
        ("1 a good film\n0\n", "line 2 must be a class and words; got '0'"),
    ],
)
def test_sentiment_tells_what_is_wrong_with_a_file(tmp_path, text, error):
    for part in ("train", "test"):
        (tmp_path / f"sst.binary.{part}.txt").write_text(text)
    run("sentiment", tmp_path, "--save", tmp_path / "model", error=error)


def test_a_seed_changes_what_is_learned(tmp_path, random):
    x = random.standard_normal((120, 12)).astype(np.float32)
    length, y = np.full(20, 6, np.int32), (np.arange(20) % 9 + 1).astype(np.int32)
    arrays = {
        f"{name}_{part}": array
        for part in ("train", "test")
        for name, array in (("x", x), ("len", length), ("y", y))
    }
    np.savez(tmp_path / "japanese_vowels.npz", **arrays)
    weights = []
    for seed in (0, 0, 1):
        saved = tmp_path / "model.safetensors"
        options = ("--epochs", 1, "--hidden", 4, "--save", saved, "--seed", seed)
        run("speaker", tmp_path, *options)
        weights.append(fastcell.load(saved).params["decoder.weight"].copy())
    assert (weights[0] == weights[1]).all()
    assert (weights[0] != weights[2]).any()


def test_speaker(tmp_path, random):
    arrays = {}
    for part, count in (("train", 60), ("test", 45)):
        length = random.integers(7, 20, count).astype(np.int32)
        y = (np.arange(count) % 9 + 1).astype(np.int32)
        noise = random.standard_normal((length.sum(), 12)) / 4
        x = noise + np.eye(12)[np.repeat(y, length)]
        arrays |= {f"x_{part}": x.astype(np.float32), f"len_{part}": length}
        arrays[f"y_{part}"] = y
    np.savez(tmp_path / "japanese_vowels.npz", **arrays)
    saved = tmp_path / "model.safetensors"
    printed = run("speaker", tmp_path, "--epochs", 12, "--hidden", 16, "--save", saved)
    assert accuracies(printed)[0] > 0.95
    assert len(re.findall(r"^  speaker \d, with probability", printed, re.M)) == 3
    assert fastcell.load(saved).classes == list(range(1, 10))


def test_digits(tmp_path, random):
    arrays = {}
    for part, count in (("train", 400), ("test", 60)):
        y = (np.arange(count) % 10).astype(np.uint8)
        x = random.integers(0, 80, (count, 28, 28))
        for picture, digit in zip(x, y, strict=True):
            picture[8:20, 2 * digit + 4] = 255  # a stroke where the digit says
        arrays |= {f"x_{part}": x.astype(np.uint8), f"y_{part}": y}
    np.savez(tmp_path / "mnist.npz", **arrays)
    saved = tmp_path / "model.safetensors"
    printed = run("digits", tmp_path, "--epochs", 40, "--hidden", 24, "--save", saved)
    assert accuracies(printed)[0] > 0.9
    rows = re.findall(r"after row +(\d+): (\d), with probability (\S+)", printed)
    assert [int(row) for row, _, _ in rows] == [4, 8, 12, 16, 20, 24, 28]
    assert int(rows[-1][1]) == fastcell.load(saved).predict(
        arrays["x_test"][:1].swapaxes(0, 1) / np.float32(255)
    )


def test_dna(tmp_path, random):
    lines = ["class\tsequence"]
    for i in range(240):
        bases = random.choice(list("ACGT"), 60)
        name = ("EI", "IE", "N")[i % 3]
        bases[28:32] = {"EI": list("CAGG"), "IE": list("TTTT"), "N": list("AAAA")}[name]
        bases[5] = random.choice(list("DNRS"))
        lines.append(f"{name}\t{''.join(bases)}")
    lines.append(lines[1])
    (tmp_path / "splice.tsv").write_text("\n".join(lines) + "\n")
    saved = tmp_path / "model.safetensors"
    printed = run(
        "dna", tmp_path, "--epochs", 25, "--folds", 3, "--hidden", 8, "--save", saved
    )
    assert len(re.findall(r"^fold \d of 3", printed, re.M)) == 3
    assert accuracies(printed)[0] > 0.95
    assert fastcell.load(saved).classes == ["EI", "IE", "N"]


@pytest.mark.parametrize("name", ["sentiment", "speaker", "digits", "dna"])
def test_help_and_a_folder_without_data(name, tmp_path):
    shown = run(name, "--help")
    assert "--epochs" in shown
    assert "--seed" in shown
    run(name, tmp_path, error="No such file")
