"""The command line of compare.py."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import peers

from fastcell._judge.cells import cells, default_cells
from fastcell._judge.engines import OURS
from fastcell._judge.measure import Protocol
from fastcell.cells import offered
from fastcell.cli.measure import parse_shape
from judge import bars, held
from judge.modes import MODES


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line with all defaults."""
    parser = argparse.ArgumentParser(
        prog="compare.py",
        description="Time fastcell against its peers, interleaved in blocks.",
    )
    known_peers = [name for name in peers.ADAPTERS if name != OURS]
    add = parser.add_argument
    add(
        "--mode",
        type=_list_of(_one_of(MODES)),
        default=list(MODES),
        metavar="M,M",
        help="of " + ", ".join(MODES) + " (default: all)",
    )
    add(
        "--threads",
        type=_list_of(_positive),
        default=[1, 2],
        metavar="N,N",
        help="numbers of threads (default: 1,2)",
    )
    add(
        "--cells",
        type=_list_of(_cell),
        default=default_cells(),
        metavar="C,C",
        help=f"of {', '.join(offered())} (default: {', '.join(default_cells())}); "
        "a peer that does not have a cell is named in the output",
    )
    add(
        "--shapes",
        type=_list_of(parse_shape),
        metavar="S,S",
        help="TxBxH or TxBxIxH instead of the grid; step takes those with T = B = 1",
    )
    add(
        "--peers",
        type=_list_of(_one_of(known_peers)),
        default=[name for name in known_peers if not name.startswith(OURS)],
        metavar="P,P",
        help=f"of {', '.join(known_peers)} (default: all but fastcell's own), "
        "or '' for none",
    )
    add("--quick", action="store_true", help="few shapes and blocks, for a first look")
    add("--all", action="store_true", help="the whole grid, which is also the default")
    add(
        "--lengths",
        type=_file,
        metavar="FILE",
        help="one length a line: batches of neighbours for the mode ragged",
    )
    add(
        "--bar",
        type=_bar,
        action="append",
        default=[],
        metavar="NAME=X",
        help=f"another bar for one of {', '.join(bars.BARS)}",
    )
    add(
        "--held-to",
        choices=tuple(held.SWITCHES),
        help="an older instruction set than the CPU has, for everybody; who cannot be "
        "held to it is left out",
    )
    add("--blocks", type=_positive, help="blocks per engine (default: 7, quick 3)")
    add(
        "--ort-allow-spinning",
        type=int,
        choices=(0, 1),
        help="set session.intra_op.allow_spinning (default: as users get it)",
    )
    add("--json", type=Path, metavar="FILE", help="write everything measured")
    add("--markdown", type=Path, metavar="FILE", help="write the tables")
    add("--plot", type=Path, metavar="FILE", help="draw the ratios (PNG, SVG, PDF)")
    # For processes that compare.py starts for one number of threads:
    add("--rows", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.all and (arguments.quick or arguments.shapes):
        parser.error("--all goes with neither --quick nor --shapes")
    return arguments


def protocol(arguments: argparse.Namespace) -> Protocol:
    """Return the settings of the timing."""
    blocks = arguments.blocks or (3 if arguments.quick else Protocol.blocks)
    return Protocol(blocks, 0.05 if arguments.quick else Protocol.seconds)


def _list_of(convert: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        try:
            parts = [part.strip() for part in text.split(",")]
            return list(dict.fromkeys(convert(part) for part in parts if part))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _one_of(names: Iterable[str]) -> Callable[[str], str]:
    names = list(names)

    def convert(text: str) -> str:
        if text not in names:
            raise ValueError(f"must be of {', '.join(names)}, got {text!r}")
        return text

    return convert


def _cell(text: str) -> str:
    # Peers use one of the two names of the RNN with tanh.
    if text == "rnn_tanh":
        return "rnn"
    return text if text in cells() else _one_of(offered())(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"must be a positive integer, got {text!r}")
    return int(text)


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return Path(text)


def _bar(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in bars.BARS:
        known = ", ".join(bars.BARS)
        raise argparse.ArgumentTypeError(f"no bar {name!r}; there are {known}")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"no number: {text!r}") from None
