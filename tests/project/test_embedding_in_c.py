"""The core inside other programs: its headers, its table of functions, an extension."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastcell

ROOT = Path(__file__).parents[2]
HEADERS = ROOT / "src_c" / "include"
RELEASED = Path(__file__).with_name("api_functions.txt")


def functions_of_the_table():
    text = (HEADERS / "fastcell_api.h").read_text()
    return re.findall(r"^    X\((\w+)\)", text, re.M)


def test_the_table_has_every_function_of_the_headers():
    declared = set()
    for header in HEADERS.glob("*.h"):
        declared |= set(
            re.findall(r"^FC_API [^(;]*?\bfc_(\w+)\(", header.read_text(), re.M)
        )
    assert declared - {"get_api"} == set(functions_of_the_table())


def test_functions_are_only_added_at_the_end_of_the_table():
    # Compiled modules call by place. A new minor version may rewrite the file.
    released = RELEASED.read_text().split()
    assert functions_of_the_table()[: len(released)] == released


def test_each_function_of_the_table_has_its_name():
    text = (HEADERS / "fastcell_python.h").read_text()
    defined = re.findall(r"^#define fc_(\w+) \(fastcell_api->(\w+)\)$", text, re.M)
    assert [(name, name) for name in functions_of_the_table()] == defined


@pytest.mark.parametrize(
    "command",
    [
        ["cc", "-x", "c", "-std=c99"],
        ["c++", "-x", "c++", "-std=c++98"],
        ["c++", "-x", "c++", "-std=c++17"],
    ],
    ids=["C99", "C++98", "C++17"],
)
def test_the_headers_are_clean(command):
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]}")
    flags = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
    for name in ("fastcell.h", "fastcell_api.h"):
        header = Path(fastcell.get_include()) / name
        done = subprocess.run(
            [*command, *flags, str(header)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_installed_headers_are_those_of_the_source():
    names = sorted(p.name for p in HEADERS.glob("*.h"))
    installed = Path(fastcell.get_include())
    assert sorted(p.name for p in installed.glob("*.h")) == names
    for name in names:
        assert (installed / name).read_bytes() == (HEADERS / name).read_bytes()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The example package, built."""
    copy = tmp_path_factory.mktemp("embed") / "package"
    shutil.copytree(ROOT / "examples" / "embed_cython", copy)
    build(copy)
    return copy


def test_a_cython_package_builds_and_runs(package):
    done = run([sys.executable, "check.py"], package)
    assert done.returncode == 0, done.stderr
    assert "the bits of fastcell.GRU" in done.stdout


def test_an_extension_of_another_version_is_refused(package, tmp_path):
    copy = shutil.copytree(package, tmp_path / "package")
    headers = shutil.copytree(fastcell.get_include(), tmp_path / "include")
    version = headers / "fastcell_version.h"
    version.write_text(re.sub(r"(_MINOR) \d+", r"\1 99", version.read_text()))
    setup = copy / "setup.py"
    text = setup.read_text()
    setup.write_text(text.replace("fastcell.get_include()", repr(str(headers))))
    for module in copy.rglob("*.so"):
        module.unlink()
    shutil.rmtree(copy / "build")
    build(copy)
    done = run([sys.executable, "-c", "import gates"], copy)
    assert "ImportError: fastcell: compiled with the headers of 0.99.0" in done.stderr


def build(folder):
    done = run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], folder)
    assert done.returncode == 0, done.stdout + done.stderr


def run(command, folder):
    """Run a command in a package's folder, where it and fastcell are importable."""
    paths = [str(folder / "src"), str(Path(fastcell.__file__).parents[1])]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
