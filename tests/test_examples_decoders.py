"""The examples of translation and captions, on little languages made here."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import fastcell
from fastcell.data import WordVocabulary

EXAMPLES = Path(__file__).parent.parent / "examples"
TIME_LIMIT = 120.0  # seconds, on a busy machine


def run(name, options, folder):
    """Run an example in a folder; return what it printed."""
    process = subprocess.run(
        [sys.executable, EXAMPLES / name, *options.split()],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        cwd=folder,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def write_language(folder, random):
    """Sentences of ten words, whose translation has them in reverse order."""
    for split, count in (("train", 900), ("val", 40), ("test_2016_flickr", 60)):
        sources, targets = [], []
        for _ in range(count):
            ids = random.integers(0, 10, random.integers(4, 7))
            sources.append(" ".join(f"w{i}" for i in ids))
            targets.append(" ".join(f"ü{i}" for i in ids[::-1]))
        for language, lines in (("xx", sources), ("yy", targets)):
            text = "".join(line + "\n" for line in lines).encode()
            path = folder / f"{split}.lc.norm.tok.{language}"
            if split == "train":
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(text))
            else:
                path.write_bytes(text)


def test_translation_learns_a_little_language(tmp_path):
    write_language(tmp_path, np.random.default_rng(0))
    shown = run(
        "translation.py",
        ". --source xx --target yy --epochs 12 --hidden 48 --embedding 24 "
        "--batch 30 --dropout 0 --lr 0.01 --threads 1",
        tmp_path,
    )
    found = re.search(r"BLEU: ([\d.]+) of 60 test sentences", shown)
    assert found, shown
    assert float(found[1]) > 80, shown
    model = fastcell.load(tmp_path / "translation.safetensors")
    words = [
        WordVocabulary.from_json(
            (tmp_path / f"translation.{language}.json").read_text()
        )
        for language in ("xx", "yy")
    ]
    assert (
        [len(v) for v in words] == [model.source_vocab, model.target_vocab] == [14, 14]
    )
    source = words[0].encode("w1 w2 w3 w4 w5")[:, np.newaxis]
    answer = words[1].decode(model.predict(source)[0])
    assert answer == ["ü5", "ü4", "ü3", "ü2", "ü1"]


def test_captions_name_what_a_vector_holds(tmp_path):
    random = np.random.default_rng(0)
    things = np.array(["dog", "ball", "tree", "child", "hat"])
    there = random.random((300, 5)) < 0.6
    there[:, 0] = True
    split = np.repeat([0, 1, 2], [240, 30, 30])
    np.savez(
        tmp_path / "features.npz",
        pooled=(there + 0.1 * random.standard_normal(there.shape)).astype(np.float16),
        image=np.array([f"{i}.jpg" for i in range(300)]),
        split=split,
    )
    lines = ["image\tsplit\tcaption"]
    for i, row in enumerate(there):
        sentence = "A " + " and a ".join(things[row]) + " are here ."
        lines += [f"{i}.jpg\t{split[i]}\t{sentence}"] * 2
    (tmp_path / "captions.tsv").write_text("\n".join(lines) + "\n")
    shown = run(
        "captions.py",
        ". --epochs 12 --hidden 48 --embedding 16 --dropout 0 --lr 0.01 --threads 1",
        tmp_path,
    )
    found = re.search(r"BLEU-1\.\.4: ([\d.]+) / .* / ([\d.]+) of 30 test", shown)
    assert found, shown
    assert float(found[1]) >= float(found[2]) > 90, shown
    model = fastcell.load(tmp_path / "captions.safetensors")
    words = WordVocabulary.from_json((tmp_path / "captions.words.json").read_text())
    assert model.vocab_size == len(words)


def test_examples_say_what_they_need(tmp_path):
    for name in ("translation", "captions"):
        shown = run(f"{name}.py", "--help", tmp_path)
        assert "folder" in shown
        assert "--threads" in shown
        process = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys, runpy; sys.modules['sacrebleu'] = None;"
                f"sys.argv = ['x', {str(tmp_path)!r}];"
                f"runpy.run_path({str(EXAMPLES / name)!r} + '.py', "
                "run_name='__main__')",
            ],
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )
        assert process.returncode == 1
        assert process.stderr.strip() == "BLEU needs sacrebleu: pip install sacrebleu"
