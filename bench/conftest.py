"""Settings of the pytest-benchmark files: by default, one thread.

FASTCELL_NUM_THREADS sets another number.

``pytest bench --benchmark-only`` times the cells of the registry over the grid.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The files of this folder import each other by name, as in `python bench/compare.py`.
# It is not a package, so that `fastcell` is the installed one and not the source tree.
sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "peers: needs an engine that is not fastcell")


@pytest.fixture
def threads() -> Iterator[int]:
    """Set fastcell's threads for one benchmark; yield the number."""
    import fastcell

    number = int(os.environ.get("FASTCELL_NUM_THREADS", "1"))
    before = fastcell.get_num_threads()
    fastcell.set_num_threads(number)
    yield number
    fastcell.set_num_threads(before)
