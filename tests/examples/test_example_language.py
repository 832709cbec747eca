"""The language model example learns small artificial languages."""

from __future__ import annotations

import gzip
import lzma
import math
import re

import numpy as np
import pytest
from examples_run import run

import fastcell
from fastcell.data import CharVocabulary, WordVocabulary

NOUNS = ["cat", "dog", "owl", "ant"]
VERBS = ["sees", "hears", "likes"]


def sentences(count, seed):
    """Of one form: a noun, a verb, a noun, an adverb that goes with the verb."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        verb = random.integers(3)
        first, second = random.choice(NOUNS, 2)
        adverb = ["well", "badly", "always"][verb]
        lines.append(f" the {first} {VERBS[verb]} the {second} {adverb} \n")
    return "".join(lines)


# What nobody can know of a sentence: two nouns and a verb.
NATS = 2 * math.log(4) + math.log(3)


def value(name, printed):
    (found,) = re.findall(rf"^{name}: ([\d.]+) of \d+ \w+ held out$", printed, re.M)
    return float(found)


def test_characters(tmp_path):
    text = sentences(1200, 0)
    (tmp_path / "text.txt.xz").write_bytes(lzma.compress(text.encode()))
    saved = tmp_path / "model.safetensors"
    options = "--epochs 20 --hidden 48 --lr 0.015 --threads 1 --save"
    printed = run("language", tmp_path, *options.split(), saved)
    nats = value("nats per char", printed)
    assert nats < 1.5 * NATS * 1200 / len(text)
    assert value("bits per char", printed) == pytest.approx(
        nats / math.log(2), abs=1e-3
    )
    model = fastcell.load(saved)
    vocabulary = saved.with_suffix(".chars.json").read_text(encoding="utf-8")
    assert CharVocabulary.from_json(vocabulary) == model.vocabulary
    written = model.generate("\n", 400, 0.5, seed=1)
    words = set(written.split()[:-1])
    assert len(words & {*text.split()}) > 0.8 * len(words)


def little_treebank(folder):
    for seed, (part, count) in enumerate(
        (("train", 1500), ("valid", 100), ("test", 200))
    ):
        content = gzip.compress(sentences(count, seed).encode())
        (folder / f"ptb.{part}.txt.gz").write_bytes(content)


WORDS = "--by word --epochs 12 --hidden 24 --embedding 12 --lr 10 --threads 1 --save"


def test_words_of_a_folder_in_three_parts(tmp_path):
    little_treebank(tmp_path)
    saved = tmp_path / "model.safetensors"
    printed = run("language", tmp_path, *WORDS.split(), saved)
    perplexity = value("perplexity", printed)
    # Seven words a sentence, <eos> counted.
    assert perplexity < 1.1 * math.exp(NATS / 7)
    assert value("nats per word", printed) == pytest.approx(
        math.log(perplexity), abs=1e-2
    )
    model = fastcell.load(saved)
    words = WordVocabulary.from_json(saved.with_suffix(".words.json").read_text())
    assert len(words) == model.vocab_size == 2 + 1 + 4 + 3 + 3
    drawn = words.decode(model.generate([words.index("<eos>")], 70, seed=0))
    lines = " ".join(drawn).split("<eos>")[:-1]
    right = [line for line in lines if f" {line.strip()} \n" in sentences(3000, 9)]
    assert len(right) > 0.7 * len(lines)


def test_words_from_an_estimated_loss(tmp_path):
    little_treebank(tmp_path)
    saved = tmp_path / "model.safetensors"
    sampled = "--sampled-softmax", 100
    printed = run("language", tmp_path, *WORDS.split(), saved, *sampled)
    # Without what came before, a word is worth 9 or 10.
    assert value("perplexity", printed) < 1.6 * math.exp(NATS / 7)
    assert fastcell.load(saved).sampled_softmax == 100


def test_a_file_by_words_and_few_words(tmp_path):
    path = tmp_path / "text"
    path.write_text(sentences(300, 0), encoding="utf-8")
    options = "--by word --epochs 1 --words 6 --layers 1 --threads 1 --save"
    printed = run("language", path, *options.split(), tmp_path / "m.safetensors")
    assert "6 different" in printed
    assert value("perplexity", printed) < 6


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "the file is empty"),
        ("a", "must be long enough for its 2 parts"),
        ("ab" * 5, "tokens must be at least batch_size + 1 = 2; got 1"),
        (b"\xff\xfe", "the text must be UTF-8; byte 0 is 0xff"),
    ],
)
def test_texts_that_are_none_are_named(tmp_path, content, error):
    path = tmp_path / "text.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    run("language", path, "--save", tmp_path / "m", error=error)


def test_folders_without_a_text_are_named(tmp_path):
    run("language", tmp_path, error="must hold one text; got 0")
    run("language", tmp_path / "none", error="No such file")
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("text")
    run("language", tmp_path, error="must hold one text; got 2")
