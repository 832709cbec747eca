"""Who may know whom (DESIGN, section 1), checked on the files themselves."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from mutations import MUTATIONS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fastcell"
CORE = ROOT / "src_c"
SOURCES = (".py", ".pyx", ".pxd", ".pxi")

NEVER_MINE = {".git", "build", "dist", "__pycache__", "node_modules", ".benchmarks"}
TEXT = {
    *(
        ".py",
        ".pyx",
        ".pxd",
        ".pxi",
        ".pyi",
        ".c",
        ".h",
        ".md",
        ".toml",
        ".cfg",
        ".yml",
        ".yaml",
    ),
    *(".txt", ".sh", ".in", ".json", ""),
}


def files(folder, *endings):
    return sorted(p for p in folder.rglob("*") if p.suffix in endings and p.is_file())


def own_files():
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        generated = path.name == "_core.c" or any(
            part in NEVER_MINE or part.startswith((".venv", ".pytest", ".ruff"))
            for part in parts
        )
        if path.is_file() and path.suffix in TEXT and not generated:
            yield path


def includes(path):
    """Return the files of ours that a C file includes, from src_c on."""
    found = set()
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.M):
        places = [path.parent / name, CORE / name, CORE / "include" / name]
        here = [p.resolve() for p in places if p.is_file()]
        assert here, f"{path}: includes {name}, which is nowhere"
        found.add(here[0].relative_to(CORE).as_posix())
    return found


def imports(path, top_level=False):
    """Return the modules that a Python file imports, in full; all, or at import time.

    What only a type checker sees does not count.
    """
    tree = ast.parse(path.read_text())
    found = set()

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: a relative import"
                found.add(child.module)
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            elif (
                isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and top_level
            ):
                continue
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for other in child.orelse:
                    visit(other)
            else:
                visit(child)

    visit(tree)
    return found


def knows(found, *modules):
    return {f for f in found for m in modules if f == m or f.startswith(m + ".")}


# ---------------------------------------------------------------------- C core


def test_a_cell_includes_the_contract_and_the_math_and_nothing_else():
    cells = files(CORE / "cells", ".c", ".h")
    assert len([p for p in cells if p.suffix == ".c"]) >= 5
    allowed = re.compile(r"cells/\w+\.h|math/\w+\.h|simd/\w+\.h")
    for path in cells:
        if path.name == "registry.h":  # the list of cells
            continue
        for name in includes(path):
            assert allowed.fullmatch(name), f"{path.name} includes {name}"
            assert name != "cells/registry.h", f"{path.name} includes {name}"


def test_a_cell_sees_no_time_no_weights_and_no_threads():
    for path in files(CORE / "cells", ".c"):
        words = set(re.findall(r"\w+", path.read_text()))
        assert not words & {"fc_batch", "fc_panels", "fc_plan", "fc_pass", "steps"}, (
            path
        )


def test_only_the_registry_knows_the_cells():
    names = {p.name for p in files(CORE / "cells", ".c")}
    registry = (CORE / "cells" / "registry.h").read_text()
    assert set(re.findall(r'#include "(\w+\.c)"', registry)) == names
    for path in files(CORE, ".c", ".h"):
        if path.parent.name == "cells":
            continue
        known = {name for name in includes(path) if name.startswith("cells/")}
        if path.name == "body.h":  # compiles the cells for one instruction set
            assert known == {"cells/registry.h"}
        else:
            assert known <= {"cells/cell.h"}, path


def test_the_drivers_name_no_cell():
    drivers = [p for p in files(CORE, ".c", ".h") if p.parent == CORE]
    assert {"sequence.c", "stack.c", "stream.c"} <= {p.name for p in drivers}
    for path in drivers:
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)
        assert not re.search(r"lstm|gru|rnn_|peephole", code, re.I), path


def test_the_core_knows_neither_python_nor_blas_and_allocates_nothing():
    for path in files(CORE, ".c", ".h"):
        if "tests" in path.parts:
            continue
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)
        assert "Python.h" not in code, path
        assert "cblas" not in code, path
        assert not re.search(r"\b(malloc|calloc|realloc|alloca|free)\s*\(", code), path
        assert not re.search(r"\b(exit|abort|printf|fprintf|puts)\s*\(", code), path
        assert "errno" not in code, path


def test_no_flag_breaks_ieee_arithmetic():
    builds = [ROOT / "setup.py", CORE / "Makefile"]
    for path in builds:
        flags = set(re.findall(r"-f[\w-]+", path.read_text()))
        assert not flags & {"-ffast-math", "-funsafe-math-optimizations", "-ffinite"}, (
            path
        )
    assert "-ffp-contract=off" in builds[0].read_text()


# ---------------------------------------------------------------------- Python


def test_only_core_names_the_c_header():
    named = {
        path.name
        for path in files(PACKAGE, *SOURCES)
        if re.search(r"fastcell\.h\b", path.read_text())
    }
    assert named
    assert named <= {"_core.pyx", "_core.pxd"}


def test_core_is_one_extension_of_several_files():
    # A second one would have a thread pool and a dispatch table of its own.
    included = re.findall(
        r'^include "(.+)"$', (PACKAGE / "_core.pyx").read_text(), re.M
    )
    assert included
    assert sorted(included) == [path.name for path in files(PACKAGE, ".pxi")]
    assert [p.name for p in files(PACKAGE, ".pyx")] == ["_blas.pyx", "_core.pyx"]


def test_only_blas_names_scipys_blas():
    for path in files(PACKAGE, *SOURCES):
        code = [line.partition("#")[0] for line in path.read_text().splitlines()]
        if path.stem != "_blas":
            assert not any(re.search(r"import.*cython_blas", c) for c in code), path


ABOVE = ["models", "train", "data", "optim", "cli", "checkpoint", "losses", "history"]
STOREYS = {
    # folder or file: what stands above it
    "_judge": ABOVE,
    "cells": ABOVE,
    "layers": ABOVE,
    "module.py": [*ABOVE, "layers", "cells"],
    "parameters.py": [*ABOVE, "layers", "cells", "module"],
    "session.py": ABOVE,
    "threads.py": [*ABOVE, "layers", "cells", "module"],
    "losses.py": ["models", "train", "data", "optim", "cli", "layers", "cells"],
    "optim": ["models", "train", "data", "cli", "layers", "cells"],
    "data": ["models", "train", "optim", "cli", "layers", "cells"],
    "models": ["train", "cli", "optim", "checkpoint"],
    "train.py": ["cli"],
    "_run_state.py": ["cli", "train"],
    "_schema.py": [*ABOVE, "layers", "cells", "module"],
    "_records.py": ["cli", "train", "callbacks"],
    "callbacks.py": ["cli", "train", "models", "optim"],
}


@pytest.mark.parametrize("storey", STOREYS)
def test_nothing_imports_what_stands_above_it(storey):
    place = PACKAGE / storey
    paths = [place] if place.is_file() else files(place, ".py")
    assert paths
    above = [f"fastcell.{name}" for name in STOREYS[storey]]
    for path in paths:
        found = imports(path)
        assert not knows(found, *above), (path, knows(found, *above))


def test_models_and_data_do_not_touch_the_core():
    users = {p for p in files(PACKAGE, ".py") if knows(imports(p), "fastcell._core")}
    assert users
    assert not {p for p in users if p.parent.name in ("models", "data")}


@pytest.mark.parametrize(
    "library",
    [
        *("torch", "onnx", "onnxruntime", "matplotlib", "mpi4py", "tqdm", "keras"),
        "tokenizers",
    ],
)
def test_heavy_libraries_are_imported_where_they_are_used(library):
    for path in files(PACKAGE, ".py"):
        own_module = path.stem == library or path.parent.name == library
        assert own_module or not knows(imports(path, top_level=True), library), path


IMPORT = """
import json, sys
import numpy
before = set(sys.modules)
import fastcell
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_import_fastcell_loads_little(run_python):
    done = run_python(IMPORT)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert "fastcell._core" in loaded
    for name in ("scipy", "tqdm", "safetensors", "argparse", "torch", "matplotlib"):
        assert not knows(loaded, name), name
    for name in ("models", "train", "data", "optim", "losses", "cli", "serialize"):
        assert not knows(loaded, f"fastcell.{name}"), name


