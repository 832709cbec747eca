"""The map of rooms and permitted imports (DESIGN, section 1), checked on the files."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
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


def core_files():
    """Return the files of the core, without its tests."""
    found = files(CORE, ".c", ".h")
    return [p for p in found if not {"tests", "build"} & {*p.relative_to(CORE).parts}]


def includes(path):
    """Return the files of ours that a C file includes, from src_c on."""
    found = set()
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.M):
        name = f"include/{name}" if name.startswith("fastcell") else name
        assert (CORE / name).is_file(), f"{path}: includes {name}, which is nowhere"
        found.add(name)
    return found


def circle(needs):
    """Return names that need each other in turn, or None."""
    done, way = set(), []

    def visit(name):
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            way.append(name)
            for other in sorted(needs.get(name, ())):
                if found := visit(other):
                    return found
            done.add(way.pop())
        return None

    return next((found for name in sorted(needs) if (found := visit(name))), None)


def imports(path, top_level=False):
    """Return the modules that a Python file imports, in full; all, or at import time.

    Imports for types count as any other, but not at import time.
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
            elif (
                isinstance(child, ast.If)
                and "TYPE_CHECKING" in ast.dump(child.test)
                and top_level
            ):
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
            is_options = (path.name, name) == ("cell.h", "include/fastcell_options.h")
            assert allowed.fullmatch(name) or is_options, f"{path.name} includes {name}"
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
    assert set(re.findall(r'#include "cells/(\w+\.c)"', registry)) == names
    for path in core_files():
        if path.parent.name == "cells":
            continue
        known = {name for name in includes(path) if name.startswith("cells/")}
        if path.name == "body.h":  # compiles the cells for one instruction set
            assert known == {"cells/registry.h"}
        else:
            assert known <= {"cells/cell.h"}, path


#: What the files of a room may include beside those of their own.
CORE_ROOMS = {
    "include": set(),
    "simd": set(),
    "math": {"simd"},
    "cells": {"include", "math", "simd"},
    "runtime": {"include", "cells"},
    "kernels": {"include", "cells", "math", "simd", "runtime"},
    "isa": {"cells", "math", "simd", "runtime", "kernels"},
    "recurrent": {"include", "cells", "runtime"},
    "ops": {"include", "runtime"},
}


def test_rooms_of_the_core_include_only_those_below():
    assert {path.parent.name for path in core_files()} == set(CORE_ROOMS)
    for path in core_files():
        room = path.parent.name
        rooms = {name.partition("/")[0] for name in includes(path)}
        assert rooms <= CORE_ROOMS[room] | {room}, path


def test_no_two_files_of_the_core_need_each_other():
    needs = {}
    for path in core_files():  # x.h and x.c are one
        found = {name.rpartition(".")[0] for name in includes(path)}
        unit = path.relative_to(CORE).with_suffix("").as_posix()
        needs.setdefault(unit, set()).update(found - {unit})
    assert circle(needs) is None


def test_the_drivers_name_no_cell():
    drivers = [*files(CORE / "recurrent", ".c", ".h"), *files(CORE / "ops", ".c")]
    assert {"sequence.c", "stack.c", "stream.c"} <= {p.name for p in drivers}
    for path in drivers:
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)
        # The mLSTM is no cell: it has no recurrent weights.
        assert not re.search(r"(?<!m)lstm|gru|rnn_|peephole", code, re.I), path


def test_the_core_knows_neither_python_nor_blas_and_allocates_nothing():
    for path in files(CORE, ".c", ".h"):
        if "tests" in path.parts or path.name == "fastcell_python.h":
            continue  # the header is for programs of Python
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)
        assert "Python.h" not in code, path
        assert "cblas" not in code, path
        assert not re.search(r"\b(malloc|calloc|realloc|alloca|free)\s*\(", code), path
        assert not re.search(r"\b(exit|abort|printf|fprintf|puts)\s*\(", code), path
        assert "errno" not in code, path


