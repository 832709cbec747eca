"""Examples of translation and captions, on small artificial languages."""

from __future__ import annotations

import gzip
import lzma
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastcell
from fastcell.data import WordVocabulary

EXAMPLES = Path(__file__).parents[2] / "examples"
TIME_LIMIT = 120.0  # seconds, on a busy machine


def run(name, options, folder, error=None):
    """Run an example in a folder; return what it printed, or check its error."""
    process = subprocess.run(
        [sys.executable, EXAMPLES / name, *options.split()],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        cwd=folder,
    )
    if error is not None:
        assert process.returncode == 2
        assert error in process.stderr.splitlines()[-1]
        return None
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
            (tmp_path / f"translation.{side}.json").read_text(encoding="utf-8")
        )
        for side in ("source", "target")
    ]
    assert (
        [len(v) for v in words] == [model.source_vocab, model.target_vocab] == [14, 14]
    )
    source = words[0].encode("w1 w2 w3 w4 w5")[:, np.newaxis]
    answer = words[1].decode(model.predict(source)[0])
    assert answer == ["ü5", "ü4", "ü3", "ü2", "ü1"]


def test_translation_of_pairs_keeps_a_sentence_in_one_part(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    lines = []
    for _ in range(500):
        ids = random.integers(0, 6, random.integers(2, 6))
        said = " ".join(f"w{i}" for i in ids).capitalize()
        for ending in (".", "\u202f!"):  # two translations of most of the sentences
            if ending == "." or random.random() < 0.8:
                lines.append(f"{said}.\t{' '.join(f'Ü{i}' for i in ids)}{ending}")
    lines.append(f"{'w1 ' * 11}\t{'Ü1 ' * 11}")  # too long
    text = "\n".join(lines) + "\n"
    (tmp_path / "pairs.tsv.xz").write_bytes(lzma.compress(text.encode()))

    monkeypatch.syspath_prepend(EXAMPLES)
    import translation

    parts = translation.short_pairs(tmp_path / "pairs.tsv.xz", 0)
    said = [{tuple(words) for words, _ in part} for part in parts]
    assert said[0].isdisjoint(said[1] | said[2])
    assert said[1].isdisjoint(said[2])
    assert len(said[1]) == len(said[2]) == sum(map(len, said)) // 20
    rows = [
        (words, meant) for part in parts for words, all_of in part for meant in all_of
    ]
    assert len(rows) == len(lines) - 1
    assert all(words[-1] == "." and meant[-1] in ".!" for words, meant in rows)
    other = translation.short_pairs(tmp_path / "pairs.tsv.xz", 1)
    assert {tuple(words) for words, _ in other[2]} != said[2]

    shown = run(
        "translation.py",
        ". --pairs pairs.tsv.xz --epochs 12 --hidden 32 --embedding 16 --batch 20 "
        "--dropout 0 --lr 0.01 --threads 1 --seed 3",
        tmp_path,
    )
    found = re.search(r"^BLEU: ([\d.]+) of \d+ test", shown, re.M)
    assert float(found[1]) > 60, shown


def test_translation_draws_its_attention(tmp_path):
    pytest.importorskip("matplotlib")
    write_language(tmp_path, np.random.default_rng(0))
    options = ". --source xx --target yy --epochs 1 --hidden 8 --embedding 4 --limit 99"
    run("translation.py", f"{options} --threads 1 --plot seen.png", tmp_path)
    picture = (tmp_path / "seen.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5000


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
        ". --seed 1 --epochs 12 --hidden 48 --embedding 16 --dropout 0 --lr 0.01 "
        "--threads 1",
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
        assert "--seed" in shown
        run(f"{name}.py", "nowhere", tmp_path, error="No such file")
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
