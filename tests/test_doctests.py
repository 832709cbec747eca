"""The examples of docstrings, README.md and docs/ print what they say."""

from __future__ import annotations

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NEEDS_TORCH = [pytest.mark.peers]


def module_names():
    package = ROOT / "fastcell"
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if ">>>" in path.read_text() and parts[-1] != "__main__":
            marks = NEEDS_TORCH if "torch" in parts else []
            yield pytest.param(name, marks=marks)


def pages():
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")]):
        if ">>>" in path.read_text():
            marks = NEEDS_TORCH if path.name == "pytorch.md" else []
            yield pytest.param(path.relative_to(ROOT).as_posix(), marks=marks)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Examples may write files, and read the one that is in every tree."""
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", list(module_names()))
def test_examples_of_docstrings(name):
    if "torch" in name:
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    done = doctest.testmod(module, optionflags=OPTIONS)
    assert done.attempted
    assert not done.failed


@pytest.mark.parametrize("page", list(pages()))
def test_examples_of_pages(page):
    if "pytorch" in page:
        pytest.importorskip("torch")
    done = doctest.testfile(str(ROOT / page), False, optionflags=OPTIONS)
    assert done.attempted
    assert not done.failed