def parameters_of(text):
    """Return how many parameters stand between a pair of brackets."""
    depth, found = 0, 1
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        found += sign == "," and depth == 0
    return 0 if text.strip() in ("", "void") else found


def functions(path):
    """Return the functions that a C file declares or defines, with their parameters."""
    quoted = r'"(?:\\.|[^"\\\n])*"'
    directive = r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*"
    code = re.sub(
        rf"/\*.*?\*/|//[^\n]*|{quoted}|{directive}",
        " ",
        path.read_text(),
        flags=re.S | re.M,
    )
    found = {}
    words = r"(?:^|(?<=[;{}]))\s*((?:[A-Za-z_]\w*[\s*]+)+)([A-Za-z_]\w*)\s*\("
    for match in re.finditer(words, code):
        if match[1].split()[0] in ("return", "else", "case", "goto", "typedef"):
            continue
        end, depth = match.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        found[match[2]] = parameters_of(code[match.end() : end - 1])
    return found


def test_functions_of_the_core_are_found_with_their_parameters():
    public = functions(CORE / "include" / "fastcell.h")
    declared = re.findall(
        r"^FC_API\b[^;(]*?(\w+)\(", (CORE / "include" / "fastcell.h").read_text(), re.M
    )
    assert declared
    assert set(declared) <= set(public)
    assert public["fc_stream_step_some"] == 8
    assert public["fc_set_stop"] == 2
    assert functions(CORE / "kernels" / "product.h")["tile_multiply"] == 8


def test_no_function_of_the_core_has_more_than_eight_parameters():
    for path in core_files():
        for name, parameters in functions(path).items():
            assert parameters <= 8, f"{path}: {name} has {parameters} parameters"


def test_no_flag_breaks_ieee_arithmetic():
    builds = [ROOT / "setup.py", CORE / "Makefile"]
    for path in builds:
        flags = set(re.findall(r"-f[\w-]+", path.read_text()))
        assert not flags & {"-ffast-math", "-funsafe-math-optimizations", "-ffinite"}, (
            path
        )
    assert "-ffp-contract=off" in builds[0].read_text()


# ---------------------------------------------------------------------- Python


def test_one_file_declares_the_c_core_to_cython():
    declaring = {
        path.name
        for path in files(PACKAGE, *SOURCES)
        if re.search(r"cdef extern from .fastcell", path.read_text())
    }
    assert declaring == {"kernels.pxd"}


def test_core_is_one_extension_of_several_files():
    # A second one would have a thread pool and a dispatch table of its own.
    included = re.findall(
        r'^include "(.+)"$', (PACKAGE / "_core.pyx").read_text(), re.M
    )
    assert included
    rooms = PACKAGE / "_bindings"
    assert sorted(included) == [f"_bindings/{p.name}" for p in files(rooms, ".pxi")]
    assert [p.name for p in files(PACKAGE, ".pyx")] == ["_blas.pyx", "_core.pyx"]


def test_only_blas_names_scipys_blas():
    for path in files(PACKAGE, *SOURCES):
        code = [line.partition("#")[0] for line in path.read_text().splitlines()]
        if path.stem != "_blas":
            assert not any(re.search(r"import.*cython_blas", c) for c in code), path


#: Rooms and files of the package, each above all that it may import; within a room
#: imports go either way, in no circle.
STOREYS = [
    *("_checks", "_state_dicts.py", "threads.py", "_environment.py", "headers.py"),
    *("parameters.py", "module.py", "named_classes.py"),
    *("layers", "cells", "losses", "optim", "demo_data", "data"),
    *("models/sessions", "models/parts", "models/search", "models/heads"),
    *("models/decoder", "models"),
    *("serialize.py", "train", "callbacks.py", "programs.py", "exporting"),
    "rtneural.py",
    "__init__.py",
    *("_judge", "torch", "sklearn", "cli", "__main__.py"),
]


