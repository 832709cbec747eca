"""Temporary files of killed processes: removed at the next start, and no others."""

import os
import signal
import subprocess
import sys

import pytest
from last_step import sequences
from last_step import trainer_of as trainer_of_last_step
from trainers import streams, trainer_of

from fastcell import cli
from fastcell._checks.files import (
    remove_leftovers,
    write_atomically,
    written_atomically,
)
from fastcell.callbacks import CSVLogger

DEAD = ".run.checkpoint.0123456789ab.tmp"

WRITER = """
import sys, time
from fastcell._checks.files import written_atomically
with written_atomically(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("written", flush=True)
    time.sleep(60)
"""


def start_writer(path):
    """Start a process that stays in the middle of writing a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"written\n"
    return process


def temporaries(folder):
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_file_of_a_killed_process_is_removed_and_of_a_live_one_is_not(tmp_path):
    path = tmp_path / "run.checkpoint"
    process = start_writer(path)
    try:
        (name,) = temporaries(tmp_path)
        remove_leftovers(path)
        assert temporaries(tmp_path) == [name]
        process.kill()
        process.wait()
        assert temporaries(tmp_path) == [name]
        remove_leftovers(path)
        assert temporaries(tmp_path) == []
    finally:
        process.kill()
        process.communicate()


def test_file_of_this_process_is_not_removed(tmp_path):
    path = tmp_path / "run.checkpoint"
    with written_atomically(path) as file:
        file.write(b"whole")
        remove_leftovers(path)
    assert path.read_bytes() == b"whole"
    assert temporaries(tmp_path) == []


def test_other_files_stay(tmp_path):
    others = [
        ".another.0123456789ab.tmp",
        ".run.checkpoint.0123456789xx.tmp",
        ".run.checkpoint.0123456789ab.tmp.txt",
        "run.checkpoint.0123456789ab.tmp",
        ".run.checkpoint.tmp",
        "run.checkpoint",
    ]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / "kept").touch()
    os.symlink("kept", tmp_path / DEAD)
    os.mkdir(tmp_path / ".run.checkpoint.ab0123456789.tmp")
    os.mkfifo(tmp_path / ".run.checkpoint.abab23456789.tmp")
    before = sorted(os.listdir(tmp_path))
    remove_leftovers(tmp_path / "run.checkpoint")
    assert sorted(os.listdir(tmp_path)) == before


def test_file_taken_for_a_leftover_before_it_was_locked_is_made_anew(
    tmp_path, monkeypatch
):
    fcntl = pytest.importorskip("fcntl")
    lock, removed = fcntl.flock, []

    def late(file, how):
        if not removed:
            removed.extend(temporaries(tmp_path))
            os.unlink(tmp_path / removed[0])
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_atomically(tmp_path / "run.checkpoint", b"whole")
    assert (tmp_path / "run.checkpoint").read_bytes() == b"whole"
    assert removed
    assert temporaries(tmp_path) == []


def test_files_are_written_where_there_are_no_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(file, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / DEAD).touch()
    write_atomically(tmp_path / "run.checkpoint", b"whole")
    assert (tmp_path / "run.checkpoint").read_bytes() == b"whole"
    remove_leftovers(tmp_path / "run.checkpoint")
    assert temporaries(tmp_path) == [DEAD]


def test_run_removes_what_runs_before_have_left(tmp_path, last_step_may_be_saved):
    for name in ("run.checkpoint", "best.safetensors", "log.csv"):
        (tmp_path / f".{name}.0123456789ab.tmp").touch()
    trainer = trainer_of_last_step(callbacks=[CSVLogger(tmp_path / "log.csv")])
    trainer.fit(
        sequences(),
        sequences(seed=1),
        steps=1,
        checkpoint=tmp_path / "run.checkpoint",
        best=tmp_path / "best.safetensors",
    )
    assert temporaries(tmp_path) == []


def test_run_without_files_removes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEAD).touch()
    trainer_of().fit(streams(), steps=1)
    assert temporaries(tmp_path) == [DEAD]


def test_command_removes_what_runs_before_have_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 40)
    (tmp_path / ".m.0123456789ab.tmp").touch()
    (tmp_path / ".m.checkpoint.0123456789ab.tmp").touch()
    sizes = ["--hidden-size=4", "--batch-size=2", "--sequence-length=8", "--steps=1"]
    assert cli.main(["train", "text.txt", *sizes, "-o", "m", "--quiet"]) == 0
    assert sorted(os.listdir()) == ["m", "text.txt"]