def test_lazy_names_are_there():
    import fastcell

    for name in fastcell.__all__:
        assert getattr(fastcell, name) is not None
    assert sorted(dir(fastcell)) == sorted(fastcell.__all__)
    with pytest.raises(AttributeError, match="'fastcell' has no attribute 'LTSM'"):
        _ = fastcell.LTSM


def test_the_environment_chooses_the_instruction_set(run_python):
    code = "import fastcell; from fastcell import _core; print(_core.isa())"
    right = run_python(code, FASTCELL_ISA="portable")
    assert right.stdout.strip() == "portable", right.stderr
    wrong = run_python(code, FASTCELL_ISA="avx9000")
    assert wrong.returncode != 0
    assert "FASTCELL_ISA" in wrong.stderr.splitlines()[-1]
    assert "'avx9000'" in wrong.stderr.splitlines()[-1]


# ----------------------------------------------------------------------- files


def test_every_package_is_in_the_wheel():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in files(PACKAGE, ".py")
        if path.name == "__init__.py"
    }
    assert set(listed["packages"]) == packages


def test_no_file_names_a_place_of_one_machine():
    places = ["/" + name + "/" for name in ("work", "root", "home/[a-z]+", "Users")]
    pattern = re.compile(r"(?<![\w.~}-])(" + "|".join(places) + ")")
    for path in own_files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            assert not pattern.search(line), f"{path}:{number}: {line.strip()}"


def test_modules_are_short():
    for path in [*files(PACKAGE, *SOURCES), *files(CORE, ".c", ".h")]:
        lines = path.read_text().count("\n")
        assert lines <= 600, f"{path} has {lines} lines: two modules?"


def test_the_list_of_mutations_is_that_of_the_script():
    listed = re.findall(
        r"^- (.+) \(`((?:src_c|fastcell)/\S+)`\)$",
        (ROOT / "CONTRIBUTING.md").read_text(),
        re.M,
    )
    assert sorted(listed) == sorted((what, file) for file, _, _, what in MUTATIONS)


def test_every_mutation_finds_its_place():
    for file, old, new, what in MUTATIONS:
        assert (ROOT / file).read_text().count(old) == 1, f"{what}: stale"
        assert old != new


def test_every_test_file_is_found_by_pytest():
    for path in (ROOT / "tests").rglob("*.py"):
        tests = re.search(r"^(?:    )?def test_", path.read_text(), re.M)
        assert path.name.startswith("test_") or not tests, path
