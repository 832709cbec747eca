"""Every cell of the registry, exported: one file with all of them, built several ways.

The exported step has the bits of that instruction set of the library whose products are
of the same kind, fused or not, and whose vectors have as many lanes. Other sets differ
from it as they differ from one another.
"""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from exported import BUILDS, CC, STRICT, X86, Net, needs_cc

import fastcell
from fastcell import _core
from fastcell.cells import REGISTRY

pytestmark = needs_cc
SIZES = (5, 8, 9, 17)


def every_cell():
    """Return a `Sequential` with a layer of each cell."""
    layers, width = [], 3
    for i, cell in enumerate(REGISTRY.values()):
        units = SIZES[i % len(SIZES)]
        options = dict(cell.options)
        if cell.proj_size:
            options["proj_size"] = cell.proj_size(units)
        layer = cell.layer_class(width, units, seed=i, **options)
        enlarge(layer, i)
        layers.append(layer)
        width = layer.output_size
    return fastcell.Sequential(layers)


def enlarge(layer, seed):
    """Make the parameters larger, so that gates are not all near one half."""
    random = np.random.default_rng(seed)
    for name in layer.params:
        array = np.array(layer.params[name])
        layer.params[name] = array * 1.5 + random.normal(0, 0.1, array.shape)


def check_states(net, session, layers):
    """Compare all states of a step, bit for bit."""
    for k, (part, layer) in enumerate(zip(session._sessions, layers, strict=True)):
        state = part.state if isinstance(part.state, tuple) else (part.state,)
        h = net.h(k)[: layer.output_size]
        np.testing.assert_array_equal(h, state[0].reshape(-1), err_msg=f"h of {layer}")
        if len(state) > 1:
            rows = net.c(k).reshape(len(state) - 1, -1)[:, : layer.hidden_size]
            np.testing.assert_array_equal(
                rows, np.reshape(state[1:], rows.shape), err_msg=f"c of {layer}"
            )


@pytest.fixture
def select_isa():
    before = _core.isa()
    yield _core.select_isa
    _core.select_isa(before)


@pytest.mark.parametrize("build", BUILDS)
def test_every_cell_has_the_bits_of_the_library(build, tmp_path, select_isa):
    flags, isa, lanes = BUILDS[build]
    select_isa(isa)
    model = every_cell()
    net = Net(model, tmp_path, flags, lanes=lanes)
    assert [cell for cell in REGISTRY if f"cell {cell}:" not in net.header] == []
    random = np.random.default_rng(1)
    for _ in range(2):  # the second time after a reset
        session = model.session()
        for x in random.standard_normal((25, 3)).astype(np.float32):
            y = session.step(x[np.newaxis])
            np.testing.assert_array_equal(net(x), y[0])
            check_states(net, session, model.layers)
        assert len(set(y[0].tolist())) > 1
        net.reset()
        assert not net.state.any()


VECTORS = ("-DFASTCELL_NET_SIMD", "-mavx2", "-mfma")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("flags", [(), VECTORS[: 3 if X86 else 1]], ids=["c99", "simd"])
def test_clang_has_no_warnings_either(flags, dtype, tmp_path):
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang")
    made = fastcell.export_c(every_cell(), tmp_path / "net.c", dtype=dtype)
    done = subprocess.run(
        [clang, *STRICT, *flags, "-fsyntax-only", made.source],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_header_is_for_cpp_too_and_constants_are_all_its_data(tmp_path):
    net = Net(fastcell.SLSTM(3, 5), tmp_path)
    program = tmp_path / "program.cc"
    program.write_text(
        '#include "net.h"\n'
        "int main() { static net_state s; float x[NET_INPUTS] = {}, y[NET_OUTPUTS];\n"
        "net_reset(&s); net_step(&s, x, y); return 0; }\n"
    )
    compiled = [tmp_path / "net.o", tmp_path / "program.o"]
    flags = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-c")
    cxx = shutil.which("c++") or shutil.which("g++")
    if cxx is None or shutil.which("nm") is None:
        pytest.skip("needs a C++ compiler and nm")
    subprocess.run(
        [CC, "-std=c99", "-c", net.made.source, "-o", compiled[0]], check=True
    )
    subprocess.run([cxx, *flags, program, "-o", compiled[1]], check=True)
    subprocess.run([cxx, *compiled, "-o", tmp_path / "program"], check=True)
    assert subprocess.run([tmp_path / "program"]).returncode == 0
    listed = subprocess.run(["nm", compiled[0]], capture_output=True, text=True).stdout
    kinds = {(kind, name) for *_, kind, name in map(str.split, listed.splitlines())}
    assert {name for kind, name in kinds if kind == "T"} == {"net_step", "net_reset"}
    assert not [name for kind, name in kinds if kind in "bBdD"]
    # What a compiler may call without a library: copies of memory.
    undefined = {name.lstrip("_") for kind, name in kinds if kind == "U"}
    assert undefined <= {"memcpy", "memset", "stack_chk_fail", "GLOBAL_OFFSET_TABLE_"}
