"""Doctests of all docstrings, README.md and docs/."""

from __future__ import annotations

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# What a package, or a page by its name, imports beside what fastcell needs.
PEERS = {
    "torch": "torch",
    "pytorch": "torch",
    "sklearn": "sklearn",
    "scikit-learn": "sklearn",
}


def with_peer(name, parts):
    """Return a case: what is looked at, and the peer that it needs or None."""
    peer = next((PEERS[part] for part in parts if part in PEERS), None)
    return pytest.param(name, peer, marks=[pytest.mark.peers] if peer else [])


def module_names():
    package = ROOT / "fastcell"
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if ">>>" in path.read_text() and parts[-1] != "__main__":
            yield with_peer(name, parts)


def pages():
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")]):
        if ">>>" in path.read_text():
            yield with_peer(path.relative_to(ROOT).as_posix(), [path.stem])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Examples may write files, and read the one that is in every tree."""
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name, peer", list(module_names()))
def test_examples_of_docstrings(name, peer):
    if peer is not None:
        pytest.importorskip(peer)
    module = importlib.import_module(name)
    done = doctest.testmod(module, optionflags=OPTIONS)
    assert done.attempted
    assert not done.failed


@pytest.mark.parametrize("page, peer", list(pages()))
def test_examples_of_pages(page, peer):
    if peer is not None:
        pytest.importorskip(peer)
    done = doctest.testfile(str(ROOT / page), False, optionflags=OPTIONS)
    assert done.attempted
    assert not done.failed
