"""The command line: `main` reads it; each group of commands is a module."""

from fastcell.cli.commands import main

__all__ = ["main"]
