"""The build of the example: the headers come from the installed fastcell."""

from setuptools import Extension, setup

import fastcell

setup(
    ext_modules=[
        Extension(
            "gates.filter",
            ["src/gates/filter.pyx"],
            include_dirs=[fastcell.get_include()],
        )
    ]
)
