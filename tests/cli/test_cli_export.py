"""``fastcell export-c``: its table, its options, its refusals."""

from __future__ import annotations

import re
import shutil

import pytest
from exported import needs_cc

import fastcell


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    model = fastcell.Sequential([fastcell.GRU(1, 12, seed=0), fastcell.Linear(12, 1)])
    fastcell.save(model, path)
    return path


def table(out):
    return dict(re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines())


@needs_cc
@pytest.mark.skipif(shutil.which("size") is None, reason="needs binutils")
def test_sizes_are_printed(run, model, tmp_path):
    c = tmp_path / "amp.c"
    code, out, _ = run("export-c", model, "-o", c, "--name", "amp", "--lanes", "1")
    assert code == 0
    rows = table(out)
    assert rows["files"] == f"{c}, {c.with_suffix('.h')}"
    assert rows["inputs, outputs"] == "1, 1"
    # 36 by 1 and 12, with two biases; 1 by 12, with one.
    assert rows["weights"] == f"{4 * (36 * 13 + 72 + 12 + 1):,} bytes"
    assert rows["multiply-adds"] == f"{36 * 13 + 12} a step"
    assert (
        500 < int(re.match(r"([\d,]+) bytes", rows["code"])[1].replace(",", "")) < 9e3
    )
    state = re.match(r"([\d,]+) bytes", rows["state"])[1].replace(",", "")
    fields = re.findall(
        r"^    float \w+\[(\d+)\];", c.with_suffix(".h").read_text(), re.M
    )
    assert int(state) == 4 * sum(map(int, fields))
    assert "void amp_step(amp_state *s" in c.with_suffix(".h").read_text()


def test_without_a_compiler_the_code_is_unknown(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    code, out, _ = run("export-c", model, "-o", tmp_path / "net.c", "--dtype", "int8")
    assert code == 0
    assert table(out)["code"].startswith("unknown")
    assert "signed char" in (tmp_path / "net.c").read_text()


def test_existing_files_are_kept(run, model, tmp_path):
    (tmp_path / "net.h").write_text("mine")
    code, _, err = run("export-c", model, "-o", tmp_path / "net.c")
    assert code == 2
    assert "net.h exists; --force replaces it" in err
    assert (tmp_path / "net.h").read_text() == "mine"
    assert run("export-c", model, "-o", tmp_path / "net.c", "--force")[0] == 0
    assert (tmp_path / "net.h").read_text() != "mine"


def test_a_refusal_is_one_line(run, tmp_path):
    path = tmp_path / "both.safetensors"
    fastcell.save(fastcell.LSTM(3, 4, bidirectional=True), path)
    code, _, err = run("export-c", path, "-o", tmp_path / "net.c")
    assert (code, err.count("\n")) == (2, 1)
    assert "LSTM, has no form in C: with bidirectional=True it begins at the end" in err
    assert not (tmp_path / "net.c").exists()
