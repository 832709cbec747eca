"""``python -m fastcell`` is the command ``fastcell``."""

from fastcell.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
