"""The build of the C core and the Cython modules; metadata are in pyproject.toml.

Each instruction set is a separate static library, so that its flags apply only to its
files.  FASTCELL_SANITIZE=address,undefined builds with sanitizers.
"""

import os
import platform
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

FLAGS = [
    *("-std=gnu11", "-O3", "-g0", "-ffp-contract=off"),
    *("-fvisibility=hidden", "-fno-math-errno", "-pthread"),
]
SETS: dict[str, list[str]] = {"portable": []}
NATIVE: dict[str, list[str]] = {}  # kernels with one more extension than their set
if platform.machine() in ("x86_64", "AMD64"):
    SETS["avx2"] = ["-mavx2", "-mfma"]
    SETS["avx512"] = [
        *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"),
        *("-mfma", "-mprefer-vector-width=512"),
    ]
    NATIVE["avx2_int8_native"] = [*SETS["avx2"], "-mavxvnni"]
    NATIVE["avx512_bf16_native"] = [*SETS["avx512"], "-mavx512bf16"]
    NATIVE["avx512_int8_native"] = [*SETS["avx512"], "-mavx512vnni"]
elif platform.machine() in ("aarch64", "arm64"):
    SETS["neon"] = ["-fno-schedule-insns", "-Wno-ignored-optimization-argument"]

LINK = ["-pthread"]
if sanitizers := os.environ.get("FASTCELL_SANITIZE"):
    FLAGS += [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer", "-g"]
    LINK += [f"-fsanitize={sanitizers}"]

HEADERS = sorted([*glob("src_c/**/*.h", recursive=True), *glob("src_c/cells/*.c")])
SOURCES = sorted(glob("src_c/**/*.[hc]", recursive=True))
ROOMS = ("recurrent", "ops", "runtime")  # compiled once, not for each set
DRIVERS = sorted(path for room in ROOMS for path in glob(f"src_c/{room}/*.c"))
INCLUDED = [*glob("fastcell/*.pxd"), *sorted(glob("fastcell/_bindings/*.pxi"))]


def library(name: str, sources: list[str], flags: list[str]) -> tuple[str, dict]:
    """Return the setuptools entry of one static library of the C core."""
    return name, {
        "sources": sources,
        "include_dirs": ["src_c/include", "src_c"],
        "cflags": FLAGS + flags,
        "obj_deps": {"": HEADERS},
    }


def kernels(isa: str) -> list[str]:
    """Return the source files of one instruction set."""
    return [f"src_c/isa/{isa}_{kind}.c" for kind in ("f32", "f64", "bf16", "int8")]


class BuildWithSources(build_py):
    """Takes no modules from the folders of C sources, where scripts are, too."""

    def find_package_modules(
        self, package: str, package_dir: str
    ) -> list[tuple[str, str, str]]:
        """Return the modules of a package."""
        if package.startswith("fastcell._src_c"):
            return []
        return super().find_package_modules(package, package_dir)


setup(
    cmdclass={"build_py": BuildWithSources},
    libraries=[
        library("fastcell_drivers", DRIVERS, []),
        *(library(f"fastcell_{s}", kernels(s), flags) for s, flags in SETS.items()),
        *(
            library(f"fastcell_{name}", [f"src_c/isa/{name}.c"], flags)
            for name, flags in NATIVE.items()
        ),
    ],
    ext_modules=[
        Extension(
            "fastcell._core",
            ["fastcell/_core.pyx"],
            include_dirs=["src_c/include"],
            define_macros=[("FASTCELL_LINKED", None)],
            extra_compile_args=["-O2", "-g0", "-pthread"],
            extra_link_args=LINK,
            libraries=["m"],
            depends=SOURCES + INCLUDED,  # relink after a change of a library
        ),
        Extension("fastcell._blas", ["fastcell/_blas.pyx"]),
    ],
)
