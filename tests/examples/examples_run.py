"""Helper: runs an example as a program."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
TIME_LIMIT = 120.0  # seconds, on a busy machine


def run(name, *arguments, error=None):
    """Run an example; return what it prints, or check that it ends with an error."""
    process = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        env={**os.environ, "FASTCELL_NUM_THREADS": "1"},
    )
    if error is not None:
        assert process.returncode == 2, process.stderr
        assert error in process.stderr.splitlines()[-1]
        assert "Traceback" not in process.stderr
        return None
    assert process.returncode == 0, process.stderr
    return process.stdout


def load(name):
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
