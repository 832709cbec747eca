"""Overwriting of files by the command line: which it replaces, which it never does."""

import os
import re
import stat

import pytest
from trainers import streams, trainer_of

import fastcell
from fastcell.data import CharVocabulary, encode_file

SMALL = ["--hidden-size=6", "--embedding-size=4", "--batch-size=4", "--steps=2"]
SMALL += ["--sequence-length=16", "--quiet"]
TEXT = "it was the best of times, it was the worst of times.\n" * 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text(TEXT)
    return tmp_path


def contents():
    """Return what all files hold; of links, where they lead."""
    return {
        name: os.readlink(name)
        if stat.S_ISLNK(os.lstat(name).st_mode)
        else open(name, "rb").read()
        for name in os.listdir()
    }


def assert_refused(run, *arguments, named):
    before = contents()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"fastcell: error: [^\n]+\n", err), err
    assert named in err
    assert contents() == before


LINKS = {
    "itself": lambda: "notes.txt",
    "by another path": lambda: os.path.abspath("notes.txt"),
    "a symbolic link": lambda: os.symlink("notes.txt", "link") or "link",
    "a hard link": lambda: os.link("notes.txt", "link") or "link",
}


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("link", LINKS)
def test_model_is_not_written_over_its_text(folder, run, link, force):
    out = LINKS[link]()
    arguments = ["train", "notes.txt", *SMALL, "-o", out, *force]
    assert_refused(run, *arguments, named="notes.txt: they are one file")


def test_text_behind_a_link_is_not_written_over(folder, run):
    os.symlink("notes.txt", "link")
    arguments = ["train", "link", *SMALL, "-o", "notes.txt", "--force"]
    assert_refused(run, *arguments, named="link: they are one file")


def test_text_under_the_name_of_the_checkpoint_stays(folder, run):
    os.rename("notes.txt", "m.checkpoint")
    arguments = ["train", "m.checkpoint", *SMALL, "-o", "m", "--force"]
    assert_refused(run, *arguments, named="m.checkpoint")


@pytest.mark.parametrize("command", [["train", "notes.txt", *SMALL], ["demo"]])
def test_model_that_exists_is_replaced_by_force_only(folder, run, command):
    (folder / "model.safetensors").write_text("precious")
    command = [*command, "--steps=1", "--threads=1"]
    assert_refused(run, *command, named="model.safetensors: exists; --force")
    assert run(*command, "--force")[0] == 0
    assert fastcell.load("model.safetensors").vocabulary is not None


@pytest.fixture
def checkpoint(folder, run, monkeypatch):
    """The checkpoint of a run to `model.safetensors` that was killed before its end."""

    def killed(model, path):
        raise OSError(5, "Input/output error", path)

    with monkeypatch.context() as patch:
        patch.setattr(fastcell, "save", killed)
        assert run("train", "notes.txt", *SMALL)[0] == 2
    return "model.safetensors.checkpoint"


def test_resumed_run_replaces_the_model_it_was_to_replace(checkpoint, run, folder):
    (folder / "model.safetensors").write_text("an earlier one")
    assert run("train", "--resume", "--quiet")[0] == 0
    fastcell.load("model.safetensors")


def test_resumed_run_replaces_no_other_model(checkpoint, run, folder):
    (folder / "other").write_text("precious")
    command = ["train", "--resume", checkpoint, "-o", "other", "--quiet"]
    assert_refused(run, *command, named="other: exists")
    assert run(*command, "--force")[0] == 0


def test_model_is_not_written_over_its_checkpoint(checkpoint, run):
    """It would be removed as the checkpoint of a run that is complete."""
    command = ["train", "--resume", checkpoint, "-o", checkpoint, "--force"]
    assert_refused(run, *command, named="they are one file")


@pytest.mark.parametrize("link", LINKS)
def test_text_is_not_encoded_over_itself(folder, link):
    out = LINKS[link]()
    vocabulary = CharVocabulary.from_text(TEXT)
    with pytest.raises(ValueError, match=r"over notes\.txt: they are one file"):
        encode_file("notes.txt", out, vocabulary)
    assert (folder / "notes.txt").read_text() == TEXT


def test_best_model_and_checkpoint_are_two_files(folder):
    os.symlink("run.checkpoint", "best")
    with pytest.raises(ValueError, match="best: must not be written over"):
        trainer_of().fit(
            streams(),
            streams(),
            steps=2,
            checkpoint="run.checkpoint",
            best="best",
        )
