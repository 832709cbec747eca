"""The command ``python bench/applications``: see applications/command.py."""

import sys
from pathlib import Path

# The packages are in the folder above; Python's default is this folder only.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from applications.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
