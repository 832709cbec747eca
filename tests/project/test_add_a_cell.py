"""The cell of CONTRIBUTING.md, added to a copy of the tree as the page says.

A block of code under a heading that names a file is that file, if it is new; a block of
changes is applied to it. The copy is built in place, optimized little and without
AVX-512, which takes a third of the time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (
    *(".git", ".venv*", ".*_cache", "__pycache__", "build", "dist", "*.egg-info"),
    *("*.so", "_core.c", "_blas.c", "docs"),
)
NEW = {"src_c/cells/ugrnn.c", "fastcell/cells/ugrnn.py"}
REGISTRIES = {"src_c/cells/registry.h", "fastcell/cells/__init__.py"}
FOR_USERS, ORACLE = "fastcell/__init__.py", "src_c/tests/reference.c"


def blocks():
    """Return (file, kind, text) of the section's blocks of code, in their order."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.search(r"^## How to add a cell\n(.*?)^## ", page, re.M | re.S)[1]
    found = []
    for step in re.split(r"^### ", section, flags=re.M)[1:]:
        named = re.search(r"`([^`]+)`$", step.partition("\n")[0])
        for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", step, re.M | re.S):
            if kind != "sh":
                assert named, f"no file in the heading: {step.partition(chr(10))[0]}"
                found.append((named[1], kind, text))
    return found


def changed(before, change):
    """Return a text with a change made: lines with a sign, as diff writes them."""
    lines = change.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] != "+")
    new = "".join(line[1:] for line in lines if line[0] != "-")
    assert before.count(old) == 1, f"where is this to be changed?\n{change}"
    return before.replace(old, new)


def apply(tree):
    """Make the changes; return the files that are new, and those that were there."""
    new, there = set(), set()
    for file, kind, text in blocks():
        path = tree / file
        if kind == "diff":
            there.add(file)
            path.write_text(changed(path.read_text(), text))
        else:
            assert not path.exists(), file
            new.add(file)
            path.write_text(text)
    return new, there


def quicken(tree):
    """Let the build of the tree take less time."""
    setup, dispatch = tree / "setup.py", tree / "src_c/runtime/dispatch.c"
    text = setup.read_text()
    for slow, quick in (
        ('"-O3"', '"-O1"'),
        ('"-O2"', '"-O0"'),
        (
            'LINK = ["-pthread"]\n',
            'SETS.pop("avx512", 0)\nNATIVE.clear()\nLINK = ["-pthread"]\n',
        ),
    ):
        assert text.count(slow) == 1
        text = text.replace(slow, quick)
    setup.write_text(text)
    lines = dispatch.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not re.match(r" +\{has_avx(512|_vnni)", line)]
    assert len(lines) == len(kept) + 4
    dispatch.write_text("".join(kept))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("cell") / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
    assert apply(tree) == (NEW, REGISTRIES | {FOR_USERS, ORACLE})
    quicken(tree)
    run(tree, "setup.py", "-q", "build_clib", "build_ext", "--inplace")
    return tree


def run(tree, *arguments):
    """Run a Python program on the copy; return what it wrote."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fastcell(tree, *arguments):
    return run(tree, "-m", "fastcell", *arguments)


def test_the_generic_tests_pass(tree):
    tests = [f"tests/core/test_cells_{name}.py" for name in ("forward", "gradients")]
    tests += ["tests/layers/test_sessions.py", "tests/layers/test_single_cells.py"]
    told = run(
        tree,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests),
        *("-k", "ugrnn and not portable"),
    )
    assert re.search(r"^\.{10}", told, re.M), told  # there are some


def test_the_layer_has_what_the_c_file_says(tree):
    program = """
import fastcell
layer = fastcell.UGRNN(3, 5)
print(fastcell.__file__)
print(layer.gates, layer.states, *layer.state_dict())
"""
    where, told = run(tree, "-c", program).splitlines()
    assert where == str(tree / "fastcell" / "__init__.py")
    names = "weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0"
    assert told == f"('g', 'c') ('h',) {names}"


def test_bench_and_explain_know_it(tree):
    table = fastcell(tree, "bench", "--cells", "ugrnn", "--quick", "--seconds", "0.01")
    assert "ugrnn" in table
    assert "ugrnn" in fastcell(tree, "bench", "--help")
    told = fastcell(tree, "explain", "--cell", "ugrnn", "--shape", "2x2x8")
    assert re.search(r"^FLOP +2,048$", told, re.M)  # 2 T B G H (I + H)


def test_a_model_with_it_is_trained_and_writes(tree, tmp_path):
    text, model = tmp_path / "text.txt", tmp_path / "model"
    text.write_text("the cell of this page\n" * 40)
    sizes = ("--hidden-size=8", "--sequence-length=8", "--batch-size=4", "--steps=5")
    fastcell(tree, "train", str(text), "--cell", "ugrnn", "--out", str(model), *sizes)
    assert fastcell(tree, "sample", str(model), "--length", "5")


def test_the_oracle_of_the_c_tests_compiles(tree):
    compiler = os.environ.get("CC", "cc").split()
    flags = [
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-fsyntax-only",
    ]
    done = subprocess.run(
        [*compiler, *flags, "-Iinclude", "-I.", "tests/reference.c"],
        cwd=tree / "src_c",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