def modules():
    """Return the Python files of the package by the name that imports them."""
    named = {}
    for path in files(PACKAGE, ".py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def storey_of(path):
    """Return the number of the storey that a file of the package belongs to."""
    place = path.relative_to(PACKAGE).as_posix()
    inside = [s for s in STOREYS if place == s or place.startswith(f"{s}/")]
    assert inside, f"{path}: on no storey"
    return STOREYS.index(max(inside, key=len))


def needed(named):
    """Return, of each module of the package, those that it imports."""
    needs = {name: set() for name in named}
    for name, path in named.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                needs[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    is_module = whole in named or whole == "fastcell._core"
                    needs[name].add(whole if is_module else node.module)
        needs[name] &= named.keys() - {name}
    return needs


def test_nothing_imports_what_stands_above_it():
    named = modules()
    for name, others in needed(named).items():
        for other in others:
            above = storey_of(named[other]) > storey_of(named[name])
            assert not above, f"{name} imports {other}"


def test_no_two_modules_import_each_other():
    assert circle(needed(modules())) is None


def test_no_module_is_imported_by_a_name_in_a_string():
    # Except peers, imported on request, and the lazy submodules of `fastcell`.
    for path in files(PACKAGE, ".py"):
        place = path.relative_to(PACKAGE).as_posix()
        if place not in ("__init__.py", "_judge/engines.py"):
            assert not re.search(r"import_module|__import__\(", path.read_text()), path


def test_models_and_data_do_not_touch_the_core():
    users = {p for p in files(PACKAGE, ".py") if knows(imports(p), "fastcell._core")}
    assert users
    folders = {p: p.relative_to(PACKAGE).parts for p in users}
    assert not [p for p in users if {"models", "data"} & {*folders[p]}]


@pytest.mark.parametrize(
    "library",
    [
        *("torch", "onnx", "onnxruntime", "matplotlib", "mpi4py", "tqdm", "keras"),
        *("tokenizers", "narwhals", "pandas", "polars", "pyarrow", "transformers"),
        "sklearn",
    ],
)
def test_heavy_libraries_are_imported_where_they_are_used(library):
    for path in files(PACKAGE, ".py"):
        own_module = library in (path.stem, path.parent.name)
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
    for name in (
        "models",
        "train",
        "data",
        "optim",
        "losses",
        "cli",
        "serialize",
        "exporting",
    ):
        assert not knows(loaded, f"fastcell.{name}"), name


def test_without_scikit_learn_the_error_says_what_to_install(run_python):
    program = "import sys; sys.modules['sklearn'] = None; import fastcell.sklearn"
    done = run_python(program)
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: fastcell.sklearn needs")
    assert "pip install" in last


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
    elsewhere = listed["package-dir"]  # C sources, no packages of Python
    assert set(listed["packages"]) == packages | elsewhere.keys()
    for name, folder in elsewhere.items():
        assert name == f"fastcell._src_c.{folder.removeprefix('src_c/')}"


def test_sources_of_exported_files_are_in_the_wheel():
    import tomllib

    from fastcell.exporting import sources

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    inside = {
        path.resolve()
        for name, patterns in listed["package-data"].items()
        for pattern in patterns
        for path in (
            ROOT / listed["package-dir"].get(name, name.replace(".", "/"))
        ).glob(pattern)
    }
    read = set()
    assert list(sources._included(CORE, "cells/registry.h", read))
    assert {"cells/gru.c", "math/elementary.h"} <= read
    wanted = {CORE / name for name in read} | {
        *files(PACKAGE / "exporting", ".c", ".h")
    }
    assert wanted <= inside


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


def test_every_mutation_finds_its_place():
    for file, old, new, what in MUTATIONS:
        assert (ROOT / file).read_text().count(old) == 1, f"{what}: stale"
        assert old != new


def test_every_test_file_is_found_by_pytest():
    for path in (ROOT / "tests").rglob("*.py"):
        tests = re.search(r"^(?:    )?def test_", path.read_text(), re.M)
        assert path.name.startswith("test_") or not tests, path
