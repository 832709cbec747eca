"""All examples: --help, and one-line errors for missing or damaged data."""

import gzip
import re
import sys

import numpy as np
import pytest
from examples_run import EXAMPLES, load

# The files of each example; of arrays also their names.
FILES = {
    "activity": {
        "jhmdb_pose14.npz": ["pose_milli", "length", "label", "class_names", "is_test"]
    },
    "captions": {"features.npz": ["pooled", "image", "split"], "captions.tsv": None},
    "conversation": {"CamRestDB.json": None, "CamRest676.json": None},
    "digits": {"mnist.npz": ["x_train", "x_test", "y_train", "y_test"]},
    "dna": {"splice.tsv": None},
    "forecasting": {"ETTh1.csv": None},
    "images": {"mnist.npz": ["x_train", "x_test"]},
    "language": {"text.txt": None},
    "motion": {"salsa_xyz_30fps.npz": ["joint_names", "xyz_mm", "length", "take"]},
    "motion --name cmu": {
        "cmu_expmap_5actions.npz": ["frames", "length", "action", "is_test"]
    },
    "music": {
        "jsb.npz": [f"{p}_{n}" for p in ("train", "valid") for n in ("len", "roll")]
    },
    "questions": {"qa1_train.txt": None, "qa1_test.txt": None},
    "sentiment": {"sst.binary.train.txt": None, "sst.binary.test.txt": None},
    "sentiment --name mr": {"rt-polarity.txt": None},
    "speaker": {
        "japanese_vowels.npz": [
            f"{n}_{p}" for n in ("x", "len", "y") for p in ("train",)
        ]
    },
    "speech": {"fsdd_pcm16_8khz.npz": ["audio", "length", "digit", "speaker", "index"]},
    "speech of files": {"0_1_0.wav": None, "1_0_1.wav": None},
    "translation": {
        f"{part}.lc.norm.tok.{language}": None
        for part in ("train", "val", "test_2016_flickr")
        for language in ("de", "en")
    },
    "translation --pairs pairs.tsv": {"pairs.tsv": None},
}
NAMES = sorted(p.stem for p in EXAMPLES.glob("*.py"))
WITH_DATA = [name for name in NAMES if name != "hello"]

BYTES = {
    "empty": b"",
    "zeros": bytes(500),
    "not UTF-8": b"id,x\n\xff\xfe,\n" * 20,
    "a word": b"word\n",
    "half a zip": b"PK\3\4" + bytes(60),
    "half a wav": b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0",
    "packed": gzip.compress(b"word\n", mtime=0),
    "open brackets": b"[" * 20_000,
}
NO_TEXT = ("empty", "not UTF-8", "packed")
ARRAYS = {
    "numbers": np.int64(7),
    "nothing": np.zeros(0),
    "nothing of everything": np.zeros((0, 5, 3), np.uint8),
    "text": np.array(["a", "b", "c"]),
    "not finite": np.full((4, 4, 4), np.nan, np.float32),
    "negative": np.full(5, -7),
    "complex": np.ones((3, 3), complex),
    "large": np.full((2, 2), 2**62),
}


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """Run an example here; return its exit code, and what it printed on stderr."""

    def run(name, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            load(name).main()
        printed = capsys.readouterr()
        return caught.value.code, printed.out, printed.err

    return run


def refused(said, case, folder):
    """Check that an example ends in one line, and return it."""
    name, _, options = case.partition(" ")
    options = options.split() if options.startswith("--") else []
    code, _, error = said(name, folder, *options)
    assert code == 2, error
    [line] = error.splitlines()
    assert line.startswith(f"{name}.py: ")
    assert len(line) < 1500
    return line


def test_all_examples_are_here():
    assert {case.partition(" ")[0] for case in FILES} == {*WITH_DATA}


@pytest.mark.parametrize("name", NAMES)
def test_help_has_the_whole_docstring(said, name):
    code, shown, _ = said(name, "--help")
    assert code == 0
    assert load(name).__doc__.strip() in shown


@pytest.mark.parametrize("name", WITH_DATA)
def test_a_folder_that_is_not_there(said, tmp_path, name):
    line = refused(said, name, tmp_path / "none")
    assert str(tmp_path / "none") in line
    sources = load(name).SOURCE
    sources = sources if isinstance(sources, str) else sources["dance"]
    assert f"the data are from {sources}" in line
    # The docstring, which the line points to, tells the same place.
    places = re.findall(r"https://[^\s,;)]+|doi:[^\s),]+", sources)
    assert places
    whole = "".join(load(name).__doc__.split())
    assert all(place in whole for place in places)


@pytest.mark.parametrize(
    ("case", "content"),
    [
        (case, content)
        for case in FILES
        for content in BYTES
        # What is UTF-8 is a text, to these.
        if case not in ("language", "translation") or content in NO_TEXT
    ],
)
def test_a_damaged_file_is_named(said, tmp_path, case, content):
    for file in FILES[case]:
        (tmp_path / file).write_bytes(BYTES[content])
    line = refused(said, case, tmp_path)
    assert any(str(tmp_path / file) in line for file in FILES[case]), line


@pytest.mark.parametrize("case", [c for c, f in FILES.items() if any(f.values())])
@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.filterwarnings("ignore")  # of NumPy, about what is not finite
def test_arrays_that_are_not_as_said_are_named(said, tmp_path, case, array):
    for file, names in FILES[case].items():
        if names is None:
            (tmp_path / file).write_text("a line\n")
        else:
            there = {name: ARRAYS[array] for name in names}
            there |= {name.replace("train", "test"): ARRAYS[array] for name in names}
            np.savez(tmp_path / file, **there)
    assert str(tmp_path) in refused(said, case, tmp_path)


def test_sides_of_a_translation_that_do_not_fit(said, tmp_path):
    for file in FILES["translation"]:
        (tmp_path / file).write_text("ein satz\n" * (1 + file.startswith("val.") * 2))
    (tmp_path / "val.lc.norm.tok.en").write_text("a sentence\n")
    line = refused(said, "translation", tmp_path)
    assert "val.lc.norm.tok.de" in line
    assert "got 3 and 1" in line
