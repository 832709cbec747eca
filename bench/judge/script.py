"""What the scripts beside compare.py share: options, rows, and the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from peers import BaseEngine

from fastcell._judge import load
from fastcell._judge.measure import Protocol
from fastcell._judge.rows import Row
from judge.bars import Bar
from judge.report import Report


class Script:
    """One run: its options, and the report that its rows go to.

    Parameters
    ----------
    text : str
        The module's docstring, whose first line is the help.
    argv : sequence of str, optional
        The command line.
    threads : tuple of int
        The default of ``--threads``.
    source : str, optional
        What ``--source`` is the path of; without it there is no such option.
    blocks : int
        The default of ``--blocks``, but for 3 with ``--quick``.
    """

    def __init__(
        self,
        text: str,
        argv: Sequence[str] | None,
        threads: tuple[int, ...] = (1, 2),
        source: str | None = None,
        blocks: int = 5,
    ) -> None:
        parser = argparse.ArgumentParser(description=text.partition("\n")[0])
        add = parser.add_argument
        if source:
            add("--source", type=Path, required=True, help=f"the folder of {source}")
        add("--threads", type=int, nargs="+", default=threads, help="(default: 1 2)")
        add("--quick", action="store_true", help="few shapes and short blocks")
        add(
            "--blocks", type=int, help=f"blocks per engine (default: {blocks}, quick 3)"
        )
        add("--seconds", type=float, help="of a block (default: 0.06, quick 0.03)")
        add("--markdown", type=Path, metavar="FILE", help="write the tables")
        self.given = parser.parse_args(argv)
        quick = self.given.quick
        self.protocol = Protocol(
            self.given.blocks or (3 if quick else blocks),
            self.given.seconds or (0.03 if quick else 0.06),
            untimed_calls=1,
        )

    def begin(self, engines: Iterable[BaseEngine], bars: Mapping[str, Bar]) -> None:
        """Begin the report."""
        disturbed = load.warning(load.busy_share())
        notes = [disturbed] if disturbed else []
        self.report = Report.of(engines, notes, self.protocol, known_bars=bars)

    def add(self, title: str, measure: Callable[[], Row]) -> Row | None:
        """Add a row to the report, or the error in its place."""
        try:
            row = measure()
        except Exception as error:
            # A failing case must not discard the others.
            self.report.errors.append(f"{title}: {type(error).__name__}: {error}")
            print(f"{title}: ERROR: {error}", file=sys.stderr, flush=True)
            return None
        self.report.rows.append(row)
        print(f"{title}: {row.summary()}", file=sys.stderr, flush=True)
        return row

    def end(self, *tables: str) -> int:
        """Print the report, and further tables; return the exit code."""
        compared = {row.mode: 0.0 for row in self.report.rows}
        for row in self.report.rows:
            compared[row.mode] = max(compared[row.mode], row.disagreement or 0.0)
        for mode, most in compared.items():
            if most:
                note = f"{mode}: outputs differ by at most {most:.1e} of the largest"
                self.report.notes.append(note)
        markdown = "\n\n".join([self.report.to_markdown().rstrip(), *tables]) + "\n"
        print(markdown)
        if self.given.markdown:
            self.given.markdown.write_text(markdown)
        return 1 if self.report.errors else 0
